"""The notes that vectors are of: whether they are there, and what was found of each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from mm_postflight import decide
from mm_postflight.records import Findings

KINDS = ("others", "relatives", "between")
LARGEST = 64 << 20  # bytes of a note that are read


def on_disk(path: str) -> str | bytes:
    """The name as the system takes it, also where the locale knows no letter of it."""
    try:
        os.fsencode(path)
        return path
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogateescape")


def is_there(path: str) -> bool:
    try:
        return os.path.isfile(on_disk(path))
    except ValueError:  # no file has such a name
        return False


def fate(path: str, is_held: Callable[[str], bool]) -> str:
    """Why no text of a file leaves this machine: "gone", or "held" by the guard; else ""."""
    if not is_there(path):
        return "gone"
    try:
        with open(on_disk(path), "rb") as file:
            text = file.read(LARGEST).decode(errors="replace")
    except OSError:
        return "held"  # what cannot be read cannot be found harmless
    return "held" if is_held(text) else ""


def files(found: Findings) -> list[dict[str, Any]]:
    """The files of the vectors that are not this model's, or may not be.

    `written`: when the newest of these was, in Unix seconds.
    """
    told = decide.kinds(found)
    hits = decide.wrong(found, unclear=True)
    chunks = Counter(vector.file for vector in found.vectors)
    counts = {kind: Counter(v.file for v in hits if told[v.rowid] == kind) for kind in KINDS}
    written: dict[str, int] = {}
    for vector in hits:
        written[vector.file] = max(vector.updated, written.get(vector.file, 0))
    return [
        {"path": path, "chunks": chunks[path]}
        | {kind: counts[kind][path] for kind in KINDS}
        | {"written": last, "note": _note(path, last)}
        for path, last in sorted(written.items())
    ]


def _note(path: str, written: int) -> str:
    """What became of the file since."""
    try:
        if is_there(path):
            return "edited" if os.path.getmtime(on_disk(path)) > written + 2 else ""
    except OSError:
        pass
    return "gone"
