"""One look at the process table, and its time limit: whatever hangs, this ends."""

from __future__ import annotations

import re
import sys

from mm_preflight import apart, files
from mm_preflight.records import REPORT, TYPE_CHECKING, Any, Result, Row, Unknown
from mm_preflight.report import silence, visible

if TYPE_CHECKING:
    from mm_preflight.apart import Late, Tell

SCAN_SECONDS = 8.0  # for one look; with start-up and printing, the whole stays under 10 s
NO_ANSWER = "the look ended without an answer; run this again"
SILENT_SECONDS = 2.0  # a file system that takes this long for one path does not answer


def check(option: str | None = None, silent: dict[str, int] | None = None) -> Result:
    """Look once, for at most SCAN_SECONDS, whatever the process table holds. Never raises.

    `silent`: for many looks in a row, what did not answer: the mount (or path), and the PID of the
    child that was left behind there. It is kept up to date here, and makes none hang twice.
    """
    silent = {} if silent is None else silent
    for mount, pid in list(silent.items()):
        if not apart.is_there(pid) or not _is_mounted(mount):
            del silent[mount]
    avoided = frozenset(silent)
    _import_beside_threads()
    try:
        told, late, pid = apart.call(lambda tell: _look(option, avoided, tell), SCAN_SECONDS)
    except (OSError, RuntimeError) as error:  # a limit on processes, threads or memory
        return Result("unknown", visible(f"{error}; end something, and run this again"))
    named = late is not None and late.args[1] != ""
    if late and pid and named:
        silent[_mount(late.args[1])] = pid
    if told is not None:
        return _from_plain(told)
    # What hangs, and where is not known, would make each look leave another child.
    return Result("unknown", _why(late) if late else NO_ANSWER, again=named or not pid)


def _import_beside_threads() -> None:
    """Where other threads run, one may be importing what the look needs, just as this forks: the
    child would wait for that for ever."""
    threading = sys.modules.get("threading")
    if threading and threading.active_count() > 1:
        import mm_preflight.scan  # noqa: F401


def _look(option: str | None, silent: frozenset[str], tell: Tell) -> None:
    files.avoid(silent)
    try:
        from mm_preflight.scan import scan  # with psutil, and so most of the run

        result = scan(option, lambda early: tell(_as_plain(early)))
    except files.Silent as error:
        mount, who = error.args
        result = Result("unknown", silence(who, mount))
    except Unknown as error:
        result = Result("unknown", visible(str(error)), again=False)
    except BaseException as error:  # whatever it was, it is not a verdict
        what = f"internal error: {type(error).__name__}: {error}".replace(";", ",")
        result = Result("unknown", visible(f"{what}; report it: {REPORT}"))
    tell(_as_plain(result))


def _as_plain(result: Result) -> Any:
    """A result as values of marshal's types."""
    rows = ([*map(tuple, each)] for each in (result.processes, result.other_users))
    return (*rows, tuple(result._replace(processes=[], other_users=[])))


def _from_plain(values: Any) -> Result:
    processes, others, rest = values
    counted = [Row(*row) for row in processes]
    return Result(*rest)._replace(processes=counted, other_users=[Row(*row) for row in others])


def _why(late: Late) -> str:
    """Why a look did not end in time, by what it was at."""
    if cause := silence_of(late):
        return cause
    at = f": it was at {visible(late.args[0])}" if late.args[0] else ""
    return f"the process table could not be read in {SCAN_SECONDS:g} s{at}; run this again"


def silence_of(late: Late) -> str:
    """Which file system did not answer, and the way out; "" if it was not that."""
    who, path, seconds = late.args
    return silence(who, _mount(path)) if path and seconds >= SILENT_SECONDS else ""


def _mount(path: str) -> str:
    """The mount that a resolved path lies on; the path itself where that is not told."""
    if found := re.match(r"(/proc/\d+)/root(?=/)", path):  # of another mount namespace
        return found[0] + files.mount_of(path[found.end() :], f"{found[1]}/mountinfo")
    return files.mount_of(path) or path


def _is_mounted(mount: str) -> bool:
    return mount.startswith("/proc/") or files.mount_of(mount) in (mount, "")
