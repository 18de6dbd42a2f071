"""What a hostile, broken or merely strange machine can do: the check never says clear then."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import psutil
import pytest
from mm_preflight import judge as room
from mm_preflight import main, table
from mm_preflight.look import check
from mm_preflight.records import Files
from support import (
    PLATFORMS,
    SCRIPT,
    WINDOWS,
    environment,
    is_wine,
    linux,
    not_on_windows,
    use_platform,
    use_process,
)

# Seconds that one check may take, whatever the process table holds; Wine starts programs slowly.
LIMIT = 20 if is_wine() else 10
READY = "import os, time; print('ready', os.getpid(), flush=True)\n"
STAY = f"{READY}time.sleep(120)\n"
NASTY = b"\x1b[2J\x1b]0;owned\x07\r\n\xe2\x80\xae\xe2\x81\xa6\xff\xfe\x9b31m\xc2\x85"


@pytest.fixture
def mm(start, stand_in):
    """Start the stand-in's `mm`."""
    return lambda *args, **settings: start(stand_in.program("mm"), *args, **settings)


def assert_printable(report) -> None:
    """Nothing in the report can move a cursor, hide text or change its direction."""
    for stream in (report.stdout, report.stderr):
        raw = {each for each in stream if not each.isprintable() and each != "\n"}
        assert raw == set()


# ---- names and arguments ------------------------------------------------------------------------

MODES = [[], ["--verbose"], ["--json"], ["--json", "--verbose"]]


@pytest.mark.parametrize("options", MODES, ids=" ".join)
def test_nasty_arguments(start, stand_in, preflight, options):
    pid = start(stand_in.program("memtomem-server"), NASTY, b"--" + NASTY)
    report = preflight(*options)
    assert report.status == 1
    assert str(pid) in report.stdout + report.stderr
    assert_printable(report)


@linux
@pytest.mark.parametrize("options", MODES, ids=" ".join)
def test_nasty_names(start, stand_in, shell_as, home, preflight, options):
    """A process's own name, its script's and its client's, where the report shows them."""
    script = os.fsencode(home) + b"/" + NASTY[:40].replace(b"/", b"")
    with open(script, "w") as file:
        file.write(f"import memtomem\nconnection = memtomem.open_database()\n{STAY}")
    library = start(stand_in.python, script)
    code = "import memtomem\nconnection = memtomem.open_database()\n"
    rename = f"open('/proc/self/comm', 'wb').write({NASTY[:14]!r})\n"
    server = start(stand_in.python, "-c", f"{code}{rename}{STAY}")
    child = start(NASTY, "run", "memtomem-server", **shell_as(NASTY[:14].replace(b"/", b""), "run"))
    report = preflight(*options)
    assert report.status == 1
    assert_printable(report)
    for pid in (library, server, child):
        assert str(pid) in report.stdout + report.stderr


@not_on_windows("has no such names of files")
def test_nasty_database_path(home, preflight):
    path = os.fsencode(home) + b"/" + NASTY.replace(b"/", b"") + b".db"
    for options in (["--db", path], ["--db", path, "--json"], ["--db", path, "--verbose"]):
        report = preflight(*options)
        assert report.status == 2
        assert_printable(report)
    Path(os.fsdecode(path)).touch()
    for options in (["--db", path, "--verbose"], ["--db", path, "--json"]):
        report = preflight(*options)
        assert report.status in (0, 1)
        assert_printable(report)


def test_huge_arguments(start, stand_in, preflight):
    """As many bytes as an argv may have: 2 MB on Linux, less elsewhere."""
    words = ["x" * (30_000 if WINDOWS else 131_000)] * (15 if sys.platform == "linux" else 1)
    pid = start(stand_in.program("memtomem-server"), *words)
    begin = time.monotonic()
    assert preflight("--json").of(pid)[0]["command"] == "memtomem-server"
    report = preflight("--json", "--verbose")
    assert time.monotonic() - begin < LIMIT
    assert report.of(pid)[0]["argv"][2:] != []


def test_huge_single_argument():
    """No system passes it, but a process can write it over its argv."""
    huge = "memtomem" + "x" * 2_000_000
    begin = time.monotonic()
    for argv in ([huge], ["python", huge], ["python", "-m", huge], ["python", "-c", huge]):
        found = judge(argv)
        assert found is None or len(found.name) < 200
    assert time.monotonic() - begin < LIMIT


def judge(argv):
    def read(path: str) -> bytes:
        raise OSError(path)

    return room.judge(argv, Files(read, lambda path: True), False, False)


@pytest.mark.parametrize("runner", [[], ["-m", "uvicorn"], ["-m", "coverage", "run"]], ids=str)
@pytest.mark.parametrize(
    "word", ["memtomem/" * 200_000, "a:b(" * 400_000, "a:" * 400_000, "memtomem." * 200_000]
)
def test_huge_word(runner, word):
    """Each is searched once, whatever is repeated in it."""
    begin = time.monotonic()
    judge(["python", *runner, word])
    judge(["python", *runner, "-x", word, *["-x", "memtomem/x"] * 100_000])
    assert time.monotonic() - begin < LIMIT / 2
    assert time.monotonic() - begin < LIMIT


BOMBS = {
    "blank-lines": "\n" * 110_000 + "# memtomem",
    "semicolons": "x = 1\n" + ";".join(["x"] * 50_000) + "# memtomem",
    "imports": "def f():\n" + " import os\n" * 10_000 + "# memtomem",
    "spaces": "x = 1" + " " * 120_000 + "# memtomem",
    "indented-imports": "def f():\n" + " import os \\\n  \n" * 6_000 + "# memtomem",
}


@not_on_windows("takes 32,767 characters of arguments")
@pytest.mark.parametrize("name", BOMBS)
def test_code_that_is_slow_to_search(start, stand_in, preflight, name):
    """`-c` code is other people's text: reading it must not take time that its author chooses."""
    pid = start(stand_in.python, "-c", STAY + BOMBS[name])
    begin = time.monotonic()
    with contextlib.suppress(subprocess.TimeoutExpired):
        assert preflight("--json", timeout=LIMIT + 1).of(pid) == []
    assert time.monotonic() - begin < LIMIT


@not_on_windows("has no sh")
def test_shell_script_that_is_slow_to_search(start, stand_in, preflight, home):
    """Above a process that counts, a shell's script is looked into for a loop."""
    server = stand_in.program("memtomem-server")
    (home / "run.sh").write_text("\n" * 400_000 + f"{server}\nexit\n")
    pid = start("sh", home / "run.sh")
    assert preflight("--json", timeout=LIMIT).of(pid)[0]["command"] == "memtomem-server"


# ---- the script's text --------------------------------------------------------------------------


def swap_missing(path: Path) -> None:
    path.unlink()


def swap_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def swap_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def swap_huge(path: Path) -> None:
    with open(path, "ab") as file:
        file.truncate(1 << 30)


def swap_device(path: Path) -> None:
    path.unlink()
    os.symlink("/dev/zero", path)


def swap_loop(path: Path) -> None:
    path.unlink()
    os.symlink(path, path)


def swap_zip(path: Path) -> None:
    """A broken LZMA member: zipimport would not take it, and unpacking it fails strangely."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("__main__.py", "import memtomem\n" * 99)
    path.write_bytes(path.read_bytes().replace(b"\x5d\x00\x00", b"\xff\xff\xff", 1))


def swap_zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("__main__.py", b"\n" * (200 << 20))


def swap_open_folder(path: Path) -> None:
    path.write_text("print('an innocent script')")
    path.parent.chmod(0o777)


def swap_link_of_another_user(path: Path) -> None:
    path.unlink()
    (path.parent / "innocent").write_text("print('an innocent script')")
    os.symlink(path.parent / "innocent", path)
    os.lchown(path, 65534, 65534)


def swap_file_of_another_user(path: Path) -> None:
    path.write_text("print('an innocent script')")
    os.chown(path, 65534, 65534)


SWAPS = [value for name, value in list(globals().items()) if name.startswith("swap_")]
if WINDOWS:  # no fifo and no device in the file system; os.stat tells no owner; links are not free
    SWAPS = [swap_missing, swap_directory, swap_huge, swap_zip, swap_zip_bomb]


@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.__name__)
def test_script_that_cannot_be_trusted_counts_unverified(
    start, stand_in, home, preflight, request, swap
):
    """What another user could have put there proves no innocence, and nothing is waited for."""
    if swap.__name__.endswith("another_user"):
        request.getfixturevalue("root")
    folder = home / "programs"
    folder.mkdir()
    path = folder / "mm"
    path.write_bytes(Path(stand_in.program("mm")).read_bytes())
    pid = start(stand_in.python, path, "init")
    [row] = preflight("--json").of(pid)
    assert row["verified"] is True
    swap(path)
    report = preflight("--json", timeout=LIMIT)
    [row] = report.of(pid)
    assert (row["command"], row["verified"]) == ("mm init", False)
    text = preflight().stderr
    assert "what it runs could not be read" in " ".join(text.split())


@linux
def test_script_in_another_mount_namespace(world, root):
    """In a container the same path is another file."""
    result = world(
        "process = spawn('unshare', '--mount', MM, 'init')\nresult = [process.pid, check('--json')]"
    )
    rows = rows_of(result[1])
    assert [(row["pid"], row["verified"]) for row in rows] == [(result[0], False)]


@linux
def test_program_in_another_mount_namespace(world, root, home, stand_in):
    """As a service with a private /tmp, or a sandbox: its script is read as the process sees it."""
    (home / "app.py").write_text(f"import memtomem\n{STAY}")
    result = world(
        "process = spawn('unshare', '--mount', PYTHON, APP)\n"
        "result = [process.pid, check('--json')]",
        APP=str(home / "app.py"),
        PYTHON=stand_in.python,
    )
    rows = rows_of(result[1])
    assert [(row["pid"], row["command"]) for row in rows] == [(result[0], "python app.py")]


FOLDERS = {
    "mount-namespace": "process = spawn('unshare', '--mount', PYTHON, 'app.py', cwd=HERE)",
    "chroot": "os.mkdir(HERE + '/jail')\n"
    "subprocess.run(['mount', '--rbind', '/', HERE + '/jail'], check=True)\n"
    'go = \'cd "$1" && exec "$0" app.py\'\n'
    "process = spawn('chroot', HERE + '/jail', 'sh', '-c', go, PYTHON, HERE)",
    "covered": "process = spawn(PYTHON, 'app.py', cwd=HERE)\n"
    "subprocess.run(['mount', '-t', 'tmpfs', 'none', HERE], check=True)",
}


@linux
@pytest.mark.parametrize("where", FOLDERS)
def test_relative_path_in_a_folder_that_is_elsewhere(world, root, tmp_path, stand_in, where):
    """It is read in the folder that the process is in, not in what has that name here."""
    (folder := tmp_path / "app").mkdir()
    (folder / "app.py").write_text(f"import memtomem\n{STAY}")
    result = world(
        f"{FOLDERS[where]}\nresult = [process.pid, check('--json')]",
        HERE=str(folder),
        PYTHON=stand_in.python,
    )
    rows = rows_of(result[1])
    assert [(row["pid"], row["command"]) for row in rows] == [(result[0], "python app.py")]


def rows_of(report: dict) -> list[dict]:
    return json.loads(report["stdout"])["processes"]


# ---- a table that changes -----------------------------------------------------------------------

CHURN = """
import os, signal, subprocess
live = [spawn(MM, 'init')] if LIVE else []
loop = 'while :; do "$0" -S -E -c pass & for i in 1 2 3 4 5 6 7 8; do : & done; wait; done'
churn = subprocess.Popen(['sh', '-c', loop, sys.executable], process_group=0)
begin = int(open('/proc/stat').read().split('processes ')[1].split()[0])
now = time.monotonic()
result = {'statuses': [check()['status'] for _ in range(15)]}
ended = int(open('/proc/stat').read().split('processes ')[1].split()[0])
result['rate'] = (ended - begin) / (time.monotonic() - now)
os.killpg(churn.pid, signal.SIGKILL)
"""


@linux
@pytest.mark.parametrize("live", [0, 1], ids=["clear", "live"])
def test_processes_that_come_and_go(world, live):
    """What ends while it is looked at is not alive, and does not hide what is."""
    result = world(CHURN, LIVE=live)
    assert result["statuses"] == [live] * 15
    assert result["rate"] > 100


REUSE = """
import contextlib, io
sys.path.insert(0, os.path.dirname(SCRIPT))
import mm_preflight.table, psutil
victim = spawn(MM, 'init')
del os.fork  # as on Windows: this process looks itself, for only it can wait for the victim
read = mm_preflight.table._argv_of

def argv_of(process):
    argv = read(process)
    if process.pid == victim.pid and victim.returncode is None:
        victim.kill()
        victim.wait()
        for _ in range(1000):
            with open('/proc/sys/kernel/ns_last_pid', 'w') as file:
                file.write(str(victim.pid - 1))
            other = subprocess.Popen(['sleep', '60'])
            if other.pid == victim.pid:
                break
            other.kill()
            other.wait()
    return argv

if SWAP:
    mm_preflight.table._argv_of = argv_of
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    status = mm_preflight.main([])
result = [status, psutil.Process(victim.pid).name()]
"""


@linux
@pytest.mark.parametrize("swap, expected", [(False, [1, "mm"]), (True, [0, "sleep"])])
def test_reused_pid(world, root, swap, expected):
    """The PID of an mm process that ended belongs to another program when the report is made."""
    assert world(REUSE, SWAP=swap) == expected


CROWD = """
import os, sys, time
for _ in range(int(sys.argv[1])):
    if not os.fork():
        time.sleep(99)
print("ready", flush=True)
time.sleep(99)
import memtomem
"""
OTHERS = """
words = ['x' * 131_000] * 14 if KIND == 'huge' else []
crowd = spawn(PYTHON, '-S', f'{SHARED}/{KIND}', str(COUNT), *words, process_group=0, **AT)
mine = spawn(MM, 'init') if LIVE else None
begin = time.monotonic()
result = check('--json', env=os.environ | {'HOME': SHARED})
result['seconds'] = time.monotonic() - begin
os.killpg(crowd.pid, signal.SIGKILL)
"""


@linux
@pytest.mark.parametrize("live", [0, 1], ids=["clear", "live"])
@pytest.mark.parametrize(
    "kind, count", [("huge", 200), ("app.py", 3000), ("memtomem-server", 3000)]
)
def test_others_cannot_silence_it(world, nobody, shared, kind, count, live):
    """However many processes another user has, and however long their arguments are."""
    (shared / kind).write_text(CROWD)
    result = world(
        OTHERS,
        SHARED=str(shared),
        PYTHON=nobody.python,
        AT=nobody.at(shared) | {"cwd": str(shared)},
        KIND=kind,
        COUNT=count,
        LIVE=live,
    )
    assert result["status"] == live
    assert result["seconds"] < LIMIT
    report = json.loads(result["stdout"])
    assert [row["command"] for row in report["processes"]] == ["mm init"] * live
    assert len(report["other_users"]) <= 50
    assert report["examined"] > count


# ---- a table that hides -------------------------------------------------------------------------

AS_NOBODY = "settings = dict(python=PYTHON, script=SHARED + '/mm_preflight', **AT)\n"


@pytest.fixture
def nobody_names(nobody, shared):
    """What code in a world needs to act as another user, who owns the database."""
    os.chown(shared / ".memtomem" / "memtomem.db", nobody.uid, nobody.uid)
    at = nobody.at(shared)
    return {"SHARED": str(shared), "PYTHON": nobody.python, "AT": at | {"cwd": str(shared)}}


@linux
def test_hidepid(world, nobody_names):
    """Other users' processes are hidden: the report says what it cannot see."""
    result = world(
        f"{AS_NOBODY}subprocess.run(['mount', '-o', 'remount,hidepid=2', '/proc'], check=True)\n"
        "spawn(MM, 'init')\n"
        "result = [check('--json', **settings), check(**settings)]",
        **nobody_names,
    )
    assert '"other-users-hidden"' in result[0]["stdout"]
    assert "run this as root" in " ".join(result[1]["stdout"].split())


@linux
def test_nothing_hidden_without_hidepid(world, nobody_names):
    result = world(f"{AS_NOBODY}result = check('--json', **settings)", **nobody_names)
    assert "other-users-hidden" not in result["stdout"]
    assert result["status"] == 0


@linux
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_empty_proc(world, options):
    """As in a chroot that nobody mounted /proc in."""
    result = world(
        "subprocess.run(['mount', '-t', 'tmpfs', 'none', '/proc'], check=True)\n"
        "result = check(*OPTIONS)",
        OPTIONS=options,
    )
    assert result["status"] == 2
    assert "/proc" in result["stderr"]
    assert "Traceback" not in result["stderr"]


@linux
def test_proc_of_another_namespace(own_world, preflight, home, stand_in):
    """A process there may have the check's own PID; it is not the check."""
    prefix = [word for word in own_world if word != "--mount-proc"]
    done = subprocess.run(
        [*prefix, sys.executable, str(SCRIPT)],
        env=environment(stand_in, home),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "/proc" in done.stderr


@linux
@pytest.mark.parametrize("shape", ["everything", "all-but-its-program"])
def test_process_that_denies(start, stand_in, only, monkeypatch, both, shape, in_process):
    """A service of the system, or another user's: it is no Python of one's own, so no doubt."""
    pid = start(stand_in.python, "-c", STAY)
    only(pid)
    # Linux's own room reads past psutil.
    monkeypatch.setattr("mm_preflight.table.system", table.PORTABLE)

    def denies(name):
        real = getattr(table.psutil.Process, name)

        def call(process, *args, **settings):
            if process.pid == pid:
                raise psutil.AccessDenied(pid)
            return real(process, *args, **settings)

        use_process(monkeypatch, **{name: call})

    for name in ("cmdline", "username", "open_files", "cwd", "environ", "uids"):
        denies(name)
    if shape == "everything":
        for name in ("name", "exe"):
            denies(name)
    report = in_process("--json")
    assert report.status == 0
    assert report.json["uninspected"] >= 1


TITLED = """
import ctypes, os, time
stat = open('/proc/self/stat').read().rpartition(')')[2].split()
begin, end = map(int, stat[45:47])
title = b'gunicorn: master [memtomem.web.app:app]'
ctypes.memmove(begin, title.ljust(end - begin, b'\\0'), end - begin)
ctypes.CDLL(None).prctl(15, title)
"""


@linux
@pytest.mark.parametrize("script", ["mm_preflight", "portable.py"])
def test_title_of_root_s_server(world, nobody_names, script):
    """An ordinary user sees of it only the title that it wrote over its argv and its name."""
    result = world(
        f"{AS_NOBODY}spawn(sys.executable, '-c', TITLED, 'x' * 99)\n"
        "settings['script'] = f'{SHARED}/{SCRIPT_NAME}'\n"
        "result = check('--json', **settings)",
        TITLED=TITLED + STAY,
        SCRIPT_NAME=script,
        **nobody_names,
    )
    assert [row["command"] for row in rows_of(result)] == ["gunicorn memtomem.web.app:app"]


@not_on_windows("has no SUDO_UID")
def test_sudo_counts_who_ran_it(world, nobody, shared):
    """The database may be root's since an earlier sudo; the person's processes count as well."""
    result = world(
        "spawn(SHARED + '/mm', 'init', **AT)\n"
        "env = os.environ | {'SUDO_UID': str(AT['user'])}\n"
        "result = check('--json', '--db', SHARED + '/.memtomem/memtomem.db', env=env)",
        SHARED=str(shared),
        AT=nobody.at(shared) | {"cwd": str(shared)},
    )
    assert [row["command"] for row in rows_of(result)] == ["mm init"]


HOLDS = f"file = open(os.environ['HOME'] + '/.memtomem/memtomem.db')\n{STAY}"
HIDES = {
    "plain": ("PYTHON, '-c', HOLDS, **AT", 1),
    "undumpable": ("PYTHON, '-c', UNDUMPABLE + HOLDS, **AT", 2),
    "capable": (
        "'setpriv', '--reuid', str(AT['user']), '--regid', str(AT['user']), '--clear-groups', "
        "'--inh-caps', '+net_bind_service', '--ambient-caps', '+net_bind_service', "
        "PYTHON, '-c', HOLDS, env=AT['env'], cwd=SHARED",
        2,
    ),
    "titled": ("PYTHON, '-c', UNDUMPABLE + TITLED + HOLDS, 'x' * 99, **AT", 2),
}


@linux
@pytest.mark.parametrize("script", ["mm_preflight", "portable.py"])
@pytest.mark.parametrize("how", HIDES)
def test_own_python_that_hides_what_it_has_open(world, nobody_names, how, script):
    """A service with an ambient capability lists its files for its user, and hides where they lead.

    Nor can an undumpable process be looked into. Either may have the database open.
    """
    argv, expected = HIDES[how]
    result = world(
        f"{AS_NOBODY}spawn({argv})\n"
        "settings['script'] = f'{SHARED}/{SCRIPT_NAME}'\n"
        "result = check('--json', **settings)",
        HOLDS=f"import os\n{HOLDS}",
        UNDUMPABLE="import ctypes\nctypes.CDLL(None).prctl(4, 0)\n",
        TITLED=TITLED.replace("memtomem.web", "other"),
        SCRIPT_NAME=script,
        **nobody_names,
    )
    assert result["status"] == expected


# ---- psutil that fails --------------------------------------------------------------------------

ERRORS = [
    psutil.NoSuchProcess(1),
    psutil.ZombieProcess(1),
    psutil.AccessDenied(1),
    psutil.TimeoutExpired(1),
    psutil.Error(),
    OSError(errno.EIO, "input/output error"),
    PermissionError(errno.EPERM, "not permitted"),
    FileNotFoundError(errno.ENOENT, "no such file"),
    ProcessLookupError(errno.ESRCH, "no such process"),
    SystemError("returned NULL without setting an exception"),
    IndexError("list index out of range"),
    ValueError("invalid literal"),
    RuntimeError("no"),
    KeyError("ppid"),
    AttributeError("no"),
    MemoryError(),
]
CALLS = [
    "__init__",
    "cmdline",
    "create_time",
    "cwd",
    "exe",
    "is_running",
    "name",
    "open_files",
    "parent",
    "parents",
    "ppid",
    "status",
    "terminal",
    "uids",
    "username",
]


@pytest.fixture(params=PLATFORMS)
def both(request, monkeypatch) -> str:
    """Over this platform's table, and over the portable one."""
    return use_platform(request.param, monkeypatch)


@pytest.fixture
def raising(monkeypatch, only, both):
    """Run the check while a psutil call raises an error, for one process or for all."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def raising(call: str, error: Exception, pid: int, everywhere: bool):
        real = getattr(table.psutil.Process, call)

        def fails(process, *args, **settings):
            found = process.pid if hasattr(process, "_pid") else (args or [os.getpid()])[0]
            if everywhere or found == pid:
                raise error
            return real(process, *args, **settings)

        with monkeypatch.context() as patch:
            use_process(patch, **{call: fails})
            return check(None)

    return raising


@pytest.mark.parametrize("call", [call for call in CALLS if hasattr(psutil.Process, call)])
@pytest.mark.parametrize("evidence", ["command-line", "database-open"])
def test_psutil_raises(start, stand_in, only, raising, call, evidence):
    """Whatever fails, the verdict on a live process is not clear: unless psutil says it is gone."""
    library = f"import memtomem; connection = memtomem.open_database()\n{STAY}"
    server = [stand_in.program("memtomem-server")]
    code = library.replace("import memtomem", "m = 'memtomem'; memtomem = __import__(m)")
    pid = start(*(server if evidence == "command-line" else [stand_in.python, "-c", code]))
    only(pid)
    row = check(None).processes[0]
    assert row.evidence == [evidence]
    for error in ERRORS:
        gone = isinstance(error, psutil.NoSuchProcess)
        # On Windows, only what is called Python is asked what it has open.
        asked = ("__init__", "cmdline", "open_files", *["name"] * WINDOWS)
        gone = gone and call in asked
        for everywhere in (False, True):
            result = raising(call, error, pid, everywhere)
            expected = ("live", "unknown", "clear") if gone else ("live", "unknown")
            assert result.verdict in expected, (error, everywhere)
            assert bool(result.processes) == (result.verdict == "live")
            assert (result.reason is not None) == (result.verdict == "unknown")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_process_table_raises(monkeypatch, in_process, error):
    def fails():
        raise error

    monkeypatch.setattr(table, "pids", fails)
    report = in_process("--json")
    assert report.status == 2
    assert report.json["verdict"] == "unknown"
    assert report.json["reason"]


@pytest.mark.parametrize("pids", [[], [4194303]], ids=["empty", "without-the-check"])
def test_check_is_not_in_the_table(monkeypatch, in_process, pids):
    monkeypatch.setattr(table, "pids", lambda: set(pids))
    report = in_process()
    assert report.status == 2
    assert "unknown" in report.stderr


@linux
@pytest.mark.parametrize("call", ["listdir", "readlink"])
@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(5, "i/o error")])
def test_open_files_cannot_be_read(start, stand_in, only, monkeypatch, call, error):
    """A Python of the user's own whose open files are hidden may have the database open."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    library = f"import memtomem as m; c = m.open_database()\n{STAY}"
    pid = start(stand_in.python, "-c", library.replace("import memtomem as m", IMPORTS))
    only(pid)
    real = getattr(os, call)

    def fails(path):
        if str(path).startswith(f"/proc/{pid}/fd"):
            raise error
        return real(path)

    monkeypatch.setattr(os, call, fails)
    assert check(None).verdict == "unknown"


IMPORTS = "m = __import__('mem' + 'tomem')"


def test_second_thread_cannot_start(monkeypatch, in_process):
    """A process limit is reached: there is no answer, and main() still returns one."""

    def fails(*thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(*(("threading.Thread.start", fails) if WINDOWS else ("os.fork", fails)))
    assert in_process("--json").status == 2


BLOCKS = """
import os, sys, threading
sys.path.insert(0, os.path.dirname({script!r}))
import mm_preflight.scan
{target} = lambda *args, **settings: threading.Event().wait()
sys.exit(mm_preflight.main(sys.argv[1:]))
"""


def test_table_that_never_answers(database, home, stand_in):
    """The kernel can block a read of /proc for ever. All cases side by side: each takes its 8 s."""
    cases = [
        ("mm_preflight.table.pids", []),
        ("mm_preflight.table.pids", ["--json"]),
        ("mm_preflight.table.pids", ["--wait", "1"]),
        ("mm_preflight.table._argv_of", ["--quiet"]),
        ("os.listdir", []),
        ("os.readlink", ["--db", str(database)]),
        ("mm_preflight.scan.find_database", []),  # a home on a network file system
        ("mm_preflight.scan.find_database", ["--wait", "1"]),
    ]
    if WINDOWS:  # which reads neither to tell what is open
        cases = [case for case in cases if not case[0].startswith("os.")]
    runs, begins = [], []
    try:
        for target, options in cases:
            begins.append(time.monotonic())
            code = BLOCKS.format(script=str(SCRIPT), target=target)
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            argv = [sys.executable, "-c", code, *options]
            runs.append(subprocess.Popen(argv, env=environment(stand_in, home), **pipes))
            time.sleep(0.5)  # eight that start at once wait for one another
        for run, begin, (_, options) in zip(runs, begins, cases, strict=True):
            stdout, stderr = run.communicate(timeout=LIMIT + 5)
            assert run.returncode == 2
            text = " ".join(stderr.split())
            assert "could not be read in 8 s" in text or "does not answer" in text
            assert '"verdict": "unknown"' in stdout if "--json" in options else stdout == ""
            assert time.monotonic() - begin < LIMIT
    finally:
        for run in runs:
            run.kill()
            run.communicate()


@pytest.mark.parametrize("error", ["ImportError", "ModuleNotFoundError", "NotImplementedError"])
@pytest.mark.parametrize("options", [[], ["--json"], ["--quiet"]], ids=lambda options: str(options))
def test_psutil_missing(preflight, home, error, options):
    """Missing, built for another Python, or of a platform it does not know."""
    (home / "stub").mkdir()
    (home / "stub" / "psutil.py").write_text(f"raise {error}('not here')\n")
    report = preflight(*options, env={"PYTHONPATH": str(home / "stub")})
    assert report.status == 2
    assert "psutil" in report.stderr
    assert "Traceback" not in report.stderr
    if error != "NotImplementedError":
        assert "pip install psutil" in " ".join(report.stderr.split())
    if options == ["--json"]:
        assert report.json["verdict"] == "unknown"


# ---- streams and signals ------------------------------------------------------------------------


@pytest.fixture
def broken():
    """A stream that takes nothing: a full disk, or a pipe that nobody reads."""
    with contextlib.ExitStack() as stack:

        def broken(kind: str):
            if kind == "full":
                if not os.path.exists("/dev/full"):
                    pytest.skip("no /dev/full here")
                return stack.enter_context(open("/dev/full", "wb"))
            read, write = os.pipe()
            os.close(read)
            return stack.enter_context(open(write, "wb"))

        yield broken


@pytest.mark.parametrize("kind", ["full", "pipe"])
@pytest.mark.parametrize("option", ["--json", "--help", "--version"])
def test_output_that_does_not_arrive(broken, stand_in, home, kind, option):
    """What was asked for is lost, so the answer is not 0; and there is no traceback."""
    done = subprocess.run(
        [sys.executable, SCRIPT, option],
        env=environment(stand_in, home),
        stdout=broken(kind),
        stderr=subprocess.PIPE,
    )
    assert done.returncode == 2 if option == "--json" else done.returncode not in (0, 1)
    assert b"Traceback" not in done.stderr
    if kind == "pipe":
        assert done.stderr == b""


@pytest.mark.parametrize("kind", ["full", "pipe"])
def test_clear_that_does_not_arrive(broken, only, home, monkeypatch, kind):
    only()
    assert main([]) == 0
    with open(os.dup(broken(kind).fileno()), "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main([]) == 2
        assert main(["--quiet"]) == 0


@pytest.mark.parametrize("kind", ["full", "pipe"])
def test_refusal_that_does_not_arrive(broken, mm, stand_in, home, kind):
    mm("init")
    done = subprocess.run(
        [sys.executable, SCRIPT], env=environment(stand_in, home), stderr=broken(kind)
    )
    assert done.returncode in (1, 2)


@pytest.mark.parametrize(
    "encoding", ["ascii", "latin-1", "utf-8", "utf-16", "cp437", "cp932", "cp1252"]
)
def test_stream_of_another_encoding(start, stand_in, home, preflight, encoding):
    """A character that the stream lacks is escaped; it ends nothing.

    On a console of Windows', Python writes Unicode whatever its code page is; where the output goes
    into a file or a pipe, the code page is its encoding.
    """
    shown = "python " + "naïve-日本.py".encode(encoding, "backslashreplace").decode(encoding)
    script = home / "naïve-日本.py"
    script.write_text(f"import memtomem\nconnection = memtomem.open_database()\n{STAY}")
    pid = start(stand_in.python, script)
    for options in ([], ["--verbose"], ["--json", "--verbose"]):
        report = preflight(*options, env={"PYTHONIOENCODING": encoding})
        raw = [each.encode("utf-8", "surrogateescape") for each in (report.stdout, report.stderr)]
        text = "".join(each.decode(encoding) for each in raw)
        assert report.status == 1
        assert "Traceback" not in text
        assert str(pid) in text
        if "--json" in options:  # which is ASCII, whoever reads it
            [row] = [each for each in json.loads(text)["processes"] if pid in each["pids"]]
            assert row["command"] == "python naïve-日本.py"
        else:
            assert shown in " ".join(text.split())


INTERRUPTED = """
import os, signal, sys, threading
sys.path.insert(0, os.path.dirname({script!r}))
import mm_preflight.table
pressed = os.getpid()
def pids():
    os.kill(pressed, signal.SIGINT)
    threading.Event().wait()
mm_preflight.table.pids = pids
sys.exit(mm_preflight.main(sys.argv[1:]))
"""


@not_on_windows("sends itself no signal; test_windows_shapes has its own")
@pytest.mark.parametrize("options", [[], ["--json"], ["--wait", "60"]], ids=" ".join)
def test_ctrl_c(stand_in, home, options):
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(script=str(SCRIPT)), *options],
        env=environment(stand_in, home),
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
    assert time.monotonic() - begin < 5


# ---- configuration ------------------------------------------------------------------------------

GARBAGE = {
    "empty": b"",
    "no-json": b"storage:\n  sqlite_path: x\n",
    "cut": b'{"storage": {"sqlite_path": "/x',
    "list": b"[]",
    "null": b"null",
    "storage-number": b'{"storage": 1}',
    "path-number": b'{"storage": {"sqlite_path": 5}}',
    "path-list": b'{"storage": {"sqlite_path": ["/x"]}}',
    "bytes": b"\xff\xfe\x00\x01",
    "deep": b"[" * 200_000,
    "huge": b" " * (2 << 20) + b"{}",
    "path-nul": b'{"storage": {"sqlite_path": "/x\\u0000y"}}',
}
if not WINDOWS:  # where it is a name as any other
    GARBAGE["path-surrogate"] = b'{"storage": {"sqlite_path": "/x\\ud800y"}}'


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("place", ["config.json", "config.d/10.json"])
def test_garbage_configuration(home, preflight, name, place):
    file = home / ".memtomem" / place
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(GARBAGE[name])
    report = preflight("--json")
    assert report.status == 2
    assert report.json["verdict"] == "unknown"
    assert "--db" in report.json["reason"]
    assert_printable(report)


@pytest.mark.parametrize("kind", ["directory"] + ["fifo"] * (not WINDOWS))
def test_configuration_that_is_no_file(home, database, preflight, kind):
    path = home / ".memtomem" / "config.json"
    os.mkfifo(path) if kind == "fifo" else path.mkdir()
    report = preflight("--json", timeout=LIMIT)
    assert report.status == 2
    assert "config.json" in report.json["reason"]
    assert preflight("--json", "--db", database).status in (0, 1)


@linux
def test_configuration_of_another_user(nobody, shared, preflight):
    path = shared / ".memtomem" / "config.json"
    path.write_text("{}")
    path.chmod(0o600)
    settings = {"python": nobody.python, "script": shared / SCRIPT.name, **nobody.at(shared)}
    report = preflight("--json", **settings)
    assert report.status == 2
    assert "config.json" in report.json["reason"]


@pytest.mark.parametrize(
    "kind", ["missing", "directory", "device", "empty"] + ["fifo", "dangling"] * (not WINDOWS)
)
def test_db_that_is_no_database(home, preflight, kind):
    path = home / "given.db"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "dangling":
        path.symlink_to(home / "nowhere")
    option = {"device": "/dev/null", "empty": ""}.get(kind, path)
    report = preflight("--json", "--db", option, timeout=LIMIT)
    assert report.status == 2
    assert "--db" in report.json["reason"]


@pytest.mark.parametrize("option", ["/x\0y", "/x\ud800y", "/x" * 5000], ids=["nul", "raw", "long"])
def test_db_that_is_no_path(in_process, option):
    report = in_process("--json", "--db", option)
    assert report.status == 2
    assert report.json["verdict"] == "unknown"


def test_check_changes_nothing(home, mm, preflight):
    """It writes nothing in the home folder, and the processes it names go on."""
    pid = mm("web")
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    assert preflight("--verbose").status == 1
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before
    assert psutil.Process(pid).status() in (psutil.STATUS_SLEEPING, psutil.STATUS_RUNNING)


@not_on_windows("has no limit on an address space")
def test_little_memory(preflight, mm):
    """A 300 MB limit on its address space: it still answers."""
    import resource  # Windows has none

    mm("init")
    limit = 300 << 20
    settings = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))}
    assert preflight(**(settings if sys.platform == "linux" else {})).status == 1


def test_no_signal_is_blocked():
    """Ending the check from outside works, and is never 0."""
    run = subprocess.Popen(
        [sys.executable, "-c", BLOCKS.format(script=str(SCRIPT), target="mm_preflight.table.pids")],
        stderr=subprocess.DEVNULL,
    )
    run.send_signal(signal.SIGTERM)
    assert run.wait(LIMIT) == (1 if WINDOWS else -signal.SIGTERM)
