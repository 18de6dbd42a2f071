"""What only Linux has: a fast sieve over /proc, its namespaces, hidepid and threads.

For speed: psutil reads a second file of each process, to tell it from a later one of the same PID,
and its open_files() also stats every file and reads its position, which doubles the time of the
whole and can hang on a dead network file system.
"""

from __future__ import annotations

import errno
import os

from mm_preflight.argv import basename, is_python, is_shell
from mm_preflight.linux_state import held as held
from mm_preflight.linux_state import stop_command as stop_command
from mm_preflight.records import Database, Unknown

INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
GONE = (errno.ENOENT, errno.ESRCH)
DELETED = " (deleted)"
HIDDEN = -1  # of sift()


def require_own_table() -> None:
    """/proc may be empty, or another PID namespace's, where this PID is someone else."""
    try:
        with open("/proc/self/status", "rb") as file:
            fields = dict(line.split(b":", 1) for line in file if b":" in line)
    except OSError:
        raise Unknown("/proc is not mounted or cannot be read; mount it") from None
    if fields.get(b"NSpid", fields.get(b"Pid", b"")).split() != [str(os.getpid()).encode()]:
        raise Unknown("/proc shows another PID namespace; mount this one's own /proc")


def sift(pid: int, database: Database) -> int:
    """The thread by which a process is to be looked at; 0: it has nothing to do with memtomem;
    HIDDEN: it is no Python, and hides from this user what it has open.

    The thread is the process's own ID, unless its leader ended while others run.
    """
    try:
        program = basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(DELETED)
    except OSError as error:
        if error.errno in GONE:  # a kernel thread, a zombie, or a process without its leader
            return _live_thread(pid)
        return _sift_hidden(pid, database)
    if is_python(program) or is_shell(program) or holds_database(pid, database) is not False:
        return pid
    return 0


def _sift_hidden(pid: int, database: Database) -> int:
    """The same for a process whose program is hidden: its argv is not."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            first = file.read(4096).partition(b"\0")[0].decode("utf-8", "replace")
        with open(f"/proc/{pid}/status", "rb") as file:  # the folder of one that hides is root's
            own = next(int(line.split()[1]) for line in file if line[:4] == b"Uid:")
    except OSError as error:
        return 0 if error.errno in GONE else pid
    titled = first.partition(" ")[0].endswith(":")  # a server wrote over its argv
    if own in database.owners or is_python(first) or is_shell(first) or titled:
        return pid
    return HIDDEN if first else 0  # without an argv, it is a kernel thread


def _live_thread(pid: int) -> int:
    """A thread that still runs where the leader of its process has ended, or 0."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0
    for thread in threads[: 8 if len(threads) > 1 else 0]:
        try:
            os.readlink(f"/proc/{thread}/exe")
            return int(thread)
        except OSError:
            continue
    return 0


def holds_database(pid: int, database: Database) -> bool | None:
    """Whether a process has the database, its -wal or its -shm open; None if that is hidden."""
    folder = f"/proc/{pid}/fd/"
    try:
        files = os.listdir(folder)
    except OSError as error:
        return False if error.errno in GONE else None
    holds: bool | None = False
    for file in files:
        try:
            path = os.readlink(folder + file)
            near = path.removesuffix(DELETED).lower().endswith(database.names)
            if near or (database.linked and path[0] == "/"):
                if path.endswith(DELETED) and path.removesuffix(DELETED) in database.paths:
                    return True
                info = os.stat(folder + file)
                if (info.st_dev, info.st_ino) in database.ids:
                    return True
        except OSError as error:
            if error.errno not in (*GONE, errno.ENAMETOOLONG):  # not: closed meanwhile
                holds = None
    return holds


def root_of(pid: int) -> str:
    """Where a process's files begin, seen from here: "", or a folder if that is elsewhere."""
    for view in ("ns/mnt", "root"):
        try:
            if not os.path.samefile(f"/proc/{pid}/{view}", f"/proc/self/{view}"):
                return f"/proc/{pid}/root"
        except OSError:
            continue  # hidden: another user's, who is most likely in the same
    return ""


def blind_spots(known: set[int], denied: bool) -> list[str]:
    """What cannot be seen from here, as keys of BLIND_SPOTS."""
    spots = [] if 1 in known else ["other-users-hidden"]
    if "microsoft" in os.uname().release.lower():
        return [*spots, "wsl"]
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # a kernel without PID namespaces
        return spots
    return spots if namespace == INITIAL_PID_NAMESPACE else [*spots, "container"]
