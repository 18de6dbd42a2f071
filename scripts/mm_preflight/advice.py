"""How to stop one live instance, so that it stays stopped: who answers for it. Pure.

Who is asked goes by rules, not by lists: what is above the process's own terminal gave it that
terminal and started nobody; a shell that a person types into ends the search; and of the rest, the
one nearest to the process answers for it.
"""

from __future__ import annotations

import re
from collections import namedtuple

from mm_preflight.argv import (
    basename,
    is_python,
    is_shell,
    read_python_arguments,
    read_shell_arguments,
)
from mm_preflight.records import Ancestor

# First word of a process name: the MCP client as people know it.
CLIENTS = {
    "antigravity": "Antigravity", "claude": "Claude", "code": "VS Code", "codex": "Codex CLI",
    "cursor": "Cursor", "gemini": "Gemini CLI", "kimi": "Kimi Code", "opencode": "OpenCode",
    "windsurf": "Windsurf",
}  # fmt: skip
# They start again what ends: the program, how it lists what it runs, and how it stops one.
SUPERVISORS = {
    "supervisord": ("supervisorctl status", "supervisorctl stop NAME"),
    "circusd": ("circusctl list", "circusctl stop NAME"),
    "pm2": ("pm2 list", "pm2 stop NAME"),
}
LAUNCHERS = frozenset(  # they start a program and wait for it: the child counts, not they
    "uv uvx py pyw pipx sudo doas su timeout nohup nice env setsid xargs poetry pdm hatch mise"
    "".split()
)
# What has no terminal and started nobody either: the system's own, desktops, terminal programs.
NOBODY = (
    r"(?i)(init\b|systemd|launchd|login\b|sshd|crond?|atd|dbus-|containerd-shim|dockerd|conmon|tini"
    r"|dumb-init|docker-init|catatonit|gnome-|plasma|kwin|ksmserver|kded|xfce4-|sway|Hyprland|i3\b"
    r"|openbox|Xorg|gdm|lightdm|sddm|tmux|screen\b|zellij|.*term(inal)?\d*\b|kitty|alacritty|konsole"
    r"|explorer|conhost|OpenConsole|svchost|services\b|wininit|winlogon|userinit|sihost|taskeng"
    r"|WmiPrvSE|wsmprovhost|Finder|Dock\b|loginwindow)"
)
# On Windows npm's programs are cli.js or index.js, all of them; of these the package says more.
PACKAGE = r".*\bnode_modules[/\\](?:@[^/\\]+[/\\])?(claude-code|codex|gemini-cli|pm2)[/\\]"
LOOPING = "the first would start it again: it is"
INIT = r"init\b|systemd|launchd"

# Who answers for a process. `kind`: "client", "supervisor", "loop" (a shell that would start it
# again), "prompt" (a person typed it), "program", "orphan" (its parent is gone) or "". `who`: the
# ancestor, or None; `name`: how people know it; `terminal`: where the person sits; `launchers`:
# PIDs between the two, topmost first; `init`: the name of what is above all that, systemd, launchd
# or init, or "".
Origin = namedtuple("Origin", "kind who name terminal launchers init")

# What the advice rests on. `pid`: whom to end, and `kill`: the command for it; `unit`: the command
# that stops its service or container, "?" if its name is not to be pasted; `owner`: another user
# whose process it is, and `elevated`: how to end it all the same, "" if this check may;
# `suspended`: Ctrl-Z or SIGSTOP.
Case = namedtuple("Case", "command pid kill origin unit owner elevated suspended")


def origin(
    ancestors: list[Ancestor],
    terminal: str | None,
    parent_gone: bool,
    argv: list[str] | None = None,
) -> Origin:
    """Who answers for a process with these ancestors, nearest first, on this terminal.

    `parent_gone`: where there is no ancestor, it is because that ended. `argv`: the process's own.
    """
    launchers, programs = list[int](), 0
    kind, who, init = "orphan" if parent_gone else "", None, ""
    for at, each in enumerate(ancestors):
        if is_launcher(each, argv) and each.pid > 1:  # PID 1 of a container ends the container
            terminal = each.terminal or terminal  # sudo gives its child a terminal of its own
            if who is None:
                launchers.insert(0, each.pid)
            continue
        if client := client_of(each):
            while at + 1 < len(ancestors) and client_of(ancestors[at + 1]) == client:
                at += 1  # an application's helper is quit with the application
            return Origin("client", ancestors[at], client, terminal, launchers, "")
        found = _kind(each, ancestors[at + 1 : at + 2], argv or [])
        # A loop starts again what it started: not this process, if a program is in between.
        found = "program" if found == "loop" and programs else found
        programs += found == "program" and not _is_shell(each)
        if found not in ("supervisor", "loop"):  # these may be PID 1 of a container
            nobody = each.pid <= 1 or re.match(NOBODY, each.name) is not None
            if nobody or (terminal and each.terminal != terminal):
                init = each.name if re.match(INIT, each.name) else ""
                kind = kind if who or init else ""
                break
        if who is None or found in ("supervisor", "loop"):
            kind, who = found, each
        if found not in ("program", "loop"):
            break
    return Origin(kind, who, display_name(who) if who else "", terminal, launchers, init)


def _is_shell(each: Ancestor) -> bool:
    return is_shell(each.argv[0] if each.argv else each.name)


def _kind(each: Ancestor, above: list[Ancestor], argv: list[str]) -> str:
    if supervisor_of(each):
        return "supervisor"
    # Whether a loop is about this process: its program is named there, or comes in from outside.
    told = read_python_arguments(argv[1:])[1] if argv and is_python(argv[0]) else "".join(argv[:1])
    name = re.sub(r"(?i)\.exe\Z", "", basename(told.rstrip("/\\")))
    named = rf"(?i:(?<![\w.-]){re.escape(name)}(\.exe)?(?![\w.-]))" if name else r"\Z."
    if re.search(rf'{named}|"\$@"|\$\*|\$1|%\*|%~?1', each.loops):
        return "loop"
    if not each.prompt:
        return "program"
    # In a shell's background, a loop is a copy of that shell. One more prompt takes no harm.
    copied = [(one.argv, one.terminal) for one in above] == [(each.argv, each.terminal)]
    return "loop" if copied else "prompt"


def script_of(each: Ancestor) -> str:
    """The program that an ancestor is: of an interpreter, the script it runs, if that is plain."""
    program = basename(each.argv[0]) if each.argv else each.name
    script = ""
    if is_python(program):
        option, script, _ = read_python_arguments(each.argv[1:])
        script = "" if option == "c" else basename(script)
    elif re.match("(node|bun|deno)\\b", program):
        words = [word for word in each.argv[1:] if word != "run"]
        script = words[0] if words and not words[0].startswith("-") else ""
        script = basename(found[1] if (found := re.match(PACKAGE, script)) else script)
    # What is not plain may be code, and code may hold a secret.
    program = script if re.fullmatch(r"[\w.-]{1,40}", script) else program
    return program.lower().removesuffix(".exe")


def display_name(each: Ancestor) -> str:
    """The name to call an ancestor by; of an interpreter, its script's: it says nothing itself."""
    return script_of(each) if re.match("node|bun|deno|python", each.name.lower()) else each.name


def client_of(each: Ancestor) -> str | None:
    """The MCP client that an ancestor is, as people know it; a script may merely bear its name."""
    name = display_name(each).lower()
    if _is_shell(each) or name.endswith((".sh", ".py")):
        return None
    word = re.match(r"[a-z]+(?=[ .-]|\Z)", name)
    return CLIENTS.get(word[0]) if word else None


def supervisor_of(each: Ancestor) -> tuple[str, str] | None:
    """How the supervisor that an ancestor is lists and stops what it runs."""
    names = (each.name.lower().split() or [""])[0], script_of(each)
    return next((SUPERVISORS[name] for name in names if name in SUPERVISORS), None)


def is_launcher(each: Ancestor, argv: list[str] | None) -> bool:
    """Whether an ancestor merely waits for its child, whose argv this is."""
    if script_of(each) in LAUNCHERS:
        return True
    # On Windows a script is a program that starts Python with itself as the script, and waits. So
    # does the python.exe of a venv, with the arguments that it was given.
    if each.name.lower().endswith(".exe") and argv:
        script = basename(read_python_arguments(argv[1:])[1])
        same = is_python(each.name) and each.argv[1:] == argv[1:]
        if same or script.lower() == each.name.lower():
            return True
    return _is_shell(each) and not each.loops and read_shell_arguments(each.argv)[0] == "c"


def stop(case: Case) -> str:
    """What to do about one live process, in words that a person can follow to the letter."""
    words = _stop(case)
    if case.suspended:
        words = f"wake it first, because it is suspended: kill -CONT {case.pid}; then {words}"
    if case.owner:
        ask = f": ask them, or use {case.elevated}" if case.elevated else ""
        words += f" (it belongs to {case.owner}{ask})"
    return words


def _stop(case: Case) -> str:
    command, origin, kill = case.command, case.origin, case.kill
    who, name, role, kind = origin.who, command.name, command.role, origin.kind
    container = case.unit.startswith(("docker", "podman"))
    unit = case.unit if container or origin.init else ""
    place = (origin.terminal or "").removeprefix("/dev/")
    by_hand = f"{kill}, or press Ctrl-C in {place}" if place else kill
    app = f"{origin.name} (pid {who.pid})" if who and not _is_shell(who) else ""
    listing, stopping = (who and supervisor_of(who)) or ("", "")
    cases = (
        ("ipykernel" in name, "shut down this notebook's kernel, in Jupyter or in your editor"),
        (container, unit),
        (
            kind == "supervisor",
            f"{stopping}   ({listing} tells its NAME; if you only kill it, {app} starts it again)",
        ),
        (unit == "?", f"stop its systemd service, which systemctl status {case.pid} names"),
        (unit, f"{unit}   (if you only kill it, it may be started again)"),
        (
            case.pid == 1 or (kind == "loop" and who.pid == 1),
            "stop this container from its host: its first process runs it",
        ),
        (kind == "loop", kind == "loop" and _end_loop(case)),
        (role == "web" and command.cli and not case.owner, f"mm web stop, or {kill}"),
        (kind == "client" and role == "index", f"quit {app}; it indexes after each edit"),
        (kind == "client", f"quit {app}; it starts the server again if you only kill it"),
        (
            kind == "program" and app and role == "mcp-server",
            f"end {app}, then {kill}; it may start the server again if you only kill that",
        ),
        (place and role == "shell", f"type quit in {place}"),
        (place and name.startswith("sqlite"), f"type .quit in {place}"),
        (role in ("index", "cli", "embedding-reset"), f"let it finish, or {by_hand}"),
        (kind == "orphan" and not place, f"{kill}   ({_nothing_above(role, origin.init)})"),
        (kind == "program" and app, f"{by_hand}   (if it comes back, end {app} first)"),
    )
    return next((advice for case, advice in cases if case), by_hand)


def _end_loop(case: Case) -> str:
    pid, name = case.origin.who.pid, case.origin.name
    if "/T" in case.kill:  # Windows: it ends all that is below, too
        ends = case.kill.replace(str(case.pid), str(pid))
        return f"{ends}   (that is {name}, which would start it again, and all below it)"
    return f"kill {pid} {case.pid}   ({LOOPING} {name})"


def _nothing_above(role: str, init: str) -> str:
    if init == "launchd":
        return (
            "if it comes back, launchd starts it: launchctl list tells its LABEL, and launchctl "
            "remove LABEL stops it"
        )
    return (
        f"its {'client' if role == 'mcp-server' else 'parent'} is gone, so nothing starts it again"
    )
