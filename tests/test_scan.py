"""Real processes: what the check names, what it leaves alone, and from where it is called."""

import datetime
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pytest
from conftest import python_named
from support import (
    PLATFORMS,
    PROGRAMS,
    WINDOWS,
    base_python,
    chain,
    environment,
    is_wine,
    linux,
    not_on_windows,
    until,
    use_platform,
    write_script,
)

BOTH = ["command-line", "database-open"]
LINE = ["command-line"]
OPEN = ["database-open"]
OPEN_FILES = not_on_windows("tells only of Python, and only once SQLite has the -shm in memory")
READY = "import os, time; print('ready', os.getpid(), flush=True)\n"
STAY = f"{READY}time.sleep(120)\n"
LIBRARY = f"import memtomem; connection = memtomem.open_database()\n{STAY}"

# A program that has a database open; and one that says nothing of memtomem in its text.
OPENS = f"""
import sqlite3
connection = sqlite3.connect({{path!r}})
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("SELECT * FROM sqlite_master").fetchall()
{STAY}"""

# What a notebook or a plug-in runs: its import is nowhere in the text of the script.
HIDDEN_LIBRARY = LIBRARY.replace("import memtomem", "memtomem = __import__('mem' + 'tomem')")

# An argv, and its role, command and evidence. {bin} and {python} are the environment's.
SHAPES = {
    "mm-web": ("{bin}/mm web --port 18080", "web", "mm web", BOTH),
    "memtomem": ("{bin}/memtomem web", "web", "memtomem web", BOTH),
    "memtomem-web": ("{bin}/memtomem-web", "web", "memtomem-web", BOTH),
    "mm-web-b": ("{bin}/mm web -b", "web", "mm web", BOTH),
    "mm-shell": ("{bin}/mm shell", "shell", "mm shell", BOTH),
    "mm-index": ("{bin}/mm index --force notes", "index", "mm index", BOTH),
    "mm-ingest": ("{bin}/mm ingest mail", "index", "mm ingest", BOTH),
    "mm-search": ("{bin}/mm search words", "cli", "mm search", BOTH),
    "mm-init": ("{bin}/mm init", "cli", "mm init", LINE),
    "mm-reset": ("{bin}/mm embedding-reset", "embedding-reset", "mm embedding-reset", LINE),
    "server": ("{bin}/memtomem-server", "mcp-server", "memtomem-server", LINE),
    "module": ("{python} -m memtomem.server", "mcp-server", "python -m memtomem.server", LINE),
    "module-clustered": (
        "{python} -X dev -Wignore -uBmmemtomem.server",
        "mcp-server",
        "python -m memtomem.server",
        LINE,
    ),
    "pipx": ("{python} -E {bin}/mm web", "web", "mm web", BOTH),
    "uvicorn": ("{bin}/uvicorn memtomem.web.app:app", "web", "uvicorn memtomem.web.app:app", BOTH),
    "uvicorn-module": (
        "{python} -m uvicorn memtomem.web.app:app",
        "web",
        "uvicorn memtomem.web.app:app",
        BOTH,
    ),
    "cprofile": (
        "{python} -m cProfile -m memtomem.server",
        "mcp-server",
        "python -m memtomem.server",
        LINE,
    ),
}
SHAPES |= {
    "mm-script": ("{python} {bin}/mm-script.py web", "web", "mm web", BOTH),
    "pdb": ("{python} -m pdb -c continue {bin}/mm-script.py index", "index", "mm index", BOTH),
    "case": ("{bin}/MM web", "web", "mm web", BOTH),
    "pythonw": ("{pythonw} -m memtomem.server", "mcp-server", "python -m memtomem.server", LINE),
} if WINDOWS else {
    "pdb": ("{python} -m pdb -c continue {bin}/mm index", "index", "mm index", BOTH),
    "uv-script": ("{bin}/uv-mm/mm web", "web", "mm web", BOTH),
    "long-path": ("{bin}/long-mm/mm web", "web", "mm web", BOTH),
    "link": ("{bin}/link-mm/mm web", "web", "mm web", BOTH),
}  # fmt: skip


def link_folder(target: Path, link: Path) -> None:
    """A link to a folder that any user may make."""
    if WINDOWS:
        import _winapi

        try:
            _winapi.CreateJunction(str(target), str(link))
        except OSError:
            if not is_wine():
                raise
            pytest.skip("Wine makes no links to folders")
    else:
        os.symlink(target, link)


@pytest.fixture(params=PLATFORMS, autouse=True)
def platform(request, monkeypatch) -> str:
    """Every test here runs over this platform's table, and over the portable one."""
    return use_platform(request.param, monkeypatch)


@pytest.fixture(scope="session", autouse=True)
def more_scripts(stand_in):
    """Console scripts as other installers write them, each in a folder of its own."""
    if WINDOWS:
        write_script(stand_in.bin / "mm-script.py", stand_in.python, "memtomem.cli:cli")
        return
    uv, long, link = (stand_in.bin / name for name in ("uv-mm", "long-mm", "link-mm"))
    for folder in (uv, long, link):
        folder.mkdir()
    os.symlink(stand_in.python, uv / "python")
    relative = '"$(dirname -- "$(realpath -- "$0")")"/\'../python\''
    head = "/bin/sh\n'''exec' {} \"$0\" \"$@\"\n' '''"
    write_script(uv / "mm", head.format(relative), "memtomem.cli:cli")
    write_script(long / "mm", head.format(stand_in.python), "memtomem.cli:cli")
    os.symlink(stand_in.program("mm"), link / "mm")


@pytest.fixture
def shape(start, stand_in):
    """Start a row of SHAPES."""

    def shape(name: str, **settings) -> int:
        line = SHAPES[name][0].replace("{python}", stand_in.python)
        line = line.replace("{pythonw}", base_python("pythonw"))
        words = line.split()
        programs = [word.removeprefix("{bin}/") for word in words]
        argv = [
            word if word == program else stand_in.program(program)
            for word, program in zip(words, programs, strict=True)
        ]
        env = {"PYTHONPATH": str(stand_in.library)} if name == "pythonw" else {}
        return start(*argv, env=env, **settings)

    return shape


@pytest.fixture
def mm(start, stand_in):
    """Start the stand-in's `mm`."""
    return lambda *args, **settings: start(stand_in.program("mm"), *args, **settings)


@pytest.fixture
def script(start, stand_in, home):
    """Start Python on a script of the test's."""

    def script(text: str, name: str = "app.py", *args, options=(), **settings) -> int:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return start(stand_in.python, *options, path, *args, **settings)

    return script


def essence(row: dict) -> tuple:
    return (row["pids"], row["role"], row["command"], row["evidence"], row["verified"])


def parent(pid: int) -> int:
    return psutil.Process(pid).ppid()


# ---- launch shapes ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_shape_alone(shape, preflight, database, name):
    pid = shape(name)
    report = preflight("--json")
    assert report.status == 1
    assert report.json["verdict"] == "live"
    assert report.json["database"] == str(database)
    [row] = report.of(pid)
    assert row["pid"] == pid
    assert essence(row) == (chain(pid), *SHAPES[name][1:], True)


def test_all_together(shape, start, script, shell_as, stand_in, preflight):
    """One run of the check names each instance once, with its launcher or its workers."""
    expected = {}
    for name in SHAPES:
        pid = shape(name)
        expected[pid] = (chain(pid), *SHAPES[name][1:], True)

    uvx = shell_as("uv", "tool", 'shift 3\n"$@"\nexit\n', "run(*args[3:])\n")
    pid = start("uv", "tool", "uvx", "--from", "memtomem==0.4.0", "memtomem-server", **uvx)
    expected[pid] = (chain(pid), "mcp-server", "memtomem-server", LINE, True)

    pid = start("uv", "run", "mm", "web", **shell_as("uv", "run"))
    expected[pid] = (chain(pid), "web", "mm web", BOTH, True)

    pid = script(LIBRARY)
    expected[pid] = (chain(pid), "library", "python app.py", BOTH, True)

    worker = start(stand_in.program("uvicorn"), "memtomem.web.app:app", "--workers", "2")
    workers = sorted([worker, start.next_announcement()])
    head = parent(worker)
    expected[head] = ([*chain(head), *workers], "web", "uvicorn memtomem.web.app:app", BOTH, True)

    report = preflight("--json")
    assert report.status == 1
    assert {row["pid"]: essence(row) for row in report.of(*expected, *workers)} == expected


@pytest.mark.parametrize(
    "argv",
    [["uv", "run", "mm", "shell"], ["timeout", "90", "mm", "shell"], ["nohup", "mm", "shell"]],
    ids=lambda argv: argv[0],
)
def test_launcher_and_child_are_one_instance(start, shell_as, preflight, argv):
    """The one who reads `pids` must not think of two instances; nohup becomes its child."""
    as_uv = shell_as("uv", "run") if argv[0] == "uv" else {}
    if not as_uv and WINDOWS:  # whose own timeout is another
        pytest.skip(f"Windows has no {argv[0]} that starts a program")
    if not as_uv and not shutil.which(argv[0]):
        pytest.skip(f"no {argv[0]} here")
    pid = start(*argv, **as_uv)
    pids = chain(pid)
    assert len(pids) >= 3 if WINDOWS else len(pids) == (1 if argv[0] == "nohup" else 2)
    [row] = preflight("--json").of(*pids)
    assert (row["pid"], *essence(row)) == (pid, pids, "shell", "mm shell", BOTH, True)


def test_shell_command_is_a_launcher(start, preflight):
    """cron and many clients start `sh -c 'mm index …'`."""
    pid = start(*(("cmd", "/c", "mm", "index") if WINDOWS else ("sh", "-c", "mm index; exit")))
    [row] = preflight("--json").of(pid)
    assert row["pids"] == chain(pid)
    assert len(row["pids"]) > 1


def test_script_by_relative_path(start, stand_in, preflight):
    """The path is relative to the process's folder, not to the check's."""
    program = ["cmd", "/c", ".\\mm"] if WINDOWS else ["./mm"]
    pid = start(*program, "shell", cwd=stand_in.bin)
    [row] = preflight("--json").of(pid)
    assert essence(row) == (chain(pid), "shell", "mm shell", BOTH, True)


@pytest.fixture
def renamed(start, stand_in):
    """Start Python under another argv[0]."""
    env = {"PYTHONPATH": str(stand_in.library), "PYTHONHOME": sys.base_prefix}
    executable = base_python() if WINDOWS else os.path.realpath(stand_in.python)
    return lambda *argv: start(*argv, executable=executable, env=env)


def test_renamed_argv0(renamed, preflight):
    """`exec -a postgres python -m memtomem.server`: the program's file is still Python."""
    pid = renamed("postgres", "-m", "memtomem.server")
    [row] = preflight("--json").of(pid)
    assert essence(row) == ([pid], "mcp-server", "python -m memtomem.server", LINE, True)


def test_argv0_is_the_script(renamed, stand_in, preflight):
    """A launcher may name the script twice; its text is read, and not the interpreter's."""
    mm = stand_in.program("mm")
    pid = renamed(mm, mm, "shell")
    [row] = preflight("--json").of(pid)
    assert essence(row) == ([pid], "shell", "mm shell", BOTH, True)


@linux
def test_server_title_over_argv(start, stand_in, preflight):
    """gunicorn with setproctitle writes a title over its argv, and zeroes what is left of it."""
    code = (
        "import ctypes\n"
        "stat = open('/proc/self/stat').read().rpartition(')')[2].split()\n"
        "begin, end = map(int, stat[45:47])\n"
        "title = b'gunicorn: master [memtomem.web.app:app]'\n"
        "ctypes.memmove(begin, title.ljust(end - begin, b'\\0'), end - begin)\n"
    )
    pid = start(stand_in.python, "-c", code + STAY)
    assert psutil.Process(pid).cmdline()[0].startswith("gunicorn:")
    [row] = preflight("--json").of(pid)
    assert essence(row)[:4] == ([pid], "web", "gunicorn memtomem.web.app:app", LINE)


def test_stopped_process_is_alive(mm, preflight):
    pid = mm("web")
    psutil.Process(pid).suspend()
    if not WINDOWS:  # Wine does not tell
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "the stop")
    [row] = preflight("--json").of(pid)
    assert row["role"] == "web"
    # Before taskkill, nothing has to be woken.
    assert "-CONT" not in row["stop"] if WINDOWS else f"kill -CONT {pid}" in row["stop"]


@linux
def test_interpreter_that_was_upgraded_since(start, stand_in, home, preflight):
    """Its file is gone, or another by now; the table calls it deleted."""
    python = home / "python3"
    shutil.copy(os.path.realpath(stand_in.python), python)
    env = {"PYTHONPATH": str(stand_in.library), "PYTHONHOME": sys.base_prefix}
    pid = start(python, "-m", "memtomem.server", env=env)
    python.unlink()
    [row] = preflight("--json").of(pid)
    assert essence(row) == ([pid], "mcp-server", "python -m memtomem.server", LINE, True)


@linux
@pytest.mark.parametrize("kind", ["server", "library"])
def test_leader_thread_is_gone(start, stand_in, database, preflight, kind, platform):
    """The table calls it a zombie, while its other threads write on. psutil alone cannot tell."""
    runs = {
        "server": "from memtomem.server import main; main()",
        "library": f"file = open({str(database)!r})\n    print('ready', os.getpid(), flush=True)\n"
        "    time.sleep(99)",
    }
    code = (
        "import ctypes, os, threading, time\n"
        f"def run():\n    time.sleep(0.2)\n    {runs[kind]}\n"
        "threading.Thread(target=run).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    pid = start(stand_in.python, "-c", code)
    if platform == "portable":
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        return
    [row] = preflight("--json").of(pid)
    assert (row["pid"], row["pids"]) == (pid, [pid])
    assert row["role"] == {"server": "mcp-server", "library": "database"}[kind]


@pytest.mark.parametrize("name", ["memory", "renamed.py"])
def test_script_under_another_name(start, stand_in, home, preflight, name):
    """A link, a copy, or what somebody wrote: its text says what it runs."""
    shutil.copy(stand_in.program("mm"), home / name)
    pid = start(stand_in.python, home / name, "web")
    [row] = preflight("--json").of(pid)
    assert essence(row) == (chain(pid), "web", f"{name} web", BOTH, True)


def test_zip_application(start, stand_in, home, preflight):
    """As far as its main file tells."""
    with zipfile.ZipFile(home / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", "from memtomem.server import main\nmain()\n")
    pid = start(stand_in.python, home / "app.pyz")
    [row] = preflight("--json").of(pid)
    assert essence(row) == (chain(pid), "mcp-server", "python app.pyz", LINE, True)


def test_program_that_has_not_opened_the_database_yet(script, preflight):
    pid = script(f"import memtomem\n{STAY}")
    [row] = preflight("--json").of(pid)
    assert essence(row) == (chain(pid), "library", "python app.py", LINE, True)


# ---- the database is open -----------------------------------------------------------------------


@OPEN_FILES
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_each_file_of_the_database_counts(script, preflight, database, suffix):
    path = f"{database}{suffix}"
    Path(path).touch()
    pid = script(f"file = open({path!r})\n{STAY}")
    [row] = preflight("--json").of(pid)
    assert essence(row) == ([pid], "database", "python app.py", OPEN, True)


@OPEN_FILES
@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["link", "hard-link"])
def test_database_by_another_name(script, preflight, database, home, link):
    link(database, home / "other-name")
    pid = script(f"file = open({str(home / 'other-name')!r})\n{STAY}")
    assert preflight("--json").of(pid)[0]["evidence"] == OPEN


def test_database_behind_a_linked_folder(script, preflight, database, home):
    """~/.memtomem is a link to a synced folder for many."""
    shutil.move(home / ".memtomem", home / "synced")
    link_folder(home / "synced", home / ".memtomem")
    pid = script(OPENS.format(path=str(home / "synced" / "memtomem.db")))
    assert preflight("--json").of(pid)[0]["evidence"] == OPEN


@not_on_windows("deletes no file that is open")
def test_database_deleted_and_made_again(script, preflight, database):
    """Its old owner still believes that it has the database."""
    pid = script(LIBRARY)
    database.unlink()
    database.touch()
    assert preflight("--json").of(pid)[0]["evidence"] == BOTH


def test_another_database_does_not_count(script, preflight, home):
    """Same name, another folder; and --db asks for that one."""
    other = home / "elsewhere" / "memtomem.db"
    other.parent.mkdir()
    other.touch()
    pid = script(OPENS.format(path=str(other)))
    assert preflight("--json").of(pid) == []
    assert preflight("--json", "--db", other).of(pid)[0]["evidence"] == OPEN


@pytest.mark.parametrize("source", ["environment", "config.json", "config.d", "--db"])
def test_where_the_database_is(script, preflight, home, source):
    path = home / "elsewhere.db"
    path.touch()
    pid = script(OPENS.format(path=str(path)))
    setting = json.dumps({"storage": {"sqlite_path": "~/elsewhere.db"}})
    env, options = {}, []
    if source == "environment":
        env = {"MEMTOMEM_STORAGE__SQLITE_PATH": str(path)}
    elif source == "--db":
        options = ["--db", path]
    else:
        file = home / ".memtomem" / ("config.d/10.json" if source == "config.d" else source)
        file.parent.mkdir(exist_ok=True)
        file.write_text(setting)
    report = preflight("--json", *options, env=env)
    assert report.json["database"] == str(path)
    assert report.of(pid)[0]["evidence"] == OPEN


def test_first_source_of_the_path_wins(preflight, home):
    """Environment, then config.json, then config.d/, then the default."""
    folder = home / ".memtomem"
    (folder / "config.d").mkdir()

    def database(**env) -> str:
        return preflight("--json", env=env).json["database"]

    def setting(name: str) -> str:
        return json.dumps({"storage": {"sqlite_path": str(home / name)}})

    assert database() == str(folder / "memtomem.db")
    (folder / "config.d" / "10.json").write_text(setting("fragment.db"))
    assert database() == str(home / "fragment.db")
    (folder / "config.json").write_text(setting("config.db"))
    assert database() == str(home / "config.db")
    assert database(MEMTOMEM_STORAGE__SQLITE_PATH="~/env.db") == str(home / "env.db")


def test_notebook(start, stand_in, home, preflight):
    (home / "ipykernel_launcher.py").write_text(HIDDEN_LIBRARY)
    pid = start(stand_in.python, "-m", "ipykernel_launcher", "-f", "kernel.json")
    [row] = preflight("--json").of(pid)
    assert essence(row)[1:4] == ("database", "python -m ipykernel_launcher", OPEN)
    assert "kernel" in row["stop"]


@OPEN_FILES
def test_other_program_with_the_database(start, database, preflight):
    pid = start("tail", "-f", database, ready=False)
    [row] = until(lambda: preflight("--json").of(pid), "tail opening the database")
    assert essence(row)[1:4] == ("database", "tail", OPEN)


SQLITE_STAYS = [".system echo ready $PPID", ".system sleep 99"]


@OPEN_FILES
def test_sqlite_shell(start, database, preflight):
    if not shutil.which("sqlite3"):
        pytest.skip("no sqlite3 here")
    pid = start("sqlite3", database, "select * from sqlite_master", *SQLITE_STAYS)
    [row] = preflight("--json").of(pid)
    assert essence(row)[1:4] == ("database", "sqlite3", OPEN)


# ---- what started it, and what to do ------------------------------------------------------------


@pytest.mark.parametrize("client, name", [("cursor", "Cursor"), ("claude", "Claude Code")])
def test_started_by_a_client(start, shell_as, preflight, client, name):
    """A server that its client starts again: the cure is to quit the client."""
    pid = start(client, "run", "memtomem-server", **shell_as(client, "run"))
    [row] = preflight("--json").of(pid)
    above, *server = chain(pid)
    assert row["started_by"] == {"pid": above, "name": name}
    assert row["stop"].startswith(f"quit {name} (pid {above})")
    assert row["pids"] == server


def test_started_by_a_client_through_uv(start, shell_as, stand_in, preflight):
    """`uvx … memtomem-server` in a client's configuration: the client answers for it, not uv."""
    uv = shell_as("uv", "run")
    program = os.fsdecode(uv["executable"])
    text = f'cd {uv["cwd"]}\n{program} run "$@"\nexit\n'
    python = f"os.chdir({str(uv['cwd'])!r})\nrun({program!r}, 'run', *args)\n"
    pid = start("cursor", "run", "memtomem-server", **shell_as("cursor", "run", text, python))
    [row] = preflight("--json").of(pid)
    above, *below = chain(pid)
    assert row["pids"] == below
    assert row["started_by"] == {"pid": above, "name": "Cursor"}


def test_client_is_also_an_ancestor_of_the_check(start, shell_as, platform):
    """An agent that asks can never get a clear answer, and is told so."""
    text = (
        "memtomem-server > ready &\n"
        "until grep -q ready ready; do sleep 0.02; done; cat ready\n"
        f"{sys.executable} {PROGRAMS[platform]} > report 2>&1; echo $? > status; wait\n"
    )
    python = (
        "server = subprocess.Popen('memtomem-server', stdout=subprocess.PIPE)\n"
        "print(server.stdout.readline().decode(), flush=True)\n"
        f"check = [{sys.executable!r}, {str(PROGRAMS[platform])!r}]\n"
        "done = subprocess.run(check, stderr=open('report', 'wb'))\n"
        "print(done.returncode, file=open('status', 'w'), flush=True)\n"
        "server.wait()\n"
    )
    claude = shell_as("claude", "run", text, python)
    pid = start("claude", "run", **claude)
    status, report = claude["cwd"] / "status", claude["cwd"] / "report"
    until(lambda: status.exists() and status.read_text() == "1\n", "the check")
    words = " ".join(report.read_text().split())
    assert f" {pid} MCP server" in words
    assert "Claude Code started this check too" in words


def test_client_elsewhere_is_no_ancestor(start, shell_as, preflight):
    start("claude", "run", "memtomem-server", **shell_as("claude", "run"))
    assert "started this check too" not in " ".join(preflight().stderr.split())


def test_foreground_mm_web_has_its_own_stop(mm, preflight):
    pid = mm("web")
    [row] = preflight("--json").of(pid)
    assert row["stop"].startswith("mm web stop")


def test_started_is_utc(mm, preflight):
    pid = mm("shell")
    [row] = preflight("--json").of(pid)
    started = datetime.datetime.fromisoformat(row["started"])
    assert started.utcoffset() == datetime.timedelta(0)
    assert abs(started.timestamp() - psutil.Process(pid).create_time()) < 2
    assert row["user"] == psutil.Process(pid).username()


# ---- innocents ----------------------------------------------------------------------------------


def innocents(start, stand_in, home, shell_as) -> dict[str, int]:
    """Start one of each look-alike: its name and PID."""
    python = stand_in.python
    folder = home / "memtomem"
    for name in ("tests", "bin"):
        (folder / name).mkdir(parents=True)
    (folder / "tests" / "test_memtomem.py").write_text(STAY)
    other_mm, pip = folder / "bin" / "mm", folder / "bin" / "pip"
    other_mm.write_text(f"#!{python}\n{STAY}")
    pip.write_text(STAY)
    (folder / "mm.py").write_text(STAY)
    ready = "print('ready', os.getpid(), flush=True)\ntime.sleep(99)\n"
    editor = shell_as("vim", "mm.py", "echo ready $$\nsleep 99\n", ready)
    uv = shell_as(
        "uv", "run", '"$@" 9</dev/null & kill $!; wait\necho ready $$\nsleep 99\n',
        f"subprocess.Popen(args).kill()\n{ready}",
    )  # fmt: skip
    return {
        "another-mm-as-python-runs-it": start(python, other_mm, "index"),
        "editor": start("vim", "mm.py", "memtomem.md", **editor),
        "python-editor": start(python, folder / "mm.py", stand_in.program("mm")),
        "test-runner": start(python, "-m", "runpy", "test_memtomem", cwd=folder / "tests"),
        "unittest": start(python, "-m", "unittest", "test_memtomem", cwd=folder / "tests"),
        "pip-install": start(python, pip, "install", "memtomem"),
        "code-that-names-it": start(python, "-c", f"# import memtomem\nx = 'mm web'\n{STAY}"),
        "stdin": start(python, "-", "-m", "memtomem.server", ready=False),
        "argument": start(python, folder / "mm.py", "-m", "memtomem.server", "mm", "web"),
        "child-gone": start("uv", "run", "mm", "web", **uv),
    } | (innocents_of_windows if WINDOWS else innocents_of_posix)(start, stand_in, home, shell_as)


def innocents_of_posix(start, stand_in, home, shell_as) -> dict[str, int]:
    python, sleep, tail = stand_in.python, shutil.which("sleep"), shutil.which("tail")
    folder = home / "memtomem"
    other_mm, shell_mm = folder / "bin" / "mm", folder / "bin" / "sh" / "mm"
    shell_mm.parent.mkdir()
    shell_mm.write_text("#!/bin/sh\n# not memtomem\necho ready $$\nsleep 99\n")
    for each in (other_mm, shell_mm):
        each.chmod(0o755)
    log = home / ".memtomem" / "memtomem.log"
    log.touch()
    link = folder / "python"
    os.symlink(os.path.realpath(python), link)
    return {
        "another-mm": start(other_mm, "web"),
        "another-mm-in-shell": start(shell_mm, "web"),
        "tail-on-the-log": start(tail, "-f", log, ready=False),
        "grep": start("grep", "memtomem-server", ready=False),
        "python-in-memtomem": start(link, "-c", STAY),
        "renamed-sleep": start("memtomem-server", "99", executable=sleep, ready=False),
        "comment": start("sh", "-c", "sleep 99 # memtomem-server; mm web", ready=False),
    }


def innocents_of_windows(start, stand_in, home, shell_as) -> dict[str, int]:
    """Two of them are called mm.exe: pip's launcher of another script, and a program of 2 MB."""
    folder = home / "memtomem"
    launcher = Path(stand_in.program("mm")).read_bytes()
    other_mm = folder / "bin" / "mm.exe"
    with zipfile.ZipFile(text := io.BytesIO(), "w") as archive:
        archive.writestr("__main__.py", STAY)
    head = launcher[: launcher.rindex(b"#!")] + f'#!"{stand_in.python}"\n'.encode()
    other_mm.write_bytes(head + text.getvalue())
    large = shell_as("mm", "web", python="print('ready', os.getpid(), flush=True)\ntime.sleep(99)")
    with open(large["executable"], "ab") as file:
        file.write(bytes(2 << 20))
    renamed = shell_as("sleeper", "99", python="print('ready', os.getpid(), flush=True)\ninput()")
    return {
        "another-mm": start(other_mm, "web"),
        "another-mm-of-2-mb": start("mm", "web", **large),
        "find": start("findstr", "memtomem-server", ready=False),
        "python-in-memtomem": start(python_named(folder, "python"), "-c", STAY),
        "renamed-sleep": start("memtomem-server", "99", **renamed),
        "comment": start("cmd", "/c", "set /p x= & rem memtomem-server & rem mm web", ready=False),
    }


def test_innocents(start, stand_in, home, shell_as, preflight, only, in_process):
    """None is named; and with these alone in the table the verdict is clear."""
    started = innocents(start, stand_in, home, shell_as)
    rows = preflight("--json").of(*started.values())
    assert [row["command"] for row in rows] == []

    family = [each.pid for pid in started.values() for each in psutil.Process(pid).children(True)]
    only(*started.values(), *family)
    report = in_process()
    assert report.status == 0
    assert report.stdout.startswith("mm-preflight: clear")
    examined = {1, os.getpid(), *started.values(), *family}
    assert f"({len(examined)} examined" in report.stdout
    assert report.stderr == ""


@not_on_windows("has no zombies")
def test_zombie(stand_in, home, preflight, only, in_process):
    """It has ended, though nobody has asked for its exit status."""
    process = subprocess.Popen([stand_in.program("mm"), "web", "-b"], stdout=subprocess.PIPE)
    try:
        daemon = psutil.Process(int(process.stdout.readline().split()[1]))
        zombie = psutil.Process(process.pid)
        until(lambda: zombie.status() == psutil.STATUS_ZOMBIE, "the zombie")
        assert preflight("--json").of(zombie.pid) == []
        only(zombie.pid)
        assert in_process().status == 0
        only(zombie.pid, daemon.pid)
        assert in_process().status == 1
    finally:
        daemon.kill()
        process.wait()
        process.stdout.close()


def test_the_check_itself(database, only, in_process):
    """A program that calls main() may well have the database open."""
    with open(database):
        only()
        assert in_process().status == 0


# ---- called from within -------------------------------------------------------------------------


RUN = """
import json, subprocess, sys, time
done = subprocess.run([sys.executable, sys.argv[1], "--json"], capture_output=True)
report = json.loads(done.stdout) | {"status": done.returncode}
open(sys.argv[2], "w").write(json.dumps(report) + "\\n")
time.sleep(90)
"""


THROUGH = """
import os, subprocess, sys
env = os.environ | {"STAND_IN_RUNS": sys.argv[1]}
sys.exit(subprocess.run(sys.argv[2:], env=env).returncode)
"""


@pytest.fixture
def within(start, home, platform):
    """Run the check from within a program: that program's PID, and the check's report."""

    def within(*argv, through=(), **settings) -> tuple[int, dict]:
        out = home / "out.json"
        runs = [sys.executable, "-c", RUN, str(PROGRAMS[platform]), str(out)]
        if through:
            runs = [sys.executable, "-c", THROUGH, json.dumps(runs), *through]
        pid = start(*argv, env={"STAND_IN_RUNS": json.dumps(runs)}, **settings)
        until(lambda: out.exists() and out.read_text().endswith("\n"), "the check's report")
        return pid, json.loads(out.read_text())

    return within


def named(report: dict, *pids: int) -> list[str]:
    return [row["command"] for row in report["processes"] if set(row["pids"]) & set(pids)]


@pytest.mark.parametrize("launcher", ["alone", "uv", "shell", "sh -c"])
def test_within_embedding_reset(within, shell_as, stand_in, mm, launcher):
    """The reset that asks is not in its own way; another mm process is."""
    server = mm("web")
    reset = [stand_in.program("mm"), "embedding-reset", "--mode", "apply-current"]
    if launcher == "uv":
        pid, report = within("uv", "run", *reset, **shell_as("uv", "run"))
    elif WINDOWS and launcher in ("shell", "sh -c"):
        pid, report = within("cmd", "/k" if launcher == "shell" else "/c", *reset)
    elif launcher == "shell":
        pid, report = within("bash", "run", *reset, **shell_as("bash", "run"))
    elif launcher == "sh -c":
        pid, report = within("sh", "-c", '"$@"; exit', "sh", *reset)
    else:
        pid, report = within(*reset)
    assert report["status"] == 1
    assert named(report, *chain(pid)) == []
    assert named(report, server) == ["mm web"]


def test_within_embedding_reset_beside_another(within, stand_in, mm):
    """Only the reset among its own ancestors is let pass."""
    other = mm("embedding-reset")
    pid, report = within(stand_in.program("mm"), "embedding-reset")
    assert named(report, pid) == []
    assert named(report, other) == ["mm embedding-reset"]


def test_within_shell(within, stand_in):
    """It has the database open, and goes on after the check."""
    pid, report = within(stand_in.program("mm"), "shell")
    assert report["status"] == 1
    assert named(report, pid) == ["mm shell"]


def test_within_server(within, stand_in):
    """An agent's tool that runs inside the MCP server."""
    pid, report = within(stand_in.program("memtomem-server"))
    assert named(report, pid) == ["memtomem-server"]


def test_within_embedding_reset_within_shell(within, stand_in):
    """A shell runs the reset that runs the check: the shell alone is in the way."""
    reset = [stand_in.program("mm"), "embedding-reset"]
    pid, report = within(stand_in.program("mm"), "shell", through=reset)
    family = [each.pid for each in psutil.Process(pid).children(recursive=True)]
    assert len(family) >= 2
    assert named(report, *family) == []
    assert named(report, pid) == ["mm shell"]


@pytest.mark.parametrize("other", [[], ["web"]], ids=["alone", "beside-mm-web"])
def test_in_process(stand_in, start, mm, home, other):
    """`mm embedding-reset` may import the check and call main()."""
    pid = mm(*other) if other else 0
    env = environment(stand_in, home) | {"STAND_IN_IN_PROCESS": "1"}
    reset = [stand_in.program("mm"), "embedding-reset"]
    process = subprocess.Popen(reset, env=env, stdout=subprocess.PIPE)
    report = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == (1 if report["processes"] else 0)
    assert named(report, process.pid) == []
    assert named(report, pid) == ["mm web"] * bool(other)


@pytest.mark.parametrize("runs", ["check", "reset"])
def test_clear_where_nothing_else_runs(world, platform, runs):
    """The answer that lets the reset go on: to the check alone, and to the reset that calls it."""
    result = world(
        "env = os.environ | {'STAND_IN_RUNS': json.dumps([sys.executable, SCRIPT])}\n"
        "argv = {'check': [sys.executable, SCRIPT], 'reset': [MM, 'embedding-reset']}[RUNS]\n"
        "done = subprocess.run(argv, env=env, capture_output=True, text=True)\n"
        "result = [done.returncode, done.stdout, done.stderr]",
        RUNS=runs,
    )
    assert result[0] == 0
    assert "mm-preflight: clear, no live mm process" in result[1]
    linux_alone = sys.platform == "linux" and platform == "own"
    assert ("note: This is a container" in result[1]) == linux_alone
    assert result[2] == ""


# ---- whose --------------------------------------------------------------------------------------


@linux
def test_other_user_is_reported_and_does_not_refuse(start, nobody, shared, preflight):
    pid = start(shared / "mm", "init", **nobody.at(shared))
    report = preflight("--json", env={"HOME": str(shared)})
    assert report.of(pid) == []
    [row] = [row for row in report.json["other_users"] if row["pid"] == pid]
    assert essence(row)[1:4] == ("cli", "mm init", LINE)
    assert row["user"] == "nobody"
    assert "nobody" in row["stop"]


@linux
def test_other_user_alone_leaves_the_verdict_clear(world, nobody, shared):
    result = world(
        "spawn(SHARED + '/mm', 'init', **AT)\nresult = check(env=os.environ | {'HOME': SHARED})",
        SHARED=str(shared),
        AT=nobody.at(shared) | {"cwd": str(shared)},
    )
    assert result["status"] == 0
    assert "Of other users, and not counted:" in result["stdout"]
    assert "nobody" in result["stdout"]


@linux
def test_other_user_who_holds_the_database_counts(start, nobody, shared, preflight):
    code = f"file = open({str(shared / '.memtomem' / 'memtomem.db')!r})\n{STAY}"
    pid = start(nobody.python, "-c", code, **nobody.at(shared))
    [row] = preflight("--json", env={"HOME": str(shared)}).of(pid)
    assert (row["evidence"], row["user"]) == (OPEN, "nobody")


@linux
def test_owner_of_the_database_counts(start, nobody, shared, preflight):
    """`sudo mm-preflight` is about the user's database, and the user's processes."""
    os.chown(shared / ".memtomem" / "memtomem.db", nobody.uid, nobody.uid)
    pid = start(shared / "mm", "init", **nobody.at(shared))
    [row] = preflight("--json", env={"HOME": str(shared)}).of(pid)
    assert (row["command"], row["evidence"]) == ("mm init", LINE)


@linux
def test_root_counts_for_every_user(mm, nobody, shared, preflight, platform):
    """The check of a user sees root's processes in part: what they hold is hidden from it."""
    os.chown(shared / ".memtomem" / "memtomem.db", nobody.uid, nobody.uid)
    pid = mm("web")
    script = nobody.at(shared) | {"script": shared / PROGRAMS[platform].name}
    report = preflight("--json", python=nobody.python, **script)
    [row] = report.of(pid)
    assert (row["command"], row["evidence"]) == ("mm web", LINE)
    assert report.json["uninspected"] > 0


@linux
def test_third_user_does_not_refuse_the_second(start, nobody, shared, preflight, platform):
    third = nobody._replace(uid=1)
    pid = start(shared / "mm", "init", **third.at(shared))
    script = nobody.at(shared) | {"script": shared / PROGRAMS[platform].name}
    report = preflight("--json", python=nobody.python, **script)
    assert report.of(pid) == []
    [row] = [row for row in report.json["other_users"] if row["pid"] == pid]
    assert row["command"] == "mm init"
