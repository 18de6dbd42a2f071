"""What the check prints: for people, as JSON, while it waits; and the exit statuses it promises."""

import datetime
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mm_preflight import __version__, look, table
from mm_preflight.argv import library_user
from mm_preflight.look import check
from mm_preflight.records import BLIND_SPOTS, EXIT_CODES, Result, Unknown
from mm_preflight.report import visible, write
from support import (
    SCRIPT,
    SECONDS,
    WINDOWS,
    environment,
    linux,
    not_on_windows,
    start_in_foreground,
    until,
)

SECRET = "sk-live-0123456789"
STAY = "import os, time; print('ready', os.getpid(), flush=True); time.sleep(120)\n"
LIBRARY = f"import memtomem; connection = memtomem.open_database()\n{STAY}"

# ---- secrets ------------------------------------------------------------------------------------

# Every place of an argv where a key may stand; {s} is the key.
SECRETIVE = {
    "server": "memtomem-server --api-key {s}",
    "server-joined": "memtomem-server --api-key={s}",
    "bare-word": "mm {s}",
    "before-the-command": "mm --api-key {s} web",
    "behind-the-command": "mm web --token {s} {s}",
    "index": "mm index {s}",
    "module": "{python} -m memtomem.server --api-key {s}",
    "module-name": "{python} -m memtomem.server --module={s}",
    "option-value": "{python} -X {s} -W ignore::{s} -m memtomem.server",
    "daemon": ["{python}", "-c", "from memtomem.cli import cli; cli()", "web", "--key", "{s}"],
    "code": ["{python}", "-c", "key = '{s}'\nfrom memtomem.server import main; main()"],
    "uvicorn": "uvicorn memtomem.web.app:app --key {s}",
    "library": "{python} app.py --key {s}",
    "library-code": ["{python}", "-c", f"key = '{{s}}'\n{LIBRARY}"],
    "launcher": "uv run --index https://ana:{s}@host mm shell",
    "shell": "cmd /c mm shell {s}" if WINDOWS else "sh -c 'KEY={s} mm shell {s}; exit'",
}


@pytest.fixture
def secretive(start, stand_in, home, shell_as):
    """Start a row of SECRETIVE."""

    def secretive(name: str) -> int:
        (home / "app.py").write_text(LIBRARY)
        argv = SECRETIVE[name]
        argv = shlex.split(argv) if isinstance(argv, str) else argv
        argv = [arg.replace("{s}", SECRET).replace("{python}", stand_in.python) for arg in argv]
        if argv[0] == "uv":
            uv = shell_as("uv", "run", 'shift 2\n"$@"\nexit\n', "run(*args[2:])\n")
            return start(*argv, **uv)
        return start(*argv)

    return secretive


@pytest.mark.parametrize("name", SECRETIVE)
def test_secrets_stay_secret(secretive, preflight, name):
    pid = secretive(name)
    report = preflight("--json")
    assert len(report.of(pid)) == 1
    text = preflight()
    assert str(pid) in text.stderr
    for stream in (report.stdout, report.stderr, text.stdout, text.stderr):
        assert SECRET not in stream
    if name not in ("launcher", "shell"):
        assert SECRET in " ".join(preflight("--json", "--verbose").of(pid)[0]["argv"])
        assert SECRET in preflight("--verbose").stderr


def test_secrets_of_a_client_and_of_a_database(start, shell_as, home, preflight):
    """A client's arguments hold keys too; only its name is shown."""
    pid = start("cursor", "run", "memtomem-server", SECRET, **shell_as("cursor", "run"))
    for options in ([], ["--json"]):
        report = preflight(*options)
        assert str(pid) in report.stdout + report.stderr
        assert SECRET not in report.stdout + report.stderr


TITLED = """if True:
    import ctypes, os, sys, time
    file = open(sys.argv[1])
    stat = open("/proc/self/stat").read().rpartition(")")[2].split()
    begin, end = map(int, stat[45:47])
    title = sys.argv[2].encode()
    ctypes.CDLL(None).prctl(15, title[:15])
    print("ready", os.getpid(), flush=True)
    ctypes.memmove(begin, title.ljust(end - begin, b"\\0"), end - begin)
    if sys.argv[4:]:
        import subprocess
        subprocess.run(sys.argv[4:], stdin=subprocess.DEVNULL)
    time.sleep(99)
"""
TITLES = {
    "one-string": "notes-and-agents --api-key {s}",
    "colon": "celery-worker-1: {s}",
    "npm": "npm start -- -k {s}",
    "address": "node app.js --url https://h/{s}",
    "assignment": "perl worker --dsn=mysql://h/{s}",
    "quote": "python-agent --url '/x/{s}'",
    "bracket": "ruby: puma 6.0 (tcp://u:p@h/{s}) [x]",
    "no-blank": "php-fpm:/x/{s}",
}


@linux
@pytest.mark.parametrize("name", TITLES)
def test_secrets_in_a_title(start, stand_in, home, database, preflight, name):
    """psutil lengthens a name of 15 characters by all of argv[0], which may be a whole title."""
    title = TITLES[name].format(s=SECRET)
    pid = start(stand_in.python, "-c", TITLED, database, title, "x" * 200)
    until(lambda: title in " ".join(psutil.Process(pid).cmdline()), "its title")
    for options in ([], ["--json"]):
        report = preflight(*options)
        assert str(pid) in report.stdout + report.stderr
        assert SECRET not in report.stdout + report.stderr


@linux
@pytest.mark.parametrize("name", TITLES)
def test_secrets_in_the_title_of_who_started_it(start, stand_in, home, database, preflight, name):
    title = TITLES[name].format(s=SECRET)
    words = [stand_in.python, "-c", LIBRARY]
    above = start(stand_in.python, "-c", TITLED, database, title, "x" * 200, *words)
    until(lambda: psutil.Process(above).children(), "what it starts")
    for options in ([], ["--json"]):
        report = preflight(*options)
        assert str(psutil.Process(above).children()[0].pid) in report.stdout + report.stderr
        assert SECRET not in report.stdout + report.stderr


@pytest.mark.parametrize("words", ["-m {s}", "x/{s}.py"])
def test_secrets_in_a_title_that_psutil_split(words):
    argv = ["worker", *words.format(s=SECRET).split()]
    assert library_user(argv, "python3") == "python3"


def test_secrets_in_folders_and_the_environment(start, stand_in, home, preflight):
    """Of a script only its own name is shown, and nothing of its folder or its environment."""
    folder = home / SECRET
    folder.mkdir()
    (folder / "app.py").write_text(LIBRARY)
    env = {"API_KEY": SECRET, "MEMTOMEM_EMBEDDING__API_KEY": SECRET}
    pid = start(stand_in.python, folder / "app.py", cwd=folder, env=env)
    for options in ([], ["--json"]):
        report = preflight(*options)
        assert str(pid) in report.stdout + report.stderr
        assert SECRET not in report.stdout + report.stderr


# ---- text ---------------------------------------------------------------------------------------


@given(st.text(), st.integers(10, 100))
def test_visible_is_printable(text, limit):
    shown = visible(text, limit)
    assert shown.isprintable()
    assert bool(shown) == bool(text)
    if text.isprintable() and len(text) <= limit:
        assert shown == text
    if len(text) > limit:
        assert "…" in shown


def test_report_fits_80_columns(start, stand_in, shell_as, home, preflight):
    """Rows, advice and notes; only --verbose and long paths may be wider."""
    (home / "app.py").write_text(LIBRARY)
    long = "a-script-with-quite-a-long-name-that-would-fill-the-line-all-alone-if-it-were-shown.py"
    (home / long).write_text(LIBRARY)
    pids = [
        start("mm", "embedding-reset"),
        start("memtomem-server"),
        start("uvicorn", "memtomem.web.app:app"),
        start(stand_in.python, "app.py"),
        start(stand_in.python, long),
        start(stand_in.python, "-c", LIBRARY),
        start("antigravity", "run", "mm", "shell", **shell_as("antigravity", "run")),
        start("a-client-with-a-long-name", "r", "mm", **shell_as("a-client-with-a-long-name", "r")),
    ]
    psutil.Process(pids[0]).suspend()
    report = preflight()
    assert report.stdout == ""
    lines = report.stderr.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert lines[0] == f"mm-preflight: refused, {len(rows(lines))} mm processes are alive"
    assert set(map(str, pids)) <= {row.split()[0] for row in rows(lines)}
    assert sum("stop it:" in line for line in lines) == len(rows(lines))
    assert "Stop them, then run this again." in lines


def rows(lines: list[str]) -> list[str]:
    return [line for line in lines if re.match(r"  \d+ ", line)]


UNKNOWN = {
    "usage": (["--nope"], {}),
    "usage-wait": (["--wait", "soon"], {}),
    "table": ([], {"pids": set}),
    "directory": (["--db", "/"], {}),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_fits_80_columns(in_process, monkeypatch, name):
    options, patches = UNKNOWN[name]
    for call, fails in patches.items():
        monkeypatch.setattr(table, call, fails)
    report = in_process(*options)
    assert report.status == 2
    assert report.stdout == ""
    assert report.stderr.startswith("mm-preflight: unknown, refused: ")
    assert [line for line in report.stderr.splitlines() if len(line) > 80] == []


def test_unknown_with_psutil_missing_fits_80_columns(in_process, monkeypatch):
    monkeypatch.setattr(table, "psutil", None)
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    report = in_process()
    assert report.status == 2
    assert [line for line in report.stderr.splitlines() if len(line) > 80] == []


@linux
def test_unknown_with_hidden_python_fits_80_columns(in_process, only, monkeypatch, start, stand_in):
    pid = start(stand_in.python, "-c", STAY)
    only(pid)
    real = os.listdir

    def fails(path):
        if str(path).startswith(f"/proc/{pid}/fd"):
            raise PermissionError(13, "denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", fails)
    report = in_process()
    assert report.status == 2
    assert str(pid) in report.stderr
    assert [line for line in report.stderr.splitlines() if len(line) > 80] == []


def test_quiet(start, preflight, only, in_process):
    pid = start("mm", "init")
    assert preflight("--quiet") == (1, "", "")
    only(pid)
    assert in_process("--quiet") == (1, "", "")
    only()
    assert in_process("--quiet") == (0, "", "")


def test_verbose_shows_evidence_and_arguments(start, preflight, database):
    pid = start("mm", "web", "--port", "18080")
    text = preflight("--verbose").stderr
    row = text[text.index(f"  {pid} ") :]
    assert "evidence: command-line, database-open" in row
    assert "web --port 18080" in row
    assert f"database: {database}" in text


def test_one_process_is_not_many(start, only, in_process):
    pid = start("mm", "init")
    only(pid)
    text = in_process().stderr
    assert text.startswith("mm-preflight: refused, 1 mm process is alive\n")
    assert "Stop it, then run this again." in text


# ---- JSON ---------------------------------------------------------------------------------------

# The contract's example: keys in their order, and the types a value may have.
REPORT = {
    "schema_version": int,
    "verdict": str,
    "reason": (str, type(None)),
    "database": (str, type(None)),
    "examined": int,
    "uninspected": int,
    "other_users": list,
    "blind_spots": list,
    "processes": list,
}
PROCESS = {
    "pid": int,
    "pids": list,
    "role": str,
    "command": str,
    "evidence": list,
    "verified": bool,
    "user": (str, type(None)),
    "started": (str, type(None)),
    "started_by": (dict, type(None)),
    "terminal": (str, type(None)),
    "stop": str,
}
ROLES = {"web", "mcp-server", "index", "shell", "embedding-reset", "cli", "library", "database"}


def assert_shape(report: dict, verbose: bool = False) -> None:
    assert_types(report, REPORT)
    assert report["schema_version"] == 1
    assert report["verdict"] in {"clear", "live", "unknown"}
    assert (report["reason"] is None) == (report["verdict"] != "unknown")
    assert (report["processes"] != []) == (report["verdict"] == "live")
    assert set(report["blind_spots"]) <= set(BLIND_SPOTS)
    for process in report["processes"] + report["other_users"]:
        assert_types(process, PROCESS | ({"argv": list, "registered": str} if verbose else {}))
        assert process["pid"] in process["pids"]
        assert process["role"] in ROLES
        assert set(process["evidence"]) <= {"command-line", "registered", "database-open"}
        assert process["evidence"]
        if process["started_by"]:
            assert_types(process["started_by"], {"pid": int, "name": str})
        if process["started"]:
            assert datetime.datetime.fromisoformat(process["started"]).tzinfo is not None


def assert_types(found: dict, expected: dict) -> None:
    assert list(found) == list(expected)
    wrong = {key: found[key] for key, kind in expected.items() if not isinstance(found[key], kind)}
    assert wrong == {}


@pytest.mark.parametrize("verbose", [False, True], ids=["brief", "verbose"])
def test_json_live(start, shell_as, home, stand_in, preflight, verbose):
    (home / "app.py").write_text(LIBRARY)
    start("mm", "web")
    start("memtomem-server", "--api-key", SECRET)
    start(stand_in.python, "app.py")
    start("cursor", "run", "memtomem-server", **shell_as("cursor", "run"))
    report = preflight("--json", *["--verbose"] * verbose)
    assert report.status == 1
    assert report.stderr == ""
    assert report.stdout.isascii()
    assert len(report.json["processes"]) >= 4
    assert_shape(report.json, verbose)


def test_json_clear(only, in_process):
    only()
    report = in_process("--json")
    assert report.status == 0
    assert report.stderr == ""
    assert_shape(report.json)
    assert report.json["examined"] == len({1, os.getpid()})


USAGE = {
    "option": ["--json", "--nope"],
    "option-before": ["--nope", "--json"],
    "word": ["--json", "word"],
    "wait-word": ["--json", "--wait", "soon"],
    "wait-negative": ["--json", "--wait=-1"],
    "wait-nan": ["--json", "--wait", "nan"],
    "wait-infinite": ["--json", "--wait", "inf"],
    "wait-without-value": ["--json", "--wait"],
    "db-without-value": ["--json", "--db"],
    "abbreviated": ["--json", "--verb"],
    "nasty": ["--json", "--\x1b[2J\u202e\udcff"],
}


@pytest.mark.parametrize("name", USAGE)
def test_json_usage_error(in_process, name):
    report = in_process(*USAGE[name])
    assert report.status == 2
    assert_shape(report.json)
    assert report.json["verdict"] == "unknown"
    assert "--help" in report.json["reason"]
    assert "unknown" in report.stderr
    assert {each for each in report.stderr if not each.isprintable()} <= {"\n"}


def test_json_unknown(in_process, monkeypatch):
    monkeypatch.setattr(table, "pids", set)
    report = in_process("--json")
    assert report.status == 2
    assert_shape(report.json)


def test_json_without_psutil(in_process, monkeypatch):
    monkeypatch.setattr(table, "psutil", None)
    report = in_process("--json")
    assert report.status == 2
    assert_shape(report.json)
    assert "pip install psutil" in report.json["reason"]


def test_result_of_check_from_python(only, home):
    only()
    assert check().verdict == "clear"
    assert check(option=str(home / "missing.db")).verdict == "unknown"
    assert issubclass(Unknown, Exception)


# ---- exit statuses and options ------------------------------------------------------------------


def verdicts(text: str) -> dict[int, str]:
    """Exit status and verdict from lines like `| 0 | clear | …` or `0  clear: …`."""
    cells = (re.findall(r"[\w-]+", line) for line in text.splitlines())
    return {int(words[0]): words[1] for words in cells if len(words) > 1 and words[0].isdecimal()}


def test_exit_statuses_agree(in_process):
    """--help and the code tell the same: each status with its verdict."""
    code = {0: "clear", 1: "live", 2: "unknown"}
    table = verdicts("\n".join(f"{status} {text}" for status, text in EXIT_CODES.items()))
    assert {status: table[status] for status in code} == code
    report = in_process("--help")
    assert report.status == 0
    assert verdicts(report.stdout.partition("exit status:")[2]) == table
    for status, text in EXIT_CODES.items():
        assert f"{status}  {text}" in report.stdout


def test_help_fits_80_columns(in_process, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert [line for line in in_process("--help").stdout.splitlines() if len(line) > 80] == []


def test_version(preflight, in_process):
    report = in_process("--version")
    assert (report.status, report.stderr) == (0, "")
    assert report.stdout == f"mm-preflight {__version__}\n"
    assert preflight("--version") == report


def test_main_returns_and_never_exits(only, in_process):
    """mm embedding-reset calls it, and goes on after it."""
    only()
    assert [in_process(*options).status for options in ([], ["--help"], ["--no"])] == [0, 0, 2]


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "cp1252"])
def test_write_to_any_encoding(tmp_path, encoding):
    with open(tmp_path / "out", "w", encoding=encoding) as stream:
        write(stream, "naïve 日本\n")
    assert (tmp_path / "out").read_text(encoding=encoding).startswith("na")


# ---- --wait -------------------------------------------------------------------------------------


class Clock:
    """Time that passes only where it is slept; `looks` says when what is found changes."""

    def __init__(self, monkeypatch, looks: list[tuple[float, str]]):
        self.now = 1000.0
        self.looks = looks
        self.count = 0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)
        monkeypatch.setattr(look, "check", lambda option, silent: self.check(option))

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += max(seconds, 0.001)

    def check(self, option=None):
        self.count += 1
        self.now += 0.1
        since = self.now - 1000.0
        verdict = [verdict for start, verdict in self.looks if start <= since][-1]
        reason = "because" if verdict == "unknown" else None
        return Result(verdict, reason)

    @property
    def passed(self) -> float:
        return self.now - 1000.0


@pytest.mark.parametrize(
    "looks, seconds, expected, passed",
    [
        ([(0, "clear")], "0", 0, 3.0),
        ([(0, "clear")], "30", 0, 3.0),
        ([(0, "live"), (5, "clear")], "30", 0, 8.0),
        ([(0, "live"), (5, "clear"), (6, "live"), (9, "clear")], "30", 0, 12.0),
        ([(0, "clear"), (2.5, "live"), (3, "clear")], "30", 0, 6.0),
        ([(0, "clear"), (2.5, "unknown"), (3, "clear")], "30", 0, 6.0),
        ([(0, "live")], "7", 1, 7.0),
        ([(0, "live")], "0", 1, 0.0),
        ([(0, "unknown")], "7", 2, 7.0),
        ([(0, "live"), (6, "clear"), (7.5, "live")], "7", 1, 7.5),
    ],
    ids=[
        "clear-at-once",
        "clear-before-the-end",
        "becomes-clear",
        "restarts",
        "restarts-within-3-s",
        "unknown-for-a-moment",
        "time-over",
        "no-time",
        "unknown",
        "restarts-after-the-end",
    ],
)
def test_wait(monkeypatch, in_process, looks, seconds, expected, passed):
    """Clear for 3 s in a row: a supervisor starts its server again within a second or so."""
    clock = Clock(monkeypatch, looks)
    report = in_process("--wait", seconds, "--quiet")
    assert report.status == expected
    assert passed <= clock.passed <= passed + 1.2
    assert clock.count < 200


WAITS = """
servers = [spawn(os.path.join(os.path.dirname(MM), 'memtomem-server')), spawn(MM, 'shell')]
waiting = subprocess.Popen([sys.executable, SCRIPT, '--wait', '30'], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True)
for server in servers:
    time.sleep(0.3)
    server.kill()
    server.wait()
killed = time.monotonic()
stdout, stderr = waiting.communicate(timeout=30)
result = [waiting.returncode, stdout, stderr, time.monotonic() - killed]
"""


def test_wait_becomes_clear(world):
    """Not on a terminal it holds its peace until the end."""
    status, stdout, stderr, seconds = world(WAITS)
    assert status == 0
    assert stdout.startswith("mm-preflight: clear")
    assert stderr == ""
    assert 3.0 <= seconds < SECONDS / 4


def test_wait_time_over(start, preflight):
    pid = start("mm", "shell")
    begin = time.monotonic()
    report = preflight("--wait", "1", "--json")
    assert 1 <= time.monotonic() - begin < 5
    assert report.status == 1
    assert report.of(pid)[0]["command"] == "mm shell"
    assert report.stderr == ""


TERMINAL = not_on_windows("has no pty in Python; there --wait shows no list")


@pytest.fixture
def on_terminal(home, stand_in):
    """Run the check with a pseudo-terminal as its standard error."""
    import pty

    main, other = pty.openpty()
    runs = []

    def on_terminal(*options, **env):
        argv = [sys.executable, SCRIPT, *options]
        env = environment(stand_in, home) | {"TERM": "xterm"} | env
        pipes = {"stderr": other, "stdout": subprocess.PIPE}
        runs.append(start_in_foreground(argv, env=env, **pipes))
        return runs[-1], main

    yield on_terminal
    for run in runs:
        run.kill()
        run.wait()
        run.stdout.close()
    os.close(main)
    os.close(other)


class Screen:
    """What a terminal shows, as far as the check uses it: lines, up and clear."""

    def __init__(self, terminal: int):
        self.terminal = terminal
        self.text = ""

    @property
    def lines(self) -> list[str]:
        while select.select([self.terminal], [], [], 0)[0]:
            self.text += os.read(self.terminal, 65536).decode()
        lines: list[str] = []
        for part in re.split(r"(\x1b\[\d+F\x1b\[J)", self.text.replace("\r\n", "\n")):
            if match := re.fullmatch(r"\x1b\[(\d+)F\x1b\[J", part):
                lines = lines[: len(lines) - int(match[1])]
            else:
                assert "\x1b" not in part
                lines += part.splitlines()
        return lines

    def shows(self, pid: int, where: str = "") -> bool:
        return any(re.search(rf"^{where}.*\b{pid}\b", line) for line in self.lines)


@TERMINAL
def test_wait_on_a_terminal_shows_the_list_shrinking(start, kill, on_terminal):
    first, second = start("mm", "web"), start("memtomem-server")
    run, terminal = on_terminal("--wait", "60")
    screen = Screen(terminal)
    live = "waiting for"
    until(lambda: screen.shows(first, live) and screen.shows(second, live), "both")
    assert "stop it: mm web stop" in "\n".join(screen.lines)  # the report stands above, once
    assert all(len(line) <= 80 for line in screen.lines)
    kill(first)
    until(lambda: not screen.shows(first, live), "the first to go")
    assert screen.shows(second, live)
    kill(second)
    until(lambda: not screen.shows(second, live), "the second to go")
    run.send_signal(signal.SIGINT)
    assert run.wait(10) in (130, 0)


@TERMINAL
def test_wait_on_a_dumb_terminal_says_nothing(start, on_terminal):
    pid = start("mm", "web")
    run, terminal = on_terminal("--wait", "0.5", TERM="dumb")
    assert run.wait(20) == 1
    text = Screen(terminal)
    assert text.lines[0].startswith("mm-preflight: refused")
    assert text.shows(pid)


@TERMINAL
def test_wait_interrupted(start, on_terminal):
    pid = start("mm", "web")
    run, terminal = on_terminal("--wait", "60")
    screen = Screen(terminal)
    until(lambda: screen.shows(pid), "the process")
    run.send_signal(signal.SIGINT)
    assert run.wait(10) == 130
    assert not any("Traceback" in line for line in screen.lines)
