"""Reading what may be anybody's: small regular files only, and whether another user wrote them."""

from __future__ import annotations

import os
import stat

READ_LIMIT = 1 << 20  # bytes; a longer script or configuration is not read
MAIN_LIMIT = 1 << 16  # bytes of a zip application's main file
IMPORTABLE = (0, 8)  # stored and deflated: what Python's own zipimport takes


def read_bounded(path: str) -> bytes:
    """A small regular file's content; OSError for anything else."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # before the open: opening a device may act on it
        raise OSError("not a regular file")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode) or info.st_size > READ_LIMIT:
            raise OSError("not a regular file of at most 1 MiB")
        return file.read(READ_LIMIT)


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
    steps = [os.path.abspath(path), os.path.realpath(path)]
    for step in steps:  # grows while it is read
        if (above := os.path.dirname(step)) not in steps:
            steps.append(above)
    for info in map(os.lstat, steps):
        shared = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_IWOTH
        if info.st_uid not in owners | {0} or (shared and not info.st_mode & stat.S_ISVTX):
            return False
    return True
