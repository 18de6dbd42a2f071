"""`mm-preflight -- COMMAND`: real processes, a real terminal, and the real memtomem.

What has to be clear runs in a PID namespace of its own (`alone`).
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import mm_preflight
import pytest
from mm_preflight import command, look
from mm_preflight.records import NotStarted, Result
from real import isolated, real
from support import PLATFORMS, ROOT, environment, linux, posix, until

__all__ = ["real"]  # the fixture


@pytest.fixture
def alone(world):
    """Run Python code alone in a PID namespace, in the home folder of the test."""

    def alone(code, **names):
        return world(f"os.chdir(os.environ['HOME'])\n{code}", **names)

    return alone


# ---- exit status --------------------------------------------------------------------------------


STATUSES = {
    "well": ("exit 0", 0),
    "its-own": ("exit 3", 3),
    "its-own-1": ("exit 1", 1),
    "killed": ("kill -KILL $$", 128 + 9),
    "ended": ("kill -TERM $$", 128 + 15),
    "crashed": ("kill -SEGV $$", 128 + 11),
}


@linux
def test_exit_status_is_that_of_command(alone):
    done = alone(
        "result = {name: check('--', 'sh', '-c', text) for name, (text, _) in STATUSES.items()}",
        STATUSES=STATUSES,
    )
    assert {name: each["status"] for name, each in done.items()} == {
        name: status for name, (_, status) in STATUSES.items()
    }
    for each in done.values():
        first, second = [line for line in each["stderr"].splitlines() if "mm-preflight" in line]
        assert first.startswith("mm-preflight: clear, no live mm process (")
        assert second.startswith("mm-preflight: still clear, no live mm process (")


@posix
def test_not_clear_not_started(start, preflight, home):
    pid = start("mm", "shell")
    report = preflight("--", "touch", "started")
    assert (report.status, report.stdout) == (1, "")
    assert report.stderr.startswith("mm-preflight: refused, ")
    assert str(pid) in report.stderr
    assert preflight("--db", "/nowhere.db", "--", "touch", "started").status == 2
    assert not (home / "started").exists()


@posix
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
def test_what_is_not_there_is_said_before_any_look(start, preflight, home, name, status, words):
    start("mm", "shell")
    (home / "text").write_text("#!/bin/sh\n")
    (home / "folder").mkdir()
    report = preflight("--", name, cwd=home)
    assert (report.status, report.stdout) == (status, "")
    [line] = report.stderr.splitlines()
    assert line.startswith("mm-preflight: ") and line.endswith(f"{words}; nothing was run")
    assert line.isprintable()


@posix
@pytest.mark.parametrize("text, status", [("#!/no/such/shell\n", 127), ("no program\n", 126)])
def test_what_the_system_will_not_start(home, text, status):
    (home / "program").write_text(text)
    (home / "program").chmod(0o755)
    with pytest.raises(NotStarted) as error:
        command.run([str(home / "program")])
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


@linux
def test_streams_are_those_of_command(alone):
    out, err, inherited = alone(
        """
argv = [sys.executable, SCRIPT, '--quiet', '--', 'sh', '-c', 'cat; echo err >&2']
run = subprocess.run(argv, input=b'a\\0\\r\\n', capture_output=True)
open('file', 'w').write('through 5')
bash = ['bash', '-c', 'exec 5<file; "$@"', 'bash', sys.executable, SCRIPT, '--', 'cat', '/dev/fd/5']
fd = subprocess.run(bash, capture_output=True, text=True)
result = [run.stdout.decode(), run.stderr.decode(), fd.stdout]
"""
    )
    assert (out, err, inherited) == ("a\0\r\n", "err\n", "through 5")


@linux
@pytest.mark.parametrize("options", [[], ["--quiet"]], ids=["report", "quiet"])
def test_arguments_and_environment(alone, options):
    done = alone(
        """
argv = ['sh', '-c', 'printf "[%s]" "$@"; echo "$ODD"', 'sh', '', 'a  b', '--', '--json', '*']
result = check(*OPTIONS, '--', *argv, env=os.environ | {'ODD': 'x y'})
""",
        OPTIONS=options,
    )
    assert done["stdout"] == "[][a  b][--][--json][*]x y\n"
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
open('client', 'w').write('until [ -e go ]; do sleep 0.05; done; "$@" > up & wait; exit')
os.symlink('/bin/bash', 'Cursor')
subprocess.Popen(['./Cursor', 'client', SERVER])
"""
UP = "until grep -q ready up 2>/dev/null; do sleep 0.05; done"
MEANWHILE = f"echo out; touch go; {UP}; exit "


@pytest.fixture
def server(stand_in):
    return stand_in.program("memtomem-server")


@linux
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("status, expected", [("0", 1), ("4", 4)])
def test_a_server_that_its_client_starts_while_command_runs(
    alone, server, status, expected, platform
):
    done = alone(
        f"{CLIENT}\nresult = check('--', 'sh', '-c', MEANWHILE)",
        SERVER=server,
        MEANWHILE=MEANWHILE + status,
    )
    assert (done["status"], done["stdout"]) == (expected, "out\n")
    report = done["stderr"].partition("mm-preflight: no longer clear, 1 mm process is alive\n\n")[2]
    assert re.search(r"^ {11}started \d+ s ago, while COMMAND ran$", report, re.M)
    assert "Cursor" in report and "Stop it, then run this again." in report
    assert all(len(line) <= 80 for line in done["stderr"].splitlines())


@linux
def test_json_says_it_too(alone, server):
    """On stderr, because stdout is COMMAND's; one object, of the look that decided."""
    done = alone(
        f"{CLIENT}\nresult = check('--json', '--', 'sh', '-c', MEANWHILE)",
        SERVER=server,
        MEANWHILE=MEANWHILE + "0",
    )
    assert (done["status"], done["stdout"]) == (1, "out\n")
    report = json.loads(done["stderr"])
    assert report["verdict"] == "live"
    assert [row["during_command"] for row in report["processes"]] == [True]


@posix
def test_json_of_a_refusal(start, preflight):
    start("mm", "shell")
    report = preflight("--json", "--", "true")
    assert (report.status, report.stdout) == (1, "")
    rows = json.loads(report.stderr)["processes"]
    assert rows and all("during_command" not in row for row in rows)


@linux
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_what_started_before_command_is_told_apart(alone, options):
    """At the first look it was not memtomem yet, as where uv run was still installing."""
    done = alone(
        """
subprocess.Popen(['sh', '-c', 'until [ -e go ]; do sleep 0.05; done; exec "$0" web > up', MM])
time.sleep(0.2)  # the table counts in hundredths of a second
result = check(*OPTIONS, '--', 'sh', '-c', MEANWHILE)
""",
        MEANWHILE=MEANWHILE + "0",
        OPTIONS=options,
    )
    assert done["status"] == 1
    if options:
        [row] = json.loads(done["stderr"])["processes"]
        assert row["during_command"] is False
    else:
        assert re.search(r"^ {11}started \d+ s ago, before COMMAND ran$", done["stderr"], re.M)


@linux
def test_a_child_that_outlives_command_counts(alone):
    done = alone("result = check('--', 'sh', '-c', '\"$0\" web > up 2>&1 & ' + UP, MM)", UP=UP)
    assert done["status"] == 1
    assert "mm web" in done["stderr"] and "while COMMAND ran" in done["stderr"]


@linux
def test_a_server_that_starts_after_the_second_look(alone, server):
    """COMMAND was alone, and that is what is said; the next check names the server."""
    done = alone(
        f"""{CLIENT}
result = [check('--', 'true')]
subprocess.run(['sh', '-c', 'touch go; ' + UP])
result += [check('--', 'true')]
""",
        SERVER=server,
        UP=UP,
    )
    assert [each["status"] for each in done] == [0, 1]


@linux
@pytest.mark.parametrize("status, expected", [("0", 2), ("5", 5)])
def test_the_second_look_is_unknown(alone, status, expected):
    spoil = f"printf x > .memtomem/config.json; exit {status}"
    done = alone("result = check('--', 'sh', '-c', SPOIL)", SPOIL=spoil)
    assert done["status"] == expected
    assert "mm-preflight: unknown after COMMAND ran:" in done["stderr"]


@linux
@pytest.mark.parametrize("status, expected", [("0", 0), ("6", 6)])
def test_nobody_reads_the_second_report(alone, status, expected):
    """The exit status still answers where stderr was closed meanwhile."""
    done = alone(
        """
read, write = os.pipe()
argv = [sys.executable, SCRIPT, '--', 'sh', '-c', 'until [ -e go ]; do sleep 0.05; done; ' + EXIT]
run = subprocess.Popen(argv, stderr=write)
os.close(write)
assert b'clear' in os.read(read, 65536)
os.close(read)
open('go', 'w')
result = run.wait()
""",
        EXIT=f"exit {status}",
    )
    assert done == expected


@linux
def test_wait_and_command(alone, server):
    waited, status = alone(
        """
server = spawn(SERVER)
argv = [sys.executable, SCRIPT, '--wait', '30', '--', 'date', '+%s.%N']
run = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
time.sleep(1)
server.kill()
server.wait()
killed = time.time()
result = [float(run.communicate()[0]) - killed, run.returncode]
""",
        SERVER=server,
    )
    assert waited >= 2
    assert status == 0


# ---- a terminal ---------------------------------------------------------------------------------

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
                    self.text += os.read(self.main, 65536).decode().replace('\\r', '')
                except OSError:  # who had the terminal has ended
                    assert words in self.text[self.read:], (words, self.text)
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


@linux
@pytest.mark.parametrize("key, name", [("\x03", "SIGINT"), ("\x1c", "SIGQUIT")])
def test_ctrl_c_is_for_command_which_may_go_on(alone, key, name):
    status, text = alone(f"{LISTENS}\nt.types(KEY){ENDS}", KEY=key)
    assert status == 7
    assert f"heard {name}\n" in text  # once
    assert "Traceback" not in text


@linux
@pytest.mark.parametrize("key, number", [("\x03", 2), ("\x1c", 3)])
def test_ctrl_c_ends_command_and_the_second_look_comes(alone, key, number):
    status, text = alone(
        f"{TERMINAL}\nt = Terminal(sys.executable, SCRIPT, '--', 'sh', '-c', "
        f"'ulimit -c 0; echo up; exec sleep 60')\nt.shows('up\\n')\nt.types(KEY){ENDS}",
        KEY=key,
    )
    assert status == 128 + number
    assert "Traceback" not in text


@linux
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_who_ends_the_check_means_command(alone, name):
    status, text = alone(f"{LISTENS}\nt.run.send_signal(getattr(signal, NAME)){ENDS}", NAME=name)
    assert (status, f"heard {name}\n" in text) == (7, True)


@linux
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


@linux
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


@linux
def test_the_terminal_is_that_of_command(alone):
    status, text = alone(
        f"{TERMINAL}\nt = Terminal(sys.executable, SCRIPT, '--', 'sh', '-c', "
        f"'for fd in 0 1 2; do [ -t $fd ] && echo \"$fd is a terminal\"; done'){ENDS}"
    )
    assert status == 0
    assert all(f"{fd} is a terminal\n" in text for fd in range(3))


@linux
def test_no_terminal(alone):
    done = alone(
        "apart = {'stdin': subprocess.DEVNULL, 'start_new_session': True}\n"
        "result = check('--', 'sh', '-c', 'cat; exit 5', **apart)"
    )
    assert (done["status"], done["stdout"]) == (5, "")


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


@pytest.mark.skipif(os.name != "nt", reason="only Windows has batch files")
def test_a_batch_file_without_its_suffix(only, in_process, home):
    only()
    (home / "hey.cmd").write_text("@echo off\r\necho %~2\r\nexit /b 4\r\n")
    report = in_process("--", home / "hey", "a", "b c")
    assert (report.status, report.stdout.strip()) == (4, "b c")


THREE = [sys.executable, "-c", "raise SystemExit(3)"]


def test_main_leaves_the_signals_as_they_were(monkeypatch):
    monkeypatch.setattr(look, "check", lambda option: Result("clear"))
    numbers = [each for each in signal.Signals if each.name.startswith("SIG")]
    before = [signal.getsignal(each) for each in numbers]
    assert mm_preflight.main(["--quiet", "--", *THREE]) == 3
    assert [signal.getsignal(each) for each in numbers] == before


def test_main_in_a_thread(monkeypatch):
    monkeypatch.setattr(look, "check", lambda option: Result("clear"))
    statuses = []
    argv = ["--quiet", "--", *THREE]
    run = threading.Thread(target=lambda: statuses.append(mm_preflight.main(argv)))
    run.start()
    run.join()
    assert statuses == [3]


@posix
def test_a_signal_before_command_is_there_is_not_lost(monkeypatch):
    """Ctrl-C, heard when nothing was started yet, ends COMMAND at once."""
    popen = subprocess.Popen

    def late(*args, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return popen(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", late)
    assert command.run(["sleep", "60"])[0] == 128 + signal.SIGINT


@posix
def test_a_command_that_is_not_ours_to_signal(monkeypatch):
    """sudo is root's: what cannot be handed on is dropped, and COMMAND waited for."""

    class Sudo:
        pid, sent = os.getpid(), 0

        def __init__(self, argv, **options):
            pass

        def send_signal(self, number):
            self.sent += 1
            raise PermissionError

        def wait(self):
            os.kill(os.getpid(), signal.SIGTERM)
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
    assert printed.index("All vectors deleted") < printed.index("mm-preflight: still clear")
    assert doors["models"] == {"none": 3}


@linux
def test_a_real_server_that_its_client_starts_in_the_gap_is_named(doors):
    status, printed = doors["gap"]
    assert "DB reset to ollama/beta" in printed
    assert status == 1
    assert "no longer clear, 1 mm process is alive" in printed
    assert "while COMMAND ran" in printed and "stop it: quit Cursor" in printed
