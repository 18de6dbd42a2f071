"""What only Windows has: programs by pip and by uv, consoles, a process that denies everything.

Each test here runs on Windows alone. It also runs under Wine, by .ci/windows-under-wine.
"""

import ctypes
import json
import os
import shutil
import struct
import subprocess
import sys
from ctypes import wintypes
from pathlib import Path

import psutil
import pytest
from conftest import reap
from real import CACHE, VERSION, apart, real
from support import (
    SCRIPT,
    SECONDS,
    WINDOWS,
    base_python,
    chain,
    environment,
    free_port,
    is_wine,
    until,
)

__all__ = ["real"]  # the fixture

pytestmark = pytest.mark.skipif(not WINDOWS, reason="needs Windows, or Wine")

BOTH, LINE = ["command-line", "database-open"], ["command-line"]
READY = "import os, time; print('ready', os.getpid(), flush=True)\n"
STAY = f"{READY}time.sleep(120)\n"


# ---- the real memtomem, as pip and as uv install it ---------------------------------------------


@pytest.fixture(scope="session")
def uv(real) -> dict[str, str]:
    """uv, with folders of the tests' own; the real memtomem is its tool `mm`.

    Their names are as a user's may be. What uv installs is kept between runs, as pip's is.
    """
    program = str(Path(sys.executable).parent / "uv.exe")
    tools = CACHE / f"uv {VERSION} für 日本"
    env = os.environ | {
        "UV_TOOL_DIR": str(tools / "tools"),
        "UV_TOOL_BIN_DIR": str(tools / "bin"),
        "UV_LINK_MODE": "copy",
        "UV_PYTHON": real.python,
    }
    if not (tools / "bin" / "mm.exe").exists():
        install = [program, "tool", "install", "--quiet", f"memtomem[web]=={VERSION}"]
        subprocess.run(install, env=env, check=True, timeout=600)
    return env | {"UV": program, "BIN": str(tools / "bin")}


# How it is launched: the argv, where {pip} and {uv} are folders of programs; role and evidence.
LAUNCHED = {
    "uv tool install": ("{uv}\\mm.exe web --port {port}", "web", BOTH),
    "uv tool install, memtomem": ("{uv}\\memtomem.exe shell", "shell", BOTH),
    "uv tool install, server": ("{uv}\\memtomem-server.exe", "mcp-server", LINE),
    "uv tool install, web": ("{uv}\\memtomem-web.exe --port {port}", "web", BOTH),
    "uv tool run": (
        "uv tool run --from memtomem[web]=={version} mm web --port {port}", "web", BOTH,
    ),
    "uvx": ("uvx --from memtomem[web]=={version} memtomem serve", "mcp-server", LINE),
    "uv run": ("uv run --no-project --with memtomem[web]=={version} mm shell", "shell", BOTH),
    "upper case": ("{pip}\\MM.EXE shell", "shell", BOTH),
    "cmd /c": ("cmd /c mm shell", "shell", BOTH),
    "cmd /C": ("cmd /C mm shell", "shell", BOTH),
    "pythonw": ("pythonw -m memtomem.server", "mcp-server", LINE),
    "uvicorn --reload": ("{pip}\\uvicorn.exe memtomem.web.app:app --reload --port {port}", "web",
                         BOTH),
}  # fmt: skip


@pytest.fixture
def launch(real, home, uv):
    """Start a row of LAUNCHED: its process, of which all is ended with the test."""
    started = []
    env = apart(real, home) | {name: value for name, value in uv.items() if name[:3] == "UV_"}
    env |= {name: os.environ[name] for name in ("LOCALAPPDATA", "APPDATA") if name in os.environ}
    env["PATH"] = os.pathsep.join([str(real.bin), str(Path(uv["UV"]).parent), os.environ["PATH"]])
    (home / ".memtomem" / "config.json").write_text("{}")  # without one, mm shell ends
    (home / ".memtomem" / "memtomem.db").unlink()

    def launch(name: str) -> psutil.Process:
        words = {"uv": uv["BIN"], "pip": real.bin, "version": VERSION, "port": free_port()}
        argv = [word.format(**words) for word in LAUNCHED[name][0].split()]
        if argv[0] == "pythonw":
            argv[0] = base_python("pythonw")
        started.append(
            subprocess.Popen(
                argv,
                executable=shutil.which(argv[0], path=env["PATH"]),
                env=env | ({"PYTHONPATH": str(real.library)} if "pythonw" in argv[0] else {}),
                cwd=home,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        return psutil.Process(started[-1].pid)

    yield launch
    reap(started, [])


def below(process: psutil.Process) -> set[int]:
    return {process.pid, *(each.pid for each in process.children(recursive=True))}


@pytest.mark.parametrize("name", LAUNCHED)
def test_real_program(launch, preflight, name):
    """All of it is one instance: launchers, a venv's python.exe, workers."""
    _, role, evidence = LAUNCHED[name]
    process = launch(name)

    def row() -> dict:
        rows = preflight("--json").of(*below(process))
        return rows[0] if len(rows) == 1 and rows[0]["evidence"] == evidence else {}

    found = until(row, f"{name} with {evidence}", seconds=3 * SECONDS)
    assert (found["role"], found["verified"]) == (role, True)
    assert set(found["pids"]) == below(process)
    assert "sudo" not in found["stop"]


def test_workers_whose_master_was_killed(start, stand_in, preflight):
    """They live on and write; nothing in their arguments names memtomem."""
    workers = [start(stand_in.program("uvicorn"), "memtomem.web.app:app", "--workers", "2")]
    workers.append(start.next_announcement())
    psutil.Process(workers[0]).parent().kill()
    until(lambda: psutil.Process(workers[0]).parent() is None, "the end of the master")
    rows = preflight("--json").of(*workers)
    assert {row["pid"] for row in rows} == set(workers)
    assert {row["role"] for row in rows} == {"database"}
    for row in rows:
        subprocess.run(row["stop"].partition("   ")[0], check=True, capture_output=True)
    until(lambda: preflight("--json").of(*workers) == [], "their end")


def test_reset_that_calls_the_check(real, home, preflight):
    """The real reset, with its launcher and its venv's python.exe, is not in its own way."""
    code = (
        "import os, subprocess\n"
        f"done = subprocess.run([{sys.executable!r}, {str(SCRIPT)!r}, '--json'])\n"
        "os._exit(done.returncode)\n"
    )
    (home / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'embedding-reset' in sys.orig_argv and sys.orig_argv[1].endswith('mm.exe'):\n"
        + "".join(f"    {line}\n" for line in code.splitlines())
    )
    env = apart(real, home) | {"PYTHONPATH": str(home)}
    done = subprocess.run(
        [real.program("mm"), "embedding-reset"], env=env, capture_output=True, text=True
    )
    report = json.loads(done.stdout)
    assert [row["command"] for row in report["processes"] if "reset" in row["command"]] == []
    assert done.returncode == (1 if report["processes"] else 0)


READS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE IF NOT EXISTS notes (text)")
connection.execute("SELECT * FROM notes").fetchall()
"""


def test_another_database_of_that_name(start, stand_in, home, database, preflight):
    """Also while both are in use: of a -shm in use, Windows may tell no number."""
    other = home / "other" / database.name
    other.parent.mkdir()
    pids = [start(stand_in.python, "-c", READS + STAY, path) for path in (database, other)]
    report = preflight("--json")
    assert [row["evidence"] for row in report.of(pids[0])] == [["database-open"]]
    assert report.of(pids[1]) == []


def test_database_by_the_prefix_of_long_paths(start, stand_in, database, preflight):
    pid = start(stand_in.python, "-c", READS + STAY, database)
    [row] = preflight("--json", "--db", f"\\\\?\\{database}").of(pid)
    assert row["evidence"] == ["database-open"]


# ---- a process that denies everything -----------------------------------------------------------

DENIES = """
import ctypes, sys
from ctypes import wintypes
api, kernel = ctypes.WinDLL("advapi32"), ctypes.WinDLL("kernel32")
kernel.GetCurrentProcess.restype = wintypes.HANDLE
access = ctypes.create_string_buffer(64)  # a list without an entry: nothing is granted
assert api.InitializeAcl(access, len(access), 2)
if granted := int(sys.argv[1], 16):
    everyone, size = ctypes.create_string_buffer(68), wintypes.DWORD(68)
    assert api.CreateWellKnownSid(1, None, everyone, ctypes.byref(size))
    assert api.AddAccessAllowedAce(access, 2, granted, everyone)
pointers = [ctypes.c_void_p] * 4
api.SetSecurityInfo.argtypes = [wintypes.HANDLE, ctypes.c_int, wintypes.DWORD, *pointers]
assert api.SetSecurityInfo(kernel.GetCurrentProcess(), 6, 4, None, None, access, None) == 0
"""
LIMITED = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION: its program and its user


@pytest.fixture
def unprivileged():
    """Without the privilege to debug, which psutil takes where it may: it looks into everything."""
    api, kernel = ctypes.WinDLL("advapi32"), ctypes.WinDLL("kernel32")
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    luid, token = ctypes.c_longlong(), wintypes.HANDLE()
    assert api.LookupPrivilegeValueW(None, "SeDebugPrivilege", ctypes.byref(luid))
    process = wintypes.HANDLE(kernel.GetCurrentProcess())
    assert api.OpenProcessToken(process, 0x28, ctypes.byref(token))  # to ask, and to adjust

    def adjust(attributes: int) -> None:
        state = struct.pack("<LqL", 1, luid.value, attributes)
        assert api.AdjustTokenPrivileges(token, False, state, 0, None, None)

    adjust(0)
    yield
    adjust(2)  # enabled again, for who has it
    kernel.CloseHandle(token)


@pytest.fixture
def denying(start, unprivileged):
    """A Python that grants no more than this to who looks, and ends when its stdin does."""
    code = f"{DENIES}{READY}sys.stdin.read()"
    return lambda granted=0: start(base_python(), "-c", code, f"{granted:x}")


def test_process_that_denies_everything(denying, preflight, only, in_process):
    """As services do to a user without elevation: it leaves the verdict alone."""
    pid = denying()
    with pytest.raises(psutil.AccessDenied):
        psutil.Process(pid).cmdline()
    assert preflight("--json").json["verdict"] != "unknown"
    only(pid)
    report = in_process("--json")
    assert (report.status, report.json["verdict"]) == (0, "clear")
    assert report.json["uninspected"] == 1


def test_process_that_tells_its_user_alone(denying, only, in_process):
    """A Python of the user's own that may have the database open, and does not show it."""
    pid = denying(LIMITED)
    assert psutil.Process(pid).username() == psutil.Process().username()
    with pytest.raises(psutil.AccessDenied):
        psutil.Process(pid).memory_maps()
    only(pid)
    report = in_process("--json")
    assert (report.status, report.json["verdict"]) == (2, "unknown")
    assert f"process {pid} (python.exe) hides what it does" in report.json["reason"]
    assert report.json["reason"].endswith("or use an administrator's terminal")
    assert report.json["uninspected"] == 1


def test_process_beside_one_that_denies_everything(denying, start, stand_in, preflight):
    denying()
    pid = start(stand_in.program("mm"), "web")
    [row] = preflight("--json").of(pid)
    assert row["command"] == "mm web"


def test_system_by_its_sid():
    """In every language: what psutil calls the user of Windows' own processes."""
    from mm_preflight.windows import system_account

    domain, _, name = system_account().partition("\\")
    assert domain
    assert name
    if is_wine():
        assert (domain, name) == ("NT AUTHORITY", "SYSTEM")


# ---- names, consoles, signals -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Zoë Müller", "山田 太郎", "a & b (c)'s"])
def test_profile_with_any_name(start, stand_in, home, preflight, name):
    """A blank, an umlaut, another script: in the home folder and in the program's path."""
    profile = home / name
    shutil.copytree(home / ".memtomem", profile / ".memtomem")
    mm = profile / "mm.exe"
    shutil.copy(stand_in.program("mm"), mm)
    env = {"HOME": str(profile), "USERPROFILE": str(profile)}
    pid = start(mm, "web", env=env)
    report = preflight("--json", env=env)
    assert report.json["database"] == str(profile / ".memtomem" / "memtomem.db")
    [row] = report.of(pid)
    assert (row["pids"], row["command"], row["evidence"]) == (chain(pid), "mm web", BOTH)
    assert row["verified"] is True


def test_ctrl_c(stand_in, home):
    """As the console's handler raises it in the main thread, in the middle of a look."""
    code = (
        "import _thread, os, sys, threading\n"
        f"sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "import mm_preflight, psutil\n"
        "def pids():\n"
        "    _thread.interrupt_main()\n"
        "    threading.Event().wait()\n"
        "psutil.pids = pids\n"
        "sys.exit(mm_preflight.main(sys.argv[1:]))\n"
    )
    for options in ([], ["--json"], ["--wait", "60"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *options],
            env=environment(stand_in, home),
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_elevation_is_not_called_as_on_unix(denying, start, stand_in, preflight):
    denying()
    pid = start(stand_in.program("mm"), "web")
    for options in ([], ["--json"], ["--verbose"]):
        report = preflight(*options)
        assert str(pid) in report.stdout + report.stderr
        assert "sudo" not in report.stdout + report.stderr


def test_what_cannot_be_seen_is_said_once(only, in_process):
    only()
    assert in_process().stdout.count("a SQLite shell is not seen") == 1
    assert in_process("--json").json["blind_spots"] == ["open-files"]


# ---- mm-preflight -- COMMAND --------------------------------------------------------------------

TOUCHES = "open('started', 'w').close()"


def test_command_is_found_as_windows_finds_it(only, in_process, stand_in, home, monkeypatch):
    """`mm`, without its .exe; and a batch file."""
    monkeypatch.setenv("PATH", f"{stand_in.bin}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_RUNS", json.dumps([sys.executable, "-c", TOUCHES]))
    monkeypatch.chdir(home)
    only()
    assert in_process("--", "mm", "embedding-reset").status == 0
    assert (home / "started").exists()
    (home / "five.bat").write_text("@exit /b 5\n")
    assert in_process("--", home / "five.bat").status == 5
    assert in_process("--", "no-such-program").status == 127
