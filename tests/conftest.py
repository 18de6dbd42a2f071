"""What the tests share: a stand-in memtomem, processes that are always reaped, and the check.

The machine that runs the tests may run a real memtomem too. So no test says that the machine is
clear: it asks about the PIDs it started, narrows the table to them (`only`), or has a PID namespace
of its own (`own_world`).
"""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import uuid
import venv
from pathlib import Path
from typing import NamedTuple

import family
import psutil
import pytest
from hypothesis import settings
from support import (
    PORTABLE,
    PROGRAMS,
    SCRIPT,
    SECONDS,
    STAND_IN,
    WINDOWS,
    Environment,
    base_python,
    environment,
    is_wine,
    until,
    write_script,
    write_wheel,
)

sys.path.insert(0, str(SCRIPT.parent))  # the package need not be installed
import mm_preflight
from mm_preflight import table

# A runner in the background has these ignored, and what the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
for each in {"SIGHUP", "SIGQUIT"} & set(signal.Signals.__members__):
    signal.signal(signal.Signals[each], signal.SIG_DFL)


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """What a test runs in this process may have it ignored at its end; the next test hears it."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


settings.register_profile("here", deadline=None, print_blob=True)
settings.load_profile("here")


@pytest.fixture(scope="session")
def public():
    """A folder that every user may read, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="preflight-tests-") as folder:
        os.chmod(folder, 0o755)
        yield Path(os.path.realpath(folder))


@pytest.fixture(scope="session")
def stand_in(public) -> Environment:
    """The stand-in memtomem in an environment of its own, installed the way pip does it."""
    folder = public / "environment"
    venv.create(folder, symlinks=not WINDOWS, with_pip=False)
    scheme = {"base": str(folder), "platbase": str(folder)}
    library = Path(sysconfig.get_path("purelib", "venv", scheme))
    # mm embedding-reset may import the preflight, and that needs psutil.
    psutil_home = Path(psutil.__file__).parent.parent
    (library / "preflight.pth").write_text(f"{SCRIPT.parent}\n{psutil_home}\n")
    programs = Path(sysconfig.get_path("scripts", "venv", scheme))
    made = Environment(programs, str(programs / "python") + ".exe" * WINDOWS, library)
    install_on_windows(made, public) if WINDOWS else install_stand_in(made)
    return made


def install_stand_in(into: Environment) -> None:
    shutil.copytree(STAND_IN, into.library, dirs_exist_ok=True)
    entry_points = configparser.ConfigParser()
    entry_points.read(STAND_IN / "entry_points.txt")
    for name, target in entry_points["console_scripts"].items():
        write_script(into.bin / name, into.python, target)


def install_on_windows(into: Environment, folder: Path) -> None:
    """By pip itself: its launchers are programs of their own there."""
    wheel = folder / "memtomem-0-py3-none-any.whl"
    write_wheel(wheel, STAND_IN)
    pip = [sys.executable, "-m", "pip", "--python", into.python, "install", "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-deps", wheel], check=True)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home folder of the test's own, with an empty memtomem database in WAL mode."""
    (tmp_path / ".memtomem").mkdir()
    (tmp_path / ".memtomem" / "memtomem.db").touch()
    for name in list(os.environ):
        if name.lower().startswith(("memtomem_", "stand_in")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


@pytest.fixture
def database(home) -> Path:
    return home / ".memtomem" / "memtomem.db"


@pytest.fixture
def start(home, stand_in):
    """Start a process; the PID of the program that says `ready`, or of what was started.

    `ready=False`: it says nothing, and is waited for until the table shows its arguments.
    """
    started: list[subprocess.Popen] = []
    said: list[queue.Queue] = []
    announced: list[int] = []

    def start(*argv, ready=True, executable=None, env=None, cwd=None, **options) -> int:
        env = environment(stand_in, home) | (env or {})
        argv, program = as_arguments(argv, env["PATH"])
        process = subprocess.Popen(
            argv,
            executable=executable or program,
            env=env,
            cwd=cwd or home,
            stdin=options.pop("stdin", subprocess.PIPE),
            stdout=subprocess.PIPE,
            stderr=options.pop("stderr", None),
            start_new_session=True,
            **options,
        )
        started.append(process)
        said.append(listen(process))
        if ready:
            announced.append(announcement(process, said[-1]))
            return announced[-1]
        seen = psutil.Process(process.pid)
        until(lambda: seen.cmdline() and seen.cmdline() != psutil.Process().cmdline(), argv)
        return process.pid

    def next_announcement() -> int:
        announced.append(announcement(started[-1], said[-1]))
        return announced[-1]

    start.next_announcement = next_announcement
    start.last = lambda: started[-1]
    yield start
    reap(started, announced)


def as_arguments(argv, path: str) -> tuple[list, str | None]:
    """Arguments as this system takes them, and on Windows the program, looked for in that PATH."""
    if not WINDOWS:
        return [os.fspath(arg) for arg in argv], None
    words = [os.fspath(arg) for arg in argv]
    words = [arg.decode("utf-8", "replace") if isinstance(arg, bytes) else arg for arg in words]
    return words, shutil.which(words[0], path=path)


def reap(started: list[subprocess.Popen], announced: list[int]) -> None:
    """End what was started, and all that it started, and wait for it."""
    own = {process.pid for process in started}
    family = {pid: psutil.Process(pid) for pid in announced if psutil.pid_exists(pid)}
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            below = psutil.Process(process.pid).children(recursive=True)
            family |= {each.pid: each for each in below}
    family = {pid: each for pid, each in family.items() if pid not in own}
    for process in started:
        with contextlib.suppress(OSError):
            process.kill() if WINDOWS else os.killpg(process.pid, signal.SIGKILL)
    for each in family.values():
        with contextlib.suppress(psutil.Error):
            each.kill()
    if WINDOWS:  # there, what still runs keeps its folder from being removed
        psutil.wait_procs(family.values(), SECONDS)
    for process in started:
        process.wait(SECONDS)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


def listen(process: subprocess.Popen) -> queue.Queue:
    """The lines that a process, or one it started, says; b"" when all of them have ended."""
    said: queue.Queue = queue.Queue()

    def read() -> None:
        with contextlib.suppress(OSError, ValueError):  # closed by the end of the test
            for line in process.stdout:
                said.put(line)
        said.put(b"")

    threading.Thread(target=read, daemon=True).start()  # no select() for pipes on Windows
    return said


def announcement(process: subprocess.Popen, said: queue.Queue) -> int:
    """The PID in the next `ready PID` that a process, or one it started, says."""
    while True:
        try:
            line = said.get(timeout=SECONDS)
        except queue.Empty:
            pytest.fail(f"{process.args} is not ready after {SECONDS} s")
        if not line:
            pytest.fail(f"{process.args} ended before it was ready")
        if line.startswith(b"ready"):
            return int(line.split()[1])


@pytest.fixture
def kill():
    """End a process, and wait until it is gone or a zombie."""

    def kill(pid: int, sign: int = signal.SIGTERM) -> None:
        process = psutil.Process(pid)
        os.kill(pid, sign)

        def ended() -> bool:
            try:
                return process.status() == psutil.STATUS_ZOMBIE
            except psutil.NoSuchProcess:
                return True

        until(ended, f"the end of {pid}")

    return kill


class Report(NamedTuple):
    """What one run of the check printed, and its exit status."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict:
        return json.loads(self.stdout)

    def of(self, *pids: int) -> list[dict]:
        """The rows that name one of these PIDs; the machine may have others."""
        rows = [row for row in self.json["processes"] if set(row["pids"]) & set(pids)]
        assert self.status == (1 if self.json["processes"] else self.status)
        return rows


@pytest.fixture
def platform() -> str:
    """Whose process table the check reads (PROGRAMS); a file that runs over all overrides it."""
    return "own"


SLOW = "looks that took too long"  # a test's property: so it comes from xdist's workers, too


def pytest_terminal_summary(terminalreporter):
    """Say how many looks `preflight` made in vain: under Wine, it makes them again."""
    reports = [each for reports in terminalreporter.stats.values() for each in reports]
    calls = [each for each in reports if getattr(each, "when", "") == "call"]
    count = [name for each in calls for name, _ in each.user_properties].count(SLOW)
    if count:
        terminalreporter.write_line(f"{count} looks at the process table took more than 8 s")


@pytest.fixture
def preflight(request, home, stand_in, platform):
    """Run the check as a program of its own."""

    def preflight(*options, python=sys.executable, script=None, env=None, **settings) -> Report:
        script = script or PROGRAMS[platform]
        # Wine takes up to 0.1 s for the memory of one Python; where many work, 8 s are too few.
        for _ in range(4 if is_wine() else 1):
            done = subprocess.run(
                [python, script, *options],
                env=environment(stand_in, home) | (env or {}),
                capture_output=True,
                **{"timeout": 60, **settings},
            )
            if b"could not be read in 8 s" not in done.stdout + done.stderr:
                break
            request.node.user_properties.append((SLOW, 1))
        streams = (each.decode("utf-8", "surrogateescape") for each in (done.stdout, done.stderr))
        return Report(done.returncode, *(each.replace(os.linesep, "\n") for each in streams))

    return preflight


@pytest.fixture
def only(monkeypatch):
    """Narrow the process table to these PIDs and the check itself: then `clear` can be asserted."""

    def only(*pids: int) -> None:
        monkeypatch.setattr(table, "pids", lambda: {1, os.getpid(), *pids})

    return only


@pytest.fixture
def in_process(home, capfd, platform):
    """Call main() in this process."""

    def in_process(*options) -> Report:
        capfd.readouterr()
        status = mm_preflight.main(list(map(os.fspath, options)))
        return Report(status, *capfd.readouterr())

    return in_process


@contextlib.contextmanager
def marked():
    """A mark for the environment of a test's processes; at the end, those that live are ended."""
    mark = uuid.uuid4().hex
    try:
        yield mark
    finally:
        left = []
        for pid in family.pids(mark):
            with contextlib.suppress(psutil.Error):
                left.append(psutil.Process(pid))
                left[-1].kill()
        psutil.wait_procs(left, SECONDS)


@pytest.fixture(scope="session")
def own_world():
    """What to put before an argv to run it in a PID namespace of its own, where it is alone."""
    plain = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    for prefix in (plain, [*plain, "--user", "--map-root-user"]):
        with contextlib.suppress(OSError):
            if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
                return prefix
    pytest.skip("this machine allows no PID namespace")


PRELUDE = """
import json, os, signal, subprocess, sys, time
NAMES = json.loads(sys.argv[1])
globals().update(NAMES)

def spawn(*argv, **options):
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, **options)
    while not process.stdout.readline().startswith(b"ready"):
        assert process.poll() is None, argv
    return process

def check(*options, python=sys.executable, script=None, **settings):
    argv = [python, script or SCRIPT, *options]
    done = subprocess.run(argv, capture_output=True, text=True, **settings)
    return {"status": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
"""


@pytest.fixture
def world(request, stand_in, home, platform):
    """Run Python code alone: there, a verdict is about nothing else.

    On Linux in a PID namespace; elsewhere the check that the code runs sees what it started alone.
    The code finds `spawn`, `check` and the names it is given, and sets `result`.
    """
    own_world, program = [], family.__file__
    if sys.platform == "linux":
        own_world, program = request.getfixturevalue("own_world"), PROGRAMS[platform]

    def world(code: str, *, before=(), **names):
        names = {"SCRIPT": str(program), "MM": stand_in.program("mm"), **names}
        source = f"{PRELUDE}\n{code}\nprint(json.dumps(result))"
        # Not pipes: what the code leaves alive would keep them open.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            with marked() as mark:
                done = subprocess.run(
                    [*own_world, *before, sys.executable, "-c", source, json.dumps(names)],
                    env=environment(stand_in, home) | {family.MARK: mark},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    timeout=3 * SECONDS,
                )
            out.seek(0)
            err.seek(0)
            assert done.returncode == 0, err.read()
            return json.loads(out.read().splitlines()[-1])

    return world


@pytest.fixture(scope="session")
def root():
    """Skip unless the tests may start processes of other users."""
    if WINDOWS or os.getuid() != 0:
        pytest.skip("only root can start processes of another user")


@pytest.fixture(scope="session")
def nobody(root, public):
    """Another user's ID, and a Python that this user may run (with psutil in PYTHONPATH)."""
    import pwd

    user = pwd.getpwnam("nobody").pw_uid
    for python in (sys.executable, "/usr/bin/python3"):
        command = [python, "-c", "import sys; assert sys.version_info >= (3, 11); import psutil"]
        path = {"PYTHONPATH": str(Path(psutil.__file__).parent.parent)}
        with contextlib.suppress(OSError):
            if subprocess.run(command, user=user, env=path, capture_output=True).returncode == 0:
                return Other(user, python, path)
    pytest.skip("no Python that another user may run")


class Other(NamedTuple):
    """Another user, and how that user runs Python with psutil."""

    uid: int
    python: str
    env: dict[str, str]

    def at(self, home: Path, **more: str) -> dict:
        """How to start a process as this user, in a home that `shared` made."""
        path = f"{home / 'library'}{os.pathsep}{self.env['PYTHONPATH']}"
        env = {"HOME": str(home), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | more
        return {"user": self.uid, "group": self.uid, "extra_groups": [], "env": env, "cwd": home}


@pytest.fixture
def shared(public, nobody) -> Path:
    """A home that another user may use, with a database of root's, an `mm` and the check."""
    with tempfile.TemporaryDirectory(dir=public) as folder:
        home = Path(folder)
        (home / ".memtomem").mkdir()
        (home / ".memtomem" / "memtomem.db").touch()
        shutil.copytree(STAND_IN, home / "library")
        shutil.copy(PORTABLE, home)
        shutil.copytree(SCRIPT, home / SCRIPT.name, ignore=shutil.ignore_patterns("__pycache__"))
        write_script(home / "mm", nobody.python, "memtomem.cli:cli")
        for path in [home, *home.rglob("*")]:
            path.chmod(0o755)
        yield home


@pytest.fixture
def shell_as(tmp_path_factory):
    """A shell under another name, as a launcher or a client: it runs its arguments and waits.

    Returns what stands before the arguments: the link to the shell, and a script in the folder
    `cwd`. So `uv run mm web` has the very argv of the real `uv`. On Windows, where a link has no
    name of its own in the process table, it is a copy of Python, and `python` is its script.
    """
    shell = shutil.which("bash") or shutil.which("sh")

    def shell_as(
        name: str | bytes, script: str, text: str = '"$@"\nexit\n', python: str = "run(*args)\n"
    ) -> dict:
        folder = tmp_path_factory.mktemp("launcher")
        if WINDOWS:
            (folder / script).write_text(AS_A_SHELL + python)
            return {"executable": python_named(folder, str(name)), "cwd": folder}
        link = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.symlink(shell, link)
        (folder / script).write_text(text)
        return {"executable": link, "cwd": folder}

    return shell_as


AS_A_SHELL = """
import os, subprocess, sys, time
args = sys.argv[1:]
def run(*argv):
    sys.exit(subprocess.run(argv).returncode)
"""


def python_named(folder: Path, name: str) -> str:
    """A copy of Windows' Python under another name, which finds its library all the same."""
    python = Path(base_python())
    base = python.parent
    for library in base.glob("*.dll"):
        shutil.copy(library, folder)
    shutil.copy(python, folder / f"{name}.exe")
    (folder / f"{name}._pth").write_text(f"{base / 'Lib'}\n{base / 'DLLs'}\n", "utf-8")
    return str(folder / f"{name}.exe")


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The site as built. Every validation of mkdocs.yml is on, and a warning fails the build."""
    out = tmp_path_factory.mktemp("site")
    # Not --quiet: with it, mkdocs 1.6 lets warnings pass even when strict.
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=SCRIPT.parents[1],
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return out
