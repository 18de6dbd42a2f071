"""Processes that belong together, and one row for each live instance of memtomem."""

from __future__ import annotations

import re
import time
from functools import partial

from mm_preflight import table
from mm_preflight.advice import Case, Origin, is_launcher, origin, stop
from mm_preflight.argv import basename, is_python, is_shell, library_user, read_shell_arguments
from mm_preflight.database import read_bounded
from mm_preflight.records import Ancestor, Command, Database, Row, Seen
from mm_preflight.report import visible
from mm_preflight.texts import locate

TYPE_CHECKING = False  # typing takes 4 ms to import
if TYPE_CHECKING:
    from typing import Any

LOOP = re.compile(r"\b(?:while|until|for|goto)\b")
ARGUMENT_SHOWN = 1 << 16  # characters of an argument, for --verbose
Hits = dict[int, Seen]
Chains = dict[int, list[Ancestor]]


def rows(seen: list[Seen], database: Database) -> tuple[list[Row], list[Row]]:
    """One row for each instance: those that count, and other users' that do not.

    `seen`: processes that run memtomem or have the database open, as they were looked at.
    """
    hits = {each.process.pid: each for each in seen if table.is_alive(each.process)}
    if not hits:
        return [], []
    known: dict[int, Any] = {}
    here = chain(table.me(), known)
    _drop_the_caller(hits, here)
    chains = {pid: chain(each.process, known) for pid, each in hits.items()}
    _add_masters(hits, chains, known)
    groups = _groups(hits, chains)
    origins = {head: _origin(hits[head], chains[head]) for head in groups}
    launchers = [pid for each in origins.values() for pid in each.launchers]
    counted: list[Row] = []
    others: list[Row] = []
    for head, pids in groups.items():
        # On Windows, the first of a chain is a launcher and the last is Python.
        last = max(pids, key=lambda pid: (hits[pid].command is not None, len(chains[pid])))
        alone = [pid for pid in origins[head].launchers if launchers.count(pid) == 1]
        held = any(hits[pid].holds for pid in pids)
        row = _row(hits[last if table.WINDOWS else head], origins[head], held)
        row = row._replace(
            pids=[*alone, *sorted(table.process_of(hits[pid].process) for pid in pids)],
            within=bool(row.within and row.started_by["pid"] in {each.pid for each in here}),
        )
        ours = held or any(hits[pid].ours for pid in pids)
        (counted if ours else others).append(row)
    return counted, others


def _drop_the_caller(hits: Hits, here: list[Ancestor]) -> None:
    """Take out the reset that called this check: the nearest one only."""
    for above in here:
        command = hits[above.pid].command if above.pid in hits else None
        if command and command.cli and command.role == "embedding-reset":
            del hits[above.pid]
            if not table.WINDOWS:  # there, a launcher of the same name stands above it
                return


def _add_masters(hits: Hits, chains: Chains, known: dict[int, Any]) -> None:
    """Add the parents of workers that have the database open: a master makes new workers."""
    for pid, each in list(hits.items()):
        above = next(iter(chains[pid]), None)
        if each.command or above is None or above.pid in hits or above.pid <= 1:
            continue
        program = above.argv[0] if above.argv else ""
        master = Seen(known[pid][0], above.argv, True, False, None, each.ours)
        if (is_python(program) or ":" in program) and _is_worker(master, each):
            hits[above.pid], chains[above.pid] = master, chains[pid][1:]


def _groups(hits: Hits, chains: Chains) -> dict[int, list[int]]:
    """The PIDs of each instance, by the PID of its topmost process."""
    groups: dict[int, list[int]] = {}
    for pid, each in hits.items():
        head = pid
        for parent in chains[pid]:
            if parent.pid in hits and _same_instance(hits[parent.pid], each):
                head = parent.pid
            elif not is_launcher(parent, each.argv):
                break
        groups.setdefault(head, []).append(pid)
    return groups


def _same_instance(above: Seen, each: Seen) -> bool:
    """Whether a process is a worker of its parent, or what a launcher on Windows started."""
    if each.command:
        return bool(above.command and above.command.name == each.command.name)
    return _is_worker(above, each)


def _is_worker(above: Seen, each: Seen) -> bool:
    """Whether a process is a copy of its parent, or one that multiprocessing made for it."""
    argv, parent = each.argv or [""], above.argv or [""]
    title = argv[0].partition(":")
    copied = argv == parent or (title[1] and title[0] == parent[0].partition(":")[0])
    if not copied and not any("multiprocessing" in arg for arg in argv):
        return False
    exe = table.ask(above.process.exe, "")
    return bool(exe == table.ask(each.process.exe, None))


def _origin(each: Seen, ancestors: list[Ancestor]) -> Origin:
    process = each.process
    terminal = table.ask(getattr(process, "terminal", str), None)
    # PID 1, and a process that came into a container from outside, have no parent to lose.
    gone = bool(ancestors) or table.ask(process.ppid, 0) > 0
    return origin(ancestors, terminal or None, gone, each.argv)


def _row(each: Seen, origin: Origin, held: bool) -> Row:
    """One instance by its chief process; `pids` is left to the caller."""
    process, argv, who = each.process, each.argv or [], origin.who
    pid = table.process_of(process)
    name = table.ask(process.name, "?")
    command = each.command or Command("database", library_user(argv, name))
    user, mine = (table.ask(one.username, None) for one in (process, table.me()))
    started = table.ask(process.create_time, None)
    case = Case(
        command,
        pid,
        origin._replace(name=visible(origin.name, 32)),
        table.stop_command(pid),
        visible(user, 40) if user and user != mine else "",
        table.is_root(),
        table.is_stopped(process),
        table.WINDOWS,
    )
    return Row(
        pid,
        [],
        command.role,
        visible(command.name, 70),
        ["command-line"] * bool(each.command) + ["database-open"] * held,
        command.verified,
        user and visible(user, 40),
        started and time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(started)),
        who and {"pid": who.pid, "name": visible(origin.name, 32)},
        visible(origin.terminal or "") or None,
        stop(case),
        [visible(arg, ARGUMENT_SHOWN) for arg in argv],
        started and max(0.0, time.time() - started),
        origin.kind == "client",
    )


def chain(process: Any, known: dict[int, tuple[Any, Ancestor | None]]) -> list[Ancestor]:
    """The ancestors of a process, nearest first, as far as they can be had."""
    ancestors: list[Ancestor] = []
    passed = {process.pid}
    while True:
        if process.pid not in known:
            parent = table.ask(process.parent, None)
            known[process.pid] = (parent, table.ask(partial(ancestor, parent), None))
        process, above = known[process.pid]
        if above is None or above.pid in passed:
            return ancestors
        passed.add(above.pid)
        ancestors.append(above)


def ancestor(process: Any) -> Ancestor | None:
    """One ancestor, with what tells whether it started, or would start again, what is below."""
    if process is None:
        return None
    argv = table.ask(process.cmdline, [])
    name = table.ask(process.name, "") or basename("".join(argv[:1]))
    terminal = table.ask(getattr(process, "terminal", str), None)
    if not is_shell(argv[0] if argv else name):
        return Ancestor(process.pid, name, argv, terminal, False, False)
    runs, text = read_shell_arguments(argv)
    if runs == "script":
        text = table.ask(lambda: read_bounded(locate(process, text)).decode("latin-1"), "")
    text = re.sub(r"(?m)^\s*(#|rem\b|::).*", "", text)
    return Ancestor(process.pid, name, argv, terminal, not runs, bool(LOOP.search(text)))
