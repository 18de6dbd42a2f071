"""Who is above a process, through psutil: each ancestor with what tells whether it started it."""

from __future__ import annotations

import os
from functools import partial

from mm_preflight import table
from mm_preflight.argv import basename, read_shell_arguments
from mm_preflight.files import read_bounded
from mm_preflight.loops import as_text, batch_file, loops_of
from mm_preflight.naming import shell_argv
from mm_preflight.records import Ancestor, Any
from mm_preflight.scripts import locate
from mm_preflight.supervisors import supervisor_of

Known = dict[int, tuple[Any, Ancestor | None]]


def chain_of(pid: int, known: Known) -> list[Ancestor]:
    """The ancestors of a process, nearest first, as far as they can be had.

    `known`: what was found out already, by the PID of the child.
    """
    ancestors: list[Ancestor] = []
    if (process := table.ask(lambda: table.process_of(pid), None)) is None:
        return ancestors  # it has just ended
    passed = {process.pid}
    while True:
        if process.pid not in known:
            parent = table.ask(process.parent, None)
            above = table.ask(partial(ancestor, parent, process.pid), None)
            known[process.pid] = (parent, above)
        process, above = known[process.pid]
        if above is None or above.pid in passed:
            return ancestors
        passed.add(above.pid)
        ancestors.append(above)


def ancestor(process: Any, child: int) -> Ancestor | None:
    """One ancestor, with what tells whether it started, or would start again, what is below.

    `child`: the PID of its child that is on the way.
    """
    if process is None:
        return None
    argv: list[str] = table.ask(process.cmdline, [])
    name = table.ask(process.name, "") or basename("".join(argv[:1]))
    found = Ancestor(
        pid=process.pid,
        name=name,
        argv=argv,
        terminal=terminal_of(process),
        prompt=False,
        loops="",
        jobs=leads_session(process.pid) and group_of(child) != group_of(process.pid),
    )
    if supervisor_of(found):
        return found._replace(folder=table.ask(process.cwd, ""))
    if words := shell_argv(name, argv):
        return found._replace(
            prompt=not read_shell_arguments(words)[0], loops=loops_of(text_of(process, words))
        )
    return found


def text_of(process: Any, argv: list[str]) -> str:
    """The command or the script of a shell with this argv."""
    runs, text = read_shell_arguments(argv)
    batch = batch_file(text)
    if runs != "script" and not batch:
        return text
    file = text if runs == "script" else batch
    script = as_text(table.ask(lambda: read_bounded(locate(process.pid, file)), b""))
    # PowerShell takes a command where others take a script.
    command = runs == "c" or basename(argv[0]).lower().startswith(("powershell", "pwsh"))
    return script or text * command


def terminal_of(process: Any) -> str | None:
    """The terminal of a process; "" if it has none, None where that is not told: on Windows."""
    if not hasattr(process, "terminal"):
        return None
    return table.ask(process.terminal, None) or ""


def leads_session(pid: int) -> bool:
    """Whether it is the first process of a session."""
    return table.ask(lambda: getattr(os, "getsid", lambda _: -1)(pid), -1) == pid


def group_of(pid: int) -> int:
    """The process group of a process: a shell makes one for each of its jobs."""
    return int(table.ask(lambda: getattr(os, "getpgid", lambda _: 0)(pid), 0))


def has_parent_to_lose(process: Any) -> bool:
    """PID 1, and a process that came into a container from outside, have none."""
    return bool(table.ask(process.ppid, 0) > 0)
