"""--repair: after a check of all, write new vectors where the old ones are not the model's."""

from __future__ import annotations

import contextlib
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mm_preflight.report import visible

from mm_postflight import consent, decide, files, host, preflight
from mm_postflight.asking import SENTENCES, Embedder, require_steady
from mm_postflight.backup import backup
from mm_postflight.check import BATCH, batches
from mm_postflight.database import Database
from mm_postflight.progress import Progress
from mm_postflight.records import Findings, Options, Repair, Row, Unknown, Vector
from mm_postflight.report import wrap
from mm_postflight.writing import Writer

OWN_WAY = "memtomem's own way is: mm index --force"
TO_DO = {
    "live": "Stop every mm process: mm-preflight names them.",
    "unknown": "Run mm-preflight, and do what it says.",
}


def require_clear(found: Findings, python: str) -> None:
    """Ask mm-preflight; the database must be closed here. Raises Unknown."""
    told = preflight.ask(python, found.database)
    found.preflight = told.verdict
    if told.verdict != "clear":
        raise Unknown(
            f"mm-preflight is not clear: {told.why}\nNothing was written. {TO_DO[told.verdict]}"
        )


def require_known(config: Any, meta: dict[str, str]) -> None:
    """Raise Unknown where memtomem itself would not write, or where it was not tried."""
    if why := host.why_not_repaired(config, meta):
        raise Unknown(f"{why}\nNothing was written. {OWN_WAY}")


def keep_back(database: Database, found: Findings, report: Repair) -> None:
    """Which texts do not leave this machine: their file is gone, or memtomem's guard would hold."""
    fate: dict[str, str] = {}
    for batch in batches([*found.vectors, *found.missing], 256):
        for row in database.rows(batch):
            file = row.vector.file
            if file not in fate:
                fate[file] = files.fate(file, host.is_held)
            why = fate[file] or ("held" if any(map(host.is_held, row.texts)) else "")
            if why:
                found.kept.add(row.vector.rowid)
                setattr(report, why, getattr(report, why) + 1)


class Repairing:
    """One repair. `open_again`: a fresh connection that only reads."""

    def __init__(self, found: Findings, options: Options, embedder: Embedder, config: Any) -> None:
        self.found, self.options, self.embedder = found, options, embedder
        self.config, self.report = config, found.repair or Repair()
        self.path, self.progress = Path(found.database), Progress()

    def run(self, meta: dict[str, str], open_again: Callable[[], Database]) -> None:
        """Ask the person, mm-preflight, then write. The database is closed. Raises Unknown."""
        found = self.found
        wrong = decide.wrong(found, unclear=True)
        todo = [each for each in [*wrong, *found.missing] if each.rowid not in found.kept]
        if todo:
            self.require_steady_embedder("Nothing was written.")
            self.report.declined = not self.agreed(len(todo))
        if todo and not self.report.declined:
            require_clear(found, self.options.inside)
            self.write_all(todo, meta)
        self.verify(open_again)
        self.report.preflight_after = preflight.ask(self.options.inside, found.database).verdict

    def require_steady_embedder(self, then: str) -> None:
        """Raise Unknown if answers to one text differ; Fault if they are another text's."""
        least = self.found.least
        require_steady(least)
        if least < decide.STEADY:
            told = f"the embedder is not steady: one text got two vectors (cosine {least:.4f})"
            raise Unknown(f"{told}\n{then} {OWN_WAY}")

    def agreed(self, count: int) -> bool:
        """Whether the person says yes. Raises Unknown if nobody is there to ask."""
        found = self.found
        vectors = f"{count:,} vector{'s' * (count != 1)}"
        told = f"{vectors} of {found.database} would be made anew by {found.model}. "
        told += "A backup is made first."
        if found.scores and "ours" not in decide.kinds(found).values():
            doubt = "Nothing in the database matches that model, so the configuration is the "
            told = f"{doubt}likelier fault. Is {found.model} the model that you want?\n{told}"
        told = "\n".join(map(visible, told.split("\n")))
        if self.options.yes:
            print(*wrap(told), sep="\n", file=sys.stderr)
            return True
        if not consent.is_answered():
            raise Unknown(f"{told}\nNothing was written. If they may be written, add --yes.")
        return consent.yes(f"{told} Repair?")

    def write_all(self, todo: list[Vector], meta: dict[str, str]) -> None:
        """A backup, then batch after batch. Raises Unknown; whole batches stay."""
        dimension = self.config.embedding.dimension
        writer = Writer(self.path, dimension, host.texts, meta)
        with contextlib.closing(writer):
            self.report.backup = backup(writer.connection, self.path)
            self.progress.start(f"writing {len(todo):,} vectors")
            todo.sort(key=lambda vector: (vector.block, vector.rowid))
            for number, batch in enumerate(batches(todo, BATCH)):
                self.write_batch(writer, batch)
                self.progress.step(min(len(todo), (number + 1) * BATCH), len(todo))
        self.progress.stop()

    def write_batch(self, writer: Writer, batch: list[Vector]) -> None:
        """Embed without a lock, twice; then write what did not change meanwhile."""
        rows = [row for row in writer.rows(batch) if self.is_as_checked(row)]
        self.report.changed += len(batch) - len(rows)
        if not rows:
            return
        pairs = self.embed(rows)
        written = writer.write([row for row, _ in pairs], [answer for _, answer in pairs])
        self.report.changed += len(pairs) - len(written)
        self.report.written += len(written)
        for row in written:
            self.found.scores[row.vector.rowid] = 1.0
            self.found.digests[row.vector.rowid] = row.digest()

    def is_as_checked(self, row: Row) -> bool:
        """What was found to be wrong; of what had no vector, that it has none."""
        known = self.found.digests.get(row.vector.rowid)
        return row.stored is None if known is None else known == row.digest()

    def embed(self, rows: list[Row]) -> list[tuple[Row, array[float]]]:
        """Each row with its new vector, which two batches agree on. Raises Unknown, and Fault."""
        texts = [row.texts[0] for row in rows]
        first = self.embedder.ask(texts)
        # Backwards, and behind another text: an order that is not kept shows, whatever it is.
        again = self.embedder.ask([SENTENCES[0], *texts[::-1]])[:0:-1]
        self.found.least = min(self.found.least, self.embedder.least)
        self.found.texts_sent = self.embedder.sent
        pairs = []
        for row, answer, second in zip(rows, first, again, strict=True):
            if answer is None or second is None or not any(answer):
                continue  # not embedded: it stays as it is, and is counted as left
            self.found.least = min(self.found.least, decide.apart((answer, second)))
            pairs.append((row, answer))
        self.require_steady_embedder("This batch was not written, nor what comes after it.")
        return pairs

    def verify(self, open_again: Callable[[], Database]) -> None:
        """Read all again through a fresh connection: what is not known to be good is left."""
        found, good = self.found, set[int]()
        sure = {rowid for rowid, told in decide.kinds(found).items() if told == "ours"}
        found.vectors, found.missing = [], []
        with contextlib.closing(open_again()) as database:
            database.read_places(found)
            for batch in batches(found.vectors, 256):
                for row in database.rows(batch):
                    number = row.vector.rowid
                    if number in sure and found.digests.get(number) == row.digest():
                        good.add(number)
        there = {vector.rowid for vector in found.vectors}
        found.scores = {
            number: score
            for number, score in found.scores.items()
            if number in there and (number in good or number not in sure)
        }
        self.report.left = len(found.vectors) + len(found.missing) - len(good)
