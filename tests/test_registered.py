"""What memtomem says itself: its lock files, however a server was launched; and what lies."""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import psutil
import pytest
from conftest import reap
from mm_preflight import linux as linux_room
from mm_preflight import registry, table
from mm_preflight.records import Command, Database, Evidence, Seen, Unknown
from real import CACHE, apart, ask, only_one, real
from support import (
    PLATFORMS,
    PROGRAMS,
    WINDOWS,
    free_port,
    linux,
    not_on_windows,
    until,
    use_platform,
)

__all__ = ["real"]  # the fixture

DATABASE = Database("/x", frozenset({"/x"}), ("x",), frozenset(), "", False, frozenset({0}))
TAIL = "-1-0123456789abcdef-01234567-89abcdef.lock"


@pytest.fixture(params=PLATFORMS)
def platform(request, monkeypatch) -> str:
    return use_platform(request.param, monkeypatch)


# ---- the real memtomem, launched in ways that no argv shows --------------------------------------

RUN = "exec('from mem' 'tomem.server import main; main()')"
ZIPPED = "import importlib; importlib.import_module('mem' + 'tomem.server').main()"
HTTP = "--transport http --port {port}"  # a reloader hands its child no standard input
# The program, and its arguments; {…} are made by the fixture.
HIDDEN = {
    "exec": ["{python}", "-c", RUN],
    "runpy": ["{python}", "-c", "import runpy; runpy.run_path('{job}')"],
    "ld.so": ["{loader}", "{python}", "-m", "memtomem.server"],
    "copied interpreter": ["{agent}", "-m", "memtomem.server"],
    "zip application": ["{python}", "{zip}"],
    "debugger": ["{python}", "-m", "debugpy", "--listen", "{port}", "-c", RUN],
    "reloader": ["{watchfiles}", "--args", HTTP, "memtomem.server.main", "{watched}"],
}


if WINDOWS:  # Wine's locks let but one server live at a time; the others are Linux's
    HIDDEN = {"exec": HIDDEN["exec"]}


@pytest.fixture(scope="module")
def debugpy(real):
    """A folder with debugpy, for the real memtomem's Python; kept between runs."""
    folder = CACHE / f"debugpy-{os.path.basename(os.path.realpath(real.python))}"
    with only_one(folder.with_suffix(".lock")):
        if not (folder / "debugpy").exists():
            ask([real.python, "-m", "pip", "install", "-q", "--target", folder, "debugpy"], 300)
    return folder


def environment_of(real, home) -> dict[str, str]:
    """As `apart` has it; on Windows the check knows the runtime folder by TEMP."""
    env = apart(real, home)
    if WINDOWS:
        runtime = home / "run" / "memtomem-0"
        env |= {"TEMP": str(runtime.parent), "_MEMTOMEM_TEST_RUNTIME_DIR": str(runtime)}
    return env


def loader() -> str:
    """The dynamic loader of this Linux, which runs what it is given."""
    with open("/proc/self/maps") as maps:
        paths = [line.split()[-1] for line in maps]
    return next(path for path in paths if "/ld-linux" in path or "/ld-musl" in path)


@pytest.fixture(scope="module")
def hidden(real, request, tmp_path_factory):
    """Every row of HIDDEN, running and idle: its processes' PIDs by its name; and the home."""
    home = tmp_path_factory.mktemp("hidden")
    (home / "job.py").write_text(ZIPPED)
    (watched := home / "watched").mkdir()
    with zipfile.ZipFile(home / "server.zip", "w") as archive:
        archive.writestr("__main__.py", ZIPPED)
    places = {"python": real.python, "job": home / "job.py", "zip": home / "server.zip"}
    env = environment_of(real, home)
    if not WINDOWS:
        agent = shutil.copy(os.path.realpath(real.python), home / "agent")
        places |= {"loader": loader(), "agent": agent}
        # Where nothing changes, so nothing is started anew.
        places |= {"watched": watched, "watchfiles": real.program("watchfiles")}
        # A copied interpreter finds its library so.
        debugpy = request.getfixturevalue("debugpy")
        prefix = ask([real.python, "-c", "import sys; print(sys.base_prefix)"]).strip()
        env |= {"PYTHONPATH": f"{real.library}{os.pathsep}{debugpy}", "PYTHONHOME": prefix}
    started = {}
    for name, words in HIDDEN.items():
        argv = [word.format(port=free_port(), **places) for word in words]
        started[name] = subprocess.Popen(
            argv, cwd=home, env=env, start_new_session=True, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    yield home, {name: process.pid for name, process in started.items()}
    reap(list(started.values()), [])


def report_of(real, home, platform, *options) -> dict:
    argv = [sys.executable, PROGRAMS[platform], "--json", *options]
    done = subprocess.run(argv, env=environment_of(real, home), capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", HIDDEN)
def test_idle_server_that_argv_does_not_show(hidden, real, platform, name):
    """It has opened no database yet; memtomem's own file says that it lives."""
    home, pids = hidden
    process = psutil.Process(pids[name])

    def row() -> dict:
        family = {process.pid, *(each.pid for each in process.children(recursive=True))}
        rows = report_of(real, home, platform, "--verbose")["processes"]
        return next((each for each in rows if each["pid"] in family and each["registered"]), {})

    found = until(row, f"{name} is named", 90)
    assert found["role"] == "mcp-server"
    assert "registered" in found["evidence"]
    assert found["verified"]
    assert registry.pid_of(found["registered"]) in found["pids"]
    assert str(found["pid"]) in found["stop"]


@linux
def test_killed_server_leaves_a_file_and_is_clear(real, platform, tmp_path):
    """kill -9: the file stays, and is nobody's."""
    env = apart(real, tmp_path)
    server = subprocess.Popen(
        [real.python, "-c", RUN], env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        presence = tmp_path / "run" / "memtomem" / "presence"
        until(lambda: presence.is_dir() and list(presence.iterdir()), "it registers", 90)
        rows = report_of(real, tmp_path, platform)["processes"]
        assert server.pid in [row["pid"] for row in rows]
    finally:
        server.kill()
        server.wait()
        server.stdin.close()
    [left] = presence.iterdir()
    assert registry.pid_of(str(left)) == server.pid
    rows = report_of(real, tmp_path, platform)["processes"]
    assert server.pid not in [row["pid"] for row in rows]


# ---- who has the file open ----------------------------------------------------------------------

HOLD = """
import fcntl, os, sys, time
folder, mode = sys.argv[1:]
name = f"{os.getpid()}-1-0123456789abcdef-01234567-89abcdef.lock"
path = os.path.join(folder, "presence", name)
os.makedirs(os.path.dirname(path), exist_ok=True)
file = open(path, "w")
fcntl.flock(file, fcntl.LOCK_EX)
if mode == "unlinked":
    os.unlink(path)
if mode == "moved":
    os.rename(folder, folder + ".old")
child = os.fork() if mode == "fork" else 0
if child:
    print("ready", child, flush=True)
    os._exit(0)
if mode != "fork":
    print("ready", os.getpid(), flush=True)
time.sleep(99)
"""
READ = """
import fcntl, os, sys, time
file = open(sys.argv[1])
if sys.argv[2] == "lock":
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("ready", os.getpid(), flush=True)
time.sleep(99)
"""


def folder_of(tmp_path):
    folder = tmp_path / "memtomem-1000"
    (folder / "presence").mkdir(parents=True)
    return folder


@linux
@pytest.mark.parametrize("mode", ["plain", "moved", "unlinked"])
def test_holder_counts(start, stand_in, preflight, platform, tmp_path, mode):
    pid = start(stand_in.python, "-c", HOLD, folder_of(tmp_path), mode)
    row = preflight("--json").of(pid)
    if mode == "unlinked" and platform == "portable":  # psutil tells of no file without a name
        assert row == []
        return
    assert [each["evidence"] for each in row] == [["registered"]]
    assert row[0]["role"] == "mcp-server"


@linux
def test_fork_that_inherited_the_lock_counts(start, stand_in, tmp_path, only, in_process):
    """Its parent has ended, so the PID in the name is nobody's: the lock is held all the same."""
    pid = start(stand_in.python, "-c", HOLD, folder_of(tmp_path), "fork")
    only(pid)
    report = in_process("--json")
    if table.system is table.PORTABLE:  # it cannot ask who holds a lock
        assert report.status == 0
    else:
        assert [row["pid"] for row in report.json["processes"]] == [pid]


@linux
def test_holder_in_a_container_counts(world, platform, tmp_path):
    """The PID in the name is the one that it has there: 1."""
    code = """
apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
holder = spawn(*apart, sys.executable, "-c", HOLD, FOLDER, "plain")
result = check("--json")
holder.kill()
holder.wait()
"""
    found = world(code, HOLD=HOLD, FOLDER=str(folder_of(tmp_path)))
    rows = json.loads(found["stdout"])["processes"]
    own = platform == "own"  # the portable table cannot ask for that PID
    assert [row["evidence"] for row in rows] == [["registered"]] * own
    assert found["status"] == own


@linux
@pytest.mark.parametrize("order", [registry.FOLDERS, registry.FOLDERS[::-1]], ids="-".join)
def test_server_that_has_opened_a_database_is_a_server(
    start, stand_in, tmp_path, only, in_process, order
):
    """It has both files open then, and either may come first."""
    code = f"""if True:
        import os, time
        for each in {order!r}:
            os.makedirs(folder := os.path.join({str(folder_of(tmp_path))!r}, each), exist_ok=True)
            os.open(f"{{folder}}/{{os.getpid()}}{TAIL}", os.O_RDWR | os.O_CREAT)
        print("ready", os.getpid(), flush=True)
        time.sleep(99)
    """
    only(start(stand_in.python, "-c", code))
    assert [row["role"] for row in in_process("--json").json["processes"]] == ["mcp-server"]


@linux
@pytest.mark.parametrize("owner, counts", [(0, True), (12345, False)])
def test_lock_file_of_another_user_is_nobodys(root, tmp_path, owner, counts):
    """Anybody can make one of that name, for another's program to open."""
    path = folder_of(tmp_path) / "presence" / f"{os.getpid()}{TAIL}"
    path.touch()
    os.chown(path, owner, owner)
    with open(path):
        found = linux_room.evidence(os.getpid(), DATABASE)
    assert found.registered == (str(path) if counts else "")


@linux
@pytest.mark.parametrize("how", ["read", "lock"])
def test_reader_and_prober_do_not_count(start, stand_in, tmp_path, only, in_process, how):
    """A backup, `grep -r`, or another program that tries whether the lock is held."""
    path = folder_of(tmp_path) / "presence" / f"4711{TAIL}"
    path.touch()
    pid = start(stand_in.python, "-c", READ, path, how)
    only(pid)
    assert in_process("--json").status == 0


@linux
@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_name_of_what_is_no_file(start, stand_in, tmp_path, only, in_process, kind):
    code = f"""if True:
        import os, time
        path = {str(folder_of(tmp_path))!r} + f"/presence/{{os.getpid()}}{TAIL}"
        (os.mkdir if {kind!r} == "folder" else os.mkfifo)(path)
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        print("ready", os.getpid(), flush=True)
        time.sleep(99)
    """
    pid = start(stand_in.python, "-c", code)
    only(pid)
    assert in_process("--json").status == 0


# ---- the folder, where open files cannot be asked ------------------------------------------------


@pytest.mark.parametrize(
    "path, pid",
    [
        ("/tmp/memtomem-0/presence/12" + TAIL, 12),
        ("/run/user/1000/memtomem/instances/12" + TAIL, 12),
        ("C:\\Users\\a\\AppData\\Local\\Temp\\memtomem-0\\presence\\12" + TAIL, 12),
        ("/tmp/memtomem-0/other/12" + TAIL, 0),
        ("/tmp/memtomem-0.old/presence/12" + TAIL, 12),  # moved
        ("/presence/12" + TAIL, 12),  # of a file system that was unmounted lazily
        ("/tmp/memtomem-0/presence/12" + TAIL + ".bak", 0),
        ("/tmp/memtomem-0/presence/x" + TAIL, 0),
        ("/tmp/memtomem-0/presence/99999999999" + TAIL, 0),
        ("/tmp/memtomem-0/presence/12-1-0123-01234567-89abcdef.lock", 0),
        ("12" + TAIL, 0),
        ("", 0),
    ],
)
def test_pid_of_a_lock_file(path, pid):
    assert registry.pid_of(path) == pid


OWN = frozenset({os.getuid()}) if hasattr(os, "getuid") else frozenset()


def test_listed_takes_plain_files_alone(tmp_path):
    folder = folder_of(tmp_path)
    presence = folder / "presence"
    (presence / f"1{TAIL}").touch()
    (presence / "notes.txt").touch()
    (presence / f"2{TAIL}").mkdir()
    (presence / f"3{TAIL}").symlink_to(presence / f"1{TAIL}")
    if hasattr(os, "mkfifo"):
        os.mkfifo(presence / f"4{TAIL}")
    assert set(registry.listed([str(folder)], OWN)) == {1}


def test_listed_follows_no_link(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "presence" / f"1{TAIL}").touch()
    (tmp_path / "memtomem").symlink_to(folder)
    (folder / "instances").symlink_to(folder / "presence")
    assert registry.listed([str(tmp_path / "memtomem")], OWN) == {}
    assert len(registry.listed([str(folder)], OWN)[1]) == 1


@linux
def test_listed_is_of_the_same_user(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "presence" / f"1{TAIL}").touch()
    assert registry.listed([str(folder)], frozenset({os.getuid() + 1})) == {}
    assert registry.listed([str(tmp_path / "not-there")], OWN) == {}


def test_listed_reads_no_more_than_it_can(tmp_path, monkeypatch):
    folder = folder_of(tmp_path)
    for each in range(4):
        (folder / "presence" / f"{each + 1}{TAIL}").touch()
    assert len(registry.listed([str(folder)], OWN)) == 4
    monkeypatch.setattr(registry, "FILES_READ", 3)
    with pytest.raises(Unknown, match="more than 3 files"):
        registry.listed([str(folder)], OWN)


@not_on_windows("takes minutes to make so many files under Wine")
def test_a_hundred_thousand_names_are_read(tmp_path):
    folder = folder_of(tmp_path)
    for each in range(100_000):
        (folder / "presence" / f"{each + 1}{TAIL}").touch()
    assert len(registry.listed([str(folder)], OWN)) == 100_000


@pytest.mark.parametrize(
    "made, started, is_own",
    [
        (100.0, 98.0, True),  # it started, and then made the file
        (100.0, 104.0, True),  # clocks
        (100.0, 106.0, False),  # the PID was used again
        (1e12, 98.0, True),  # a file dated in the future says nothing against
        (100.0, None, False),
    ],
)
def test_whose_a_listed_file_is(made, started, is_own):
    assert bool(registry.registered([("/x", made)], started)) == is_own


@pytest.mark.parametrize("again", [False, True], ids=["its-own", "pid-used-again"])
def test_windows_way(start, stand_in, tmp_path, only, in_process, monkeypatch, again):
    """Where no process is asked what it has open, the name and the time of a file are."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(table, "system", table.system._replace(hides_open_files=True, glance=blind))
    pid = start(stand_in.python, "-c", "import time; print('ready'); time.sleep(99)", ready=False)
    presence = tmp_path / "memtomem" / "presence"
    presence.mkdir(parents=True)
    path = presence / f"{pid}{TAIL}"
    path.touch()
    if again:
        os.utime(path, (1, 1))
    only(pid)
    report = in_process("--json", "--verbose")
    assert report.status == (0 if again else 1)
    if not again:
        [row] = report.json["processes"]
        assert (row["evidence"], row["role"]) == (["registered"], "mcp-server")
        assert row["registered"] == str(path)


def blind(pid, database):
    """As psutil's first look is on Windows, where another program's open files are not told."""
    glance = table.PORTABLE.glance(pid, database)
    return glance and glance._replace(evidence=Evidence())


# ---- the best that is known ----------------------------------------------------------------------

PRESENCE, INSTANCE = (f"/tmp/memtomem-0/{each}/1{TAIL}" for each in registry.FOLDERS)


@pytest.mark.parametrize(
    "command, path, role",
    [
        (None, PRESENCE, "mcp-server"),
        (None, INSTANCE, "library"),
        (None, "", "database"),
        (Command("library", "python x.py"), PRESENCE, "mcp-server"),
        (Command("web", "mm web"), INSTANCE, "web"),
        (Command("mcp-server", "mm serve"), "", "mcp-server"),
    ],
)
def test_best(command, path, role):
    assert registry.best(command, path, "x").role == role


def test_best_is_verified_by_memtomem_itself():
    assert registry.best(Command("web", "mm", verified=False), INSTANCE, "x").verified
    assert not registry.best(Command("web", "mm", verified=False), "", "x").verified


def test_what_registers_hides_nothing():
    seen = Seen(1, 1, 0.0, "ana", "x", "", None, True, Evidence(None, PRESENCE))
    assert not table.hides(seen)
    assert table.hides(seen._replace(evidence=Evidence(None)))
