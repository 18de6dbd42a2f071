"""The child that looks: streams that are closed, a stop by Ctrl-Z; and which mount a path is on."""

import os
import subprocess
import sys
import time

import pytest
from mm_preflight import apart, database, files, look, report, scan, table
from mm_preflight import linux as linux_room
from mm_preflight.records import Evidence, Seen
from support import SCRIPT, linux, not_on_windows

pytestmark = not_on_windows("has no fork: a thread does it")


def in_a_program(code: str, **options) -> subprocess.CompletedProcess:
    """Run code that may fork, in a program of its own."""
    env = os.environ | {"PYTHONPATH": str(SCRIPT.parent)}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, **options
    )


@pytest.mark.parametrize("closed", ["0", "1", "2", "01", "02", "12", "012"])
def test_streams_that_are_closed(closed, tmp_path):
    """The pipe to the child is then one of the first three descriptors."""
    told = tmp_path / "told"
    code = f"""
import os
for each in {closed!r}:
    os.close(int(each))
from mm_preflight import apart
found = apart.call(lambda tell: tell("said"), 30)
open({str(told)!r}, "w").write(repr(found))
"""
    in_a_program(code)
    assert told.read_text() == "('said', None, 0)"


def test_chroot_without_dev_null(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "devnull", str(tmp_path / "null"))
    assert apart.call(lambda tell: tell(os.read(0, 1)), 30) == (b"", None, 0)


def test_ctrl_c_as_the_child_begins(tmp_path):
    """It must not go on as a second parent."""
    code = """
import os
from mm_preflight import apart
fork = os.fork
def interrupted():
    if fork() == 0:
        raise KeyboardInterrupt
    os.wait()
    raise KeyboardInterrupt
os.fork = interrupted
try:
    apart.call(lambda tell: None, 5)
except KeyboardInterrupt:
    print("heard", flush=True)
"""
    assert in_a_program(code).stdout == "heard\n"


def test_what_was_told_while_this_process_was_stopped():
    """Ctrl-Z, and fg a minute later: the time is over, and the answer is there."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            apart._be_the_child(lambda tell: tell("said"), bytearray(apart.STEP_SIZE), write)
        finally:
            os._exit(1)
    os.close(write)
    os.waitpid(pid, 0)
    assert apart._listen(read, time.monotonic() - 60) == ("said", True)
    os.close(read)


def test_more_files_are_open_than_select_takes():
    """As in a program that calls the check; `ulimit -n` is often 1,048,576."""
    code = """
import os, resource
from mm_preflight import apart
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
print(apart.call(lambda tell: tell("said"), 30))
"""
    done = in_a_program(code)
    assert done.stdout == "('said', None, 0)\n", done.stderr


def test_a_hundred_megabytes_are_told_in_time():
    begin = time.monotonic()
    told, late, _ = apart.call(lambda tell: tell([f"{at:0>1000000}" for at in range(100)]), 60)
    assert (len(told or []), late) == (100, None)
    assert time.monotonic() - begin < 20


def test_thread_that_imports_meanwhile():
    """The child has no such thread, and would wait for its import for ever."""
    code = """
import sys, threading, time
import mm_preflight
class Slow:
    def find_spec(self, name, *_):
        if name == "psutil":
            begun.set()
            time.sleep(2)
begun = threading.Event()
sys.meta_path.insert(0, Slow())
threading.Thread(target=__import__, args=["psutil"]).start()
begun.wait()
print(mm_preflight.main(["--quiet"]))
"""
    done = in_a_program(code)
    assert done.stdout.strip() in ("0", "1"), done.stderr


@linux
def test_hang_of_which_nothing_is_known_is_not_waited_for_again(monkeypatch):
    """Each look would leave a child, and no path can be left out in the next."""
    late = apart.Late("process 7", "", 8.0)
    monkeypatch.setattr(apart, "call", lambda work, seconds: (None, late, 4711))
    silent = dict[str, int]()
    result = look.check(None, silent)
    assert (result.verdict, result.again, silent) == ("unknown", False, {})
    assert "it was at process 7" in str(result.reason)


@linux
@pytest.mark.parametrize(
    "mount, hangs, kept",
    [("/", True, True), ("/", False, False), ("/not/mounted", True, False)],
    ids=["still", "answers again", "unmounted"],
)
def test_mount_that_answers_again_is_asked_again(monkeypatch, mount, hangs, kept):
    """--wait looks many times: what was bad once is not bad for ever."""
    monkeypatch.setattr(apart, "is_there", lambda pid: hangs)
    monkeypatch.setattr(apart, "call", lambda work, seconds: (None, None, 0))
    silent = {mount: 4711}
    look.check(None, silent)
    assert (mount in silent) is kept


# ---- who is named when it hangs ------------------------------------------------------------------


def late_at(monkeypatch, act) -> tuple[str, str]:
    """Whom and which path a look names when it hangs for ever at the end of `act`."""
    noted = [("", "")]
    monkeypatch.setattr(files._Watch, "note", staticmethod(lambda *what: noted.append(what)))
    act()
    return noted[-1]


@linux
def test_first_look_at_a_process_that_hangs_is_named(monkeypatch):
    """A read of /proc/PID can block: it is of that process, and not of the one before."""
    glance = table.system._replace(glance=lambda pid, database: None)
    monkeypatch.setattr(table, "system", glance)
    files.looking_at("process 2")
    assert late_at(monkeypatch, lambda: table.look_at(3, None)) == ("process 3", "")


@linux
def test_runtime_folder_that_hangs_is_named(monkeypatch, tmp_path):
    """At once, and at the next look of --wait, which does not touch it again."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    base = database.find_database(None)
    hidden = Seen(7, 7, 1.0, "ana", "python", "", None, True, Evidence(None))
    files.looking_at("process 7")
    who, path = late_at(monkeypatch, lambda: scan._with_listed([hidden], base))
    assert who == "memtomem's runtime folder"
    assert path
    told = []
    monkeypatch.setattr(scan, "find_database", lambda *_: base)
    monkeypatch.setattr(table, "pids", lambda: {7, os.getpid()})
    monkeypatch.setattr(table, "look_at", lambda pid, database: hidden)
    monkeypatch.setattr(files._Watch, "silent", frozenset())
    look._look(None, frozenset({os.path.realpath(tmp_path)}), told.append)
    reason = told[-1][2][1]
    assert reason.startswith(f"memtomem's runtime folder needs a file on {tmp_path}, which"), reason


# ---- mounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mount, freed",
    [
        ("/srv/m", True),
        ("/", False),
        ("/proc/12/root/m", False),
        ("/a b", False),  # as a word of a shell
        ("/a\n", False),
    ],
)
def test_what_is_told_to_be_unmounted(mount, freed):
    told = report.silence("the database", mount)
    assert ("umount" in told) is freed
    assert freed or told.endswith("; run this again when it does")


@pytest.fixture
def noted(monkeypatch) -> list[str]:
    """The paths that announce() has told."""
    noted = []
    monkeypatch.setattr(files._Watch, "note", staticmethod(lambda who, path: noted.append(path)))
    return noted


@linux
def test_file_of_another_mount_namespace_is_not_ones_own(noted):
    """/proc/PID/root reads as a link to "/": one's own folder would be told to be unmounted."""
    path = f"/proc/{os.getpid()}/root{os.path.realpath(__file__)}"
    files.announce(path)
    assert noted[-1] == path
    assert look._mount(path).startswith(f"/proc/{os.getpid()}/root/")


@linux
def test_mount_with_an_odd_name(monkeypatch, tmp_path):
    """Anybody may mount a folder with a name that ends a line, to Python's splitlines()."""
    names = ["", "m\x0b\x0c\x1c\x85n", "m\u2028", "a\\040b"]
    lines = [f"{at} 1 0:{at} / /{name} rw - tmpfs t rw\n" for at, name in enumerate(names)]
    (tmp_path / "mountinfo").write_text("".join(lines), newline="")
    mounts = str(tmp_path / "mountinfo")
    assert files.mount_of("/x", mounts) == "/"
    assert files.mount_of("/m\u2028/x", mounts) == "/m\u2028"
    assert files.mount_of("/a b/x", mounts) == "/a b"


@linux
def test_mounts_are_read_once_for_a_process(tmp_path, monkeypatch):
    """With a database of two names each descriptor may be its; a desktop has hundreds of mounts."""
    (tmp_path / "x.db").touch()
    os.link(tmp_path / "x.db", tmp_path / "y.db")
    found = database.find_database(str(tmp_path / "x.db"), linux_room.device_of)
    kept = [os.open(__file__, os.O_RDONLY) for _ in range(20)]
    opened = []

    def watched(path, *more, **options):
        opened.append(str(path))
        return open(path, *more, **options)

    monkeypatch.setattr(linux_room, "open", watched, raising=False)
    assert linux_room.evidence(os.getpid(), found).holds is False
    assert sum("fdinfo" in each for each in opened) >= len(kept)
    assert sum("mountinfo" in each for each in opened) == 1
    kept.append(os.open(tmp_path / "y.db", os.O_RDONLY))
    assert linux_room.evidence(os.getpid(), found).holds is True
    for each in kept:
        os.close(each)


@linux
def test_database_where_a_mount_lies_over_a_mount(world, tmp_path):
    """By the text of its path, it would be on the file system that lies below, and nobody's."""
    (tmp_path / "a").mkdir()
    code = """
def mount(folder):
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)

mount(f"{FOLDER}/a/b")
mount(f"{FOLDER}/a")
os.mkdir(f"{FOLDER}/a/b")
path = f"{FOLDER}/a/b/memtomem.db"
file = open(path, "w")
holder = spawn("sh", "-c", "echo ready; read line", stdin=subprocess.PIPE, pass_fds=[file.fileno()])
file.close()
result = check("--json", "--db", path)
holder.kill()
"""
    found = world(code, FOLDER=str(tmp_path))
    assert found["status"] == 1, found
    assert '"database-open"' in found["stdout"]
