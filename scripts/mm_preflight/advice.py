"""How to stop one live instance, so that it stays stopped. Pure.

Four questions, in this order, and the first that has an answer gives the advice: what would start
it again, who started it, which terminal it is in, and how it is ended by hand. What keeps a kill
from working at all comes before that advice.
"""

from __future__ import annotations

import re

from mm_preflight.naming import is_of_shell, runs_script
from mm_preflight.origin import Origin
from mm_preflight.records import Ancestor, Command, Held, NamedTuple
from mm_preflight.supervisors import stop_of


class Case(NamedTuple):
    """What the advice rests on."""

    command: Command
    pid: int  # whom to end
    kill: str  # the command for it
    origin: Origin
    unit: str  # the command that stops its service or container; "?": a name not to be pasted
    owner: str  # another user, whose process it is
    elevated: str  # how to end it all the same; "" if this check may
    held: Held | None  # what keeps a kill from working
    in_front: bool = True  # what is typed at its terminal reaches it


# A shell's script whose end is that of a desktop's session.
SESSION = re.compile(r"(?i)\.?x(init|session)|startx")
ENDS_ITSELF = ("index", "cli", "embedding-reset")


def stop(case: Case) -> str:
    """What to do about one live process, in words that a person can follow to the letter."""
    words = restarts(case) or starter(case) or terminal(case) or by_hand(case)
    if case.held:
        words = first(case.held, case.unit, words)
    if case.owner:
        ask = f": ask them, or use {case.elevated}" if case.elevated else ""
        words += f" (it belongs to {case.owner}{ask})"
    return words


# ---- the four questions -------------------------------------------------------------------------


def restarts(case: Case) -> str:
    """What would start it again, and so is stopped first; or ""."""
    origin = case.origin
    if "ipykernel" in case.command.name:
        return "shut down this notebook's kernel, in Jupyter or in your editor"
    if is_container(case.unit):
        return case.unit
    if origin.kind == "supervisor" and origin.who:
        return supervised(case, origin.who)
    if case.unit and origin.manager:  # where a person's terminal is in between, it is not its own
        if case.unit == "?":
            return f"stop its systemd service, which systemctl status {case.pid} names"
        return f"{case.unit}   (if you only kill it, it may be started again)"
    if case.pid == 1 or (origin.kind == "loop" and origin.family == (1,)):
        return "stop this container from its host: its first process runs it"
    if origin.kind == "loop":
        return looped(case)
    return scheduled(case) if origin.kind == "cron" else ""


def starter(case: Case) -> str:
    """Who started it, and how that is left; or ""."""
    role, kind, app = case.command.role, case.origin.kind, app_of(case.origin)
    if role == "web" and case.command.cli and not case.owner:
        return f"mm web stop, or {case.kill}"
    if kind == "background":
        return background(case)
    if kind == "client" and role == "index":
        return f"quit {app}; it indexes after each edit"
    if kind == "client":
        return quit_client(case)
    return program(case) if role == "mcp-server" and app else ""


def terminal(case: Case) -> str:
    """What to type where it runs, if it listens there; or ""."""
    place = place_of(case)
    if place and case.command.role == "shell":
        return f"type quit in {place}"
    if place and case.command.name.startswith("sqlite"):
        return f"type .quit in {place}"
    return ""


def by_hand(case: Case) -> str:
    """How it is ended by itself."""
    origin, place, app = case.origin, place_of(case), app_of(case.origin)
    # Python at its prompt, and what a notebook runs in, go on after Ctrl-C.
    ends = place and case.command.role != "library"
    words = f"{case.kill}, or press Ctrl-C in {place}" if ends else case.kill
    if case.command.role in ENDS_ITSELF:
        words = f"let it finish, or {words}"
    elif origin.kind in ("orphan", "") and not place and (note := above(case)):
        return f"{case.kill}   ({note})"
    if origin.kind in ("program", "daemon") and app:
        return f"{words}   (if it comes back, end {app} first)"
    return words


# ---- what they say ------------------------------------------------------------------------------


def supervised(case: Case, supervisor: Ancestor) -> str:
    """By the supervisor's own command. That ends what it started: a shell between leaves more."""
    origin = case.origin
    command, told = stop_of(supervisor)
    also = f", then {case.kill}" if not origin.direct else ""
    why = f"if you only kill it, {app_of(origin)} starts it again"
    return f"{command}{also}   ({told + '; ' if told else ''}{why})"


def looped(case: Case) -> str:
    name, ends = case.origin.name, end_all(case)
    if "/T" in case.kill:  # Windows: it ends all that is below, too
        return f"{ends}   (that is {name}, which would start it again, and all below it)"
    return f"{ends}   (the first would start it again: it is {name})"


def scheduled(case: Case) -> str:
    """By cron: what it runs next is stopped in its table, not by ending cron."""
    app = app_of(case.origin)
    if case.command.role in ENDS_ITSELF:
        return f"let it finish; {app} starts the next: crontab -e takes out its line"
    return (
        f"take its line out of the crontab (crontab -e, or a file in /etc/cron.d), then "
        f"{case.kill}   ({app} starts it again)"
    )


def background(case: Case) -> str:
    """A client without a window: by its own command, else its processes in their order."""
    origin = case.origin
    if origin.command:
        note = f"{origin.name} runs it in the background, without a window"
        command, extra, told = origin.command.partition("   (")
        return f"{command}   ({told.removesuffix(')') + '; ' if extra else ''}{note})"
    return f"{end_all(case)}   (the first is {app_of(origin)}, which runs without a window)"


def quit_client(case: Case) -> str:
    origin, app = case.origin, app_of(case.origin)
    if origin.client and origin.client.idle:
        return f"quit {app}, or {case.kill}: then its session goes on without memtomem"
    return f"quit {app}; it may start the server again if you only kill it"


def program(case: Case) -> str:
    """A program that speaks to an MCP server; no shell does."""
    kind, app, who = case.origin.kind, app_of(case.origin), case.origin.who
    if who is None or is_of_shell(who):
        return ""
    if kind == "daemon":
        return f"end {app}, then {case.kill}"
    return f"{case.kill}   (if it comes back, end {app} first)" if kind == "program" else ""


def above(case: Case) -> str:
    """What is known of what took over a process whose parent is gone; or ""."""
    manager, pid = case.origin.manager, case.pid
    if manager == "launchd":
        return (
            "if it comes back, launchd starts it: launchctl list tells its LABEL, and launchctl "
            "remove LABEL stops it"
        )
    if manager.startswith("init"):
        return (
            "if it comes back, init (pid 1) starts it: take its line out of /etc/inittab, then "
            "kill -HUP 1, then kill it again"
        )
    if case.origin.kind == "orphan":
        gone = "client" if case.command.role == "mcp-server" else "parent"
        return f"its {gone} is gone, so nothing starts it again"
    if manager and pid != 1:
        return (
            f"if it comes back, {manager} (pid 1) starts it, the first process of this container: "
            "stop the container from its host"
        )
    return ""


# ---- what keeps a kill from working -------------------------------------------------------------


def first(held: Held, unit: str, words: str) -> str:
    """The advice, behind what must be done before it can work."""
    kind, who, cure, mount = held
    if kind == "stopped":
        return f"wake it first, because it is suspended: {cure}; then {words}"
    if kind == "traced":
        return f"quit {who} first, the debugger that holds it; then {words}"
    if kind == "frozen" and is_container(unit):
        cure = unit.replace(" stop ", " unpause ")
    if kind == "frozen":
        thaw = f"thaw it first, because it is frozen: {cure}"
        thaw = thaw if cure else "thaw its control group first, because it is frozen"
        return f"{thaw}; then {words}"
    if cure:
        return f"no kill ends it while it waits for {mount}: {cure}; then {words}"
    return f"no kill ends it while it waits for a disk or a network folder to answer; then {words}"


def is_container(unit: str) -> bool:
    return unit.startswith(("docker", "podman"))


def app_of(origin: Origin) -> str:
    """Whom the advice names, "NAME (pid N)"; "" for a shell that a person types into.

    A shell that runs a script may start again what it started, in a way that is not seen here.
    """
    if origin.who is None:
        return ""
    script = runs_script(origin.who)
    if is_of_shell(origin.who) and (not script or SESSION.match(script)):
        return ""
    return f"{origin.name} (pid {origin.who.pid})"


def place_of(case: Case) -> str:
    """The terminal at which it hears what is typed; or ""."""
    if not case.in_front or (case.held and case.held.kind == "stopped"):
        return ""
    return (case.origin.terminal or "").removeprefix("/dev/")


def end_all(case: Case) -> str:
    """The command that ends who answers for the process, all of it in its order, and then that."""
    family = case.origin.family
    if "/T" in case.kill:  # Windows: it ends all that is below, too
        return case.kill.replace(str(case.pid), str(family[0]))
    return " ".join(["kill", *map(str, family), *case.kill.split()[1:]])
