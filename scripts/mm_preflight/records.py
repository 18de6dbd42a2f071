"""What the rooms hand each other: plain records, and nothing of a platform.

collections.namedtuple, because dataclasses and typing take a tenth of the whole run to import.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False  # typing takes 4 ms to import
if TYPE_CHECKING:
    from typing import Any as Any
else:
    Any = object

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
    "open-files": "Programs other than Python are not asked whether they have the database open: "
    "a SQLite shell is not seen.",
}


class Unknown(Exception):
    """The answer cannot be had; the message says why and names the remedy."""


class NotStarted(Exception):
    """COMMAND cannot be started; its two arguments: why, and a shell's exit status for that."""


# What an argv runs. `role` (the JSON's) and `name` (what people see, without arguments) are str.
# `verified`: its text was read and says so. `cli`: through memtomem's own command line.
Command = namedtuple("Command", "role name verified cli", defaults=(True, False))

# How a judge reads the script of one process. `read`: path -> bytes, OSError if it cannot be read;
# `trusted`: path -> bool, whether no other user could have put there what is read now.
Files = namedtuple("Files", "read trusted")

# memtomem's database. Of the file, its -wal and its -shm: `paths` (resolved), `names` (how a path
# to one can end, lower case), `ids` (device and inode). `linked`: it has hard links, so any name
# may lead to it. `owners`: user IDs, the file's and the check's; empty on Windows.
Database = namedtuple("Database", "path paths names ids linked owners")

# One process as it was looked at. `pid`: its PID; `process`: psutil's, of a thread that still runs.
# `argv`, `holds` (has the database open): None is hidden. `python`: its program is Python.
# `command`: what it runs, None if that is not memtomem. `ours`: it is of a user who counts.
Seen = namedtuple("Seen", "pid process argv python holds command ours", defaults=(None, True))

# An ancestor. `prompt`: it is a shell that a person types into; `loops`: of a shell, the loops
# in its command or script, as text: they may start again what ends; `folder`: its working
# directory, of a supervisor alone; `leads`: it is the first process of its session.
Ancestor = namedtuple(
    "Ancestor",
    "pid name argv terminal prompt loops folder leads",
    defaults=(None, False, "", "", False),
)

# What keeps a process from hearing a kill. `kind`: "stopped" (Ctrl-Z, SIGSTOP), "traced" (a
# debugger holds it), "frozen" (its control group is) or "waiting" (uninterruptible); `who`: the
# debugger, as "NAME (pid N)"; `cure`: the command that helps, or ""; `mount`: what it waits for.
Held = namedtuple("Held", "kind who cure mount", defaults=("", "", ""))

# One live instance: the fields of the JSON, then three for --verbose and people: argv, its age in
# seconds, and whether the client that started it started this check too. All text is visible().
# `during_command`: in the look after a COMMAND, whether it started while that ran; else None.
Row = namedtuple(
    "Row",
    "pid pids role command evidence verified user started started_by terminal stop argv age within "
    "during_command",
    defaults=(None,),
)

# One look at the process table: the fields of the JSON (`processes`, `other_users`: lists of Row),
# and `again`: whether another look may tell more; `after`: whether a COMMAND ran before this look.
Result = namedtuple(
    "Result",
    "verdict reason database examined uninspected other_users blind_spots processes again after",
    defaults=(None, None, 0, 0, (), (), (), True, False),
)
