"""`mm-preflight -- COMMAND`: real processes, a real terminal, and the real memtomem.

What has to be clear runs in a PID namespace of its own, or sees its own processes only (`alone`).
COMMAND is Python where it can be, because that is the same on every platform.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import family
import mm_preflight
import pytest
from conftest import marked
from mm_preflight import command, look
from mm_preflight.command import is_split
from mm_preflight.records import NotStarted, Result
from real import isolated, real
from support import (
    PLATFORMS,
    ROOT,
    SECONDS,
    WINDOWS,
    environment,
    linux,
    not_on_windows,
    press_ctrl_c,
    start_in_foreground,
    until,
)

__all__ = ["real"]  # the fixture

TOUCHES = [sys.executable, "-c", "open('started', 'w').close()"]


@pytest.fixture
def alone(world):
    """Run Python code alone in a PID namespace, in the home folder of the test."""

    def alone(code, **names):
        return world(f"os.chdir(os.environ['HOME'])\n{code}", **names)

    return alone


# ---- exit status --------------------------------------------------------------------------------


STATUSES = {
    "well": ("pass", 0),
    "its-own": ("raise SystemExit(3)", 3),
    "its-own-1": ("raise SystemExit(1)", 1),
    "high": ("raise SystemExit(255)", 255),
}
if not WINDOWS:
    STATUSES |= {
        "killed": ("os.kill(os.getpid(), signal.SIGKILL)", 128 + 9),
        "ended": ("os.kill(os.getpid(), signal.SIGTERM)", 128 + 15),
        "crashed": ("os.kill(os.getpid(), signal.SIGSEGV)", 128 + 11),
    }


def test_exit_status_is_that_of_command(alone):
    done = alone(
        """
result = {
    name: check('--', sys.executable, '-c', f'import os, signal; {text}')
    for name, (text, _) in STATUSES.items()
}
""",
        STATUSES=STATUSES,
    )
    assert {name: each["status"] for name, each in done.items()} == {
        name: status for name, (_, status) in STATUSES.items()
    }
    for each in done.values():
        first, second = [line for line in each["stderr"].splitlines() if "mm-preflight" in line]
        assert first.startswith("mm-preflight: clear, no live mm process (")
        assert second.startswith("mm-preflight: still clear, no live mm process (")


def test_not_clear_not_started(start, stand_in, preflight, home):
    pid = start(stand_in.program("mm"), "shell")
    report = preflight("--", *TOUCHES, cwd=home)
    assert (report.status, report.stdout) == (1, "")
    assert report.stderr.startswith("mm-preflight: refused, ")
    assert str(pid) in report.stderr
    assert preflight("--db", "/nowhere.db", "--", *TOUCHES, cwd=home).status == 2
    assert not (home / "started").exists()


@pytest.mark.parametrize(
    "name, status, words",
    [
        ("no-such-program", 127, "is not there"),
        ("./no-such-program", 127, "is not there"),
        ("", 127, "is not there"),
        ("./text", 126, "cannot be executed"),
        ("./folder", 126, "cannot be executed"),
        ("\x1b[2J\u202e", 127, "is not there"),
    ],
)
def test_what_is_not_there_is_said_before_any_look(preflight, home, name, status, words):
    (home / "text").write_text("#!/bin/sh\n")
    (home / "folder").mkdir()
    report = preflight("--", name, cwd=home)
    assert (report.status, report.stdout) == (status, "")
    [line] = report.stderr.splitlines()
    assert line.startswith("mm-preflight: ") and line.endswith(f"{words}; nothing was run")
    assert line.isprintable()


@pytest.mark.parametrize(
    "text, status", [("#!/no/such/shell\n", 126 if WINDOWS else 127), ("no program\n", 126)]
)
def test_what_the_system_will_not_start(home, text, status):
    program = home / ("program.exe" if WINDOWS else "program")
    program.write_text(text)
    program.chmod(0o755)
    with pytest.raises(NotStarted) as error:
        command.run([str(program)])
    assert error.value.args[1] == status


@pytest.mark.parametrize(
    "options",
    [["--"], ["--json", "--"], ["--hook", "bash", "--", "x"], ["--agent-hook", "--", "x"]],
)
def test_usage_errors(in_process, options):
    report = in_process(*options)
    assert (report.status, report.stdout) == (2, "")
    assert "see mm-preflight --help" in report.stderr


# ---- what COMMAND has ---------------------------------------------------------------------------


def test_streams_are_those_of_command(alone):
    out, err = alone(
        """
copy = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
argv = [sys.executable, '-c', copy + "; sys.stderr.write('err')"]
run = subprocess.run(
    [sys.executable, SCRIPT, '--quiet', '--', *argv], input=b'a\\0\\r\\n\\xff', capture_output=True
)
result = [run.stdout.hex(), run.stderr.decode()]
"""
    )
    assert (bytes.fromhex(out), err) == (b"a\0\r\n\xff", "err")


@not_on_windows("has no numbered files that a child inherits")
def test_files_that_are_inherited_are_those_of_command(alone):
    done = alone(
        """
open('file', 'w').write('through 5')
bash = ['bash', '-c', 'exec 5<file; "$@"', 'bash', sys.executable, SCRIPT, '--', 'cat', '/dev/fd/5']
result = subprocess.run(bash, capture_output=True, text=True).stdout
"""
    )
    assert done == "through 5"


@pytest.mark.parametrize("options", [[], ["--quiet"]], ids=["report", "quiet"])
def test_arguments_and_environment(alone, options):
    arguments = ["", "a  b", "--", "--json", "*", 'a"b', "c\\"]
    done = alone(
        """
code = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['ODD']]))"
argv = [sys.executable, '-c', code, *ARGUMENTS]
result = check(*OPTIONS, '--', *argv, env=os.environ | {'ODD': 'x y'})
""",
        OPTIONS=options,
        ARGUMENTS=arguments,
    )
    assert json.loads(done["stdout"]) == [arguments, "x y"]
    assert (done["stderr"] == "") == bool(options)


@linux
def test_signals_are_as_command_would_have_them(alone):
    """None ignored that is not ignored around it, none blocked; nohup still is nohup."""
    plain, checked, nohup, under = alone(
        """
status = ['grep', '-E', '^Sig(Blk|Ign|Cgt)', '/proc/self/status']
def run(*argv):
    text = subprocess.run(argv, capture_output=True, text=True).stdout
    return [int(line.split()[1], 16) & 0x7fffffff for line in text.splitlines()]  # 32, 33: glibc's
ignore = ['sh', '-c', 'trap "" HUP INT; "$@"', 'sh']
result = [run(*status), run(sys.executable, SCRIPT, '--', *status)]
result += [run(*ignore, *status), run(*ignore, sys.executable, SCRIPT, '--', *status)]
"""
    )
    assert len(plain) == 3 and plain == checked
    assert nohup == under != plain


# ---- the second look ----------------------------------------------------------------------------

# Cursor, as far as it matters: it starts its server once the file `go` is there. The server says
# `ready`, which ends COMMAND.
CLIENT = """
os.environ.update(GO=os.path.abspath('go'), UP=os.path.abspath('up'))
subprocess.Popen(['Cursor', 'client', SERVER], **CURSOR)
"""
IN_SHELL = 'until [ -e "$GO" ]; do sleep 0.05; done; "$@" > "$UP" & wait; exit\n'
IN_PYTHON = """
while not os.path.exists(os.environ['GO']):
    time.sleep(0.05)
subprocess.run(args, stdout=open(os.environ['UP'], 'w'))
"""
UP = """
import os, subprocess, sys, time
while not (os.path.exists('up') and 'ready' in open('up').read()):
    time.sleep(0.05)
"""
MEANWHILE = f"print('out', flush=True); open('go', 'w').close()\n{UP}sys.exit(%d)"


@pytest.fixture
def client(alone, shell_as, stand_in):
    """Run code beside a client that waits to start its server."""
    cursor = shell_as("Cursor", "client", IN_SHELL, IN_PYTHON)
    cursor = {name: os.fsdecode(path) for name, path in cursor.items()}
    names = {"CURSOR": cursor, "SERVER": stand_in.program("memtomem-server"), "UP": UP}

    def client(code, **more):
        return alone(f"{CLIENT}\n{code}", **names | more)

    return client


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("status, expected", [(0, 1), (4, 4)])
def test_a_server_that_its_client_starts_while_command_runs(client, status, expected):
    done = client(
        "result = check('--', sys.executable, '-c', MEANWHILE)", MEANWHILE=MEANWHILE % status
    )
    assert (done["status"], done["stdout"]) == (expected, "out\n")
    report = done["stderr"].partition("mm-preflight: no longer clear, 1 mm process is alive\n\n")[2]
    assert re.search(r"^ {11}started \d+ s ago, while COMMAND ran$", report, re.M)
    assert "Cursor" in report and "Stop it, then run this again." in report
    assert all(len(line) <= 80 for line in done["stderr"].splitlines())


def test_json_says_it_too(client):
    """On stderr, because stdout is COMMAND's; one object, of the look that decided."""
    done = client(
        "result = check('--json', '--', sys.executable, '-c', MEANWHILE)", MEANWHILE=MEANWHILE % 0
    )
    assert (done["status"], done["stdout"]) == (1, "out\n")
    report = json.loads(done["stderr"])
    assert report["verdict"] == "live"
    assert [row["during_command"] for row in report["processes"]] == [True]


def test_json_of_a_refusal(start, stand_in, preflight, home):
    start(stand_in.program("mm"), "shell")
    report = preflight("--json", "--", *TOUCHES, cwd=home)
    assert (report.status, report.stdout) == (1, "")
    rows = json.loads(report.stderr)["processes"]
    assert rows and all("during_command" not in row for row in rows)


@not_on_windows("lets no process become another program")
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_what_started_before_command_is_told_apart(alone, options):
    """At the first look it was not memtomem yet, as where uv run was still installing."""
    done = alone(
        """
subprocess.Popen(['sh', '-c', 'until [ -e go ]; do sleep 0.05; done; exec "$0" web > up', MM])
time.sleep(0.2)  # the table counts in hundredths of a second
result = check(*OPTIONS, '--', sys.executable, '-c', MEANWHILE)
""",
        MEANWHILE=MEANWHILE % 0,
        OPTIONS=options,
    )
    assert done["status"] == 1
    if options:
        [row] = json.loads(done["stderr"])["processes"]
        assert row["during_command"] is False
    else:
        assert re.search(r"^ {11}started \d+ s ago, before COMMAND ran$", done["stderr"], re.M)


def test_a_child_that_outlives_command_counts(alone):
    done = alone(
        """
start = "import subprocess, sys; up = open('up', 'w'); "
start += "subprocess.Popen([sys.argv[1], 'web'], stdout=up, stderr=up)"
result = check('--', sys.executable, '-c', start + UP, MM)
""",
        UP=UP,
    )
    assert done["status"] == 1
    assert "mm web" in done["stderr"] and "while COMMAND ran" in done["stderr"]


def test_a_server_that_starts_after_the_second_look(client):
    """COMMAND was alone, and that is what is said; the next check names the server."""
    done = client("""
nothing = [sys.executable, '-c', '']
result = [check('--', *nothing)]
open('go', 'w').close()
exec(UP)
result += [check('--', *nothing)]
""")
    assert [each["status"] for each in done] == [0, 1]


@pytest.mark.parametrize("status, expected", [(0, 2), (5, 5)])
def test_the_second_look_is_unknown(alone, status, expected):
    spoil = f"open('.memtomem/config.json', 'w').write('x'); raise SystemExit({status})"
    done = alone("result = check('--', sys.executable, '-c', SPOIL)", SPOIL=spoil)
    assert done["status"] == expected
    assert "mm-preflight: unknown after COMMAND ran:" in done["stderr"]


@pytest.mark.parametrize("status, expected", [(0, 0), (6, 6)])
def test_nobody_reads_the_second_report(alone, status, expected):
    """The exit status still answers where stderr was closed meanwhile."""
    done = alone(
        """
read, write = os.pipe()
argv = [sys.executable, SCRIPT, '--', sys.executable, '-c', WAITS]
run = subprocess.Popen(argv, stderr=write)
os.close(write)
assert b'clear' in os.read(read, 65536)
os.close(read)
open('go', 'w').close()
result = run.wait()
""",
        WAITS=f"import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.05)\n"
        f"raise SystemExit({status})",
    )
    assert done == expected


def test_wait_and_command(alone, stand_in):
    waited, status = alone(
        """
server = spawn(SERVER)
now = [sys.executable, '-c', 'import time; print(time.time())']
argv = [sys.executable, SCRIPT, '--wait', '30', '--', *now]
run = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
time.sleep(1)
server.kill()
server.wait()
killed = time.time()
result = [float(run.communicate()[0]) - killed, run.returncode]
""",
        SERVER=stand_in.program("memtomem-server"),
    )
    assert waited >= 2
    assert status == 0


# ---- a terminal ---------------------------------------------------------------------------------

terminal = not_on_windows("has no pty in Python; see Ctrl-C in a console")
TERMINAL = """
import fcntl, pty, select, termios

class Terminal:
    def __init__(self, *argv):
        self.main, other = pty.openpty()
        take = lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.run = subprocess.Popen(argv, stdin=other, stdout=other, stderr=other,
                                    start_new_session=True, preexec_fn=take)
        os.close(other)
        self.text, self.read = '', 0

    def shows(self, words):  # behind what was waited for before
        end = time.monotonic() + 30
        while words not in self.text[self.read:]:
            assert time.monotonic() < end, (words, self.text)
            if select.select([self.main], [], [], 0.1)[0]:
                try:
                    data = os.read(self.main, 65536)
                except OSError:  # who had the terminal has ended; macOS says so by no data
                    data = b''
                self.text += data.decode().replace('\\r', '')
                assert data or words in self.text[self.read:], (words, self.text)
        self.read = self.text.index(words, self.read) + len(words)

    def types(self, text):
        os.write(self.main, text.encode())

"""
HEARS = """
import signal, sys, time
heard = []
for each in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(each, lambda number, frame: heard.append(signal.Signals(number).name))
print('listening', flush=True)
while not heard:
    time.sleep(0.05)
time.sleep(0.3)
print('heard', *heard, flush=True)
sys.exit(7)
"""
LISTENS = f"""{TERMINAL}
t = Terminal(sys.executable, SCRIPT, '--', sys.executable, '-c', {HEARS!r})
t.shows('listening')
"""
ENDS = "\nt.shows('still clear')\nresult = [t.run.wait(), t.text]"


@terminal
@pytest.mark.parametrize("key, name", [("\x03", "SIGINT"), ("\x1c", "SIGQUIT")])
def test_ctrl_c_is_for_command_which_may_go_on(alone, key, name):
    status, text = alone(f"{LISTENS}\nt.types(KEY){ENDS}", KEY=key)
    assert status == 7
    assert f"heard {name}\n" in text  # once
    assert "Traceback" not in text


@terminal
@pytest.mark.parametrize("key, number", [("\x03", 2), ("\x1c", 3)])
def test_ctrl_c_ends_command_and_the_second_look_comes(alone, key, number):
    status, text = alone(
        f"{TERMINAL}\nt = Terminal(sys.executable, SCRIPT, '--', 'sh', '-c', "
        f"'ulimit -c 0; echo up; exec sleep 60')\nt.shows('up\\n')\nt.types(KEY){ENDS}",
        KEY=key,
    )
    assert status == 128 + number
    assert "Traceback" not in text


@terminal
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_who_ends_the_check_means_command(alone, name):
    status, text = alone(f"{LISTENS}\nt.run.send_signal(getattr(signal, NAME)){ENDS}", NAME=name)
    assert (status, f"heard {name}\n" in text) == (7, True)


@terminal
def test_ctrl_c_at_the_first_look_starts_nothing(alone):
    status, text = alone(
        f"""{TERMINAL}
server = spawn(MM, 'web')
t = Terminal(sys.executable, SCRIPT, '--wait', '60', '--', 'touch', 'started')
t.shows('waiting for')
t.types('\\x03')
result = [t.run.wait(), t.text + str(os.path.exists('started'))]
"""
    )
    assert status == 130
    assert text.endswith("False") and "Traceback" not in text


@terminal
def test_ctrl_z_and_fg(alone):
    text = alone(
        f"""{TERMINAL}
open('sleeps', 'w').write('echo up; read line; echo "<$line>"; exit 9')
t = Terminal('env', 'PS1=ready> ', 'bash', '--norc', '--noediting', '-i')
t.shows('ready> ')
t.types(f'{{sys.executable}} {{SCRIPT}} -- sh sleeps\\n')
t.shows('\\nup\\n')
t.types('\\x1a')
t.shows('Stopped')
t.shows('ready> ')
t.types(' fg\\n')
t.shows('sh sleeps')
t.types('typed\\n')
t.shows('<typed>')
t.shows('still clear')
t.shows('ready> ')
t.types('echo status $?; exit\\n')
t.shows('status 9')
t.run.wait()
result = t.text
"""
    )
    assert "Traceback" not in text


@terminal
def test_the_terminal_is_that_of_command(alone):
    status, text = alone(
        f"{TERMINAL}\nt = Terminal(sys.executable, SCRIPT, '--', 'sh', '-c', "
        f"'for fd in 0 1 2; do [ -t $fd ] && echo \"$fd is a terminal\"; done'){ENDS}"
    )
    assert status == 0
    assert all(f"{fd} is a terminal\n" in text for fd in range(3))


@terminal
def test_no_terminal(alone):
    done = alone(
        "apart = {'stdin': subprocess.DEVNULL, 'start_new_session': True}\n"
        "result = check('--', 'sh', '-c', 'cat; exit 5', **apart)"
    )
    assert (done["status"], done["stdout"]) == (5, "")


# ---- Ctrl-C, which a console of Windows has as a terminal does ---------------------------------


@pytest.fixture
def foreground(home, stand_in):
    """Start a check that sees its own processes alone, and hears Ctrl-C; it is ended at the end."""
    with marked() as mark:

        def foreground(*options):
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            argv = [sys.executable, family.__file__, *options]
            return start_in_foreground(argv, env=foreground.env, cwd=home, **pipes)

        foreground.env = environment(stand_in, home) | {family.MARK: mark}
        yield foreground


WAITS = f"import time; open('up', 'w').close(); time.sleep({SECONDS})"
GOES_ON = f"""
try:
    {WAITS}
except KeyboardInterrupt:
    time.sleep(0.3)
    print('heard', flush=True)
    raise SystemExit(7)
"""
ENDED = 0xC000013A if WINDOWS else 130  # STATUS_CONTROL_C_EXIT


@pytest.mark.parametrize(
    "code, expected", [(GOES_ON, (7, "heard\n")), (WAITS, (ENDED, ""))], ids=["goes on", "ends"]
)
def test_ctrl_c_in_the_foreground_is_for_command(foreground, home, code, expected):
    run = foreground("--", sys.executable, "-c", code)
    until((home / "up").exists, "COMMAND")
    press_ctrl_c(run)
    out, err = run.communicate(timeout=SECONDS)
    assert (run.returncode, out) == expected
    assert [line.split(",")[0] for line in err.splitlines() if line.startswith("mm-preflight")] == [
        "mm-preflight: clear",
        "mm-preflight: still clear",
    ]


def test_ctrl_c_in_the_foreground_ends_a_wait(foreground, start, stand_in):
    """With nothing said."""
    start(stand_in.program("mm"), "init", env=foreground.env)
    run = foreground("--wait", "60", "--", *TOUCHES)
    with pytest.raises(subprocess.TimeoutExpired):
        run.wait(4 if WINDOWS else 1)
    press_ctrl_c(run)
    out, err = run.communicate(timeout=SECONDS)
    assert (run.returncode, out, err) == (130, "", "")


# ---- from Python, and on every platform ---------------------------------------------------------


def test_on_every_platform(only, in_process, home, monkeypatch):
    only()
    monkeypatch.chdir(home)
    write = "import sys; print(*sys.argv[1:]); open('ran', 'w'); sys.exit(3)"
    program = [sys.executable, "-c", write, "a  b", "--json"]
    report = in_process("--", *program)
    assert (report.status, report.stdout.strip()) == (3, "a  b --json")
    assert (home / "ran").exists()
    said = [line for line in report.stderr.splitlines() if line.startswith("mm-preflight: ")]
    assert [line.split(",")[0] for line in said] == [
        "mm-preflight: clear",
        "mm-preflight: still clear",
    ]


batch_files = pytest.mark.skipif(not WINDOWS, reason="only Windows has batch files")


@batch_files
def test_a_batch_file_without_its_suffix(only, in_process, home):
    only()
    (home / "hey.cmd").write_text("@echo off\r\necho %~2\r\nexit /b 4\r\n")
    report = in_process("--", home / "hey", "a", "b c")
    assert (report.status, report.stdout.strip()) == (4, "b c")


@batch_files
@pytest.mark.parametrize("argument", ["R&D", "a|b", "a>b", "a<b", "a^b", "%PATH%", 'a"b', "a\nb"])
def test_a_batch_file_gets_no_commands_as_arguments(only, in_process, home, monkeypatch, argument):
    """cmd, which runs it, would run or expand a part of them: no quotes hold for all."""
    only()
    monkeypatch.chdir(home)
    (home / "hey.cmd").write_text("@echo on > ran\r\n")
    there = set(home.iterdir())
    report = in_process("--", home / "hey.cmd", "plain", argument)
    assert (report.status, set(home.iterdir())) == (126, there)
    assert "is a batch file, and its path or an argument holds" in report.stderr


@pytest.mark.parametrize(
    "argv, split",
    [
        (["x.cmd", "plain", "a b", "(c)"], False),
        (["x.cmd", "R&D"], True),
        (["X.BAT", "%PATH%"], True),
        (["x.cmd. ", "a>b"], True),
        ([r"C:\R&D\x.cmd"], True),
        (["x.exe", "R&D", "%PATH%"], False),
    ],
)
def test_what_cmd_would_split(argv, split):
    assert is_split(argv[0], argv[1:]) is split


THREE = [sys.executable, "-c", "raise SystemExit(3)"]


def test_main_leaves_the_signals_as_they_were(monkeypatch):
    monkeypatch.setattr(look, "check", lambda option: Result("clear"))
    numbers = [each for each in signal.Signals if each.name.startswith("SIG")]
    before = [signal.getsignal(each) for each in numbers]
    assert mm_preflight.main(["--quiet", "--", *THREE]) == 3
    assert [signal.getsignal(each) for each in numbers] == before


@not_on_windows("has no SIGCHLD")
def test_status_where_the_end_of_children_is_ignored(monkeypatch):
    """As a parent that ignores it hands it on: the system keeps no exit status then."""
    monkeypatch.setattr(look, "check", lambda option: Result("clear"))
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert mm_preflight.main(["--quiet", "--", *THREE]) == 3
        assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGCHLD, before)


@not_on_windows("has no fork")
def test_no_process_is_left_to_look_for_command(monkeypatch, capsys):
    def fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    assert mm_preflight.main(["--", *THREE]) == 126
    assert "cannot be looked for: [Errno 11] Resource temporarily" in capsys.readouterr().err


@not_on_windows("has no fork")
def test_search_for_command_that_ends_without_an_answer(monkeypatch, capsys):
    """The child was killed: no folder of PATH is to blame."""
    monkeypatch.setattr(command.shutil, "which", lambda *_, **options: os.kill(os.getpid(), 9))
    assert mm_preflight.main(["--", "tool"]) == 126
    text = "tool cannot be looked for: the search ended without an answer, run this again;"
    assert text in capsys.readouterr().err


@not_on_windows("has no mounts")
@pytest.mark.parametrize("by_path", [False, True], ids=["by name", "by path"])
def test_folder_of_path_that_does_not_answer_is_named(home, monkeypatch, capsys, by_path):
    """With its mount and the way out; those before it in PATH have answered."""
    bad = home / "bad"
    name = str(bad / "tool") if by_path else "tool"

    def which(name, mode=0, path=None):
        return time.sleep(99) if by_path or path == str(bad) else None

    monkeypatch.setenv("PATH", os.pathsep.join(map(str, [home, bad, "/bin"])))
    monkeypatch.setattr(command.shutil, "which", which)
    monkeypatch.setattr(command, "FIND_SECONDS", look.SILENT_SECONDS + 0.5)
    monkeypatch.setattr(look.files, "mount_of", lambda path, *_: os.path.dirname(path))
    assert mm_preflight.main(["--", name]) == 126
    who = "it" if by_path else f"{bad}, a folder of PATH,"
    text = capsys.readouterr().err
    assert f"{name} was not found in 2.5 s: {who} needs a file on {bad}, which does" in text
    assert f"run: sudo umount -l -f {bad} " in text
    assert text.endswith("; nothing was run\n")


@not_on_windows("finds more, by PATHEXT")
def test_command_is_found_as_a_shell_finds_it(home, monkeypatch):
    """The first in PATH that can be run; an empty folder is the one where this runs."""
    for folder, mode in (("a", 0o644), ("b", 0o755), ("c", 0o755)):
        (home / folder).mkdir()
        (home / folder / "tool").touch()
        (home / folder / "tool").chmod(mode)
    monkeypatch.setenv("PATH", f"{home}/none:{home}/a:{home}/b:{home}/c")
    assert command.find("tool") == f"{home}/b/tool"
    monkeypatch.chdir(home / "c")
    monkeypatch.setenv("PATH", f":{home}/b")
    assert command.find("tool") == "./tool"
    monkeypatch.setenv("PATH", f"{home}/a")
    with pytest.raises(NotStarted, match="cannot be executed"):
        command.find("tool")


def test_main_in_a_thread(monkeypatch):
    monkeypatch.setattr(look, "check", lambda option: Result("clear"))
    statuses = []
    argv = ["--quiet", "--", *THREE]
    run = threading.Thread(target=lambda: statuses.append(mm_preflight.main(argv)))
    run.start()
    run.join()
    assert statuses == [3]


def test_a_signal_before_command_is_there_is_not_lost(monkeypatch):
    """Ctrl-C, heard when nothing was started yet, ends COMMAND at once."""
    popen = subprocess.Popen

    def late(*args, **options):
        signal.raise_signal(signal.SIGINT)
        return popen(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", late)
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); time.sleep(60)"
    # Windows can but end it, and gives that status 1.
    ended = 1 if WINDOWS else 128 + signal.SIGINT
    assert command.run([sys.executable, "-c", code])[0] == ended


def test_a_command_that_is_not_ours_to_signal(monkeypatch):
    """sudo is root's: what cannot be handed on is dropped, and COMMAND waited for."""

    class Sudo:
        pid, sent = os.getpid(), 0

        def __init__(self, argv, **options):
            pass

        def send_signal(self, number):
            self.sent += 1
            raise PermissionError

        def terminate(self):
            self.send_signal(signal.SIGTERM)

        def wait(self):
            signal.raise_signal(signal.SIGTERM)
            until(lambda: self.sent, "the signal")
            return 4

    monkeypatch.setattr(subprocess, "Popen", Sudo)
    assert command.run(["sudo"])[0] == 4


def test_windows_counts_without_a_sign(monkeypatch):
    """STATUS_CONTROL_C_EXIT, as Popen has it there, is an int that sys.exit takes."""
    wait = subprocess.Popen.wait
    monkeypatch.setattr(subprocess.Popen, "wait", lambda self: wait(self) and 0xC000013A)
    assert command.run(THREE)[0] == -0x3FFFFEC6


# ---- the real memtomem --------------------------------------------------------------------------

DOORS = ROOT / "tests" / "real_doors.py"


@pytest.fixture(scope="module")
def doors(real, tmp_path_factory):
    """What tests/real_doors.py saw: each way to a reset beside a real mm web, and after it."""
    folder = tmp_path_factory.mktemp("doors")
    path = os.pathsep.join([str(real.bin), str(Path(sys.executable).parent), os.defpath])
    done = subprocess.run(
        [*isolated(folder / "run"), sys.executable, DOORS, folder / "home"],
        env=environment(real, folder / "home") | {
            "PATH": path,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "scripts", ROOT / "tests" / "docs"))),
            "PYTHONUTF8": "1",
        },
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@linux
def test_each_door_is_refused_beside_a_real_mm_web(doors):
    """And the database is bit for bit what it was."""
    assert len(doors["refused"]) >= 12
    for name, (status, printed, same) in doors["refused"].items():
        assert (status, same) == (1, True), f"{name}: {printed}"
        assert "refused, 1 mm process is alive" in printed, name
        assert "deleted" not in printed, name


@linux
def test_when_it_is_stopped_the_real_reset_runs(doors):
    status, printed = doors["clear"]
    assert status == 0, printed
    assert "DB reset to ollama/beta" in printed
    assert printed.index("mm-preflight: clear") < printed.index("All vectors deleted")
    assert printed.index("All vectors deleted") < printed.rindex("mm-preflight: clear")
    assert doors["models"] == {"none": 3}


@linux
def test_a_real_server_that_its_client_starts_in_the_gap_is_named(doors):
    status, printed = doors["gap"]
    assert "DB reset to ollama/beta" in printed
    assert status == 1
    assert "no longer clear, 1 mm process is alive" in printed
    assert "while COMMAND ran" in printed and "stop it: quit Cursor" in printed
