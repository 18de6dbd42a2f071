"""A mount that does not answer, and the check beside it; a program, in namespaces of its own.

    python hung_world.py FOLDER < steps.json > /dev/null

Reads {"steps": [[name, argv, …], …], "processes": [argv, …], "python": …} and writes what each step
ended with to FOLDER/results.json. Nothing here hands a pipe to what may hang.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from fuse import FUSE, Operations


class Gated(Operations):
    """A folder, as it is; while the gate is there, no call is answered."""

    def __init__(self, root: str, gate: str):
        self.root, self.gate = root, gate

    def path(self, path: str) -> str:
        while os.path.exists(self.gate):
            time.sleep(0.05)
        return self.root + path

    def getattr(self, path, fh=None):
        info = os.lstat(self.path(path))
        names = "st_atime st_ctime st_gid st_mode st_mtime st_nlink st_size st_uid".split()
        return {name: getattr(info, name) for name in names}

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(self.path(path))]

    def open(self, path, flags):
        return os.open(self.path(path), flags)

    def read(self, path, size, offset, fh):
        self.path(path)
        return os.pread(fh, size, offset)

    def release(self, path, fh):
        os.close(fh)


def mounted(root: Path) -> tuple[subprocess.Popen, str]:
    """The mount's server, and the file that ends every call to it."""
    (root / "m").mkdir()
    server = subprocess.Popen([sys.executable, __file__, "serve", str(root)])
    while not os.path.ismount(root / "m"):
        time.sleep(0.05)
    control = root / "control"
    control.mkdir()
    subprocess.run(["mount", "-t", "fusectl", "none", str(control)], check=True)
    return server, str(control / str(os.stat(root / "m").st_dev) / "abort")


def run(argv: list[str], folder: Path, env: dict[str, str]) -> dict:
    """What a program ended with, how long it took, and which of its kind are left."""
    begin = time.monotonic()
    with open(folder / "out", "w+") as out, open(folder / "err", "w+") as err:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env)
        try:
            status = child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            child.kill()
            status = None
        seconds = time.monotonic() - begin
        texts = [(file.seek(0), file.read())[1] for file in (out, err)]
    return {"status": status, "stdout": texts[0], "stderr": texts[1], "seconds": seconds}


def until_registered(servers: int) -> None:
    """Wait until so many of memtomem's servers say that they live."""
    presence = Path(f"/tmp/memtomem-{os.getuid()}/presence")
    end = time.monotonic() + 60
    while servers and time.monotonic() < end:
        if presence.is_dir() and len(os.listdir(presence)) >= servers:
            return
        time.sleep(0.1)


def children_left() -> int:
    """How many processes of the check are there."""
    count = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            argv = Path("/proc", pid, "cmdline").read_bytes()
        except OSError:
            continue
        count += any(each in argv for each in (b"mm_preflight", b"portable.py"))
    return count


def main(root: Path) -> None:
    wanted = json.loads(sys.stdin.read())
    server, abort = mounted(root)
    gate = root / "gate"
    processes, results = [], {}
    try:
        quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        for argv in wanted["processes"]:
            processes.append(subprocess.Popen(argv, **quiet))
        time.sleep(1)
        until_registered(wanted["servers"])
        gate.touch()
        for name, argv, env in wanted["steps"]:
            results[name] = run(argv, root, os.environ | env)
            results[name]["left"] = children_left()
    finally:
        gate.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a step may have freed it
            Path(abort).write_text("1")
        for process in [*processes, server]:
            process.kill()
            process.wait()
        (root / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        folder = sys.argv[2]
        FUSE(
            Gated(f"{folder}/src", f"{folder}/gate"), f"{folder}/m", foreground=True,
            attr_timeout=0, entry_timeout=0,
        )  # fmt: skip
    else:
        main(Path(sys.argv[1]))
