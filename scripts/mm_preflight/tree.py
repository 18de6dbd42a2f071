"""Who is above a process: each ancestor with what tells whether it started it."""

from __future__ import annotations

import os

from mm_preflight import table
from mm_preflight.argv import basename, read_shell_arguments
from mm_preflight.files import read_bounded
from mm_preflight.loops import as_text, batch_file, loops_of
from mm_preflight.naming import shell_argv
from mm_preflight.records import Above, Ancestor
from mm_preflight.scripts import locate
from mm_preflight.supervisors import supervisor_of

# What was found out already, by the PID of the child.
Known = dict[int, tuple[Above, Ancestor] | None]


def chain_of(pid: int, known: Known) -> list[Ancestor]:
    """The ancestors of a process, nearest first, as far as they can be had."""
    ancestors: list[Ancestor] = []
    passed = {pid}
    while True:
        if pid not in known:
            above = table.parent_of(pid)
            known[pid] = above and (above, ancestor(above, pid))
        step = known[pid]
        if step is None or step[1].pid in passed:
            return ancestors
        pid = step[1].pid
        passed.add(pid)
        ancestors.append(step[1])


def ancestor(above: Above, child: int) -> Ancestor:
    """One ancestor, with what tells whether it started, or would start again, what is below.

    `child`: the PID of its child that is on the way.
    """
    name = above.name or basename("".join(above.argv[:1]))
    found = Ancestor(
        pid=above.pid,
        name=name,
        argv=above.argv,
        terminal=above.terminal,
        jobs=leads_session(above.pid) and group_of(child) != group_of(above.pid),
    )
    if supervisor_of(found):
        return found._replace(folder=table.ask(lambda: folder_of(above.pid), ""))
    if words := shell_argv(name, above.argv):
        return found._replace(
            prompt=not read_shell_arguments(words)[0], loops=loops_of(text_of(above.pid, words))
        )
    return found


def folder_of(pid: int) -> str:
    """The folder of a process by its name; on Linux it is had by a link."""
    folder = table.system.cwd_of(pid)
    return os.readlink(folder) if os.path.islink(folder) else folder


def text_of(pid: int, argv: list[str]) -> str:
    """The command or the script of a shell with this argv."""
    runs, text = read_shell_arguments(argv)
    batch = batch_file(text)
    if runs != "script" and not batch:
        return text
    file = text if runs == "script" else batch
    script = as_text(table.ask(lambda: read_bounded(locate(pid, file)), b""))
    # PowerShell takes a command where others take a script.
    command = runs == "c" or basename(argv[0]).lower().startswith(("powershell", "pwsh"))
    return script or text * command


def leads_session(pid: int) -> bool:
    """Whether it is the first process of a session."""
    return table.ask(lambda: getattr(os, "getsid", lambda _: -1)(pid), -1) == pid


def group_of(pid: int) -> int:
    """The process group of a process: a shell makes one for each of its jobs."""
    return int(table.ask(lambda: getattr(os, "getpgid", lambda _: 0)(pid), 0))
