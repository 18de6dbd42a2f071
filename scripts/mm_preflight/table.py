"""The process table through psutil alone: what every platform runs, and the one user of psutil.

`system` is the room of what only this platform has; where it answers a question too, its answer
comes sooner or says more. Without it (macOS) this room is complete by itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

from mm_preflight.argv import is_python, is_shell, program_of
from mm_preflight.records import Database, Seen, Unknown

TYPE_CHECKING = False  # typing takes 4 ms to import
if TYPE_CHECKING:
    from typing import Any

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

WINDOWS = os.name == "nt"
TROUBLE: tuple[type[BaseException], ...]
TROUBLE = (OSError, SystemError, IndexError, ValueError, RuntimeError)  # psutil raises all of them
TROUBLE += (psutil.Error,) if psutil else ()
HIDDEN = Seen(None, None, False, None)  # another user's, of which nothing more is asked


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
        starts = bool(argv) and is_shell(argv[0])
        if WINDOWS and argv and program_of(argv[0]):  # a launcher, as it was typed: `mm`
            starts, argv = True, [ask(process.exe, argv[0]), *argv[1:]]
        seen = Seen(process, argv, python, holds_database(process, database))
        return seen if python or starts or seen.holds or hides(seen) else None
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


def holds_database(process: Any, database: Database) -> bool | None:
    """Whether a process has the database, its -wal or its -shm open; None if that is hidden."""
    if hasattr(system, "holds_database"):
        answer: bool | None = system.holds_database(process.pid, database)
        return answer
    try:
        files = [file.path for file in process.open_files()]
    except psutil.NoSuchProcess:
        return False
    except TROUBLE:
        return None
    for path in files:
        if path in database.paths:
            return True
        if database.linked or path.lower().endswith(database.names):
            info = ask(partial(os.stat, path), None)
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


def started(pid: int) -> float | None:
    """When a process started, in seconds since the epoch by the table's own clock; None if gone."""
    answer: float | None = ask(lambda: psutil.Process(pid).create_time(), None)
    return answer


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


# ---- whose ------------------------------------------------------------------


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
        return str(ask(system.system_account, ""))
    import pwd

    return pwd.getpwuid(0).pw_name
