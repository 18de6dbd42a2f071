"""The process table through psutil alone: what every platform runs, and the one user of psutil.

`system` is the room of what only this platform has; where it answers a question too, its answer
comes sooner or says more. Without it (macOS) this room is complete by itself.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Any

from mm_preflight.argv import basename, is_python, is_shell, read_shell_arguments
from mm_preflight.database import is_trusted, read_bounded
from mm_preflight.records import Ancestor, Database, Files, Seen, Unknown

psutil: Any
broken: Exception | None = None
try:
    import psutil
except Exception as error:  # require() says so in words: the verdict is "unknown"
    psutil, broken = None, error

system: Any
if sys.platform == "linux":
    from mm_preflight import linux as system
elif sys.platform == "win32":
    from mm_preflight import windows as system
else:
    system = None

WINDOWS = os.name == "nt"
TROUBLE: tuple[type[BaseException], ...]
TROUBLE = (OSError, SystemError, IndexError, ValueError, RuntimeError)  # psutil raises all of them
TROUBLE += (psutil.Error,) if psutil else ()
HIDDEN = Seen(None, None, False, None)  # another user's, of which nothing more is asked
LOOP = re.compile(r"\b(?:while|until|for|goto)\b")


def require() -> None:
    """Raise Unknown where the table cannot be had or trusted."""
    if psutil is None:
        missing = isinstance(broken, ModuleNotFoundError)
        why = "psutil is missing" if missing else f"psutil cannot be imported: {broken}"
        python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
        raise Unknown(f"{why}; install it: {python} -m pip install psutil")
    if hasattr(system, "require_own_table"):
        system.require_own_table()


def ask(call: Callable[[], Any], default: Any) -> Any:
    """What a call returns, or `default` where psutil or the system cannot tell."""
    try:
        return call()
    except TROUBLE:
        return default


def me() -> Any:
    """The check's own process."""
    return psutil.Process()


def pids() -> set[int]:
    """Every PID in the table."""
    return set(psutil.pids())


# ---- one process --------------------------------------------------------------------------------


def look_at(pid: int, database: Database) -> Seen | None:
    """One process; None if it is gone, a zombie, or has plainly nothing to do with memtomem."""
    try:
        thread = system.sift(pid, database) if hasattr(system, "sift") else pid
        if thread <= 0:
            return HIDDEN if thread else None
        process = psutil.Process(thread)
        try:
            argv = process.cmdline()
        except psutil.NoSuchProcess:
            raise
        except TROUBLE:
            argv = None
        python = _is_python(process, argv)
        seen = Seen(process, argv, python, holds_database(thread, database))
        shell = bool(argv) and is_shell(argv[0])
        return seen if python or shell or seen.holds or hides(seen) else None
    except psutil.NoSuchProcess:
        return None


def _is_python(process: Any, argv: list[str] | None) -> bool:
    """Whether the program is an interpreter: by its file, whatever argv[0] says."""
    if exe := ask(process.exe, ""):
        return is_python(exe.removesuffix(" (deleted)"))  # a program that was upgraded since
    return any(map(is_python, [ask(process.name, ""), *(argv or [])[:1]]))


def hides(seen: Seen) -> bool:
    """Whether one of the two kinds of evidence could not be had."""
    return not seen.argv or seen.holds is None


def holds_database(pid: int, database: Database) -> bool | None:
    """Whether a process has the database, its -wal or its -shm open; None if that is hidden."""
    if hasattr(system, "holds_database"):
        answer: bool | None = system.holds_database(pid, database)
        return answer
    try:
        files = [file.path for file in psutil.Process(pid).open_files()]
    except psutil.NoSuchProcess:
        return False
    except TROUBLE:
        return None
    for path in files:
        if path in database.paths:
            return True
        if database.linked or path.lower().endswith(database.names):
            info = ask(lambda path=path: os.stat(path), None)
            if info and (info.st_dev, info.st_ino) in database.ids:
                return True
    return False


def process_of(process: Any) -> int:
    """The PID of a process, also where it was looked at by another thread than its first."""
    if hasattr(system, "process_of"):
        return int(ask(lambda: system.process_of(process.pid), process.pid))
    return int(process.pid)


def is_alive(process: Any) -> bool:
    """Whether it is still the process that was looked at, and no zombie."""
    dead = ask(process.status, "") in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return not dead and bool(ask(process.is_running, True))


def is_stopped(process: Any) -> bool:
    """Whether it is suspended, by Ctrl-Z or SIGSTOP."""
    return bool(ask(process.status, "") == psutil.STATUS_STOPPED)


def could_be_own_python(seen: Seen, users: frozenset[str]) -> bool:
    """Whether a process that hides something may be a Python of one of these users.

    One that hides even its user is the system's, or another user's.
    """
    if ask(seen.process.username, None) not in users:
        return False
    names = [ask(seen.process.name, ""), *(seen.argv or [])[:1]]
    return bool(seen.python or not any(names))  # of one without a name, nothing is known


def locate(process: Any, path: str) -> str:
    """Where a script of a process lies; OSError if that cannot be told from here."""
    if hasattr(system, "require_same_files"):
        system.require_same_files(process.pid)
    if not os.path.isabs(path):
        path = os.path.join(process.cwd(), path)
    main = os.path.join(path, "__main__.py")
    return main if os.path.isdir(path) else path


def reader(process: Any, database: Database) -> Files:
    """How to read the scripts of a process: by paths as it sees them, bounded."""

    def read(path: str) -> bytes:
        try:
            return read_program(locate(process, path))
        except TROUBLE as error:
            raise OSError(str(error)) from None

    def trusted(path: str) -> bool:
        return bool(ask(lambda: is_trusted(locate(process, path), database.owners), False))

    return Files(read, trusted)


def read_program(path: str) -> bytes:
    """The Python text of a script; of a zip application or a launcher, its main file's."""
    text = read_bounded(path)
    if b"PK\5\6" not in text[-65557:]:  # a zip's end, with the longest comment it may have
        return text
    import io
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(io.BytesIO(text)) as archive, archive.open("__main__.py") as main:
            return main.read(1 << 16)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, EOFError, zlib.error):
        return text


# ---- whose, and whose children ------------------------------------------------------------------


def users(database: Database) -> frozenset[str]:
    """The names of those whose processes count, but root's: the check's and the database's."""
    names = {me().username()}
    if database.owners:
        import pwd

        for owner in database.owners:
            try:
                names.add(pwd.getpwuid(owner).pw_name)
            except KeyError:
                names.add(str(owner))  # as psutil has it
    return frozenset(names)


def is_root() -> bool:
    """Whether this user may end every process."""
    return getattr(os, "geteuid", lambda: 1)() == 0


def stop_command(pid: int) -> str:
    """The command that stops the container or service of a process, or ''."""
    return str(system.stop_command(pid)) if hasattr(system, "stop_command") else ""


def blind_spots(known: set[int]) -> list[str]:
    """What cannot be seen from here, as keys of BLIND_SPOTS."""
    return list(system.blind_spots(known)) if hasattr(system, "blind_spots") else []


def is_of(pid: int, names: frozenset[str]) -> bool:
    """Whether a process is of one of these users; what hides its user is not."""
    return ask(lambda: psutil.Process(pid).username(), None) in names


def root() -> str:
    """The name of the system's own account: root, or on Windows SYSTEM in its language."""
    if hasattr(system, "system_account"):
        name: str = system.system_account()
        return name
    import pwd

    return pwd.getpwuid(0).pw_name


def chain(process: Any, known: dict[int, tuple[Any, Ancestor | None]]) -> list[Ancestor]:
    """The ancestors of a process, nearest first, as far as they can be had."""
    ancestors: list[Ancestor] = []
    passed = {process.pid}
    while True:
        if process.pid not in known:
            parent = ask(process.parent, None)
            known[process.pid] = (parent, ask(lambda at=parent: ancestor(at), None))
        process, above = known[process.pid]
        if above is None or above.pid in passed:
            return ancestors
        passed.add(above.pid)
        ancestors.append(above)


def ancestor(process: Any) -> Ancestor | None:
    """One ancestor, with what tells whether it started, or would start again, what is below."""
    if process is None:
        return None
    argv = ask(process.cmdline, [])
    name = ask(process.name, "") or basename("".join(argv[:1]))
    terminal = ask(getattr(process, "terminal", str), None)
    if not is_shell(argv[0] if argv else name):
        return Ancestor(process.pid, name, argv, terminal, False, False)
    runs, text = read_shell_arguments(argv)
    if runs == "script":
        text = ask(lambda: read_bounded(locate(process, text)).decode("latin-1"), "")
    text = re.sub(r"(?m)^\s*(#|rem\b|::).*", "", text)
    return Ancestor(process.pid, name, argv, terminal, not runs, bool(LOOP.search(text)))
