"""Processes that belong together, and one row for each live instance of memtomem."""

from __future__ import annotations

import re
import time
from functools import partial

from mm_preflight import registry, table, users
from mm_preflight.advice import Case, Origin, is_launcher, origin, stop
from mm_preflight.argv import basename, is_python, is_shell, library_user, read_shell_arguments
from mm_preflight.files import read_bounded
from mm_preflight.records import Ancestor, Any, Command, Row, Seen
from mm_preflight.report import visible, word
from mm_preflight.scripts import locate

# A loop: its keyword in a place of a command, and all up to its end.
LOOP = (
    r"(?ims)(?:^(?:[ \t]*+@)?|[;&|{(]|\b(?:do|then|else)\b)[ \t]*"
    r"(?:(?:while|until|for|foreach|repeat|select)\b|do[ \t]*\{).*?(?:\bdone\b|\bend\b|^\}|\Z)"
)
BATCH = r'(?i)[\s"@]*+(?:call\s++)?+"?+(.*?\.(?:bat|cmd))(?![\w.])'  # the file of a command
SCRIPT_READ = 1 << 14  # bytes of a shell script or command in which a loop is looked for
TIME = "%Y-%m-%dT%H:%M:%S+00:00"
ARGUMENT_SHOWN = 1 << 16  # characters of an argument, for --verbose
Hits = dict[int, Seen]
Chains = dict[int, list[Ancestor]]


def rows(seen: list[Seen], deadline: float) -> tuple[list[Row], list[Row]]:
    """One row for each instance: those that count, and other users' that do not.

    `seen`: processes that run memtomem or have the database open, those that count first.
    `deadline`: of time.monotonic(); from then on, those that do not count are left out.
    """
    hits: Hits = {}
    chains: Chains = {}
    known: dict[int, Any] = {}
    for each in seen:
        late = time.monotonic() > deadline and not (each.ours or each.evidence.holds)
        if not late and table.is_alive(each):  # the second look
            hits[each.pid], chains[each.pid] = each, chain(table.process_of(each.thread), known)
    here = chain(table.process_of(), known) if hits else []
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
        chief, origin = hits[last if launched else head], origins[head]
        alone = [pid for pid in origin.launchers if launchers.count(pid) == 1]
        held = any(hits[pid].evidence.holds for pid in pids)
        within = origin.kind == "client" and any(origin.who.pid == one.pid for one in here)
        members_seen = [hits[pid] for pid in pids]
        case = _case(chief, origin, members_seen, {each.pid for each in chains[head]})
        row = _row(chief, origin, [*alone, *pids], members_seen, case)._replace(within=within)
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


def _add_masters(hits: Hits, chains: Chains, known: dict[int, Any]) -> None:
    """Add the parents of workers that have the database open: a master makes new workers."""
    for pid, each in list(hits.items()):
        above = next(iter(chains[pid]), None)
        if each.command or above is None or above.pid in hits or above.pid <= 1:
            continue
        program = above.argv[0] if above.argv else ""
        process = known[each.thread][0]
        master = Seen(
            pid=above.pid,
            thread=above.pid,
            started=table.ask(process.create_time, None),
            user=table.ask(process.username, None),
            name=above.name,
            exe=table.ask(process.exe, ""),
            argv=above.argv,
            python=True,
            ours=each.ours,
        )
        if (is_python(program) or ":" in program) and _is_worker(master, each):
            hits[above.pid], chains[above.pid] = master, chains[pid][1:]


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
    process = table.process_of(each.thread)
    terminal = table.ask(getattr(process, "terminal", str), None)
    # PID 1, and a process that came into a container from outside, have no parent to lose.
    gone = bool(ancestors) or table.ask(process.ppid, 0) > 0
    return origin(ancestors, terminal or None, gone, each.argv)


def _best(chief: Seen, members: list[Seen]) -> Command:
    """The best that is known of what an instance is."""
    locks = sorted((each.evidence.registered for each in members), key=registry.is_presence)
    name = library_user(chief.argv or [], word(chief.name))
    return registry.best(chief.command, locks[-1], name)


def _row(chief: Seen, origin: Origin, pids: list[int], members: list[Seen], case: Case) -> Row:
    """One instance by its chief process."""
    who, started = origin.who, chief.started
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
        started_by=who and {"pid": who.pid, "name": visible(origin.name, 32)},
        terminal=visible(origin.terminal or "") or None,
        stop=stop(case),
        argv=[visible(arg, ARGUMENT_SHOWN) for arg in chief.argv or []],
        registered=visible("".join(locks[:1])),
        began=started,
        age=started and max(0.0, time.time() - started),
        within=False,
    )


def _case(chief: Seen, origin: Origin, members: list[Seen], family: set[int]) -> Case:
    """What the advice goes by; `members`: all that run it, `family`: PIDs around them."""
    user, mine = chief.user, table.ask(table.process_of().username, None)
    workers = [each.pid for each in members]
    return Case(
        command=_best(chief, members),
        pid=chief.pid,
        kill=table.system.kill_command(chief.pid, [pid for pid in workers if pid != chief.pid]),
        origin=origin._replace(name=visible(origin.name, 32)),
        unit=table.stop_command(chief.thread, {*workers, *family}),
        owner=visible(user, 40) if user and user != mine else "",
        elevated="" if users.is_root() else table.system.elevated,
        suspended=table.system.is_stopped(table.process_of(chief.thread)),
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
    argv: list[str] = table.ask(process.cmdline, [])
    name = table.ask(process.name, "") or basename("".join(argv[:1]))
    terminal = table.ask(getattr(process, "terminal", str), None)
    if not is_shell(argv[0] if argv else name):
        return Ancestor(process.pid, name, argv, terminal, False, "")
    runs, text = read_shell_arguments(argv)
    batch = re.match(BATCH, text)
    if runs == "script" or batch:
        file = batch[1] if batch and runs != "script" else text
        script = table.ask(lambda: read_bounded(locate(process.pid, file)), b"")[:SCRIPT_READ]
        script = script.removeprefix(b"\xef\xbb\xbf")
        wide = script.startswith((b"\xff\xfe", b"\xfe\xff"))  # as PowerShell 5.1 writes it
        # PowerShell takes a command where others take a script.
        command = runs == "c" or basename(argv[0]).lower().startswith(("powershell", "pwsh"))
        text = script.decode("utf-16" if wide else "latin-1", "replace") or text * command
    return Ancestor(process.pid, name, argv, terminal, not runs, loops_of(text[:SCRIPT_READ]))


def loops_of(text: str) -> str:
    """What a shell's command or script repeats."""
    text = re.sub(r"(?im)^[ \t]*(#|@?rem\b|::).*", "", text)
    loops = [match[0] for match in re.finditer(LOOP, text)]
    # In a batch file, what stands from a label down to a goto that leads back there.
    labels = {m[1].lower(): m.start() for m in re.finditer(r"(?m)^[ \t]*:[ \t]*([\w.-]+)", text)}
    jumps = re.finditer(r"(?i)\bgoto\b[ \t:]*([\w.-]+)", text)
    spans = [(labels.get(m[1].lower(), m.end()), m.end()) for m in jumps]
    back = [(start, end) for start, end in spans if start < end]
    if back:
        loops.append(text[min(back)[0] : back[-1][1]])
    return "\n".join(loops)
