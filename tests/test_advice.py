"""How to stop what is alive: the words over a table, and each really followed.

Below a supervisor, a loop or a client, what is only killed comes back. So each kind is started for
real, its advice is followed to the letter, and three seconds later nothing of it may be alive.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from mm_preflight import linux_state
from mm_preflight.advice import Case, stop
from mm_preflight.cgroups import stop_command_of
from mm_preflight.loops import batch_file, loops_of, repeats
from mm_preflight.naming import display_name
from mm_preflight.origin import origin
from mm_preflight.records import Ancestor, Command, Held
from real import apart, real
from support import WINDOWS, chain, free_port, is_wine, linux, not_on_windows, until

__all__ = ["real"]  # the fixture


def ancestor(line: str, pid: int, terminal: str | None = "", loops: str = "") -> Ancestor:
    """An ancestor by its command line; its name is that of its program."""
    argv = line if isinstance(line, list) else shlex.split(line, posix="\\" not in line)
    program = re.split(r"[/\\]", argv[0])[-1].removeprefix("-")
    prompt = program in ("zsh", "bash", "fish", "cmd.exe", "powershell.exe") and (
        len(argv) == 1 or "-noexit" in argv or "--init-file" in argv
    )
    return Ancestor(pid, program, argv, terminal, prompt, loops)


SERVER = Command("mcp-server", "memtomem-server")
SESSION = "c404fcba-e221-4d98-a177-1805fd7f14d3"
WEB = Command("web", "mm web", cli=True)
SHELL = Command("shell", "mm shell", cli=True)
INDEX = Command("index", "mm index", cli=True)
LIBRARY = Command("library", "python app.py")
TTY = "/dev/pts/3"


ARGV = ["python", "/v/bin/memtomem-server"]


def advice(
    command, *lines, terminal=None, windows=False, unit="", gone=True, argv=ARGV, **more
) -> str:
    """The advice for process 7 whose ancestors, nearest first, have these command lines."""
    there = None if windows else terminal or ""
    ancestors = [
        line if isinstance(line, Ancestor) else ancestor(line, 100 + at, there)
        for at, line in enumerate(lines)
    ]
    found = origin(ancestors, terminal or there, gone, argv, more.pop("leads", True))
    assert found.who is None or found.who.pid == found.family[0]
    kill = TASKKILL if windows else "kill 7"
    elevated = "an administrator's terminal" if windows else "sudo"
    given = {"owner": "", "elevated": elevated, "held": None} | more
    given = {"command": command, "pid": 7, "kill": kill, "origin": found, "unit": unit} | given
    return stop(Case(**given))


TASKKILL = "taskkill /PID 7 /T /F"
GONE = "its client is gone, so nothing starts it again"
LOOPS = "the first would start it again: it is bash"
USER_MANAGER = Ancestor(900, "systemd", ["systemd", "--user"], None, False, "")
INIT = Ancestor(1, "systemd", ["/sbin/init"], None, False, "")
AGAIN = "it may start the server again if you only kill it"
IDLE = "or kill 7: then its session goes on without memtomem"
BACK = "runs it in the background, without a window"
WORDS = {
    "index-again-and-again": (  # watch makes a copy of itself for each run
        (INDEX, "watch -n 1 mm index", "watch -n 1 mm index", "bash", INIT),
        {"terminal": TTY},
        "let it finish, or kill 7, or press Ctrl-C in pts/3   "
        "(if it comes back, end watch (pid 101) first)",
    ),
    "client": ((SERVER, "cursor", INIT), {}, f"quit Cursor (pid 100); {AGAIN}"),
    "client-through-uvx": (
        (SERVER, "uvx memtomem", "claude", "bash", INIT),
        {"terminal": TTY},
        f"quit Claude Code (pid 101); {AGAIN}",
    ),
    "client-helper": (
        (SERVER, "cursor --type=utility", "cursor", INIT),
        {},
        f"quit Cursor (pid 101); {AGAIN}",
    ),
    "client-that-indexes": (
        (INDEX, "sh -c mm", "claude", "bash", INIT),
        {"terminal": TTY},
        "quit Claude Code (pid 101); it indexes after each edit",
    ),
    "client-in-node": (
        (SERVER, "node --max-old-space-size=9 /usr/bin/gemini", "node /usr/bin/gemini", "bash"),
        {"terminal": TTY},
        f"quit Gemini CLI (pid 101), {IDLE}",
    ),
    "client-in-node-by-options": (
        (SERVER, "node --no-warnings --enable-source-maps /usr/bin/claude", "bash"),
        {"terminal": TTY},
        f"quit Claude Code (pid 100); {AGAIN}",
    ),
    "program-behind-options-of-node": (
        (SERVER, "deno run --config=x.json --allow-net /srv/my-app.ts", INIT),
        {},
        "end my-app.ts (pid 100), then kill 7",
    ),
    "program-in-a-folder-with-a-blank": (
        (SERVER, ["C:\\Program Files\\nodejs\\node.exe", "C:\\Ana S\\app.js"], "cmd.exe"),
        {"windows": True},
        f"{TASKKILL}   (if it comes back, end app.js (pid 100) first)",
    ),
    "client-of-npm-s-on-windows": (
        (SERVER, r"node.exe C:\npm\node_modules\@anthropic-ai\claude-code\cli.js", "cmd.exe"),
        {"windows": True},
        f"quit Claude Code (pid 100); {AGAIN}",
    ),
    "client-on-a-desktop": (
        (SERVER, ["/usr/lib/claude-desktop/electron"], "/usr/bin/claude-desktop", INIT),
        {},
        f"quit Claude Desktop (pid 101); {AGAIN}",
    ),
    "client-on-a-mac": (
        (SERVER, Ancestor(100, "Claude", ["/Applications/Claude.app/Contents/MacOS/Claude"])),
        {},
        f"quit Claude Desktop (pid 100); {AGAIN}",
    ),
    "client-in-an-editor": (
        (SERVER, "/x/claude --output-format stream-json", "/x/code --type=utility", "code", INIT),
        {},
        f"quit VS Code (pid 102); {AGAIN}",
    ),
    "client-in-the-terminal-of-an-editor": (
        (SERVER, ancestor("claude", 100, TTY), ancestor("/x/code --type=ptyHost", 101), INIT),
        {"terminal": TTY},
        f"quit Claude Code (pid 100); {AGAIN}",
    ),
    "client-of-a-program": (
        (SERVER, "claude -p x", "python bot.py", INIT),
        {},
        f"quit Claude Code (pid 100); {AGAIN}",
    ),
    "client-without-a-window": (
        (SERVER, "opencode serve", INIT),
        {},
        "kill 100 7   (the first is OpenCode (pid 100), which runs without a window)",
    ),
    "helper-of-a-client-without-a-window": (
        (SERVER, "uv tool uvx mm", "kimi --worker", "kimi --server", USER_MANAGER, INIT),
        {},
        "kill 102 101 7   (the first is Kimi Code (pid 102), which runs without a window)",
    ),
    "client-that-left-its-terminal": (
        (
            SERVER,
            ancestor("kimi serve", 100),
            ancestor("kimi", 101, TTY),
            ancestor("bash", 102, TTY),
        ),
        {},
        "kill 100 7   (the first is Kimi Code (pid 100), which runs without a window)",
    ),
    "codex-s-daemon": (
        (SERVER, "/x/bin/codex app-server --listen unix:// --analytics", INIT),
        {},
        f"codex app-server daemon stop   (Codex CLI {BACK})",
    ),
    "codex-s-daemon-below-its-terminal": (
        (
            SERVER,
            ancestor("/x/codex app-server --listen unix://", 100),
            ancestor("/y/codex", 101, TTY),
            ancestor("node /usr/bin/codex", 102, TTY),
            ancestor("bash", 103, TTY),
        ),
        {},
        f"codex app-server daemon stop   (Codex CLI {BACK})",
    ),
    "codex-within-an-editor": (
        (SERVER, "/x/codex app-server", "code --type=utility", "code", INIT),
        {},
        f"quit VS Code (pid 102); {AGAIN}",
    ),
    "codex-s-server-in-a-terminal": (
        (SERVER, "codex app-server --listen ws://127.0.0.1:1", "bash"),
        {"terminal": TTY},
        f"quit Codex CLI (pid 100), {IDLE}",
    ),
    "session-in-the-background": (
        (
            SERVER,
            "uv tool uvx mm",
            f"/x/claude.exe --session-id {SESSION} hello",
            f"/x/claude.exe --bg-pty-host /s 200 50 -- /x/claude.exe --session-id {SESSION}",
            "/x/claude.exe daemon run --origin transient",
            INIT,
        ),
        {},
        f"claude stop c404fcba   (Claude Code {BACK})",
    ),
    "session-that-has-a-terminal-of-its-host": (
        (
            SERVER,
            ancestor(f"/x/claude --session-id {SESSION}", 100, TTY),
            "/x/claude --bg-pty-host /s",
            "/x/claude daemon run",
            INIT,
        ),
        {},
        f"claude stop c404fcba   (Claude Code {BACK})",
    ),
    "session-that-was-held-in-reserve": (
        (SERVER, "claude --bg-spare /s", "claude --bg-pty-host /s", "claude daemon run", INIT),
        {},
        "claude stop ID   (claude agents --json tells the ID of pid 100; Claude Code runs it in "
        "the background, without a window)",
    ),
    "session-whose-id-is-none": (
        (SERVER, "claude --session-id $(reboot)", "claude --bg-pty-host /s", "claude daemon", INIT),
        {},
        "claude stop ID   (claude agents --json tells the ID of pid 100; Claude Code runs it in "
        "the background, without a window)",
    ),
    "inspector-of-npm-s": (
        (SERVER, "node /n/node_modules/@modelcontextprotocol/inspector/cli/build/index.js", INIT),
        {},
        "end inspector (pid 100), then kill 7",
    ),
    "name-of-node-s-thread": (
        (
            SERVER,
            ancestor("/n/@github/copilot-linux-x64/copilot", 100, TTY)._replace(name="MainThread"),
            "bash",
        ),
        {"terminal": TTY},
        "kill 7   (if it comes back, end copilot (pid 100) first)",
    ),
    "make": (
        (SERVER, "make serve", "bash", INIT),
        {"terminal": TTY},
        "kill 7   (if it comes back, end make (pid 100) first)",
    ),
    "nox": (
        (SERVER, "python /v/bin/nox -s serve", "bash run.sh", INIT),
        {},
        "kill 7   (if it comes back, end nox (pid 100) first)",
    ),
    "title-with-a-secret": (
        (SERVER, Ancestor(100, "npm start -- -k sk-live-1", ["npm start -- -k sk-live-1"]), INIT),
        {},
        "end npm (pid 100), then kill 7",
    ),
    "name-that-is-none": (
        (SERVER, Ancestor(100, "$(reboot) key=1", ["x"]), INIT),
        {},
        "end ? (pid 100), then kill 7",
    ),
    "runit": (
        (SERVER, Ancestor(100, "runsv", ["runsv", "brain"], folder="/etc/sv/brain"), "runsvdir x"),
        {},
        "sv down /etc/sv/brain   (if you only kill it, runsv (pid 100) starts it again)",
    ),
    "s6": (
        (SERVER, "s6-supervise /run/my-brain", "s6-svscan /run", INIT),
        {},
        "s6-svc -d /run/my-brain   (if you only kill it, s6-supervise (pid 100) starts it again)",
    ),
    "s6-with-a-shell-between": (
        (SERVER, "sh -c x", "s6-supervise /run/brain", INIT),
        {},
        "s6-svc -d /run/brain, then kill 7   "
        "(if you only kill it, s6-supervise (pid 101) starts it again)",
    ),
    "daemontools-with-a-script-between": (
        (SERVER, "sh ./run", Ancestor(101, "supervise", ["supervise", "b"], folder="/s/b"), INIT),
        {},
        "svc -d /s/b, then kill 7   (if you only kill it, supervise (pid 101) starts it again)",
    ),
    "folder-that-is-not-to-be-pasted": (
        (SERVER, Ancestor(100, "runsv", ["runsv", "/a;reboot"], folder="/etc/sv/brain"), INIT),
        {},
        "sv down FOLDER   (its FOLDER is the working directory of pid 100; "
        "if you only kill it, runsv (pid 100) starts it again)",
    ),
    "folder-that-begins-with-a-dash": (
        (SERVER, Ancestor(100, "runsv", ["runsv", "x"], folder="/etc/-x"), INIT),
        {},
        "sv down FOLDER   (its FOLDER is the working directory of pid 100; "
        "if you only kill it, runsv (pid 100) starts it again)",
    ),
    "cron": (
        (SERVER, "flock -n /l mm", "sh -c flock", "/usr/sbin/CRON -f", "cron -f", INIT),
        {},
        "take its line out of the crontab (crontab -e, or a file in /etc/cron.d), then kill 7   "
        "(cron (pid 103) starts it again)",
    ),
    "cron-in-busybox": (
        (SERVER, "busybox crond -f", "sh"),
        {},
        "take its line out of the crontab (crontab -e, or a file in /etc/cron.d), then kill 7   "
        "(crond (pid 100) starts it again)",
    ),
    "cron-that-indexes": (
        (INDEX, "sh -c mm", "/usr/sbin/CRON -f", "cron -f", INIT),
        {},
        "let it finish; cron (pid 102) starts the next: crontab -e takes out its line",
    ),
    "at": (
        (INDEX, "sh -c mm", "atd", INIT),
        {},
        "let it finish, or kill 7",
    ),
    "first-of-a-terminal-that-is-no-shell": (
        (WEB, ancestor("python keep.py", 100, TTY), "tmux", INIT),
        {"terminal": TTY, "argv": ["python", "/v/bin/mm-web-of-another-name"], "owner": "ben"},
        "kill 7, or press Ctrl-C in pts/3   (if it comes back, end keep.py (pid 100) first) "
        "(it belongs to ben: ask them, or use sudo)",
    ),
    "codex-that-listens-elsewhere": (
        (SERVER, "codex app-server --listen ws://127.0.0.1:1", INIT),
        {},
        "kill 100 7   (the first is Codex CLI (pid 100), which runs without a window)",
    ),
    "client-in-its-own-window-on-windows": (
        (SERVER, r"C:\x\claude.exe", r"C:\x\WindowsTerminal.exe"),
        {"windows": True},
        f"quit Claude Code (pid 100); {AGAIN}",
    ),
    "orphan-below-an-init-that-did-not-start-it": (
        (SERVER, Ancestor(1, "init", ["/init"])),
        {"leads": False},
        f"kill 7   ({GONE})",
    ),
    "init-of-a-container": (
        (SERVER, Ancestor(1, "init", ["init"])),
        {},
        "kill 7   (if it comes back, init (pid 1) starts it: take its line out of /etc/inittab, "
        "then kill -HUP 1, then kill it again)",
    ),
    "first-process-of-a-container-that-nobody-knows": (
        (SERVER, Ancestor(1, "python3", ["python3", "/app/keep.py"])),
        {},
        "kill 7   (if it comes back, keep.py (pid 1) starts it, the first process of this "
        "container: stop the container from its host)",
    ),
    "shell-in-python": (
        (SERVER, ancestor(["/usr/bin/python3", "/usr/bin/xonsh"], 100, TTY), "tmux"),
        {"terminal": TTY},
        "kill 7, or press Ctrl-C in pts/3",
    ),
    "shell-that-nobody-knows": (
        (SERVER, ancestor("/opt/newshell", 100, TTY)._replace(jobs=True), "xterm", INIT),
        {"terminal": TTY},
        "kill 7, or press Ctrl-C in pts/3",
    ),
    "namesake-of-npm-s": (
        (SERVER, "node /usr/lib/node_modules/claude-code-router/keeper.js", INIT),
        {},
        "end claude-code-router (pid 100), then kill 7",
    ),
    "client-nobody-knows": (
        (SERVER, "/opt/agent --serve", INIT),
        {},
        "end agent (pid 100), then kill 7",
    ),
    "typed-in-vs-code": (
        (WEB, "zsh", "code --type=ptyHost", "code", INIT),
        {},
        "mm web stop, or kill 7",
    ),
    "typed-server-in-vs-code": (
        (SERVER, "bash --init-file /x/y.sh", "code", INIT),
        {"terminal": TTY},
        "kill 7, or press Ctrl-C in pts/3",
    ),
    "typed-on-windows": (
        (SERVER, r"C:\x\powershell.exe -noexit -command x", r"C:\x\Code.exe"),
        {"windows": True},
        TASKKILL,
    ),
    "launcher-of-python-on-windows": (
        (SERVER, r"C:\Windows\py.exe -m memtomem.server", r"C:\Windows\explorer.exe"),
        {"windows": True},
        TASKKILL,
    ),
    "batch-file-that-names-no-exe": (
        (WEB, ancestor("cmd.exe /c x.bat", 100, None, ":again\nMM web\ngoto again")),
        {"windows": True, "argv": ["python", r"C:\v\mm.exe"]},
        "taskkill /PID 100 /T /F   (that is cmd.exe, which would start it again, and all below it)",
    ),
    "batch-file-that-runs-what-it-is-given": (
        (WEB, ancestor("cmd.exe /c x.bat", 100, None, ":again\n%*\ngoto again")),
        {"windows": True},
        "taskkill /PID 100 /T /F   (that is cmd.exe, which would start it again, and all below it)",
    ),
    "folder-with-a-slash-behind-it": (
        (LIBRARY, "/usr/bin/keeper", INIT),
        {"argv": ["python", "pk/"]},
        "kill 7   (if it comes back, end keeper (pid 100) first)",
    ),
    "explorer": ((SERVER, r"C:\Windows\explorer.exe"), {"windows": True}, TASKKILL),
    "orphan": ((SERVER, INIT), {}, f"kill 7   ({GONE})"),
    "orphan-library": (
        (LIBRARY, INIT),
        {},
        "kill 7   (its parent is gone, so nothing starts it again)",
    ),
    "orphan-on-windows": ((SERVER,), {"windows": True}, f"{TASKKILL}   ({GONE})"),
    "orphan-of-a-user-manager": ((SERVER, USER_MANAGER, INIT), {}, f"kill 7   ({GONE})"),
    "first-in-a-container": ((SERVER,), {"gone": False}, "kill 7"),
    "in-a-container": (
        (SERVER, Ancestor(1, "tini", ["tini", "--", "x"], None, False, "")),
        {},
        "kill 7",
    ),
    "service": (
        (SERVER, INIT),
        {"unit": "systemctl --user stop mm.service"},
        "systemctl --user stop mm.service   (if you only kill it, it may be started again)",
    ),
    "service-of-a-strange-name": (
        (SERVER, INIT),
        {"unit": "?"},
        "stop its systemd service, which systemctl status 7 names",
    ),
    "service-of-its-terminal": (
        (SERVER, "bash", "xterm", INIT),
        {"unit": "sudo systemctl stop x.service", "terminal": TTY},
        "kill 7, or press Ctrl-C in pts/3",
    ),
    "docker": (
        (SERVER, "tini -- memtomem-server", INIT),
        {"unit": "docker stop abc"},
        "docker stop abc",
    ),
    "supervisord": (
        (SERVER, "python /usr/bin/supervisord -n", INIT),
        {},
        "supervisorctl stop NAME   (supervisorctl status tells its NAME; "
        "if you only kill it, supervisord (pid 100) starts it again)",
    ),
    "loop": (
        (SERVER, ancestor("bash run.sh", 100, None, "while :; do memtomem-server; done"), INIT),
        {},
        f"kill 100 7   ({LOOPS})",
    ),
    "loop-below-a-client": (
        (
            SERVER,
            ancestor("bash run.sh", 100, None, "while :; do memtomem-server; done"),
            "cursor",
            INIT,
        ),
        {},
        f"quit Cursor (pid 101); {AGAIN}",
    ),
    "loop-below-a-service": (
        (SERVER, ancestor("bash run.sh", 100, None, "while :; do memtomem-server; done"), INIT),
        {"unit": "sudo systemctl stop mm.service"},
        "sudo systemctl stop mm.service   (if you only kill it, it may be started again)",
    ),
    "launchd": (
        (SERVER, Ancestor(1, "launchd", ["/sbin/launchd"], None, False, "")),
        {},
        "kill 7   (if it comes back, launchd starts it: launchctl list tells its LABEL, and "
        "launchctl remove LABEL stops it)",
    ),
    "web-of-another-user": (
        (WEB, "bash", INIT),
        {"owner": "ben"},
        "kill 7 (it belongs to ben: ask them, or use sudo)",
    ),
    "loop-about-something-else": (
        (LIBRARY, ancestor("bash .xinitrc", 100, None, "for f in /etc/x/*; do . $f; done"), INIT),
        {},
        "kill 7",
    ),
    "loop-that-runs-what-it-is-given": (
        (SERVER, ancestor("sh keep.sh memtomem-server", 100, None, 'while :; do "$@"; done'), INIT),
        {},
        f"kill 100 7   ({LOOPS.replace('bash', 'sh')})",
    ),
    "loop-above-a-script": (
        (SERVER, "bash run.sh", ancestor("sh x.sh", 101, None, 'while :; do "$@"; done'), INIT),
        {},
        f"kill 101 7   ({LOOPS.replace('bash', 'sh')})",
    ),
    "loop-above-a-program": (
        (
            LIBRARY,
            "bash run.sh",
            "/usr/bin/keeper",
            ancestor("bash ci.sh", 102, None, 'for x in 1; do "$@"; memtomem-server; done'),
            INIT,
        ),
        {},
        "kill 7   (if it comes back, end bash (pid 100) first)",
    ),
    "loop-that-has-the-name-within-a-word": (
        (
            WEB,
            ancestor("bash run.sh", 100, None, "for x in a; do commemtomem-server $x; done"),
            INIT,
        ),
        {},
        "mm web stop, or kill 7",
    ),
    "first-process-of-a-container-loops": (
        (SERVER, ancestor("sh run.sh", 1, None, "while :; do memtomem-server; done")),
        {},
        "stop this container from its host: its first process runs it",
    ),
    "first-process-of-a-container": (
        (SERVER,),
        {"gone": False, "pid": 1},
        "stop this container from its host: its first process runs it",
    ),
    "supervisor-is-first-in-a-container": (
        (SERVER, ancestor("python /usr/bin/supervisord -n", 1)),
        {},
        "supervisorctl stop NAME   (supervisorctl status tells its NAME; "
        "if you only kill it, supervisord (pid 1) starts it again)",
    ),
    "script-with-a-client's-name": (
        (INDEX, "bash /home/ana/claude-nightly.sh", INIT),
        {},
        "let it finish, or kill 7   (if it comes back, end bash (pid 100) first)",
    ),
    "python-with-a-client's-name": (
        (LIBRARY, "python claude_agent.py", INIT),
        {},
        "kill 7   (if it comes back, end claude_agent.py (pid 100) first)",
    ),
    "code-is-no-name": (
        (SERVER, ["python", "-c", "key='sk-1'"], INIT),
        {},
        "end python (pid 100), then kill 7",
    ),
    "node-code-is-no-name": (
        (SERVER, ["node", "-e", "key='sk-1'"], INIT),
        {},
        "end node (pid 100), then kill 7",
    ),
    "script": (
        (SERVER, "bash run.sh", INIT),
        {},
        "kill 7   (if it comes back, end bash (pid 100) first)",
    ),
    "script-in-a-terminal": (
        (SERVER, ancestor("bash run.sh", 100, TTY), "zsh", INIT),
        {"terminal": TTY},
        "kill 7, or press Ctrl-C in pts/3   (if it comes back, end bash (pid 100) first)",
    ),
    "background-loop": (
        (SERVER, "bash", "bash", "sshd", INIT),
        {"terminal": TTY},
        f"kill 100 7   ({LOOPS})",
    ),
    "shell": ((SHELL, "bash", INIT), {"terminal": TTY}, "type quit in pts/3"),
    "index": (
        (INDEX, "zsh", INIT),
        {"terminal": TTY},
        "let it finish, or kill 7, or press Ctrl-C in pts/3",
    ),
    "tmux": (
        (SERVER, Ancestor(100, "tmux: server", ["tmux"], None, False, ""), INIT),
        {"terminal": TTY},
        "kill 7, or press Ctrl-C in pts/3",
    ),
    "prompt-of-python": ((LIBRARY, "bash", INIT), {"terminal": TTY}, "kill 7"),
    "in-the-background-of-a-terminal": (
        (SHELL, "bash", INIT),
        {"terminal": TTY, "in_front": False},
        "kill 7",
    ),
    "suspended-in-a-terminal": (
        (SHELL, "bash", INIT),
        {"terminal": TTY, "held": Held(kind="stopped", cure="kill -CONT 7")},
        "wake it first, because it is suspended: kill -CONT 7; then kill 7",
    ),
    "desktop": ((LIBRARY, "gnome-shell", INIT), {}, "kill 7"),
    "program": (
        (LIBRARY, "/usr/bin/keeper", INIT),
        {},
        "kill 7   (if it comes back, end keeper (pid 100) first)",
    ),
    "suspended": (
        (LIBRARY, "bash", INIT),
        {"held": Held(kind="stopped", cure="kill -CONT 7")},
        "wake it first, because it is suspended: kill -CONT 7; then kill 7",
    ),
    "traced": (
        (LIBRARY, "bash", INIT),
        {"held": Held(kind="traced", who="gdb (pid 5)")},
        "quit gdb (pid 5) first, the debugger that holds it; then kill 7",
    ),
    "frozen": (
        (LIBRARY, "bash", INIT),
        {"held": Held(kind="frozen", cure="sudo systemctl thaw x.service")},
        "thaw it first, because it is frozen: sudo systemctl thaw x.service; then kill 7",
    ),
    "frozen-by-a-name-that-is-not-to-be-pasted": (
        (LIBRARY, "bash", INIT),
        {"held": Held(kind="frozen")},
        "thaw its control group first, because it is frozen; then kill 7",
    ),
    "paused": (
        (SERVER, "tini -- memtomem-server", INIT),
        {"unit": "docker stop abc", "held": Held(kind="frozen", cure="echo THAWED > /x")},
        "thaw it first, because it is frozen: docker unpause abc; then docker stop abc",
    ),
    "waiting": (
        (INDEX, "bash", INIT),
        {"held": Held(kind="waiting", mount="/mnt/x", cure="sudo umount -l -f /mnt/x")},
        "no kill ends it while it waits for /mnt/x: sudo umount -l -f /mnt/x; then let it finish, "
        "or kill 7",
    ),
    "waiting-for-what-cannot-be-told": (
        (SERVER, "bash", INIT),
        {"held": Held(kind="waiting")},
        "no kill ends it while it waits for a disk or a network folder to answer; then kill 7",
    ),
    "another-user": (
        (LIBRARY, "bash", INIT),
        {"owner": "ben"},
        "kill 7 (it belongs to ben: ask them, or use sudo)",
    ),
    "another-user-as-root": (
        (LIBRARY, "bash", INIT),
        {"owner": "ben", "elevated": ""},
        "kill 7 (it belongs to ben)",
    ),
    "another-user-on-windows": (
        (LIBRARY, "cmd.exe"),
        {"owner": "B\\ben", "windows": True},
        f"{TASKKILL} (it belongs to B\\ben: ask them, or use an administrator's terminal)",
    ),
}


@pytest.mark.parametrize("name", WORDS)
def test_words(name):
    given, settings, expected = WORDS[name]
    assert advice(*given, **settings) == expected


@pytest.mark.parametrize(
    "text, loops",
    [
        ("echo a\n:again\nmm web\ngoto again\n", ":again\nmm web\ngoto again"),
        (":Again\nmm web\nif 1==1 GOTO :again\n", ":Again\nmm web\nif 1==1 GOTO :again"),
        ("mm web\ngoto :eof\n:usage\necho x\n", ""),
        ("goto on\nmm web\n:on\n", ""),
        (":a\nREM goto a\n@rem goto a\n:: goto a\nmm web\n", ""),
        ("@for /l %%i in (0,0,1) do mm web", "@for /l %%i in (0,0,1) do mm web"),
        ("while(1){mm serve}", "while(1){mm serve}"),
        ("do { mm serve } while (1)", "do { mm serve } while (1)"),
        ("while :; do\n  mm web\ndone\nmm index", "while :; do\n  mm web\ndone"),
        ("for f in *; do :; done; mm web", "for f in *; do :; done"),
        ("mm web # while\n", ""),
        ("ssh me@for.example.org mm web", ""),
    ],
)
def test_loops(text, loops):
    assert loops_of(text).strip() == loops


REPEATED = {
    "variable": 'X=mm-web; while true; do "$X"; done',
    "array": 'X=(mm-web --x y)\nuntil "${X[@]}"; do sleep 1; done',
    "variable-of-a-variable": 'B=/v/bin\nS="$B/mm-web"\nexport T=$S\nwhile :; do $T; done',
    "variable-from-outside": 'while :; do "$X" | tee log; done',
    "variable-that-is-evaluated": 'while true; do eval "$X"; done',
    "variable-of-fish": "set X mm-web\nwhile true; $X; end",
    "variable-of-cmd": 'set X=C:\\v\\mm-web.exe\n:again\n"%X%" --x\ngoto again',
    "variable-of-powershell": '$X = "C:\\v\\mm-web.exe"\nwhile ($true) { & $X }',
    "variable-of-the-loop": 'for x in mm-web b; do "$x"; done',
    "function": "serve() { mm-web; }; while true; do serve; done",
    "function-of-a-function": "a() {\n  mm-web\n}\nb() {\n a\n}\nwhile true; do b; done",
    "function-of-fish": "function serve\n mm-web\nend\nwhile true\n serve\nend",
    "function-of-powershell": "function Serve { mm-web }\nwhile ($true) { Serve }",
    "recursion": "keep() { mm-web; sleep 1; keep; }; keep",
    "itself": 'mm-web\nsleep 1\nexec "$0"',
    "itself-by-its-shell": 'mm-web\nexec bash "$0" "$@"',
    "itself-of-cmd": 'mm-web.exe\ncall "%~f0"',
}
ONCE = {
    "scripts-of-a-folder": 'for f in /etc/x/*; do "$f"; done; mm-web',
    "another-variable": 'X=other; while :; do "$X"; done; mm-web',
    "variable-of-the-environment": "A=/x mm-web &\nwhile [ -e $A/x ]; do sleep 1; done",
    "variable-behind-the-loop": 'X=mm-web\nfor f in a b; do echo $f; done\n"$X"',
    "variable-that-counts": "$i = 0\nwhile ($j -lt 5) {\n $j = $j + 1\n}\nmm-web",
    "function-behind-the-loop": "serve() { mm-web; }\nwhile sleep 1; do break; done\nserve",
    "itself-before": '[ -t 0 ] || exec bash "$0" "$@"\nmm-web',
    "its-own-name": 'usage() { echo "$0"; }\ncd "$(dirname "$0")"\nmm-web',
    "its-own-folder": "%~dp0mm-web.exe",
}


@pytest.mark.parametrize("name", REPEATED)
def test_a_loop_that_names_its_program_elsewhere(name):
    assert repeats(loops_of(REPEATED[name]), "mm-web")


@pytest.mark.parametrize("name", ONCE)
def test_what_is_run_once_is_no_loop(name):
    assert not repeats(loops_of(ONCE[name]), "mm-web")


@pytest.mark.parametrize(
    "text",
    'a|"| |@|do |call |:a\n|node_modules/|a=(|a=$a$a;|${a|f(){f\n}|f(){ f; };|function a |set a '
    "|export -a ".split("|"),
)
def test_text_of_another_s_takes_no_time(text):
    """Of any length, because a regular expression cannot be interrupted."""
    began, long = time.process_time(), text * (131_072 // len(text))
    repeats(loops_of(long[:16_384]), "mm")
    batch_file(long)
    display_name(Ancestor(1, "node", ["node", long], None, False, ""))
    assert time.process_time() - began < 1


def test_launcher_of_a_script_on_windows():
    """uvicorn.exe starts Python with itself as the script: one instance, whoever started it."""
    launcher = ancestor(r"C:\v\uvicorn.exe memtomem.web.app:app", 100)
    argv = [r"C:\v\python.exe", r"C:\v\uvicorn.exe", "memtomem.web.app:app"]
    found = origin([launcher, ancestor("cmd.exe", 101)], None, True, argv)
    assert (found.kind, found.launchers) == ("prompt", (100,))


def test_sudo_s_own_terminal_is_not_the_person_s():
    """Since 1.9.14 sudo gives what it runs a terminal of its own."""
    inner = ancestor("sudo mm shell", 100, "/dev/pts/8")
    outer = ancestor("sudo mm shell", 101, TTY)
    assert advice(SHELL, inner, outer, "bash", terminal="/dev/pts/8") == "type quit in pts/3"


GROUPS = {
    "none": ("0::/\n", ""),
    "scope": ("0::/user.slice/user-1000.slice/session-2.scope\n", ""),
    "service": ("0::/system.slice/mm.service\n", "sudo systemctl stop mm.service"),
    "user-service": (
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/mm@x.service\n",
        "systemctl --user stop mm@x.service",
    ),
    "version-1": (
        "12:cpu:/\n1:name=systemd:/system.slice/mm.service\n0::/\n",
        "sudo systemctl stop mm.service",
    ),
    "begins-with-a-dash": ("0::/system.slice/--now.service\n", "?"),
    "blank": ("0::/system.slice/a b.service\n", "?"),
    "command": ("0::/system.slice/a;reboot.service\n", "?"),
    "escape": ("0::/system.slice/a\\x2d.service\n", "?"),
    "not-ascii": ("0::/system.slice/\u0430.service\n", "?"),
    "login": ("0::/system.slice/sshd.service\n", ""),
    "cron": ("0::/system.slice/cron.service\n", ""),
    "desktop": ("0::/user.slice/user@1.service/app.slice/app-gnome-x.service\n", ""),
    "docker": (
        f"0::/system.slice/docker-{'0123456789ab' + 'c' * 52}.scope\n",
        "docker stop 0123456789ab",
    ),
    "docker-1": (f"4:cpu:/docker/{'0123456789ab' + 'c' * 52}\n", "docker stop 0123456789ab"),
    "podman": (f"0::/x/libpod-{'0123456789ab' + 'c' * 52}.scope\n", "podman stop 0123456789ab"),
}


@pytest.mark.parametrize("name", GROUPS)
def test_stop_command_of_a_control_group(name):
    groups, expected = GROUPS[name]
    assert stop_command_of(groups) == expected


SECRET = "sk-live-0123456789"
# What another program may have as its name and its argv; {s} is a secret.
NAMES = {
    "title": ("npm start -- -k {s}", ["npm start -- -k {s}"]),
    "title-with-a-path": ("node /srv/app.js", ["node /srv/app.js --key={s}/x"]),
    "title-of-a-worker": ("celery", ["[celeryd: w1] -k {s}"]),
    "assignment": ("KEY={s}", ["KEY={s}", "x"]),
    "option-of-node": ("node", ["node", "--title", "{s}", "/srv/app.js"]),
    "code-of-node": ("node", ["node", "-e", "key='{s}'"]),
    "code-of-python": ("python3", ["python3", "-c", "key='{s}'"]),
    "option-of-python": ("python3", ["python3", "-X", "{s}", "-W", "{s}"]),
    "script-with-a-query": ("python3", ["python3", "/srv/app.py?key={s}"]),
    "argument": ("busybox", ["busybox", "sh -c {s}"]),
    "command-of-a-shell": ("bash", ["bash", "-c", "KEY={s} mm serve"]),
    "supervisor": ("runsv", ["runsv", "/etc/{s} x"]),
    "supervisor-by-title": ("pm2 v5 {s}", ["PM2 v5: {s}"]),
    "command-of-busybox": ("busybox", ["busybox", "sh x/{s}"]),
    "subcommand-of-node": ("node", ["node", "run", "{s}"]),
    "address-of-deno-s": ("deno", ["deno", "run", "https://h/app?key=x/{s}"]),
    "program-that-begins-with-node": ("nodemon", ["nodemon", "--exec", "{s}"]),
    "script-with-arguments": ("node", ["node", "/srv/app.js --key /x/{s}"]),
    "script-with-an-argument": ("node", ["node", "/srv/app.js key/{s}"]),
    "remains-behind-a-title": ("node", ["node --key /x/{s}", "x/{s}", "{s}"]),
}


@pytest.mark.parametrize("command", [SERVER, WEB, INDEX, LIBRARY], ids=lambda each: each.role)
@pytest.mark.parametrize("name", NAMES)
def test_no_argument_of_another_s_is_shown(name, command):
    """A name is one word at most: what stands behind it may be a secret."""
    title, argv = NAMES[name]
    assert_hidden(title.format(s=SECRET), [arg.format(s=SECRET) for arg in argv], command)


def assert_hidden(title: str, argv: list[str], command: Command) -> None:
    for pid in (100, 1):
        for above in ([INIT], [ancestor("bash", 101)], []):
            each = Ancestor(pid, title, argv)
            found = origin([each, *above], None, True, ARGV)
            assert SECRET not in f"{found.name} {found.manager}"
            assert SECRET not in advice(command, each, *above)


INTERPRETERS = ("node", "perl", "ruby", "php8.2", "deno", "bun", "python3", "MainThread")
VALUES = "{s} /x/{s} x/{s} https://u:{s}@h/{s} k=/x/{s} 'x/{s} \"x/{s} x?k=a/{s} {s}:x/{s}".split()


@pytest.mark.parametrize("program", INTERPRETERS)
@pytest.mark.parametrize("value", VALUES)
def test_no_part_of_a_title_and_no_value_is_shown(program, value):
    """The name may be the title's beginning, or as it was; psutil may have split the title."""
    value = value.format(s=SECRET)
    for title in (f"{program} x --key {value}", f"{program}: {value}", f"{program}:{value}"):
        assert_hidden(title[:15], [title, "", ""], SERVER)
        assert_hidden(program, [title, "", ""], SERVER)
    for arguments in (["--key", value], ["--no-x", "--key", value], ["run", "--key", value]):
        assert_hidden(program, [program, *arguments, "app.js", "x"], SERVER)


MOUNTS = r"""22 1 0:21 / / rw shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /mnt/a\040b rw,nosuid - fuse.sshfs me@host:/ rw,user_id=0
31 22 0:27 / /mnt/nfs rw - nfs4 server:/x rw
32 22 0:28 / /tmp rw - tmpfs none rw
"""


@linux
def test_mounts_that_may_be_silent():
    assert linux_state.remote_mounts(MOUNTS) == ["/mnt/a b", "/mnt/nfs"]


@linux
@pytest.mark.parametrize(
    "group, command",
    [
        ("/a", "echo 0 | sudo tee {tree}/a/cgroup.freeze"),
        ("/a/b", "echo 0 | sudo tee {tree}/a/cgroup.freeze"),
        ("/system.slice/mm.service", "sudo systemctl thaw mm.service"),
        ("/user.slice/user@5.service/mm.service", "systemctl --user thaw mm.service"),
        ("/$(reboot)", ""),
        ("/a;b/--x.service", ""),
        ("/", ""),
    ],
)
def test_thaw_of_a_control_group(tmp_path, monkeypatch, group, command):
    """The nearest that was itself frozen, and nothing to paste if its name is not plain."""
    tree = Path("/").joinpath(tmp_path)
    for folder in {group, "/a"}:
        asked = tree.joinpath(folder.strip("/"), "cgroup.freeze")
        asked.parent.mkdir(parents=True, exist_ok=True)
        asked.write_text("1" if folder in ("/a", group) and group != "/a/b" else "0")
    (tree / "a" / "cgroup.freeze").write_text("1")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    found = linux_state.thaw(str(tree), group, "cgroup.freeze", "1", "cgroup.freeze", "0")
    assert found == command.format(tree=tree)


def test_a_chain_of_a_thousand_ancestors():
    chain = [ancestor("python deeper.py", 100 + at) for at in range(1000)]
    assert advice(SERVER, *chain, "cursor", INIT).startswith("quit Cursor")


# ---- followed to the letter ---------------------------------------------------------------------

AFTER = 3.0  # seconds; a client or a supervisor starts again within one or two


@pytest.fixture
def marked(home, stand_in):
    """Every live process that has the home of this test in its arguments or its environment."""

    def marked() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = str(home) in " ".join(process.cmdline())
                mine = mine or process.environ().get("HOME") == str(home)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    yield marked
    for process in marked():
        with contextlib.suppress(psutil.Error):
            process.kill()


@pytest.fixture
def advised(preflight, marked, home):
    """The one row about a process of this test, once it is alive; and whether one still is."""

    def rows() -> list[dict]:
        mine = {process.pid for process in marked()}
        return preflight("--json").of(*mine) if mine else []

    def advised() -> dict:
        [row] = until(rows, "a live process")
        return row

    def gone() -> bool:
        time.sleep(AFTER)
        return rows() == []

    advised.gone = gone
    return advised


def follow(words: str, env: dict[str, str] | None = None) -> None:
    """Run the command that stands first, as a person would paste it."""
    command = re.split(r"   |; |, or ", words)[0]
    above = {each.pid for each in psutil.Process().parents()} | {os.getpid()}
    assert above.isdisjoint(map(int, re.findall(r"\b\d+\b", command))), words
    done = subprocess.run(command, shell=True, env=env, timeout=30, capture_output=True, text=True)
    # Of several, one may have ended with another before its turn comes.
    assert done.returncode == 0 or "No such process" in done.stderr, (command, done.stderr)


@pytest.fixture
def server(stand_in, home):
    """An argv of the stand-in's MCP server that tells it from others'."""
    return [stand_in.program("memtomem-server"), f"--home={home}"]


def test_loop_in_a_script(start, server, advised, home):
    folder = home / "my loops"
    folder.mkdir()
    script = folder / ("keep.bat" if WINDOWS else "keep.sh")
    if WINDOWS:  # as it is typed there, without .exe
        line = subprocess.list2cmdline([server[0].removesuffix(".exe"), *server[1:]])
        script.write_text(f":again\n{line}\ngoto again\n")
    else:
        script.write_text(f"while :; do {shlex.join(server)}; sleep 0.2; done\n")
    pid = start(*(("cmd", "/c") if WINDOWS else ("sh",)), script)
    row = advised()
    assert row["stop"].startswith("taskkill " if WINDOWS else "kill ")
    assert row["pids"] == chain(pid)[1:]
    follow(row["stop"])
    assert advised.gone()


LOOPS_BY_ANOTHER_NAME = {
    "variable": 'SERVER={program}\nwhile true; do "$SERVER" {option}; sleep 0.2; done\n',
    "array": 'CMD=({server})\nuntil "${{CMD[@]}}"; do sleep 0.2; done\n',
    "function": "serve() {{ {server}; }}; while true; do serve; sleep 0.2; done\n",
    "recursion": "keep() {{ {server}; sleep 0.2; keep; }}; keep\n",
    "itself": '{server}\nsleep 0.2\nexec bash "$0"\n',
}


@not_on_windows("has no bash")
@pytest.mark.parametrize("name", LOOPS_BY_ANOTHER_NAME)
def test_loop_by_another_name(start, server, advised, home, name):
    text = LOOPS_BY_ANOTHER_NAME[name]
    program, option = map(shlex.quote, server)
    (home / "keep").write_text(
        text.format(server=shlex.join(server), program=program, option=option)
    )
    start("bash", home / "keep")
    follow(advised()["stop"])
    assert advised.gone()


@not_on_windows("has no sh")
def test_script_that_reads_its_loop(start, server, advised, home):
    """A loop that is not seen: whom to end, if it comes back, is said all the same."""
    (home / "loop").write_text(f"while :; do {shlex.join(server)}; sleep 0.2; done\n")
    (home / "keep").write_text(f". {shlex.quote(str(home / 'loop'))}\n")
    start("sh", home / "keep")
    stop = advised()["stop"]
    follow(stop)
    until(advised, "its return")
    shell = re.search(r"\(if it comes back, end sh \(pid (\d+)\) first\)", stop)
    os.kill(int(shell[1]), signal.SIGTERM)
    follow(advised()["stop"])
    assert advised.gone()


def test_loop_in_a_command(start, server, advised):
    if WINDOWS:
        start("cmd", "/c", "for", "/L", "%i", "in", "(0,0,1)", "do", *server)
    else:
        start("sh", "-c", f"while :; do {shlex.join(server)}; sleep 0.2; done")
    follow(advised()["stop"])
    assert advised.gone()


@not_on_windows("has no tmux")
def test_loop_in_the_background_of_a_terminal(server, advised, home, tmux):
    tmux("bash --norc")
    tmux.types(f"(while :; do {shlex.join(server)}; sleep 0.2; done) &")
    follow(advised()["stop"])
    assert advised.gone()


@pytest.fixture
def sockets():
    """A folder for sockets, whose paths may have but 104 characters on macOS."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield folder


@pytest.fixture
def tmux(home, stand_in, sockets):
    """A tmux of this test's own."""
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed")
    base = ["tmux", "-S", f"{sockets}/tmux", "-f", "/dev/null"]
    env = {"HOME": str(home), "PATH": f"{stand_in.bin}:{os.environ['PATH']}", "TERM": "xterm"}

    def tmux(command: str) -> None:
        subprocess.run([*base, "new-session", "-d", command], env=env, check=True)

    tmux.types = lambda text: subprocess.run(
        [*base, "send-keys", text, "Enter"], env=env, check=True
    )
    tmux.press = lambda key: subprocess.run([*base, "send-keys", key], env=env, check=True)
    yield tmux
    subprocess.run([*base, "kill-server"], env=env, capture_output=True)


@not_on_windows("has no tmux")
@pytest.mark.parametrize("typed", [True, False], ids=["typed", "as-its-command"])
def test_tmux(server, advised, tmux, typed):
    """It gave the process its terminal, and started nothing: nobody is told to quit it."""
    tmux("bash --norc" if typed else shlex.join(server))
    if typed:
        tmux.types(shlex.join(server))
    row = advised()
    place = (row["terminal"] or "").removeprefix("/dev/")
    if place:  # psutil does not tell it on every platform
        assert row["stop"] == f"kill {row['pid']}, or press Ctrl-C in {place}"
    assert "tmux" not in row["stop"]
    tmux.press("C-c") if place else follow(row["stop"])
    assert advised.gone()


ORPHANS = "import subprocess, sys; subprocess.Popen(sys.argv[1:])"


def test_orphan(server, advised, start):
    """Its client crashed: ending the server itself is enough."""
    if WINDOWS:
        start(sys.executable, "-c", ORPHANS, *server)
    else:
        start("sh", "-c", f"{shlex.join(server)} & exit")
    row = until(lambda: (row := advised())["started_by"] is None and row, "the orphan")
    kill = f"taskkill /PID {row['pid']} /T /F" if WINDOWS else f"kill {row['pid']}"
    assert row["stop"].startswith(kill)
    follow(row["stop"])
    assert advised.gone()


CLIENT = """
while ! [ -e quit ]; do
  "$@" & child=$!
  trap 'touch quit; kill $child; exit' TERM
  wait $child
done
"""


CLIENT_OF_WINDOWS = """
while not os.path.exists("quit"):
    server = subprocess.Popen(args)
    while server.poll() is None:
        if os.path.exists("quit"):
            subprocess.run(["taskkill", "/PID", str(server.pid), "/T", "/F"])
        time.sleep(0.05)
"""


def test_client_that_restarts_its_server(server, advised, start, shell_as):
    cursor = shell_as("cursor", "run", CLIENT, CLIENT_OF_WINDOWS)
    start("cursor", "run", *server, **cursor)
    row = advised()
    assert row["started_by"]["name"] == "Cursor"
    os.kill(row["pid"], signal.SIGTERM)  # what is not advised
    again = until(lambda: (now := advised())["pid"] != row["pid"] and now, "the restart")
    client = int(re.search(r"quit Cursor \(pid (\d+)\)", again["stop"])[1])
    if WINDOWS:
        assert psutil.Process(client).name() == "cursor.exe"
        (cursor["cwd"] / "quit").touch()
    else:
        os.kill(client, signal.SIGTERM)
    assert advised.gone()


BIN = Path(sys.executable).parent
SUPERVISORD = """
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={home}/supervisord.pid
[unix_http_server]
file={sockets}/supervisor.sock
[supervisorctl]
serverurl=unix://{sockets}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:brain]
command={command}
"""


@not_on_windows("has no supervisord")
def test_supervisord(server, advised, start, home, sockets):
    conf = home / "supervisord.conf"
    conf.write_text(SUPERVISORD.format(home=home, sockets=sockets, command=shlex.join(server)))
    start(BIN / "supervisord", "-c", conf, ready=False)
    row = advised()
    assert row["started_by"]["name"] == "supervisord"
    words = r"(supervisorctl stop) NAME   \((supervisorctl status) tells its NAME; .*\)"
    stops, tells = re.match(words, row["stop"]).groups()
    run = [BIN / "supervisorctl", "-c", conf]

    def listed() -> list[str]:  # a name stands there with its PID after a second
        done = subprocess.run([*run, tells.split()[1]], capture_output=True, text=True)
        return re.findall(rf"^(\w+) .*pid {row['pid']},", done.stdout, re.M)

    [name] = until(listed, "its name")
    subprocess.run([*run, stops.split()[1], name], check=True, capture_output=True)
    assert advised.gone()


CIRCUS = """
[circus]
endpoint = ipc://{sockets}/endpoint
pubsub_endpoint = ipc://{sockets}/pubsub
stats_endpoint = ipc://{sockets}/stats
[watcher:brain]
cmd = {command}
"""


@not_on_windows("has no circus")
def test_circus(server, advised, start, home, sockets):
    conf = home / "circus.ini"
    conf.write_text(CIRCUS.format(sockets=sockets, command=shlex.join(server)))
    start(BIN / "circusd", conf, ready=False)
    row = advised()
    assert row["stop"].startswith("circusctl stop NAME   (circusctl list tells its NAME; ")
    run = [BIN / "circusctl", "--endpoint", f"ipc://{sockets}/endpoint"]
    listing = subprocess.run([*run, "list"], check=True, capture_output=True, text=True).stdout
    [name] = [word for word in re.findall(r"\w+", listing) if word == "brain"]
    subprocess.run([*run, "stop", name], check=True, capture_output=True)
    assert advised.gone()


@not_on_windows("has no gunicorn")
@pytest.mark.parametrize("application", ["memtomem.web.app:app", "brains:app"])
def test_gunicorn(advised, start, home, stand_in, marked, sockets, application):
    """Its master makes new workers; also where it is not told to run memtomem itself."""
    (home / "brains.py").write_text(
        "memtomem = __import__('mem' + 'tomem')\n"
        "connection = memtomem.open_database()\napp = print\n"
    )
    options = ["--workers", "2", "--chdir", home, "--bind", f"unix:{sockets}/socket"]
    env = {"PYTHONPATH": str(stand_in.library)}
    master = start(BIN / "gunicorn", *options, application, ready=False, env=env)
    expected = {each.pid for each in until(lambda: workers(master, 2), "workers")} | {master}
    row = advised()
    assert set(row["pids"]) == expected
    assert row["stop"].split()[:2] == ["kill", str(master)]
    follow(row["stop"])
    assert advised.gone()
    assert not marked()


POOL = """
import multiprocessing, os, sys, time
def fill():
    global connection
    import sqlite3
    connection = sqlite3.connect(sys.argv[2])
    connection.execute("pragma journal_mode=wal")
    connection.execute("select * from sqlite_master").fetchall()
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(2, fill) as pool:
        pool.map(time.sleep, [0.5, 0.5])
        print("ready", os.getpid(), flush=True)
        time.sleep(99)
"""


@pytest.mark.parametrize("method", ["spawn"] if WINDOWS else ["fork", "spawn", "forkserver"])
def test_pool_of_workers(advised, start, home, marked, method, database):
    """Without its parent, a worker of multiprocessing lives on with the database open."""
    (home / "pool.py").write_text(POOL)
    line = chain(start(sys.executable, home / "pool.py", method, database))
    count = len(line) + 2 + (method == "forkserver")  # its server stands between
    row = until(lambda: len((row := advised())["pids"]) == count and row, "both workers")
    assert row["pids"][: len(line)] == line  # the pool itself comes before what it would replace
    if not WINDOWS:  # there, taskkill ends what is below as well
        assert row["stop"].split()[1 : 1 + count] == [str(pid) for pid in row["pids"]]
    follow(row["stop"])
    assert advised.gone()


@not_on_windows("has no tmux")
def test_background_job(server, advised, tmux):
    """Ctrl-C does not reach it."""
    tmux("bash --norc")
    tmux.types(f"{shlex.join(server)} &")
    row = advised()
    if sys.platform == "linux":  # psutil does not tell who is in front
        assert "Ctrl-C" not in row["stop"]
    follow(row["stop"])
    assert advised.gone()


@not_on_windows("has no tmux")
def test_suspended_job(server, advised, tmux):
    """Ctrl-Z: at its terminal, the shell hears what is typed."""
    tmux("bash --norc")
    tmux.types(shlex.join(server))
    pid = advised()["pid"]
    tmux.press("C-z")
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "its suspension")
    words = advised()["stop"]
    assert words == f"wake it first, because it is suspended: kill -CONT {pid}; then kill {pid}"
    for command in re.findall(r"kill [-\w ]*\d+", words):
        follow(command)
    assert advised.gone()


def test_script_that_waits(server, advised, start, home):
    """Ending it alone leaves the server alive."""
    script = home / ("start.bat" if WINDOWS else "start.sh")
    if WINDOWS:  # which starts one by cmd /c, whoever asks
        script.write_text(f"{subprocess.list2cmdline(server)}\nexit\n")
    else:
        script.write_text(f"#!/bin/sh\n{shlex.join(server)}\nexit\n")
        script.chmod(0o755)
    start(script)
    follow(advised()["stop"])
    assert advised.gone()


def workers(pid: int, count: int) -> list[psutil.Process]:
    found = psutil.Process(pid).children()
    return found if len(found) == count else []


def test_uvicorn_with_workers(advised, start, home, stand_in, marked):
    argv = [stand_in.program("uvicorn"), "memtomem.web.app:app", "--workers", "2", f"--x={home}"]
    pids = {*chain(start(*argv)), start.next_announcement()}
    row = until(lambda: set((row := advised())["pids"]) == pids and row, "both workers")
    follow(row["stop"])
    assert advised.gone()
    assert not marked()


def test_real_mm_web_in_the_background(advised, real, home, marked, preflight):
    env = apart(real, home)
    (home / ".memtomem" / "memtomem.db").unlink()
    argv = [real.program("mm"), "web", "-b", "--port", str(free_port())]
    subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL, timeout=120)

    def mine() -> list[dict]:
        found = preflight("--json").of(*(each.pid for each in marked()))
        return [one for one in found if one["role"] == "web" and len(one["evidence"]) >= 2]

    [row] = until(mine, "the web UI with its database")
    kill = f"taskkill /PID {row['pid']} /T /F" if WINDOWS else f"kill {row['pid']}"
    assert row["stop"] == f"mm web stop, or {kill}"
    # Under Wine `mm web stop` ends with "Cannot verify": a lock that is held has no error number.
    follow(kill if is_wine() else row["stop"], env)
    until(lambda: mine() == [], "its end")
    time.sleep(AFTER)
    assert mine() == []
