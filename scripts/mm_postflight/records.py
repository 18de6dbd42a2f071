"""What the rooms hand each other: plain records, and nothing of memtomem's."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

EXIT = {"one-model": 0, "mixed": 1, "unknown": 2}
STOPPED = "stopped by Ctrl-C"
FEW = 8  # lines of a kind that are printed; texts in a row that may fail to be embedded


class Unknown(Exception):
    """Why there is no answer; a remedy, if there is one, on a line of its own."""


class Fault(Unknown):
    """What an embedder did that no working one does: nothing found with it holds."""


class Options(NamedTuple):
    """The command line. `inside`: the Python that asks mm-preflight, once this runs under mm's."""

    all: bool = False
    sample: int = 300
    repair: bool = False
    probe: bool = False
    json: bool = False
    db: str | None = None
    mm: str = "mm"
    send: bool = False
    yes: bool = False
    inside: str = ""


class Vector(NamedTuple):
    """Where a vector lies, and what it is chosen by; of a chunk without one, `block` is -1.

    `created`, `updated`: its chunk's, in Unix seconds.
    """

    rowid: int
    block: int
    file: str
    created: int
    updated: int


class Row(NamedTuple):
    """One chunk as it was read. `texts`: what is embedded of it, then what older releases embedded.

    `stored`: the numbers that the database holds; None if it has no vector.
    """

    vector: Vector
    id: str
    texts: list[str]
    stored: array[float] | None

    def digest(self) -> bytes:
        """What changes when the chunk, its text or its vector does."""
        from hashlib import blake2b

        held = b"none" if self.stored is None else self.stored.tobytes()
        words = [str(self.vector.rowid), self.id, self.texts[0]]
        parts = [*(word.encode("utf-8", "surrogatepass") for word in words), held]
        joined = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return blake2b(joined, digest_size=16).digest()


@dataclass
class Repair:
    """What --repair did. `left`: chunks whose vector is not known to be this
    model's; None if it did not come to count them."""

    backup: str = ""
    written: int = 0
    left: int | None = None
    changed: int = 0  # left alone, because something else changed them meanwhile
    gone: int = 0  # not sent off this machine: the file is gone
    held: int = 0  # not sent either: memtomem's redaction guard would hold the text
    preflight_after: str = ""
    declined: bool = False


@dataclass
class Findings:
    """What one run found. However it ends, what it found until then can be told."""

    model: str = ""
    database: str = ""
    configured: bool = True
    preflight: str = ""
    reason: str = ""
    vectors: list[Vector] = field(default_factory=list)
    missing: list[Vector] = field(default_factory=list)  # chunks without a vector
    without_chunk: int = 0
    scores: dict[int, float | None] = field(default_factory=dict)  # by rowid; None: not embedded
    digests: dict[int, bytes] = field(default_factory=dict)
    older: set[int] = field(default_factory=set)  # this model's, of text as it was put together
    kept: set[int] = field(default_factory=set)  # not sent off this machine
    first: list[float] = field(default_factory=list)  # the scores of the first random draw
    exact: bool = False
    least: float = 1.0  # the smallest cosine between two answers to one text
    texts_sent: int = 0
    said: Counter[str] = field(default_factory=Counter)  # why texts were not embedded
    repair: Repair | None = None
    probe: dict[str, Any] | None = None
