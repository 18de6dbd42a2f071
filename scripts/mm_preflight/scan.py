"""One look at the process table: what is alive, whose it is, and what could not be told."""

from __future__ import annotations

import os
import time

from mm_preflight import registry, table, users
from mm_preflight.argv import one_word
from mm_preflight.database import find_database
from mm_preflight.files import Silent, looking_at
from mm_preflight.judge import judge
from mm_preflight.records import (
    TYPE_CHECKING,
    Any,
    Database,
    Files,
    NamedTuple,
    Result,
    Row,
    Seen,
    Unknown,
)
from mm_preflight.report import silence, visible
from mm_preflight.scripts import reader

if TYPE_CHECKING:
    from collections.abc import Callable

OTHERS_SECONDS = 3.0  # of a look; from then on, processes of other users are passed over
OTHERS_LOOKED_AT = 50  # that may run memtomem; they do not refuse, so what is more is only counted
HIDDEN_SECONDS = 0.25  # in the midst of an exec, or of its end, a process hides for a moment


class Later(Exception):
    """A process cannot be judged without reading a file."""


class Scope(NamedTuple):
    """Whose processes count, and until when those of others are looked at."""

    database: Database
    counting: frozenset[str]  # the users whose processes count, by name
    deadline: float  # of time.monotonic(), for all others


def scan(option: str | None, early: Callable[[Result], None]) -> Result:
    """One look at the whole table. Raises Unknown if it cannot be trusted.

    What is known before files are opened is handed to `early`: a file system may not answer. Before
    those of users who count, if it refuses; before those of others, whatever it is.
    """
    table.require()
    database = find_database(option, table.system.device_of)
    looking_at("the process table")
    counting = users.users(database)
    scope = Scope(database, counting | {users.root()}, time.monotonic() + OTHERS_SECONDS)
    itself = {os.getpid(), os.getppid()} if hasattr(os, "fork") else {os.getpid()}
    known, found = set[int](), list[Seen]()
    for _ in range(2):  # and once more, at what started meanwhile
        fresh = table.pids() - known
        known |= fresh
        looked_at = (_look_at(pid, scope) for pid in sorted(fresh - itself))
        found += [seen for seen in looked_at if seen]
    if os.getpid() not in known:
        raise Unknown("the check is not in the process table that it reads; mount /proc")

    own = counting if users.is_root() else counting - {users.root()}  # the system's services hide
    found, doubts = _look_again(_with_listed(found, database), database, own)
    result = Result(
        verdict="clear",
        database=visible(database.path),
        examined=len(known - itself) + 1,
        # Without an argv, it is a kernel thread.
        uninspected=sum(table.hides(each) and each.argv != [] for each in found),
        blind_spots=table.blind_spots(known, any(map(_is_denied, found))),
    )
    return _verdict(found, result, [_hiding(each) for each in doubts], scope, early)


def _verdict(
    found: list[Seen],
    result: Result,
    reasons: list[str],
    scope: Scope,
    early: Callable[[Result], None],
) -> Result:
    """The verdict over what was found, from what needs no file to what others' files say."""
    judged, untold = _judge(_own_first(found, scope), scope, lambda each: Files(_later, _later))
    if untold and (hits := list(filter(_counts, judged))):
        answer = _answer(result, hits, [], scope)
        if answer.verdict == "live":
            early(answer)
    own = [each for each, _ in untold if each.ours]
    read, silent = _judge(own, scope, lambda each: _reader(each, scope))
    reasons = reasons + [
        silence(_who(each), why.args[0]) for each, why in silent if _is_in_doubt(each)
    ]
    known = {each.pid: each for each in judged + read}
    others = [each for each, _ in untold if not each.ours]
    if others or not all(map(_counts, known.values())):
        early(_answer(result, list(filter(_counts, known.values())), reasons, scope))
        known |= {
            each.pid: each for each in _judge(others, scope, lambda one: _reader(one, scope))[0]
        }
    return _answer(result, list(known.values()), reasons, scope)


def _answer(result: Result, hits: list[Seen], reasons: list[str], scope: Scope) -> Result:
    """The verdict over what runs memtomem, and over why that may not be all."""
    counted: list[Row] = []
    others: list[Row] = []
    if hits:
        from mm_preflight import instances  # not needed where nothing is alive

        looking_at("what started the mm processes")
        counted, others = instances.rows(_counting_first(hits), scope.deadline)
    return result._replace(
        verdict="live" if counted else "unknown" if reasons else "clear",
        reason=reasons[0] if reasons and not counted else None,
        other_users=others,
        processes=counted,
    )


# ---- looking ------------------------------------------------------------------------------------


def _look_at(pid: int, scope: Scope) -> Seen | None:
    """One process; from the deadline on, those of other users are passed over."""
    if time.monotonic() > scope.deadline and not users.is_of_one(pid, scope.counting):
        return table.HIDDEN
    return table.look_at(pid, scope.database)


def _with_listed(found: list[Seen], database: Database) -> list[Seen]:
    """All; of those whose open files cannot be asked, memtomem's own list of names is asked."""
    asked = [each for each in found if each.thread and _is_unasked(each)]
    if not asked:
        return found
    looking_at("memtomem's runtime folder")
    folders = registry.folders(database, table.system.local_settings())
    files = registry.listed(folders, database.owners)
    named = {each.pid: registry.registered(files.get(each.pid, []), each.started) for each in asked}
    return [
        each._replace(evidence=each.evidence._replace(registered=named[each.pid]))
        if named.get(each.pid)
        else each
        for each in found
    ]


def _is_unasked(each: Seen) -> bool:
    return each.evidence.holds is None or table.system.hides_open_files


def _look_again(
    found: list[Seen], database: Database, own: frozenset[str]
) -> tuple[list[Seen], list[Seen]]:
    """All, after a second look at what hides and may be the user's own; and what still does."""
    end = time.monotonic() + HIDDEN_SECONDS
    doubts = [each for each in found if _is_doubtful(each, own)]
    sure = [each for each in found if each not in doubts] if doubts else found
    while doubts and time.monotonic() < end:
        time.sleep(0.02)
        again = [table.look_at(each.pid, database) for each in doubts]
        doubts = [each for each in again if each and _is_doubtful(each, own)]
        sure += [each for each in again if each and each not in doubts]
    return sure + doubts, doubts


def _is_doubtful(each: Seen, own: frozenset[str]) -> bool:
    return each.thread != 0 and table.hides(each) and users.could_be_own_python(each, own)


def _who(each: Seen) -> str:
    return f"process {each.pid} ({one_word(each.name)})"


def _is_denied(each: Seen) -> bool:
    return each.thread != 0 and each.argv is None


def _hiding(each: Seen) -> str:
    why = f"{_who(each)} hides what it does and may be Python"
    return f"{why}; end it, or use {table.system.elevated}"


# ---- judging ------------------------------------------------------------------------------------


def _later(path: str) -> Any:
    raise Later


def _counts(each: Seen) -> bool:
    return bool(each.ours or each.evidence.holds)


def _counting_first(found: list[Seen]) -> list[Seen]:
    return sorted(found, key=lambda each: not _counts(each))


def _own_first(found: list[Seen], scope: Scope) -> list[Seen]:
    """Those of which more is known than that they are there; first those that count."""
    counting = (*scope.counting, None)
    seen = [each._replace(ours=each.user in counting) for each in found if each.thread]
    return _counting_first(seen)


def _reader(each: Seen, scope: Scope) -> Files:
    until = float("inf") if each.ours else scope.deadline
    return reader(each, scope.database, until)


def _is_in_doubt(each: Seen) -> bool:
    """Whether what it runs would have mattered: it is of a user who counts, and no hit anyway."""
    return each.ours and not (each.evidence.holds or each.evidence.registered)


def _judge(
    found: list[Seen], scope: Scope, files_of: Callable[[Seen], Files]
) -> tuple[list[Seen], list[tuple[Seen, Exception]]]:
    """Those that run memtomem, say so themselves, or have its database open; and those whose files
    could not be read yet, or do not answer. Of other users, within bounds."""
    hits: list[Seen] = []
    untold: list[tuple[Seen, Exception]] = []
    for each in found:
        late = len(hits) >= OTHERS_LOOKED_AT or time.monotonic() > scope.deadline
        if late and not (each.ours or each.evidence.holds):
            continue
        command = None
        try:
            command = judge(
                each.argv or [], files_of(each), each.python, table.system.has_launchers
            )
        except (Later, Silent) as why:
            untold.append((each, why))
        if command or each.evidence.holds or each.evidence.registered:
            hits.append(each._replace(command=command))
    return hits, untold
