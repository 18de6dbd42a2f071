"""The process table through psutil alone: what every platform runs, and the one user of psutil.

`system` holds the answers of this platform. The defaults are psutil's, as its documentation
promises them everywhere; macOS runs them as they are. Linux and Windows replace some: what stands
in `system` beside `System()` is all that differs there.
"""

from __future__ import annotations

import os
import sys

from mm_preflight import registry
from mm_preflight.argv import is_python, is_shell, program_of
from mm_preflight.files import Silent, looking_at, touch
from mm_preflight.records import (
    TYPE_CHECKING,
    Any,
    Database,
    Evidence,
    Glance,
    Held,
    NamedTuple,
    Seen,
    Unknown,
)
from mm_preflight.runners import is_title

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Value = TypeVar("Value")

broken: Exception | None = None
try:
    import psutil
except Exception as error:  # require() says so in words: the verdict is "unknown"
    psutil, broken = None, error  # type: ignore[assignment,unused-ignore]

TROUBLE: tuple[type[Exception], ...]
TROUBLE = (OSError, SystemError, IndexError, ValueError, RuntimeError)  # psutil raises all of them
TROUBLE += (psutil.Error,) if psutil else ()
UNTOLD: tuple[type[Exception], ...] = (*TROUBLE, Silent)
HIDDEN = Seen(0, 0, None, None, "", "", None, False, Evidence(None))  # nothing more is asked


def ask(call: Callable[[], Value], default: Value) -> Value:
    """What a call returns, or `default` where psutil or the system cannot tell."""
    try:
        return call()
    except UNTOLD:
        return default


def process_of(pid: int | None = None) -> Any:
    """The process of a PID; without one, the check's own."""
    return psutil.Process(pid)


def pids() -> set[int]:
    return set(psutil.pids())


# ---- what psutil answers everywhere -------------------------------------------------------------


def _glance(pid: int, database: Database) -> Glance | None:
    process = psutil.Process(pid)
    exe, found = ask(process.exe, ""), _evidence(process, database)
    concerns = found.holds is not False or found.registered != ""
    runs = not exe or is_python(exe) or is_shell(exe) or program_of(exe) != ""
    return Glance(pid, exe, found) if concerns or runs else None


def _evidence(process: Any, database: Database) -> Evidence:
    try:
        paths = system.open_files(process)
    except psutil.NoSuchProcess:
        return Evidence(False)
    except TROUBLE:
        return Evidence(None)
    locks = [path for path in paths if registry.pid_of(path) == process.pid]
    locks.sort(key=registry.is_presence)
    holds = any(path in database.paths or _leads_to(path, database) for path in paths)
    return Evidence(holds, "".join(locks[-1:]))


def _leads_to(path: str, database: Database) -> bool:
    if not database.linked and not path.lower().endswith(database.names):
        return False
    return ask(lambda: _identity(path), None) in database.ids  # none on a silent mount


def _identity(path: str) -> tuple[int, int]:
    touch(path)
    info = os.stat(path)
    return info.st_dev, info.st_ino


def _open_files(process: Any) -> list[str]:
    return [file.path for file in process.open_files()]


def _held(process: Any) -> Held | None:
    stopped = ask(process.status, "") == psutil.STATUS_STOPPED
    return Held(kind="stopped", cure=f"kill -CONT {process.pid}") if stopped else None


def _cwd_of(pid: int) -> str:
    return str(psutil.Process(pid).cwd())


def _kill_command(pid: int, workers: list[int]) -> str:
    return " ".join(map(str, ["kill", pid, *workers]))


def user_name(user: int) -> str:
    """The name of a user ID, or the ID where nobody knows it: as psutil has it."""
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _root_account() -> str:
    return user_name(0)


class System(NamedTuple):
    """What is asked of a platform, and psutil's answers, which hold where it has none itself."""

    # Raises Unknown where the table is not this process's own.
    require_own_table: Callable[[], None] = lambda: None
    # A first look at a process; None if it has nothing to do with memtomem.
    glance: Callable[[int, Database], Glance | None] = _glance
    open_files: Callable[[Any], list[str]] = _open_files
    cwd_of: Callable[[int], str] = _cwd_of
    # Where a process's files begin, seen from here: "", or a folder if that is elsewhere.
    root_of: Callable[[int], str] = lambda pid: ""
    # The device of the file system that a file lies on, or "".
    device_of: Callable[[str], str] = lambda path: ""
    # What keeps a process from hearing a kill, or None.
    held: Callable[[Any], Held | None] = _held
    # The name of the system's own account. OSError or KeyError if it has none.
    system_account: Callable[[], str] = _root_account
    # The folder of the user's local settings, below which memtomem's runtime folder lies, or "".
    local_settings: Callable[[], str] = lambda: ""
    # The command that ends a process and its workers, which may live on without it.
    kill_command: Callable[[int, list[int]], str] = _kill_command
    # The command that stops a process's container or service, "?" (cgroups.py), or "".
    stop_command: Callable[[int, frozenset[int]], str] = lambda pid, family: ""
    # Keys of BLIND_SPOTS, by every PID in the table, and whether some process hides its arguments.
    blind_spots: Callable[[set[int], bool], list[str]] = lambda known, denied: []
    has_launchers: bool = False  # programs that start Python and wait
    hides_open_files: bool = False  # so the names of memtomem's lock files are asked
    has_plain_console: bool = False  # it may know no control sequences
    elevated: str = "sudo"  # how to see and end what is not one's own


PORTABLE = System()
if sys.platform == "linux":
    from mm_preflight import cgroups, linux

    system = System(
        require_own_table=linux.require_own_table,
        glance=linux.glance,
        cwd_of=linux.cwd_of,
        root_of=linux.root_of,
        device_of=linux.device_of,
        held=linux.held,
        stop_command=cgroups.stop_command,
        blind_spots=linux.blind_spots,
    )
elif sys.platform == "win32":
    from mm_preflight import windows

    system = System(
        open_files=windows.open_files,
        held=windows.held,
        system_account=windows.system_account,
        local_settings=windows.local_settings,
        kill_command=windows.kill_command,
        blind_spots=windows.blind_spots,
        has_launchers=True,  # mm.exe, and the python.exe of a virtual environment
        hides_open_files=True,
        has_plain_console=True,
        elevated="an administrator's terminal",
    )
else:
    system = PORTABLE


def require() -> None:
    """Raise Unknown where the table cannot be had or trusted."""
    if psutil is None:
        missing = isinstance(broken, ModuleNotFoundError)
        why = "psutil is missing" if missing else f"psutil cannot be imported: {broken}"
        python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
        raise Unknown(f"{why}; install it: {python} -m pip install psutil")
    system.require_own_table()


# ---- one process --------------------------------------------------------------------------------


def look_at(pid: int, database: Database) -> Seen | None:
    """One process; None if it is gone, a zombie, or has plainly nothing to do with memtomem."""
    try:
        glance = system.glance(pid, database)
        if glance is None or glance.thread == 0:
            return glance and HIDDEN
        return _look_at(pid, glance)
    except psutil.NoSuchProcess:
        return None


def _look_at(pid: int, glance: Glance) -> Seen | None:
    looking_at(f"process {pid}")
    process = psutil.Process(glance.thread)
    started = ask(process.create_time, None)  # before the rest, which may be of a later process
    name = ask(process.name, "") if not glance.exe else ""
    try:
        argv = process.cmdline()
    except psutil.NoSuchProcess:
        raise
    except TROUBLE:
        argv = None
    first = argv[0] if argv else ""
    named = is_python(name) or is_python(first) or is_title(first)
    python = is_python(glance.exe) if glance.exe else named
    starts = is_shell(first) and any(map(program_of, (argv or [])[1:2]))
    if system.has_launchers and argv and program_of(first):  # as it was typed: `mm`
        starts, argv = True, [glance.exe or first, *argv[1:]]
    found = glance.evidence
    concerns = python or starts or found.holds is not False or found.registered
    if not concerns and argv:
        return None
    return Seen(
        pid=pid,
        identity=_identity_of(process if glance.thread == pid else psutil.Process(pid), started),
        thread=glance.thread,
        started=started,
        user=ask(process.username, None),
        name=name or ask(process.name, ""),
        exe=glance.exe,
        argv=argv,
        python=python,
        evidence=found,
    )


def hides(seen: Seen) -> bool:
    """Whether the evidence could not be had."""
    return not seen.evidence.registered and (not seen.argv or seen.evidence.holds is None)


def is_alive(seen: Seen) -> bool:
    """Whether it is still the process that was looked at, and no zombie; as far as can be told.

    A process whose first thread has ended while others run is called a zombie, and is none.
    """
    try:
        process = psutil.Process(seen.pid)
        ended = ask(process.status, "") in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        if ended and ask(process.num_threads, 1) < 2:
            return False
        now = _identity_of(process, ask(process.create_time, None))
        return now == seen.identity or None in (now, seen.identity)
    except psutil.NoSuchProcess:
        return False
    except TROUBLE:
        return True


def _identity_of(process: Any, started: float | None) -> int | None:
    """What tells a process from a later one of its PID; None if its start was not told.

    psutil hashes the PID and the start, and counts that from the boot: a clock that is set during
    the look changes `started` alone.
    """
    return None if started is None else hash(process)


def stop_command(pid: int, family: set[int]) -> str:
    """The command that stops a process's container or service, "?" or '' (cgroups.py)."""
    below: list[Any] = []
    children = ask(lambda: psutil.Process(pid).children(recursive=True), below)
    return system.stop_command(pid, frozenset(family | {each.pid for each in children}))


def blind_spots(known: set[int], denied: bool) -> list[str]:
    """What cannot be seen from here, as keys of BLIND_SPOTS."""
    found = system.blind_spots(known, denied)
    return ["other-users-hidden", *found] if denied and "other-users-hidden" not in found else found
