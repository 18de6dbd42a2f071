"""The rule: whose a vector is, what is checked next, how sure a sample is. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import mul

from mm_postflight.records import FEW, Findings, Vector

SAME, EXACT_SHARE = 0.9999, 0.3  # so many of the first draw at least so near: it is exact
OURS_EXACT, OURS, ANOTHERS = 0.999, 0.98, 0.80  # cosine: from the one up this model's, or below
STEADY, AT_FAULT = 0.999, 0.90  # two answers to one text: from the one up alike, below it a fault
NEAR = 300  # so many vectors from before the earliest one found are checked, too
HARM = [  # from which median cosine on, and what was measured there, of 100 searches by meaning
    (0.95, "about 1 more search in 100 missed its note"),
    (0.90, "about 2 more searches in 100 missed their note"),
    (0.0, "6 to 20 more searches in 100 missed their note"),
]


def cosine(stored: Sequence[float], fresh: Sequence[float]) -> float | None:
    """From -1 to 1; -1 if the stored one has no direction, None if the fresh one has none."""
    ours, theirs = math.hypot(*stored), math.hypot(*fresh)
    if not 0 < theirs < math.inf:
        return 1.0 if ours == theirs == 0 else None
    if not 0 < ours < math.inf:
        return -1.0
    return float(sum(map(mul, stored, fresh)) / ours / theirs)


def is_exact(first: Sequence[float]) -> bool:
    """Whether the embedder gives stored vectors again to the last digits, by the first draw."""
    same = sum(score >= SAME for score in first)
    return same >= FEW and same >= EXACT_SHARE * len(first)


def kind(score: float | None, exact: bool) -> str:
    """Whose a vector is: ours, others, relatives, between or not_embedded."""
    if score is None:
        return "not_embedded"
    if score >= (OURS_EXACT if exact else OURS):
        return "ours"
    if score < ANOTHERS:
        return "others"
    return "relatives" if exact else "between"


def kinds(found: Findings) -> dict[int, str]:
    """The kind of each vector that was checked, by rowid."""
    return {rowid: kind(score, found.exact) for rowid, score in found.scores.items()}


def wrong(found: Findings, *, unclear: bool = False) -> list[Vector]:
    """The vectors that are not this model's; with `unclear`, also those that may not be."""
    told = kinds(found)
    names = ("others", "relatives", "between") if unclear else ("others", "relatives")
    return [vector for vector in found.vectors if told.get(vector.rowid) in names]


def matches_nothing(found: Findings) -> bool:
    """Then the whole database is another's, or the configuration names the wrong model."""
    told = kinds(found)
    return len(told) > FEW and all(each == "others" for each in told.values())


def next_draw(found: Findings, before: int) -> tuple[list[Vector], int]:
    """What may have been written with what was found, and how many that was.

    A vector was written between `created` and `updated`; an edited tag moves `updated` alone. If
    nothing is left since the earliest, there may be some from before it; but not if the last look
    there, when `before` were found, found no more.
    """
    hits = wrong(found)
    if not hits or matches_nothing(found):
        return [], before
    since, files = min(hit.created for hit in hits), {hit.file for hit in hits}
    rest = [vector for vector in found.vectors if vector.rowid not in found.scores]
    near = [vector for vector in rest if vector.updated >= since or vector.file in files]
    if near or len(hits) <= before:
        return near, before
    return sorted(rest, key=lambda vector: vector.updated)[-NEAR:], len(hits)


def at_most(total: int, drawn: int) -> int:
    """So many of `total` can be another model's, with 95 % confidence, if none of `drawn` is."""
    others, unseen = 0, 1.0  # `unseen`: the chance that the draw misses that many
    while unseen > 0.05:
        unseen *= (total - drawn - others) / (total - others)
        others += 1
    return others - 1


def median(values: Iterable[float]) -> float:
    """The one in the middle; 0 of none."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0.0


def harm(middle: float) -> str:
    """How much vectors of relatives matter whose median cosine is this."""
    return next(words for least, words in HARM if middle >= least)


def apart(answers: Sequence[Sequence[float] | None]) -> float:
    """The smallest cosine between two of the answers to one text; 1 of fewer than two."""
    there = [answer for answer in answers if answer is not None]
    pairs = ((a, b) for n, a in enumerate(there) for b in there[n + 1 :])
    return min((cosine(a, b) or 0.0 for a, b in pairs), default=1.0)
