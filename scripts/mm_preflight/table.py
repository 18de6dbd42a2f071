"""The process table through psutil alone: what every platform runs, and the one user of psutil.

PORTABLE is what psutil answers, as its documentation promises it everywhere; macOS runs it as it
is. `system` holds the answers of this platform: Linux and Windows replace some (system.py).
"""

from __future__ import annotations

import os
import sys

from mm_preflight import registry
from mm_preflight.argv import is_python, is_shell, program_of
from mm_preflight.database import leads_to
from mm_preflight.files import Silent, looking_at
from mm_preflight.records import (
    TYPE_CHECKING,
    Above,
    Any,
    Database,
    Evidence,
    Glance,
    Held,
    Seen,
    Unknown,
)
from mm_preflight.runners import is_title
from mm_preflight.system import System, on_this_platform

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
# What another user hides, who does not count: no more is asked of it.
HIDDEN = Seen(
    pid=0,
    thread=0,
    started=None,
    user=None,
    name="",
    exe="",
    argv=None,
    python=False,
    evidence=Evidence(None),
)


def ask(call: Callable[[], Value], default: Value) -> Value:
    """What a call returns, or `default` where psutil or the system cannot tell."""
    try:
        return call()
    except UNTOLD:
        return default


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
        paths = _files_in_memory(process) if system.hides_open_files else _open_files(process)
    except psutil.NoSuchProcess:
        return Evidence(False)
    except TROUBLE:
        return Evidence(None)
    locks = [path for path in paths if registry.pid_of(path) == process.pid]
    locks.sort(key=registry.is_presence)
    holds = any(path in database.paths or leads_to(path, database) for path in paths)
    return Evidence(holds, "".join(locks[-1:]))


def _open_files(process: Any) -> list[str]:
    return [file.path for file in process.open_files()]


def _files_in_memory(process: Any) -> list[str]:
    return [each.path for each in process.memory_maps()] if is_python(process.name()) else []


def _held(pid: int) -> Held | None:
    stopped = ask(psutil.Process(pid).status, "") == psutil.STATUS_STOPPED
    return Held(kind="stopped", cure=f"kill -CONT {pid}") if stopped else None


def _exe_of(pid: int) -> str:
    return str(psutil.Process(pid).exe())


def _cwd_of(pid: int) -> str:
    return str(psutil.Process(pid).cwd())


PORTABLE = System(glance=_glance, exe_of=_exe_of, cwd_of=_cwd_of, held=_held)
system = on_this_platform(PORTABLE)


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
    looking_at(f"process {pid}")
    try:
        glance = system.glance(pid, database)
        if glance is None or glance.thread == 0:
            return glance and HIDDEN
        return _look_at(pid, glance)
    except psutil.NoSuchProcess:
        return None


def _look_at(pid: int, glance: Glance) -> Seen | None:
    process = psutil.Process(glance.thread)
    started = ask(process.create_time, None)  # before the rest, which may be of a later process
    name = ask(process.name, "") if not glance.exe else ""
    try:
        argv: list[str] | None = _argv_of(process)
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


def _argv_of(process: Any) -> list[str]:
    return list[str](process.cmdline())


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


def own_user() -> str:
    """The name of the user who runs the check; an error of TROUBLE where it cannot be had."""
    return str(psutil.Process().username())


def user_of(pid: int) -> str | None:
    """The name of a process's user; None is hidden, or it is gone."""
    return ask(lambda: str(psutil.Process(pid).username()), None)


def started_of(pid: int, otherwise: float) -> float:
    """When a process started, in seconds by the table's clock, or `otherwise` if it is gone."""
    return ask(lambda: float(psutil.Process(pid).create_time()), otherwise)


def parent_of(pid: int) -> Above | None:
    """The parent of a process; None if either is gone."""
    parent: Any = ask(lambda: _parent(psutil.Process(pid)), None)
    if parent is None:
        return None
    return Above(
        pid=parent.pid,
        name=ask(parent.name, ""),
        argv=ask(parent.cmdline, []),
        terminal=_terminal(parent),
        started=ask(parent.create_time, None),
    )


def _parent(process: Any) -> Any:
    """psutil compares both starts, and loses a parent where a clock is set, or is not to be had.

    That is needed on Windows alone, where a parent that has ended is not replaced by another.
    """
    if os.name == "nt":
        return process.parent()
    above = process.ppid()
    return psutil.Process(above) if above > 0 else None


def has_parent_to_lose(pid: int) -> bool:
    """PID 1, and a process that came into a container from outside, have none."""
    return ask(lambda: psutil.Process(pid).ppid(), 0) > 0


def terminal_of(pid: int) -> str | None:
    """The terminal of a process; "": it has none; None: that is not told here, or it is gone."""
    return ask(lambda: _terminal(psutil.Process(pid)), None)


def _terminal(process: Any) -> str | None:
    if not hasattr(process, "terminal"):  # Windows has none
        return None
    return ask(lambda: str(process.terminal() or ""), "")


def stop_command(pid: int, family: set[int]) -> str:
    """The command that stops a process's container or service, "?" or '' (cgroups.py)."""
    below: list[Any] = []
    children = ask(lambda: psutil.Process(pid).children(recursive=True), below)
    return system.stop_command(pid, frozenset(family | {each.pid for each in children}))


def blind_spots(known: set[int], denied: bool) -> list[str]:
    """What cannot be seen from here, as keys of BLIND_SPOTS."""
    found = system.blind_spots(known, denied)
    return ["other-users-hidden", *found] if denied and "other-users-hidden" not in found else found
