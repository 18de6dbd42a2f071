"""What the rooms hand each other: plain values, and nothing of a platform.

Each record is a typing.NamedTuple to a type checker and a collections.namedtuple at run time:
dataclasses and typing take a tenth of the whole run to import.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False  # typing takes 4 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any as Any
    from typing import NamedTuple as NamedTuple
else:
    Any = object

    class _Fields(type):
        """Makes a namedtuple of a class body of annotations and defaults, as typing does."""

        def __new__(kind, name, bases, body):
            if not bases:
                return super().__new__(kind, name, bases, body)
            names = body["__annotations__"]
            defaults = [body[each] for each in names if each in body]
            made = namedtuple(name, names, defaults=defaults, module=body["__module__"])
            made.__doc__ = body.get("__doc__")
            return made

    class NamedTuple(metaclass=_Fields):
        pass


EXIT_CODES = {
    0: "clear: no live mm process; go on",
    1: "live: refused, at least one mm process is alive",
    2: "unknown: refused, the answer could not be had",
    126: "COMMAND cannot be executed, and nothing was run",
    127: "COMMAND is not there, and nothing was run",
    130: "interrupted with Ctrl-C",
}
REPORT = "https://github.com/memtomem/mm-preflight/issues/new/choose"
VERDICTS = ("clear", "live", "unknown")  # by exit status
BLIND_SPOTS = {
    "other-users-hidden": "Processes of other users are hidden from you; run this as root, or as "
    "Administrator, to see them.",
    "container": "This is a container: processes of its host and of other containers are not seen.",
    "wsl": "This is WSL: processes on the Windows side are not seen.",
    "open-files": "On Windows, only Python is asked whether it has the database open: a SQLite "
    "shell is not seen. `mm shell`, and a program that uses memtomem as a library, are seen only "
    "if their command line shows it.",
}


class Unknown(Exception):
    """The answer cannot be had; the message says why and names the remedy."""


class NotStarted(Exception):
    """COMMAND cannot be started; its two arguments: why, and a shell's exit status for that."""


class Command(NamedTuple):
    """What an argv runs: the JSON's role, and the name that people see, without arguments."""

    role: str
    name: str
    verified: bool = True  # its text was read and says so
    cli: bool = False  # through memtomem's own command line


class Files(NamedTuple):
    """How a judge reads the script of one process, by paths as that process sees them."""

    read: Callable[[str], bytes]  # OSError if it cannot be read
    trusted: Callable[[str], bool]  # whether no other user could have put there what is read now


class Database(NamedTuple):
    """memtomem's database, its -wal and its -shm."""

    path: str
    paths: frozenset[str]  # resolved
    names: tuple[str, ...]  # how a path to one can end, lower case
    ids: frozenset[tuple[int, int]]  # device and inode
    device: str  # of the file system that it lies on, as `major:minor`; "" where that is not told
    linked: bool  # it has hard links, so any name may lead to it
    owners: frozenset[int]  # user IDs, the file's and the check's; empty on Windows


class Evidence(NamedTuple):
    """What a process has open: whether the database, and which of memtomem's lock files."""

    holds: bool | None = False  # None: what it has open is hidden
    registered: str = ""  # the path of the lock file by which memtomem says that it lives


class Glance(NamedTuple):
    """A first look at a process: enough to tell whether it is worth a second."""

    thread: int  # by which it is asked: its PID, unless its leader ended while others run; or 0:
    # it is another user's, no Python, and hides the rest
    exe: str  # the program's path; "" is hidden
    evidence: Evidence


class Seen(NamedTuple):
    """One process as it was looked at."""

    pid: int
    thread: int  # by which it is asked, see Glance
    started: float | None  # seconds since the epoch
    user: str | None  # None is hidden, as all None are here
    name: str
    exe: str  # the program's path; "" is hidden
    argv: list[str] | None
    python: bool  # its program is Python
    evidence: Evidence = Evidence()
    command: Command | None = None  # what it runs, None if that is not memtomem
    ours: bool = True  # it is of a user who counts
    identity: int | None = None  # what no later process of its PID has


class Above(NamedTuple):
    """A parent, as the process table tells it."""

    pid: int
    name: str
    argv: list[str]
    terminal: str | None  # "": it has none; None: that is not told here
    started: float | None  # seconds since the epoch


class Ancestor(NamedTuple):
    """What stands above a process, with what tells whether it started it."""

    pid: int
    name: str
    argv: list[str]
    terminal: str | None = None  # "": it has none; None: that is not told here
    prompt: bool = False  # it is a shell that a person types into
    loops: str = ""  # of a shell, what its command or script repeats: that may start it again
    folder: str = ""  # its working directory; of a supervisor alone
    jobs: bool = False  # it is the first process of a session, and what it starts are its jobs


class Held(NamedTuple):
    """What keeps a process from hearing a kill."""

    # "stopped" (Ctrl-Z, SIGSTOP), "traced" (a debugger holds it), "frozen" (its control group is),
    # "waiting" (for a file system, where no signal wakes it).
    kind: str
    who: str = ""  # the debugger, as "NAME (pid N)"
    cure: str = ""  # the command that helps, or ""
    mount: str = ""  # where it waits


class Row(NamedTuple):
    """One live instance: the fields of the JSON, then those for --verbose and for people.

    All text is visible().
    """

    pid: int
    pids: list[int]
    role: str
    command: str
    evidence: list[str]
    verified: bool
    user: str | None
    started: str | None
    started_by: dict[str, Any] | None
    terminal: str | None
    stop: str
    argv: list[str]
    registered: str  # the lock file by which memtomem says so, or ""
    began: float | None  # `started` in seconds since the epoch
    age: float | None  # seconds
    within: bool  # the client that started it started this check too
    during_command: bool | None = None  # after a COMMAND: whether it started while that ran


class Result(NamedTuple):
    """One look at the process table: the fields of the JSON, then `again` and `after`."""

    verdict: str
    reason: str | None = None
    database: str | None = None
    examined: int = 0
    uninspected: int = 0
    other_users: list[Row] = []  # noqa: RUF012 - a default of a record, never changed
    blind_spots: list[str] = []  # noqa: RUF012
    processes: list[Row] = []  # noqa: RUF012
    again: bool = True  # another look may tell more
    after: bool = False  # a COMMAND ran before this look
