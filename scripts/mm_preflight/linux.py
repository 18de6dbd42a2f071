"""What only Linux has: a fast sieve over /proc, its namespaces, hidepid and threads.

For speed: psutil reads a second file of each process, to tell it from a later one of the same PID,
and its open_files() also stats every file and reads its position, which doubles the time of the
whole. And no link of /proc to a file is followed, which can hang, but to the database and to
memtomem's lock files.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress

from mm_preflight.argv import is_python, is_shell
from mm_preflight.records import Database, Evidence, Glance, Held, Unknown
from mm_preflight.registry import LOCK, is_presence, pid_of

INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
GONE = (errno.ENOENT, errno.ESRCH)
DELETED = " (deleted)"
HIDDEN = Evidence(None)


def require_own_table() -> None:
    """/proc may be empty, or another PID namespace's, where this PID is someone else."""
    try:
        with open("/proc/self/status", "rb") as file:
            fields = dict(line.split(b":", 1) for line in file if b":" in line)
    except OSError:
        raise Unknown("/proc is not mounted or cannot be read; mount it") from None
    if fields.get(b"NSpid", fields.get(b"Pid", b"")).split() != [str(os.getpid()).encode()]:
        raise Unknown("/proc shows another PID namespace; mount this one's own /proc")


def glance(pid: int, database: Database) -> Glance | None:
    """A first look at a process; None if it has nothing to do with memtomem, or is gone."""
    try:
        exe = os.readlink(f"/proc/{pid}/exe").removesuffix(DELETED)
    except OSError as error:
        if error.errno in GONE:  # a kernel thread, a zombie, or a process without its leader
            thread = _live_thread(pid)
            return glance(thread, database) if thread else None
        return _glance_at_hidden(pid, database)
    found = evidence(pid, database)
    concerns = found.holds is not False or found.registered != ""
    return Glance(pid, exe, found) if concerns or is_python(exe) or is_shell(exe) else None


def _glance_at_hidden(pid: int, database: Database) -> Glance | None:
    """The same for a process whose program is hidden: its argv is not."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            first = file.read(4096).partition(b"\0")[0].decode("utf-8", "replace")
        with open(f"/proc/{pid}/status", "rb") as file:  # the folder of one that hides is root's
            own = next(int(line.split()[1]) for line in file if line[:4] == b"Uid:")
    except OSError as error:
        return None if error.errno in GONE else Glance(pid, "", HIDDEN)
    titled = first.partition(" ")[0].endswith(":")  # a server wrote over its argv
    if own in database.owners or is_python(first) or is_shell(first) or titled:
        return Glance(pid, "", evidence(pid, database))
    return Glance(0, "", HIDDEN) if first else None  # without an argv, it is a kernel thread


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


def evidence(pid: int, database: Database) -> Evidence:
    """Whether a process has the database open, and which of memtomem's lock files is its own."""
    folder = f"/proc/{pid}/fd/"
    try:
        files = os.listdir(folder)
    except OSError as error:
        return Evidence(False) if error.errno in GONE else HIDDEN
    holds: bool | None = False
    registered = ""
    endings = (*database.names, LOCK)
    mounts: dict[str, str] = {}
    for file in files:
        try:
            path = os.readlink(folder + file)
            plain = path.removesuffix(DELETED)
            near = plain.lower().endswith(endings)
            if near and pid_of(plain) and _is_own_lock(pid, file, plain):
                if not registered or is_presence(plain):
                    registered = plain
            elif (near or (database.linked and path[0] == "/")) and holds is not True:
                holds = _is_database(pid, file, path, database, mounts) or holds
        except OSError as error:
            if error.errno not in (*GONE, errno.ENAMETOOLONG):  # not: closed meanwhile
                holds = holds or None
    return Evidence(holds, registered)


def _is_database(
    pid: int, file: str, path: str, database: Database, mounts: dict[str, str]
) -> bool:
    """Whether a descriptor is of the database: by its device and inode, or deleted, by its path."""
    if path.endswith(DELETED) and path.removesuffix(DELETED) in database.paths:
        return True
    device = _device(pid, file, mounts)
    if device and database.device and device != database.device:  # nothing there is touched
        return False
    info = os.stat(f"/proc/{pid}/fd/{file}")
    return (info.st_dev, info.st_ino) in database.ids


def _device(pid: int, file: str, mounts: dict[str, str]) -> str:
    """The device of the file system that a descriptor is of, as mountinfo has it; "" if untold.

    `mounts`: the devices of the process by the mount's ID, or {}: then it is filled here.
    """
    if not mounts:
        with suppress(OSError), open(f"/proc/{pid}/mountinfo", "rb") as listing:
            lines = (line.decode("utf-8", "replace").split(" ", 3) for line in listing)
            mounts |= {mount: device for mount, _, device, _ in lines}
    return mounts.get(_fdinfo(pid, file).get("mnt_id", ""), "")


def _fdinfo(pid: int, file: str) -> dict[str, str]:
    """What /proc/PID/fdinfo/N says, by field."""
    with open(f"/proc/{pid}/fdinfo/{file}", encoding="utf-8", errors="replace") as lines:
        pairs = (line.partition(":") for line in lines)
        return {name: value.strip() for name, _, value in pairs}


def _is_own_lock(pid: int, file: str, path: str) -> bool:
    """Whether one of memtomem's lock files is of the process that has it open.

    It bears the PID that the process has in its own namespace, or a lock that another process took:
    it was inherited by a fork. One that merely reads it, or tries the lock itself, is another's.
    """
    with suppress(OSError):  # else it cannot be told that it is none
        info = os.stat(f"/proc/{pid}/fd/{file}")
        if not stat.S_ISREG(info.st_mode) or info.st_uid not in (0, os.stat(f"/proc/{pid}").st_uid):
            return False
    if pid_of(path) == _own_pid(pid):
        return True
    lock = re.search(r"FLOCK\s+ADVISORY\s+WRITE\s+(-?\d+)", _fdinfo(pid, file).get("lock", ""))
    return lock is not None and int(lock[1]) != pid


def _own_pid(pid: int) -> int:
    """The PID of a process as it sees it itself, in its own PID namespace."""
    with suppress(OSError), open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"NSpid:"):
                return int(line.split()[-1])
    return pid


def exe_of(pid: int) -> str:
    """The program of a process; psutil also asks the file system, which may not answer."""
    return os.readlink(f"/proc/{pid}/exe").removesuffix(DELETED)


def cwd_of(pid: int) -> str:
    """The folder of a process as the kernel has it: its text may name another one here."""
    return f"/proc/{pid}/cwd"


def device_of(path: str) -> str:
    """The device of the file system that a file lies on, as mountinfo has it; "" if untold.

    By a descriptor: the text of its path tells another, where a mount lies over a mount.
    """
    try:
        file = os.open(path, os.O_PATH)
        try:
            return _device(os.getpid(), str(file), {})
        finally:
            os.close(file)
    except OSError:
        return ""


def root_of(pid: int) -> str:
    """Where a process's files begin, seen from here: "", or a folder if that is elsewhere."""
    for view in ("ns/mnt", "root"):
        try:
            if os.readlink(f"/proc/{pid}/{view}") != os.readlink(f"/proc/self/{view}"):
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


def held(pid: int) -> Held | None:
    """What keeps a process from hearing a kill, or None."""
    from mm_preflight import linux_state  # not needed where nothing is alive

    return linux_state.held(pid)


def in_front(pid: int) -> bool:
    """Whether a process is among those that its terminal's keys reach: the foreground's group."""
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        # Behind the name, which may hold anything: state, parent, group, session, terminal, and
        # the group that the terminal's keys reach, -1 without a terminal.
        fields = file.read(4096).rpartition(b") ")[2].split()
        return fields[2:3] == fields[5:6] or fields[5:6] == [b"-1"]
    return True
