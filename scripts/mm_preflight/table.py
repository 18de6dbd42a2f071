"""The process table through psutil alone: what every platform runs, and the one user of psutil.

`system` is the room of what only this platform has; where it answers a question too, its answer
comes sooner or says more. Without it (macOS) this room is complete by itself.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial

from mm_preflight.argv import is_python, is_shell, program_of
from mm_preflight.files import is_trusted, read_program
from mm_preflight.records import Any, Database, Files, Seen, Unknown

broken: Exception | None = None
try:
    import psutil
except Exception as error:  # require() says so in words: the verdict is "unknown"
    psutil, broken = None, error  # type: ignore[assignment,unused-ignore]

system: Any
if sys.platform == "linux":
    from mm_preflight import linux as system
elif sys.platform == "win32":
    from mm_preflight import windows as system
else:
    system = None

# What this platform's own room says of it; the defaults hold on Linux and macOS.
HAS_LAUNCHERS: bool = getattr(system, "HAS_LAUNCHERS", False)  # programs that start Python and wait
HAS_PLAIN_CONSOLE: bool = getattr(system, "HAS_PLAIN_CONSOLE", False)  # it may know no sequences
ELEVATED: str = getattr(system, "ELEVATED", "sudo")  # how to see and end what is not one's own
TROUBLE: tuple[type[BaseException], ...]
TROUBLE = (OSError, SystemError, IndexError, ValueError, RuntimeError)  # psutil raises all of them
TROUBLE += (psutil.Error,) if psutil else ()
HIDDEN = Seen(0, None, None, False, None)  # another user's, of which nothing more is asked


def require() -> None:
    """Raise Unknown where the table cannot be had or trusted."""
    if psutil is None:
        missing = isinstance(broken, ModuleNotFoundError)
        why = "psutil is missing" if missing else f"psutil cannot be imported: {broken}"
        python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
        raise Unknown(f"{why}; install it: {python} -m pip install psutil")
    here("require_own_table", lambda: None)


def here(name: str, portable: Callable[..., Any], *args: Any) -> Any:
    """What this platform's own room answers, or the portable answer where it has none."""
    return getattr(system, name, portable)(*args)


def ask(call: Callable[[], Any], default: Any) -> Any:
    """What a call returns, or `default` where psutil or the system cannot tell."""
    try:
        return call()
    except TROUBLE:
        return default


def process_of(pid: int | None = None) -> Any:
    """The process of a PID; without one, the check's own."""
    return psutil.Process(pid)


def pids() -> set[int]:
    return set(psutil.pids())


# ---- one process --------------------------------------------------------------------------------


def look_at(pid: int, database: Database) -> Seen | None:
    """One process; None if it is gone, a zombie, or has plainly nothing to do with memtomem."""
    try:
        thread = here("sift", lambda pid, _: pid, pid, database)
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
        starts = bool(argv) and is_shell(argv[0])
        if HAS_LAUNCHERS and argv and program_of(argv[0]):  # as it was typed: `mm`
            starts, argv = True, [ask(process.exe, argv[0]), *argv[1:]]
        seen = Seen(pid, process, argv, python, holds_database(process, database))
        return seen if python or starts or seen.holds or hides(seen) else None
    except psutil.NoSuchProcess:
        return None


def _is_python(process: Any, argv: list[str] | None) -> bool:
    """Whether the program is an interpreter: by its file, whatever argv[0] says."""
    if exe := ask(process.exe, ""):
        return is_python(exe)
    return any(map(is_python, [ask(process.name, ""), *(argv or [])[:1]]))


def hides(seen: Seen) -> bool:
    """Whether one of the two kinds of evidence could not be had."""
    return not seen.argv or seen.holds is None


def holds_database(process: Any, database: Database) -> bool | None:
    """Whether a process has the database, its -wal or its -shm open; None if that is hidden."""

    def portable(pid: int, database: Database) -> bool | None:
        try:
            files = here("open_files", lambda p: [file.path for file in p.open_files()], process)
        except psutil.NoSuchProcess:
            return False
        except TROUBLE:
            return None
        return any(path in database.paths or ask(partial(_leads, path), False) for path in files)

    def _leads(path: str) -> bool:
        if not database.linked and not path.lower().endswith(database.names):
            return False
        info = os.stat(path)
        return (info.st_dev, info.st_ino) in database.ids

    answer: bool | None = here("holds_database", portable, process.pid, database)
    return answer


def is_alive(process: Any) -> bool:
    """Whether it is still the process that was looked at, and no zombie."""
    dead = ask(process.status, "") in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return not dead and bool(ask(process.is_running, True))


def locate(process: Any, path: str) -> str:
    """Where a script of a process lies, seen from here; OSError if that cannot be told."""
    if not os.path.isabs(path):
        path = os.path.join(process.cwd(), path)
    path = here("root_of", lambda _: "", process.pid) + path
    main = os.path.join(path, "__main__.py")
    return main if os.path.isdir(path) else path


def reader(process: Any, database: Database, until: float) -> Files:
    """How to read the scripts of a process, by paths as it sees them; not after `until`."""

    def read(path: str) -> bytes:
        try:
            if time.monotonic() > until:
                raise OSError("too late")
            return read_program(locate(process, path))
        except TROUBLE as error:
            raise OSError(str(error)) from None

    def trusted(path: str) -> bool:
        if here("root_of", lambda _: "", process.pid):
            return False
        return bool(ask(lambda: is_trusted(locate(process, path), database.owners), False))

    return Files(read, trusted)


# ---- whose --------------------------------------------------------------------------------------


def users(database: Database) -> frozenset[str]:
    """The names of those whose processes count, but root's: the check's and the database's."""
    return frozenset({process_of().username(), *map(_name, database.owners)})


def root() -> str:
    """The name of the system's own account: root, or on Windows SYSTEM in its language."""
    return str(ask(lambda: here("system_account", lambda: _name(0)), ""))


def _name(user: int) -> str:
    """The name of a user ID, or the ID where nobody knows it: as psutil has it."""
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def is_of(process: Any, names: frozenset[str]) -> bool:
    """Whether a process is of one of these users; what hides its user is not."""
    return ask(process.username, None) in names


def is_of_one(pid: int, names: frozenset[str]) -> bool:
    """The same by a PID, which may be gone by now."""
    return bool(ask(lambda: is_of(psutil.Process(pid), names), False))


def could_be_own_python(seen: Seen, users: frozenset[str]) -> bool:
    """Whether a process that hides something may be a Python of one of these users.

    One that hides even its user is the system's, or another user's.
    """
    names = [ask(seen.process.name, ""), *(seen.argv or [])[:1]]
    # Of one without a name, nothing is known.
    return (seen.python or not any(names)) and is_of(seen.process, users)


def is_root() -> bool:
    """Whether this user may end every process."""
    return getattr(os, "geteuid", lambda: 1)() == 0


def kill_command(pid: int, workers: list[int]) -> str:
    """The command that ends a process and its workers, which may live on without it."""
    words = " ".join(map(str, [pid, *workers]))
    return str(here("kill_command", lambda _: f"kill {words}", pid))


def stop_command(process: Any, family: set[int]) -> str:
    """The command that stops a process's container or service, "?" or '' (linux.py)."""
    children = {each.pid for each in ask(lambda: process.children(recursive=True), [])}
    return str(here("stop_command", lambda *_: "", process.pid, frozenset(family | children)))


def blind_spots(known: set[int], denied: bool) -> list[str]:
    """What cannot be seen from here, as keys of BLIND_SPOTS.

    `known`: every PID in the table; `denied`: some process hides its arguments.
    """
    found: list[str] = here("blind_spots", lambda _known, _denied: [], known, denied)
    return ["other-users-hidden", *found] if denied and "other-users-hidden" not in found else found
