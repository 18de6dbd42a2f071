"""Who answers for a live process. Pure.

It goes by rules, not by lists: what is above the process's own terminal gave it that terminal and
started nobody; a shell that a person types into ends the search; and of the rest, the one nearest
to the process answers for it.
"""

from __future__ import annotations

from itertools import takewhile

from mm_preflight.argv import basename, is_python, read_python_arguments
from mm_preflight.clients import Client, client_of, own_command
from mm_preflight.loops import repeats
from mm_preflight.naming import display_name, is_of_shell, runs_command, script_of
from mm_preflight.records import Ancestor, NamedTuple
from mm_preflight.supervisors import (
    LAUNCHERS,
    NOBODY,
    is_cron,
    is_manager,
    is_nobody,
    supervisor_of,
)


class Origin(NamedTuple):
    """Who answers for a process."""

    # "client", "background" (a client without a window), "daemon" (a program without a terminal
    # that nobody else runs), "supervisor", "cron", "loop" (a shell that would start it again),
    # "prompt" (a person typed it), "program", "orphan" (its parent is gone) or "".
    kind: str = ""
    who: Ancestor | None = None
    name: str = ""  # how people know `who`
    client: Client | None = None  # which one `who` is
    family: tuple[int, ...] = ()  # PIDs of `who` and its own below it, topmost first
    command: str = ""  # the client's own, to end it
    terminal: str | None = None  # where the person sits
    launchers: tuple[int, ...] = ()  # PIDs between the two, topmost first
    direct: bool = True  # `who` is the parent itself
    # What is above all that and takes over orphans: systemd, launchd, PID 1 of a container; or "".
    manager: str = ""


class Step(NamedTuple):
    """One step up the process tree."""

    kind: str  # as in Origin; or "launcher", "nobody"
    ancestor: Ancestor
    at: int  # its place among the ancestors


NAMED = ("client", "supervisor", "cron", "loop", "prompt", "program")
LAST = ("client", "supervisor", "cron", "prompt", "nobody")  # who stands above these is not asked
RESTARTS = ("supervisor", "cron", "loop")


def origin(
    ancestors: list[Ancestor],
    terminal: str | None,
    parent_gone: bool,
    argv: list[str] | None = None,
    leads: bool = True,
) -> Origin:
    """Who answers for a process with these ancestors, nearest first, on this terminal.

    `parent_gone`: where there is no ancestor, it is because that ended. `argv`: the process's own;
    `leads`: it is the first of its session, as all are that init starts from its table.
    """
    steps, terminal = climb(ancestors, terminal, argv or [])
    named = [step for step in steps if step.kind in NAMED]
    below = steps[: steps.index(named[0])] if named else steps
    above = steps[-1].ancestor if steps and steps[-1].kind == "nobody" else None
    answer = Origin(
        terminal=terminal,
        launchers=tuple(each.ancestor.pid for each in reversed(below) if each.kind == "launcher"),
        manager=manager_of(above) if above and (leads or above.name != "init") else "",
    )
    found = choose(named)
    if found is None:
        gone = is_manager(above) if above else parent_gone
        return answer._replace(kind="orphan" if gone else "")
    line = ancestors[found.at :]
    if found.kind == "client":
        return _as_client(answer, line)
    if found.kind == "cron":
        line = [each for each in line if is_cron(each)][-1:]  # it makes a copy of itself first
    while found.kind == "program" and line[1:] and line[1].argv == line[0].argv:
        line = line[1:]  # a copy that it made of itself, to start this
    lonely = not line[0].terminal and (not line[1:] or is_nobody(line[1]))
    kind = "daemon" if found.kind == "program" and lonely else found.kind
    who = line[0]
    return answer._replace(
        kind=kind, who=who, name=display_name(who), family=(who.pid,), direct=found.at == 0
    )


def climb(
    ancestors: list[Ancestor], terminal: str | None, argv: list[str]
) -> tuple[list[Step], str | None]:
    """What each ancestor is, up to the last that is asked; and the terminal where a person sits."""
    steps: list[Step] = []
    between = False
    for at, each in enumerate(ancestors):
        kind = classify(each, ancestors[at + 1 : at + 2], terminal, argv)
        # A loop starts again what it started: not this process, if a program is in between.
        kind = "program" if kind == "loop" and between else kind
        between = between or (kind == "program" and not is_of_shell(each))
        if kind == "launcher":
            terminal = each.terminal or terminal  # sudo gives its child a terminal of its own
        steps.append(Step(kind=kind, ancestor=each, at=at))
        if kind in LAST:
            break
    return steps, terminal


def classify(each: Ancestor, above: list[Ancestor], terminal: str | None, argv: list[str]) -> str:
    """What an ancestor is to the process with this argv on this terminal: the kind of a Step."""
    if each.pid > 1 and is_launcher(each, argv):  # PID 1 of a container ends the container
        return "launcher"
    if client_of(each):
        return "client"
    if supervisor_of(each):
        return "supervisor"
    if is_cron(each):
        return "cron"
    if _is_loop(each, above, argv):
        return "loop"
    if is_nobody(each) or (terminal and each.terminal != terminal):
        return "nobody"
    # What gives a terminal's jobs their turns is a shell, whatever it is written in.
    return "prompt" if each.prompt or (each.jobs and each.terminal) else "program"


def choose(named: list[Step]) -> Step | None:
    """Who of these answers for the process: a client; what starts it again; else the nearest."""
    if named and named[-1].kind == "client":
        return named[-1]
    again = [step for step in named if step.kind in RESTARTS]
    return again[-1] if again else next(iter(named), None)


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
    return not each.loops and runs_command(each)


def manager_of(above: Ancestor) -> str:
    """The name of what takes over orphans here, and may start what it took for its own; or ""."""
    first = above.pid == 1 and not NOBODY.match(above.name)
    return display_name(above) if first or is_manager(above) else ""


def _is_loop(each: Ancestor, above: list[Ancestor], argv: list[str]) -> bool:
    """Whether an ancestor is a shell that starts the process again."""
    told = read_python_arguments(argv[1:])[1] if argv and is_python(argv[0]) else "".join(argv[:1])
    if repeats(each.loops, basename(told.rstrip("/\\"))):
        return True
    # In a shell's background, a loop is a copy of that shell. One more prompt takes no harm.
    return each.prompt and [(one.argv, one.terminal) for one in above] == [
        (each.argv, each.terminal)
    ]


def _as_client(answer: Origin, line: list[Ancestor]) -> Origin:
    """A client as a whole: its helpers are quit with it.

    `line`: the ancestors, from the client's nearest process upwards.
    """
    kin = list(takewhile(lambda each: client_of(each) is client_of(line[0]), line))
    family = [line[0]]
    for each in line[1:]:
        # What has another terminal than its parent, or none, is not quit with that. And one
        # client may run within another's window: then the window is what a person quits.
        if client_of(each) is None or each.terminal != line[0].terminal:
            break
        family.append(each)
    who, above = family[-1], line[len(family) : len(family) + 1]
    client = client_of(who)
    assert client
    apart = not above or is_nobody(above[0]) or client_of(above[0]) is client
    windowless = client.typed and who.terminal == "" and apart
    command = own_command(client, kin)
    return answer._replace(
        kind="background" if windowless or command else "client",
        who=who,
        name=client.name,
        client=client,
        family=tuple(each.pid for each in reversed(family)),
        command=command,
    )
