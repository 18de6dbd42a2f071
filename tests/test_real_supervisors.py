"""Real supervisors with the real memtomem, and states in which no kill ends a process.

What is only killed comes back, or does not even end. So the advice is followed to the letter, and
nothing may be alive then: see test_real_clients.py, whose worlds these are.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from clients import Terminal, World, new_world, open_terminal, real, server_of
from debian import library_path, programs_of, unpacked
from real import CACHE, NotToBeHad, ask, only_one
from support import linux, until

__all__ = ["real"]  # the fixture

pytestmark = [linux, pytest.mark.slow]

SERVER = "memtomem-server --transport http --port 18300"  # it reads no stdin, and stays
AFTER = 3.0  # seconds; s6 and busybox take 1 to start another


@pytest.fixture
def world(real, request):
    """A world with the programs of the packages that a test names in its marker."""
    packages = [name for each in request.node.iter_markers("packages") for name in each.args]
    folder = unpacked(*packages) if packages else None
    with new_world(real, *(programs_of(folder) if folder else [])) as world:
        if folder:
            world.env["LD_LIBRARY_PATH"] = library_path(folder)
        yield world


def in_background(world: World, line: str) -> None:
    world.shell(f"setsid nohup {line} > /dev/null 2>&1 < /dev/null &")


def gone(world: World, seconds: float = AFTER) -> bool:
    """Whether it ends, and nothing of it comes back within this time."""
    until(lambda: not world.rows(), "its end", 60)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if world.rows():
            return False
        time.sleep(0.2)
    return True


def comes_back(world: World, pid: int) -> dict:
    """The row of what is alive after a kill of this PID: what the advice must prevent."""
    world.shell(f"kill {pid}; sleep 1; kill -9 {pid}")
    return until(lambda: next((r for r in world.rows() if r["pid"] != pid), None), "another", 30)


def paste(world: World, command: str) -> None:
    done = world.shell(command)
    assert done.returncode == 0, (command, done.stdout, done.stderr)


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


# ---- what starts it again ------------------------------------------------------------------------

RUN = {"exec": f"#!/bin/sh\nexec {SERVER}\n", "no exec": f"#!/bin/sh\n{SERVER}\n:\n"}
KEEPERS = {
    "s6": ("s6-supervise {folder}", "s6-supervise", "s6-svc -d"),
    "runit": ("runsvdir {above}", "runsv", "sv down"),
    "daemontools": ("svscan {above}", "supervise", "svc -d"),
}


@pytest.mark.packages("s6", "runit", "daemontools")
@pytest.mark.parametrize("run", RUN)
@pytest.mark.parametrize("name", KEEPERS)
def test_keeper_of_a_folder(world, name, run):
    """By its own command, with the folder that it keeps; a shell in between leaves the server."""
    line, keeper, command = KEEPERS[name]
    folder = world.home / "services" / "brain"
    write_program(folder / "run", RUN[run])
    in_background(world, line.format(folder=folder, above=folder.parent))
    time.sleep(1)
    row = comes_back(world, server_of(world)["pid"])
    then = f", then kill {row['pid']}" if run == "no exec" else ""
    assert row["stop"].startswith(
        f"{command} {folder}{then}   (if you only kill it, {keeper} (pid "
    )
    paste(world, row["stop"].partition("   ")[0].replace(", then ", "; "))
    assert gone(world)


# The first process of a container, whose /etc is its own.
CONTAINER = """
mkdir "$HOME/etc" "$HOME/changed" "$HOME/made" && mount --bind "$HOME/etc" "$HOME/etc" &&
mount -t overlay x -o "lowerdir=/etc,upperdir=$HOME/changed,workdir=$HOME/made" /etc &&
echo "::respawn:/usr/bin/env PATH=$PATH HOME=$HOME $0" > /etc/inittab && exec "$HOME/init"
"""


@pytest.fixture
def container(world, root):
    """A world whose first process is busybox's init, with one line in its table."""
    busybox = shutil.which("busybox", path=world.env["PATH"])
    (world.home / "init").symlink_to(busybox)
    outside, apart = list(world.prefix), ["unshare", "--pid", "--mount", "--fork", "--mount-proc"]
    started = subprocess.Popen(
        world.argv(*apart, "--kill-child", "sh", "-c", CONTAINER, SERVER),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def init() -> list[psutil.Process]:
        below = psutil.Process(started.pid).children(recursive=True)
        return [each for each in below if each.name() == "init"]

    [first] = until(init, "busybox init")
    world.prefix = ["nsenter", "--target", str(first.pid), "--mount", "--pid", "--net"]
    yield world
    world.prefix = outside
    started.kill()
    started.wait(10)


@pytest.mark.packages("busybox-static")
def test_init_of_a_container(container):
    row = comes_back(container, server_of(container)["pid"])
    kill, says, edit, reload, again = re.fullmatch(
        r"(kill \d+)   \((if it comes back, init \(pid 1\) starts it): (take its line out of "
        r"/etc/inittab), then (kill -HUP 1), then (kill it again)\)",
        row["stop"],
    ).groups()
    assert says and edit and again
    paste(container, f"sed -i /memtomem/d /etc/inittab; {reload}; {kill}")
    assert gone(container)


TABLE = "* * * * * PATH={path} HOME={home} flock -n {home}/lock {server}\n"


EDITOR = 'sleep 2; grep -v memtomem "$1" > "$1.new"; cat "$1.new" > "$1"; rm "$1.new"\n'


@pytest.fixture
def cron_folders(world, root):
    """Cron's table and its PID file are the world's own."""
    for folder in ("/var/spool/cron", "/run"):
        done = world.shell(f"mkdir -p {folder} && mount -t tmpfs none {folder}")
        assert done.returncode == 0, done.stderr
    assert world.shell("mkdir -p -m 1730 /var/spool/cron/crontabs").returncode == 0
    return world


@pytest.mark.parametrize(
    "line, name",
    [
        pytest.param("cron", "cron", marks=pytest.mark.packages("cron"), id="cron"),
        pytest.param(
            "busybox crond -c /var/spool/cron/crontabs",
            "crond",
            marks=pytest.mark.packages("busybox-static"),
            id="busybox",
        ),
    ],
)
def test_cron(cron_folders, line, name):
    """It is named, and its table is where it is stopped: within the minute it starts the next."""
    world = cron_folders
    table = TABLE.format(path=world.env["PATH"], home=world.home, server=SERVER)
    (world.home / "table").write_text(table)
    file = "/var/spool/cron/crontabs/root"
    paste(world, f"cp {world.home}/table {file} && chmod 600 {file}")
    in_background(world, line)
    first = server_of(world, 75)
    row = comes_back_within_a_minute(world, first["pid"])
    assert row["started_by"]["name"] == name
    pid = row["started_by"]["pid"]
    assert row["stop"] == (
        "take its line out of the crontab (crontab -e, or a file in /etc/cron.d), then "
        f"kill {row['pid']}   ({name} (pid {pid}) starts it again)"
    )
    world.env["EDITOR"] = world.env["VISUAL"] = str(world.home / "editor")
    # In its place, and not at once, as a person does: crontab goes by the file's time, in seconds.
    write_program(world.home / "editor", f"#!/bin/sh\n{EDITOR}")
    edit = "crontab -e" if name == "cron" else "busybox crontab -c /var/spool/cron/crontabs -e"
    paste(world, edit)
    paste(world, f"kill {row['pid']}")
    assert gone(world, 70)


def comes_back_within_a_minute(world: World, pid: int) -> dict:
    paste(world, f"kill {pid}")
    return until(lambda: next((r for r in world.rows() if r["pid"] != pid), None), "another", 75)


# ---- who started it, and starts no other ---------------------------------------------------------


@pytest.fixture(scope="session")
def python_programs() -> Path:
    """xonsh and nox, installed by pip into the cache."""
    folder = CACHE / f"xonsh-nox-py{sys.version_info[0]}.{sys.version_info[1]}"
    try:
        with only_one(folder.with_suffix(".lock")):
            if not (folder / "complete").is_file():
                shutil.rmtree(folder, ignore_errors=True)
                ask([sys.executable, "-m", "venv", folder], 300)
                pip = [folder / "bin/python", "-m", "pip", "install", "--quiet"]
                ask([*pip, "xonsh==0.19.9", "nox==2025.11.12"], 300)
                (folder / "complete").touch()
    except NotToBeHad as why:
        if os.environ.get("CI"):
            pytest.fail(f"xonsh and nox cannot be had: {why}")
        pytest.skip(f"NOT run with xonsh and nox, which cannot be had here: {why}")
    return folder / "bin"


def by_hand(row: dict) -> str:
    return f"kill {row['pid']}, or press Ctrl-C in {row['terminal'].removeprefix('/dev/')}"


@pytest.mark.parametrize("typed", [False, True], ids=["of-the-terminal", "typed"])
def test_shell_in_python(world, python_programs, typed):
    """A person's own shell is never what to end, whatever it is written in."""
    xonsh = [python_programs / "xonsh", "--no-rc"]
    terminal = open_terminal(world) if typed else Terminal(world, *xonsh)
    if typed:
        terminal.types(shlex.join(map(str, xonsh)))
    until(lambda: "@" in terminal.screen(), "its prompt")
    terminal.types(SERVER)
    row = server_of(world)
    assert row["started_by"]["name"] == "xonsh"
    assert row["stop"] == by_hand(row)
    paste(world, f"kill {row['pid']}")
    assert gone(world)
    assert terminal.is_open()


BUILDERS = {
    "make": ("make serve", "Makefile", f"serve:\n\t{SERVER}; true\n"),
    "nox": (
        "nox -s serve",
        "noxfile.py",
        "import nox\n@nox.session(python=False)\ndef serve(session):\n"
        f"    session.run(*{SERVER.split()!r}, external=True)\n",
    ),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_builder(world, python_programs, name):
    """They wait for what they run, and start no other: nothing else is said of them."""
    line, file, text = BUILDERS[name]
    world.env["PATH"] += f":{python_programs}"
    (world.folder / file).write_text(text)
    terminal = open_terminal(world)
    terminal.types(line)
    row = server_of(world)
    pid = row["started_by"]["pid"]
    assert row["stop"] == f"kill {row['pid']}   (if it comes back, end {name} (pid {pid}) first)"
    paste(world, f"kill {row['pid']}")
    assert gone(world)


# ---- states in which no kill ends it -------------------------------------------------------------


@pytest.fixture
def server(world):
    """The row of a server that nobody would start again."""
    in_background(world, SERVER)
    return ready(world)


def ready(world: World) -> dict:
    """The row of a server, once it handles SIGTERM itself."""
    row = server_of(world)
    caught = f"grep SigCgt /proc/{row['pid']}/status | cut -f 2"
    until(lambda: int(world.shell(caught).stdout or "0", 16) & 1 << 14, "its handler")
    return row


def after_state(row_of, words: str) -> dict:
    return until(lambda: (row := row_of())["stop"].startswith(words) and row, words)


def test_stopped(world, server):
    paste(world, f"kill -STOP {server['pid']}")
    row = after_state(lambda: server_of(world), "wake it first")
    wake, end = re.match(
        r"wake it first, because it is suspended: (kill -CONT \d+); then (kill \d+)", row["stop"]
    ).groups()
    paste(world, end)
    time.sleep(1)
    assert world.rows(), "a kill alone does nothing"
    paste(world, wake)
    assert gone(world)


TRACER = """
import ctypes, sys, time
libc = ctypes.CDLL(None, use_errno=True)
for request in (0x4206, 0x4207):  # PTRACE_SEIZE, PTRACE_INTERRUPT
    if libc.ptrace(request, int(sys.argv[1]), None, None):
        sys.exit(ctypes.get_errno())
time.sleep(99)
"""


def test_traced(world, server):
    (world.home / "tracer.py").write_text(TRACER)
    in_background(world, f"{sys.executable} {world.home}/tracer.py {server['pid']}")
    row = after_state(lambda: server_of(world), "quit ")
    debugger, end = re.match(
        r"quit python[\d.]* \(pid (\d+)\) first, the debugger that holds it; then (kill \d+)",
        row["stop"],
    ).groups()
    paste(world, end)
    time.sleep(1)
    assert world.rows(), "a kill alone does nothing"
    paste(world, f"kill {debugger}")
    assert gone(world)


FREEZERS = {
    "version-1": ("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED"),
    "version-2": ("/sys/fs/cgroup/unified", "cgroup.freeze", "1", "0"),
    "version-2-alone": ("/sys/fs/cgroup", "cgroup.freeze", "1", "0"),
}


@pytest.fixture(params=FREEZERS)
def freezer(request, root):
    """A control group of this test's own, its switch, and the words for on and off."""
    above, switch, on, off = FREEZERS[request.param]
    folder = Path(above, f"mm-preflight-{os.getpid()}")
    try:
        folder.mkdir()
    except OSError as why:
        pytest.skip(f"this machine has no control groups at {above}: {why}")
    if not (folder / switch).exists():
        folder.rmdir()
        pytest.skip(f"this machine has no {switch} at {above}")
    yield folder, folder / switch, on, off
    (folder / switch).write_text(off)
    until(lambda: not (folder / "cgroup.procs").read_text(), "the end of what was frozen")
    folder.rmdir()


def test_frozen(world, freezer):
    """As `docker pause` and `systemctl freeze` leave it."""
    folder, switch, on, off = freezer
    in_background(world, SERVER)
    ready(world)
    inside = psutil.Process(world.first.pid).children(recursive=True)
    [outside] = [each.pid for each in inside if "memtomem-server" in " ".join(each.cmdline())]
    (folder / "cgroup.procs").write_text(str(outside))
    switch.write_text(on)
    row = after_state(lambda: server_of(world), "thaw it first")
    assert row["stop"].startswith(
        f"thaw it first, because it is frozen: echo {off} > {switch}; then kill {row['pid']}"
    )
    paste(world, f"kill {row['pid']}")
    time.sleep(1)
    assert world.rows(), "a kill alone does nothing"
    switch.write_text(off)  # as the advice says; within the world, the folder is not to be written
    assert gone(world)


@pytest.mark.parametrize("killed", [False, True], ids=["before-a-kill", "after-a-kill"])
def test_waiting_for_a_mount(world, root, killed):
    """A real `mm index` of a folder whose mount does not answer: only the mount's end ends it."""
    if not Path("/dev/fuse").exists():
        pytest.skip("this machine has no /dev/fuse")
    mount = world.home / "remote"
    mount.mkdir()
    mounts = world.argv(sys.executable, Path(__file__).with_name("silent_mount.py"), mount)
    with subprocess.Popen(mounts, stdout=subprocess.PIPE, text=True) as silent:
        assert silent.stdout.readline().startswith("ready")
        in_background(world, f"mm index {mount}/notes")
        row = until(lambda: next(iter(world.rows()), None), "mm index")
        if killed:
            time.sleep(2)
            world.shell(f"kill {row['pid']}; kill -9 {row['pid']}")
        row = after_state(lambda: world.rows()[0], "no kill ends it")
        assert row["stop"].startswith(
            f"no kill ends it while it waits for {mount}: umount -l -f {mount}; then let it finish"
        )
        paste(world, f"umount -l -f {mount}")
        assert gone(world)
