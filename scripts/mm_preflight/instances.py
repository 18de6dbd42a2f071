"""Processes that belong together, and one row for each live instance of memtomem."""

from __future__ import annotations

import os
import time
from functools import partial

from mm_preflight import registry, table, users
from mm_preflight.advice import Case, stop
from mm_preflight.argv import is_python, library_user, one_word
from mm_preflight.origin import Origin, is_launcher, origin
from mm_preflight.records import Ancestor, Command, Row, Seen
from mm_preflight.report import visible
from mm_preflight.tree import Known, chain_of, leads_session

TIME = "%Y-%m-%dT%H:%M:%S+00:00"
ARGUMENTS_SHOWN = 1 << 16  # characters of an argv, for --verbose: an argv may have megabytes
Hits = dict[int, Seen]
Chains = dict[int, list[Ancestor]]


def rows(seen: list[Seen], deadline: float) -> tuple[list[Row], list[Row]]:
    """One row for each instance: those that count, and other users' that do not.

    `seen`: processes that run memtomem or have the database open, those that count first.
    `deadline`: of time.monotonic(); from then on, those that do not count are left out.
    """
    hits: Hits = {}
    chains: Chains = {}
    known: Known = {}
    for each in seen:
        late = time.monotonic() > deadline and not (each.ours or each.evidence.holds)
        if not late and table.is_alive(each):  # the second look
            hits[each.pid], chains[each.pid] = each, chain_of(each.thread, known)
    here = chain_of(os.getpid(), known) if hits else []
    _drop_the_caller(hits, here)
    _add_masters(hits, chains, known)
    groups = _groups(hits, chains)
    origins = {head: _origin(hits[head], chains[head]) for head in groups}
    launchers = [pid for each in origins.values() for pid in each.launchers]
    counted: list[Row] = []
    others: list[Row] = []
    for head, members in groups.items():
        pids = sorted(members, key=lambda pid: (len(chains[pid]), pid))  # topmost first
        # Of a chain of launchers, the last is Python; of workers, the first is their master.
        last = max(pids, key=lambda pid: (hits[pid].command is not None, len(chains[pid])))
        launched = table.system.has_launchers and hits[last].command
        chief, source = hits[last if launched else head], origins[head]
        alone = [pid for pid in source.launchers if launchers.count(pid) == 1]
        held = any(hits[pid].evidence.holds for pid in pids)
        within = source.client is not None and source.family[0] in {one.pid for one in here}
        members_seen = [hits[pid] for pid in pids]
        case = _case(chief, source, members_seen, {each.pid for each in chains[head]})
        row = _row(chief, source, [*alone, *pids], members_seen, case)._replace(within=within)
        ours = held or any(hits[pid].ours for pid in pids)
        (counted if ours else others).append(row)
    return counted, others


def _drop_the_caller(hits: Hits, here: list[Ancestor]) -> None:
    """Take out the reset that called this check: the nearest one only."""
    for above in here:
        command = hits[above.pid].command if above.pid in hits else None
        if command and command.cli and command.role == "embedding-reset":
            del hits[above.pid]
            if not table.system.has_launchers:  # a launcher of the same name stands above it
                return


def _add_masters(hits: Hits, chains: Chains, known: Known) -> None:
    """Add the parents of workers that have the database open: a master makes new workers.

    And their parents, if they are such themselves: a fork server stands between the two.
    """
    left = list(hits)
    while left:
        each = hits[left.pop()]
        above = next(iter(chains[each.pid]), None)
        if each.command or above is None or above.pid in hits or above.pid <= 1:
            continue
        step = known[each.thread]
        master = Seen(
            pid=above.pid,
            thread=above.pid,
            started=step and step[0].started,
            user=table.user_of(above.pid),
            name=above.name,
            exe=table.ask(partial(table.system.exe_of, above.pid), ""),
            argv=above.argv,
            python=True,
            ours=each.ours,
        )
        program = "".join(above.argv[:1])
        if (is_python(program) or ":" in program) and _is_worker(master, each):
            hits[above.pid], chains[above.pid] = master, chains[each.pid][1:]
            left.append(above.pid)


def _groups(hits: Hits, chains: Chains) -> dict[int, list[int]]:
    """The PIDs of each instance, by the PID of its topmost process."""
    heads: dict[int, int] = {}
    for pid, each in hits.items():
        heads[pid] = pid
        for parent in chains[pid]:
            if parent.pid in hits and _same_instance(hits[parent.pid], each):
                heads[pid] = parent.pid
            elif not is_launcher(parent, each.argv):
                break
    groups: dict[int, list[int]] = {}
    for pid in hits:
        head = pid
        while heads[head] != head:  # a worker's master may have a head of its own
            head = heads[head]
        groups.setdefault(head, []).append(pid)
    return groups


def _same_instance(above: Seen, each: Seen) -> bool:
    """Whether a process is a worker of its parent, or what a launcher on Windows started."""
    named = above.command and each.command and above.command.name == each.command.name
    return bool(table.system.has_launchers and named) or _is_worker(above, each)


def _is_worker(above: Seen, each: Seen) -> bool:
    """Whether a process is a copy of its parent, or one that multiprocessing made for it."""
    argv, parent = each.argv or [""], above.argv or [""]
    title = argv[0].partition(":")
    copied = argv == parent or (title[1] and title[0] == parent[0].partition(":")[0])
    if not copied and not any("multiprocessing" in arg for arg in argv):
        return False
    return above.exe == each.exe


def _origin(each: Seen, ancestors: list[Ancestor]) -> Origin:
    gone = bool(ancestors) or table.has_parent_to_lose(each.thread)
    terminal = table.terminal_of(each.thread)
    return origin(ancestors, terminal, gone, each.argv, leads_session(each.pid))


def _best(chief: Seen, members: list[Seen]) -> Command:
    """The best that is known of what an instance is."""
    locks = sorted((each.evidence.registered for each in members), key=registry.is_presence)
    name = library_user(chief.argv or [], one_word(chief.name))
    return registry.best(chief.command, locks[-1], name)


def _row(chief: Seen, source: Origin, pids: list[int], members: list[Seen], case: Case) -> Row:
    """One instance by its chief process."""
    who, started = source.who, chief.started
    locks = [each.evidence.registered for each in members if each.evidence.registered]
    evidence = {
        "command-line": chief.command is not None,
        "registered": bool(locks),
        "database-open": any(each.evidence.holds for each in members),
    }
    return Row(
        pid=chief.pid,
        pids=pids,
        role=case.command.role,
        command=visible(case.command.name, 70),
        evidence=[name for name, has in evidence.items() if has],
        verified=case.command.verified,
        user=chief.user and visible(chief.user, 40),
        started=time.strftime(TIME, time.gmtime(started)) if started else None,
        started_by=who and {"pid": who.pid, "name": visible(source.name, 32)},
        terminal=visible(source.terminal or "") or None,
        stop=stop(case),
        argv=_shown(chief.argv or []),
        registered=visible("".join(locks[:1])),
        began=started,
        age=started and max(0.0, time.time() - started),
        within=False,
    )


def _shown(argv: list[str]) -> list[str]:
    """An argv as far as it is shown; what is left out is "…"."""
    shown: list[str] = []
    left = ARGUMENTS_SHOWN
    for arg in argv:
        if left <= 0:
            return [*shown, "…"]
        shown.append(visible(arg, left))
        left -= len(arg) + 1  # each takes a place, also an empty one
    return shown


def _case(chief: Seen, source: Origin, members: list[Seen], family: set[int]) -> Case:
    """What the advice goes by; `members`: all that run it, `family`: PIDs around them."""
    user, mine = chief.user, table.ask(table.own_user, None)
    workers = [each.pid for each in members]
    return Case(
        command=_best(chief, members),
        pid=chief.pid,
        kill=table.system.kill_command(chief.pid, [pid for pid in workers if pid != chief.pid]),
        origin=source._replace(name=visible(source.name, 32)),
        unit=table.stop_command(chief.thread, {*workers, *family}),
        owner=visible(user, 40) if user and user != mine else "",
        elevated="" if users.is_root() else table.system.elevated,
        held=table.ask(lambda: table.system.held(chief.thread), None),
        in_front=table.system.in_front(chief.pid),
    )
