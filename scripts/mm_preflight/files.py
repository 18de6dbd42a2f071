"""Reading what may be anybody's: small regular files only, on file systems that answer, and whether
another user wrote them."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress

from mm_preflight.records import TYPE_CHECKING, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

READ_LIMIT = 1 << 20  # bytes; a longer script or configuration is not read
MAIN_LIMIT = 1 << 16  # bytes of a zip application's main file
IMPORTABLE = (0, 8)  # stored and deflated: what Python's own zipimport takes
LINKS = 40  # on the way to one file; Linux follows no more
MOUNTS = "/proc/self/mountinfo"
ROOT = re.compile(r"/proc/\d+/root")  # it reads as a link to "/", and leads into other mounts


class Silent(Unknown):
    """A file lies where an earlier look got no answer. Its arguments: that mount, or a path; and
    who needs the file."""


class _Watch:
    """Who is looked at, whom to tell before a file is touched, and what did not answer before."""

    who = ""
    note: Callable[[str, str], None] = staticmethod(lambda who, path: None)
    silent: frozenset[str] = frozenset()


def watch(note: Callable[[str, str], None]) -> None:
    """From now on, tell `note` who is looked at and which path is about to be touched."""
    _Watch.note = staticmethod(note)


def avoid(silent: frozenset[str]) -> None:
    """From now on, touch nothing on these mounts, or below these paths: raise Silent."""
    _Watch.silent = silent


def looking_at(who: str) -> None:
    """From now on, what is touched is of this process, or of what else is named."""
    _Watch.who = who
    _Watch.note(who, "")


def announce(path: str) -> None:
    """Say that a path is about to be touched, and each link and folder on the way, resolved.

    What hangs then is known by the mount it lies on. Raises Silent where it hung before.
    """
    if path[:1] != "/":  # in a folder of this process's own, or Windows'
        return _about_to_touch(path)
    todo, done, links = path.split("/")[::-1], "", 0
    while todo and links <= LINKS:
        part = todo.pop()
        if part == "..":
            done = os.path.dirname(done)
        elif part not in ("", "."):
            step = f"{done}/{part}"
            _about_to_touch(step)
            if target := "" if ROOT.fullmatch(step) else _target(step):
                links += 1
                done = "" if target[0] == "/" else done
                todo += target.split("/")[::-1]
            else:
                done = step


def _about_to_touch(step: str) -> None:
    for each in _Watch.silent:
        if step == each or step.startswith(each.rstrip("/") + "/"):
            raise Silent(each, _Watch.who)
    _Watch.note(_Watch.who, step)


def _target(step: str) -> str:
    """Where a link leads; "" if it is none, or not there."""
    try:
        return os.readlink(step)
    except OSError:
        return ""


def mount_of(path: str, mounts: str = MOUNTS) -> str:
    """Where the file system of a resolved path is mounted, by its text; of `mounts`, a mountinfo.

    Asks nothing of that file system; "" where the system does not list its mounts.
    """
    best = ""
    with suppress(OSError), open(mounts, "rb") as file:
        for line in file:  # as bytes: to text, a name may hold what ends a line
            fields = line.decode("utf-8", "surrogateescape").split(" ")
            mount = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[4])
            below = path == mount or path.startswith(mount.rstrip("/") + "/")
            if below and len(mount) >= len(best):  # of two on one folder, the later is seen
                best = mount
    return best


def read_bounded(path: str) -> bytes:
    """A small regular file's content; OSError for anything else, Silent for what hung before."""
    announce(path)
    if not stat.S_ISREG(os.stat(path).st_mode):  # before the open: opening a device may act on it
        raise OSError("not a regular file")
    return read_start(path, READ_LIMIT, longest=READ_LIMIT)


def read_start(path: str, size: int, longest: float = float("inf")) -> bytes:
    """The first `size` bytes of a regular file that is not longer than `longest`; else OSError."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode) or info.st_size > longest:
            raise OSError("not a regular file of at most 1 MiB")
        return file.read(size)


def read_program(path: str) -> bytes:
    """The Python text of a script; of a zip application or a launcher, its main file's.

    OSError where it cannot be read or unpacked.
    """
    text = read_bounded(path)
    if b"PK\5\6" not in text[-65557:]:  # a zip's end, with the longest comment it may have
        return text
    import io
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(text)) as archive:
            main = archive.getinfo("__main__.py")
            if main.compress_type not in IMPORTABLE:  # another may unpack to any size at once
                raise OSError("Python cannot run it")
            with archive.open(main) as file:
                return file.read(MAIN_LIMIT)
    except Exception as error:  # zipfile and zlib raise what they like on a broken file
        raise OSError(str(error)) from None


def is_trusted(path: str, owners: frozenset[int]) -> bool:
    """Whether only these users and root could have put there what a path leads to.

    Not if another user owns it, or a folder or link on the way, or may write into such a folder.
    """
    if not owners:  # Windows keeps no owner that os.stat tells
        return True
    announce(path)
    steps = [os.path.abspath(path), os.path.realpath(path)]
    for step in steps:  # grows while it is read
        if (above := os.path.dirname(step)) not in steps:
            steps.append(above)
    for info in map(os.lstat, steps):
        shared = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_IWOTH
        if info.st_uid not in owners | {0} or (shared and not info.st_mode & stat.S_ISVTX):
            return False
    return True
