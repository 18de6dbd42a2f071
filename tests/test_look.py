"""One look, over a table that a test makes up: what is looked at twice, what counts, is told."""

import io
import os
import time

import psutil
import pytest
from mm_preflight import instances, look, registry, scan, table, users
from mm_preflight.database import leads_to
from mm_preflight.records import Database, Evidence, Files, Seen
from support import PLATFORMS, linux, until, use_platform

STAY = "import time\nprint('ready', __import__('os').getpid(), flush=True)\ntime.sleep(99)\n"
IMPORTS = f"import memtomem\n{STAY}"
SERVER = ["/venv/bin/python", "-m", "memtomem.server"]


@pytest.fixture(params=PLATFORMS)
def platform(request, monkeypatch) -> str:
    return use_platform(request.param, monkeypatch)


def seen(pid: int = 7, **fields) -> Seen:
    plain = {"thread": pid, "started": 1.0, "user": "ana", "name": "python", "exe": "/bin/python"}
    return Seen(pid=pid, **plain | {"argv": SERVER, "python": True} | fields)


def test_what_starts_during_the_look_is_looked_at(start, stand_in, in_process, monkeypatch, home):
    (home / "app.py").write_text(IMPORTS)
    pid = start(stand_in.python, home / "app.py")
    looks = []

    def pids() -> set[int]:
        looks.append(1)
        return {1, os.getpid(), *([pid] if len(looks) > 1 else [])}

    monkeypatch.setattr(table, "pids", pids)
    report = in_process("--json")
    assert [row["pid"] for row in report.json["processes"]] == [pid]


def test_kernel_thread_is_not_called_hidden(in_process, monkeypatch):
    """It has no argv, and nothing to hide; a process that hides its argv is counted."""
    rows = {
        5: seen(5, argv=[], name="kworker/0:1", exe="", python=False, user="root"),
        6: seen(6, argv=None, name="x", exe="/bin/x", python=False, user="nobody"),
    }
    monkeypatch.setattr(table, "pids", lambda: {1, os.getpid(), *rows})
    monkeypatch.setattr(table, "look_at", lambda pid, database: rows.get(pid))
    report = in_process("--json")
    assert (report.status, report.json["uninspected"]) == (0, 1)


@pytest.mark.parametrize(
    "hangs, expected",
    [("ana", ("unknown", 0)), ("bob", ("clear", 0)), ("", ("clear", 1))],
    ids=["own file", "another's file", "none"],
)
def test_verdict_where_a_file_does_not_answer(in_process, monkeypatch, hangs, expected):
    """One's own may be memtomem, whatever else is known by then; another's does not count."""
    rows = {
        5: seen(5, user="bob"),
        6: seen(6, user="ana", argv=["python", "/m/job.py"]),
        7: seen(7, user="bob", argv=["python", "/m/job.py"]),
    }

    def read(path: str, user: str) -> bytes:
        if user == hangs:
            time.sleep(99)
        return b"1"

    def reader(each: Seen, *_) -> Files:
        return Files(lambda path: read(path, each.user), lambda path: True)

    monkeypatch.setattr(table, "pids", lambda: {os.getpid(), *rows})
    monkeypatch.setattr(table, "look_at", lambda pid, database: rows.get(pid))
    monkeypatch.setattr(table, "is_alive", lambda each: True)
    monkeypatch.setattr(users, "users", lambda database: frozenset({"ana"}))
    monkeypatch.setattr(scan, "reader", reader)
    monkeypatch.setattr(look, "SCAN_SECONDS", 3.0 if hangs else 8.0)
    found = in_process("--json").json
    assert (found["verdict"], len(found["other_users"])) == expected


@linux
def test_database_that_was_deleted_while_open(start, stand_in, preflight, database):
    """A new file of that name is another one; who holds the old one goes on writing there."""
    code = f"file = open({str(database)!r})\n{STAY}"
    pid = start(stand_in.python, "-c", code)
    database.unlink()
    database.touch()
    assert [row["evidence"] for row in preflight("--json").of(pid)] == [["database-open"]]


def test_folder_with_a_main(start, stand_in, preflight, home):
    (home / "app").mkdir()
    (home / "app" / "__main__.py").write_text(IMPORTS)
    pid = start(stand_in.python, home / "app")
    assert [row["role"] for row in preflight("--json").of(pid)] == ["library"]


def identity_of(pid: int) -> int:
    return hash(psutil.Process(pid))


@linux
@pytest.mark.parametrize("writes_on", [False, True], ids=["zombie", "first-thread-ended"])
def test_what_is_dead_is_not_alive(start, stand_in, platform, writes_on):
    """What is called a zombie is none while its other threads run."""
    code = "import ctypes, os, sys, threading, time\n"
    code += "threading.Thread(target=time.sleep, args=[99]).start()\n" * writes_on
    code += "print('ready', os.getpid(), flush=True)\nsys.stdin.read()\n"
    pid = start(stand_in.python, "-c", f"{code}ctypes.CDLL(None).pthread_exit(None)")
    each = seen(pid, identity=identity_of(pid))
    assert table.is_alive(each)
    start.last().stdin.close()
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "its first thread's end")
    assert table.is_alive(each) is writes_on


@pytest.mark.parametrize(
    "identity, argv, alive",
    [
        ("same", "same", True),
        ("same", "other", True),
        ("same", "hidden", True),
        ("other", "same", False),
        ("other", "other", False),
        ("other", "hidden", False),
        ("hidden", "other", True),
    ],
)
def test_pid_that_was_used_again_is_not_alive(platform, identity, argv, alive):
    """Whatever it is called: a server may write over its argv, and two programs may have one."""
    argvs = {"same": psutil.Process().cmdline(), "other": ["sleep", "60"], "hidden": None}
    here = identity_of(os.getpid())
    identities = {"same": here, "other": here + 1, "hidden": None}
    each = seen(os.getpid(), identity=identities[identity], argv=argvs[argv])
    assert table.is_alive(each) is alive


@linux
@pytest.mark.parametrize("seconds", [-3600, -1, 1, 3600])
def test_clock_that_is_set_during_the_look(start, stand_in, monkeypatch, platform, seconds):
    """psutil counts each start from the boot, and its time of day moves with the clock."""
    pid = start(stand_in.python, "-c", STAY)
    each = table.look_at(pid, DATABASE)
    booted = psutil._pslinux.boot_time() + seconds
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: booted)
    assert table.is_alive(each)


def test_portable_table_beside_a_silent_mount(monkeypatch):
    """What is open there is not the database, which answers."""
    monkeypatch.setattr(look.files._Watch, "silent", frozenset({"/m"}))
    database = DATABASE._replace(names=("x.db",), paths=frozenset({"/x.db"}))
    assert leads_to("/m/x.db", database) is False


@pytest.mark.parametrize(
    "fields, could",
    [
        ({}, True),
        ({"python": False}, False),
        ({"python": False, "name": "", "argv": None}, True),  # of it, nothing is known
        ({"python": False, "name": "", "argv": ["x"]}, False),
        ({"user": "bob"}, False),
        ({"user": None}, False),
    ],
)
def test_could_be_own_python(fields, could):
    assert users.could_be_own_python(seen(**fields), frozenset({"ana"})) is could


@linux
@pytest.mark.parametrize("error, holds", [(PermissionError(13, ""), None), (OSError(2, ""), False)])
def test_hidden_descriptors_are_not_none(monkeypatch, error, holds):
    from mm_preflight import linux as room

    def fails(path):
        raise error

    monkeypatch.setattr(os, "listdir", fails)
    assert room.evidence(os.getpid(), DATABASE).holds is holds


@linux
@pytest.mark.parametrize(
    "argv, counted", [(b"", False), (b"/usr/sbin/x\0", True)], ids=["kernel thread", "program"]
)
def test_program_of_another_user_is_counted_as_hidden(monkeypatch, argv, counted):
    """To an ordinary user both hide their program; a kernel thread has nothing to hide."""
    from mm_preflight import linux as room

    def opened(path, *_, **options):
        return io.BytesIO(argv if path.endswith("/cmdline") else b"Uid:\t0\t0\t0\t0\n")

    monkeypatch.setattr(room, "open", opened, raising=False)
    assert (room._glance_at_hidden(2, DATABASE) is not None) is counted


def test_runtime_folder_is_not_read_for_what_is_passed_over(monkeypatch):
    """For an ordinary user that is every program of root's, and the folder may not answer."""
    monkeypatch.setattr(registry, "listed", lambda folders, owners: pytest.fail("it was read"))
    assert scan._with_listed([table.HIDDEN], DATABASE) == [table.HIDDEN]


DATABASE = Database("/x", frozenset({"/x"}), ("x",), frozenset(), "", False, frozenset({1000}))


def test_others_are_looked_at_within_bounds():
    """They do not refuse, so 50 of them say it as well as 5,000."""
    others = [seen(pid, user="bob", ours=False) for pid in range(100, 160)]
    scope = scan.Scope(DATABASE, frozenset({"ana"}), time.monotonic() + 60)
    files = Files(lambda path: b"", lambda path: True)
    hits, _ = scan._judge(others, scope, lambda each: files)
    assert len(hits) == 50
    own = [each._replace(ours=True) for each in others]
    assert len(scan._judge(own, scope, lambda each: files)[0]) == 60
    assert not scan._judge(others, scope._replace(deadline=0.0), lambda each: files)[0]


def test_other_user_who_holds_the_database_counts_at_any_time():
    holder = seen(5, user="bob", ours=False, argv=["/bin/x"], python=False, evidence=Evidence(True))
    scope = scan.Scope(DATABASE, frozenset({"ana"}), 0.0)
    files = Files(lambda path: b"", lambda path: True)
    assert [each.pid for each in scan._judge([holder], scope, lambda each: files)[0]] == [5]


def test_long_argv_is_cut_as_a_whole():
    """Fifty processes of another user, each with megabytes of arguments, take all the time."""
    shown = instances._shown(["python", *["x" * 50_000] * 100, *[""] * 100_000])
    assert sum(map(len, shown)) <= instances.ARGUMENTS_SHOWN + 1
    assert shown[0] == "python"
    assert (shown[-1], len(shown)) == ("…", 4)
    assert len(instances._shown([""] * 1_000_000)) == instances.ARGUMENTS_SHOWN + 1
    assert instances._shown(["mm", "web"]) == ["mm", "web"]
