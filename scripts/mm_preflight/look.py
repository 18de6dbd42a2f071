"""One look at the process table: its time limit, the verdict; and --wait, many looks."""

from __future__ import annotations

import os
import sys
import threading
import time

from mm_preflight import table
from mm_preflight.database import find_database
from mm_preflight.judge import judge
from mm_preflight.records import REPORT, Database, Result, Row, Seen, Unknown
from mm_preflight.report import as_text, visible, waiting, write

SCAN_SECONDS = 8.0  # for one look; with start-up and printing, the whole stays under 10 s
OTHERS_SECONDS = 3.0  # of these; from then on, processes of other users are passed over
OTHERS_LOOKED_AT = 50  # that may run memtomem; they do not refuse, so what is more is only counted
HIDDEN_SECONDS = 0.25  # in the midst of an exec, or of its end, a process hides for a moment
CLEAR_SECONDS = 2.0  # --wait: MCP clients start a server again about a second after it is killed


def scan(option: str | None) -> Result:
    """One look at the whole table. Raises Unknown if it cannot be trusted."""
    table.require()
    database = find_database(option)
    users = table.users(database)
    counting = users | {table.root()}
    deadline = time.monotonic() + OTHERS_SECONDS
    known, found = set[int](), list[Seen]()
    for _ in range(2):  # and once more, at what started meanwhile
        fresh = table.pids() - known
        known |= fresh
        for pid in sorted(fresh - {os.getpid()}):
            seen = _look_at(pid, database, counting, deadline)
            if seen:
                found.append(seen)
    if os.getpid() not in known:
        raise Unknown("the check is not in the process table that it reads; mount /proc")

    own = users if table.is_root() else users - {table.root()}  # the system's services hide
    found, doubts = _look_again(found, database, own)
    hits = _judge([each for each in found if each.process], database, counting, deadline)
    counted: list[Row] = []
    others: list[Row] = []
    if hits:
        from mm_preflight import instances  # not needed where nothing is alive

        counted, others = instances.rows(hits, deadline)
    hidden = [each for each in found if each.process is None or table.hides(each)]
    denied = any(each.process and each.argv is None for each in found)
    return Result(
        verdict="live" if counted else "unknown" if doubts else "clear",
        reason=_hiding(doubts[0]) if doubts and not counted else None,
        database=visible(database.path),
        examined=len(known),
        uninspected=sum(each.argv != [] for each in hidden),  # without an argv: a kernel thread
        other_users=others,
        blind_spots=table.blind_spots(known, denied),
        processes=counted,
    )


def _look_at(
    pid: int, database: Database, counting: frozenset[str], deadline: float
) -> Seen | None:
    """One process; from the deadline on, those of other users are passed over."""
    if time.monotonic() > deadline and not table.is_of_one(pid, counting):
        return table.HIDDEN
    return table.look_at(pid, database)


def _hiding(each: Seen) -> str:
    name = visible(table.ask(each.process.name, "?"), 32)
    why = f"process {each.pid} ({name}) hides what it does and may be Python"
    return f"{why}; end it, or use {table.ELEVATED}"


def _look_again(
    found: list[Seen], database: Database, users: frozenset[str]
) -> tuple[list[Seen], list[Seen]]:
    """All, after a second look at what hides and may be the user's own; and what still does."""
    end = time.monotonic() + HIDDEN_SECONDS
    doubts = [each for each in found if _is_doubtful(each, users)]
    sure = [each for each in found if each not in doubts] if doubts else found
    while doubts and time.monotonic() < end:
        time.sleep(0.02)
        again = [table.look_at(each.pid, database) for each in doubts]
        doubts = [each for each in again if each and _is_doubtful(each, users)]
        sure += [each for each in again if each and each not in doubts]
    return sure + doubts, doubts


def _is_doubtful(each: Seen, users: frozenset[str]) -> bool:
    return bool(each.process and table.hides(each) and table.could_be_own_python(each, users))


def _judge(
    found: list[Seen], database: Database, counting: frozenset[str], deadline: float
) -> list[Seen]:
    """Those that run memtomem or have its database open; of other users, within bounds."""
    own: list[Seen] = []
    others: list[Seen] = []
    for each in found:
        ours = table.ask(each.process.username, None) in (*counting, None)
        (own if ours or each.holds else others).append(each._replace(ours=ours))
    hits: list[Seen] = []
    for each in [*own, *others]:
        late = len(hits) >= OTHERS_LOOKED_AT or time.monotonic() > deadline
        if each.ours or each.holds or not late:
            files = table.reader(each.process, database, float("inf") if each.ours else deadline)
            command = judge(each.argv or [], files, each.python, table.HAS_LAUNCHERS)
            if command or each.holds:
                hits.append(each._replace(command=command))
    return hits


def check(option: str | None = None) -> Result:
    """Look once, for at most SCAN_SECONDS, whatever the process table holds. Never raises."""
    results = []  # from a thread: a read of the table can hang, and a thread can be left behind

    def look() -> None:
        try:
            results.append(scan(option))
        except Unknown as error:
            results.append(Result("unknown", visible(str(error)), again=False))
        except BaseException as error:  # whatever it was, it is not a verdict
            what = f"internal error: {type(error).__name__}: {error}".replace(";", ",")
            results.append(Result("unknown", visible(f"{what}; report it: {REPORT}")))

    thread = threading.Thread(target=look, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # a limit on threads or memory
        return Result("unknown", f"{error}; end something, and run this again")
    end = time.monotonic() + SCAN_SECONDS
    while not results and thread.is_alive() and time.monotonic() < end:
        thread.join(0.1)  # in steps: on Windows, a longer wait does not hear Ctrl-C
    late = f"the process table could not be read in {SCAN_SECONDS:g} s; run this again"
    return results[0] if results else Result("unknown", late)


def wait(option: str | None, seconds: float, quiet: bool = False) -> Result:
    """Look again until clear for CLEAR_SECONDS in a row, or until `seconds` are over."""
    end = time.monotonic() + seconds
    clear_since: float | None = None
    shown: int | None = None
    dumb = table.HAS_PLAIN_CONSOLE or os.environ.get("TERM") == "dumb"
    live = not (quiet or dumb) and sys.stderr is not None and sys.stderr.isatty()
    while True:
        result = check(option)
        if not result.again:
            return result
        now = time.monotonic()
        clear_since = (clear_since or now) if result.verdict == "clear" else None
        done = now - clear_since >= CLEAR_SECONDS if clear_since else now >= end
        if live:
            back = f"\x1b[{shown}F\x1b[J" if shown else ""
            if shown is None and result.verdict == "live":
                back = as_text(result, False) + "\n\n"  # once: how to stop each
            size = table.ask(lambda: os.get_terminal_size(sys.stderr.fileno()), (80, 24))
            lines = [] if done else waiting(result, size, CLEAR_SECONDS)
            write(sys.stderr, back + "".join(f"{line}\n" for line in lines))
            shown = len(lines)
        if done:
            return result
        time.sleep(min(0.5, max(0.0, end - now)) if clear_since is None else 0.25)
