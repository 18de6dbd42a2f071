"""What only Linux tells of one process: its control groups, and what keeps a kill from working."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress

from mm_preflight.argv import one_word
from mm_preflight.files import read_bounded
from mm_preflight.records import Held
from mm_preflight.supervisors import FOLDER

CGROUPS = "/sys/fs/cgroup"
# What may be silent for ever: file systems of other machines, and of programs.
REMOTE = re.compile(r"fuse|nfs|cifs|smb|9p|ceph|afs|glusterfs|lustre|davfs|ncp")
WAITS_SECONDS = 0.3  # what works lets nothing wait that long for one answer
# Where the kernel waits for a program that serves a FUSE mount. Until the first signal it seems to
# sleep as any other; that one changes nothing but the letter of its state, to D.
FUSE_WAIT = "request_wait_answer"


def held(pid: int) -> Held | None:
    """What keeps a process from hearing a kill, or None. It opens nothing but /proc and /sys."""
    # Where version 1 freezes a process, its state is that of one that waits.
    if (cure := frozen(pid)) is not None:
        return Held(kind="frozen", cure=cure)
    state, tracer = status(pid)
    if state == "T":
        return Held(kind="stopped", cure=f"kill -CONT {pid}")
    if state == "t":
        return Held(kind="traced", who=f"{one_word(read(f'/proc/{tracer}/comm'))} (pid {tracer})")
    if stays_waiting(pid):
        mount = waits_for(pid)
        # Of what is not plain, nothing is told to be pasted; and "/" is not to be taken away.
        # -l alone takes the mount away, and lets wait who waits for it.
        cure = f"{sudo()}umount -l -f {mount}" if FOLDER.fullmatch(mount) else ""
        return Held(kind="waiting", mount=mount if cure else "", cure=cure)
    return None


def read(path: str) -> str:
    try:
        return read_bounded(path).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def sudo() -> str:
    return "" if os.geteuid() == 0 else "sudo "


def status(pid: int) -> tuple[str, int]:
    """The letter of a process's state, and who traces it, or 0."""
    text = read(f"/proc/{pid}/status")
    state = re.search(r"^State:\s*(\w)", text, re.M)
    tracer = re.search(r"^TracerPid:\s*(\d+)", text, re.M)
    return state[1] if state else "", int(tracer[1]) if tracer else 0


# ---- what it waits for --------------------------------------------------------------------------


def stays_waiting(pid: int) -> bool:
    """Whether a process sleeps where no signal wakes it, all the while and for one thing."""
    before = waiting(pid)
    end = time.monotonic() + WAITS_SECONDS
    while before and time.monotonic() < end:
        time.sleep(0.05)
        if waiting(pid) != before:
            return False
    return bool(before)


def waiting(pid: int) -> str:
    """How often a process went to sleep so far, if it sleeps where no signal wakes it; or ""."""
    text = read(f"/proc/{pid}/status")
    count = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", text, re.M)
    asleep = re.search(r"^State:\s*D", text, re.M) or read(f"/proc/{pid}/wchan") == FUSE_WAIT
    return count[1] if count and asleep else ""


def waits_for(pid: int) -> str:
    """The mount that a process most likely waits for; "" if that cannot be told.

    By the paths that it has in its arguments, open, or as its folder: text alone, because to touch
    one is to wait as well.
    """
    mounts = remote_mounts(read("/proc/self/mountinfo"))
    for path in paths_of(pid) if mounts else ():
        within = [mount for mount in mounts if f"{path}/".startswith(f"{mount.rstrip('/')}/")]
        if within:
            return max(within, key=len)
    return ""


def remote_mounts(mountinfo: str) -> list[str]:
    """The mount points of file systems that may be silent, by the text of /proc/PID/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if REMOTE.match(after) and len(fields) > 4:
            found.append(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
    return found


def paths_of(pid: int) -> list[str]:
    """The absolute paths in a process's arguments, then its open files, folder and program."""
    words = read(f"/proc/{pid}/cmdline").split("\0")
    links = [f"/proc/{pid}/cwd", f"/proc/{pid}/exe"]
    with suppress(OSError):
        links += [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    for link in links:
        try:
            words.append(os.readlink(link))
        except OSError:
            continue
    return [word for word in words if word.startswith("/")]


# ---- control groups -----------------------------------------------------------------------------


def frozen(pid: int) -> str | None:
    """The command that thaws a process; "" if it cannot be told, None if it is not frozen."""
    for line in read(f"/proc/{pid}/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            for tree in (CGROUPS, f"{CGROUPS}/unified"):
                if re.search(r"^frozen 1$", read(f"{tree}{path}/cgroup.events"), re.M):
                    return thaw(tree, path, "cgroup.freeze", "1", "cgroup.freeze", "0")
        elif "freezer" in controllers.split(","):
            tree = f"{CGROUPS}/freezer"
            if read(f"{tree}{path}/freezer.state").strip() in ("FROZEN", "FREEZING"):
                return thaw(tree, path, "freezer.self_freezing", "1", "freezer.state", "THAWED")
    return None


def thaw(tree: str, path: str, asked: str, yes: str, told: str, word: str) -> str:
    """The command that thaws the nearest group at or above `path` that was itself frozen, or "".

    `asked`: the file that says `yes` there; `told`: the one that takes `word`.
    """
    while path.strip("/") and read(f"{tree}{path}/{asked}").strip() != yes:
        path = path.rpartition("/")[0]
    unit = re.fullmatch(r".*/([\w.@:][\w.@:-]*\.(service|scope|slice))", path, re.A)
    if unit:
        return f"{'systemctl --user' if '/user@' in path else f'{sudo()}systemctl'} thaw {unit[1]}"
    file = f"{tree}{path}/{told}"
    if not path.strip("/") or not FOLDER.fullmatch(file):
        return ""
    return f"echo {word} > {file}" if not sudo() else f"echo {word} | sudo tee {file}"
