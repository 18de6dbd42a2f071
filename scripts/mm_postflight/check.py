"""One check: rounds of vectors are embedded again and compared; a doubted text is asked again."""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Callable, Iterator
from itertools import islice

from mm_postflight import decide
from mm_postflight.asking import SENTENCES, Answer, Embedder, require_steady
from mm_postflight.database import Database
from mm_postflight.progress import Progress
from mm_postflight.records import Findings, Row, Vector

BATCH = 32  # texts that are embedded together at least: few enough for a slow machine
ROUND = 512  # vectors between two decisions: their texts and answers are in memory


class Check:
    """What is found goes into `found` as it is found."""

    def __init__(self, database: Database, embedder: Embedder, found: Findings) -> None:
        self.database, self.embedder, self.found = database, embedder, found
        self.progress, self.size = Progress(), BATCH
        self.scores = dict[int, float | None]()  # of this round, until they are sure

    def search(self, whole: bool, sample: int, ask_first: Callable[[int], None]) -> None:
        """Check all, or a sample; if that finds any, all that may have come with them, too.

        `ask_first` is told how many texts are sent, before they are.
        """
        found = self.found
        vectors = [each for each in found.vectors if each.rowid not in found.kept]
        missing = [each for each in found.missing if each.rowid not in found.kept]
        draw = random.sample(vectors, min(sample, len(vectors)))
        ask_first(len(vectors) + len(missing) if whole else len(draw))
        self.progress.start("waiting for the model")
        found.least = min(found.least, self.embedder.prove())
        self.run(draw)
        if whole:
            return self.run([each for each in vectors if each.rowid not in found.scores])
        todo, before = decide.next_draw(found, 0)
        while todo:
            ask_first(len(todo))
            self.run(todo)
            todo, before = decide.next_draw(found, before)

    def run(self, todo: list[Vector]) -> None:
        """Check these, in rounds. Raises Unknown, and Fault."""
        if not todo:
            return
        self.progress.start(f"embedding {len(todo):,} texts again")
        rest = iter(todo)
        done, began = 0, time.monotonic()
        while some := list(islice(rest, ROUND)):
            some.sort(key=lambda vector: vector.block)
            self.round(some, done, len(todo))
            done += len(some)
            pace = done / max(time.monotonic() - began, 0.001)  # texts in a second
            self.size = min(8 * BATCH, max(BATCH, int(pace)))
        self.progress.stop()

    def round(self, vectors: list[Vector], done: int, total: int) -> None:
        """Embed these texts again, compare; then ask again for what is doubted."""
        found, asked = self.found, list[tuple[Row, Answer]]()
        self.scores.clear()
        for batch in batches(vectors, self.size):
            rows = [row for row in self.database.rows(batch) if row.stored is not None]
            for row, answer in zip(rows, self.ask([row.texts[0] for row in rows]), strict=True):
                asked.append((row, answer))
                self.scores[row.vector.rowid] = told = score(row, answer)
                if told is not None and told >= decide.OURS_EXACT:  # by either rule
                    self.keep(row)
            self.progress.step(done + len(asked), total)
        if not found.first:
            found.first = [each for each in self.scores.values() if each is not None]
            found.exact = decide.is_exact(found.first)
        doubted = [each for each in asked if self.is_doubted(each[0])]
        self.doubt(doubted)
        for row, _ in asked:
            if row.vector.rowid not in found.scores:
                self.keep(row)

    def keep(self, row: Row) -> None:
        """What was found of this one holds: nothing is asked about it any more."""
        self.found.scores[row.vector.rowid] = self.scores[row.vector.rowid]
        self.found.digests[row.vector.rowid] = row.digest()

    def doubt(self, asked: list[tuple[Row, Answer]]) -> None:
        """Ask again, alone, then in another batch, then as older releases put texts together."""
        heard = {row.vector.rowid: [answer] for row, answer in asked}
        rows = [row for row, _ in asked]
        for number, row in enumerate(rows):
            self.progress.say(f"  asking again, alone: {number + 1:,} of {len(rows):,} texts")
            self.hear(heard, [row], self.ask(row.texts[:1]))
        rows = [row for row in rows if self.is_doubted(row)]
        random.shuffle(rows)
        for batch in batches(rows, self.size):
            answers = self.ask([SENTENCES[0], *(row.texts[0] for row in batch)])[1:]
            self.hear(heard, batch, answers)
        for turn in range(1, 3):
            self.older([row for row in rows if self.is_doubted(row) and row.texts[turn:]], turn)

    def older(self, rows: list[Row], turn: int) -> None:
        """Ask for what older releases embedded of these."""
        for batch in batches(rows, self.size):
            answers = self.ask([row.texts[turn] for row in batch])
            for row, answer in zip(batch, answers, strict=True):
                self.better(row, answer)
                if not self.is_doubted(row):
                    self.found.older.add(row.vector.rowid)

    def hear(self, heard: dict[int, list[Answer]], rows: list[Row], answers: list[Answer]) -> None:
        """Further answers to texts that were asked before. Raises Fault."""
        for row, answer in zip(rows, answers, strict=True):
            said = heard[row.vector.rowid]
            said.append(answer)
            self.found.least = min(self.found.least, decide.apart(said))
            self.better(row, answer)
        require_steady(self.found.least)

    def better(self, row: Row, answer: Answer) -> None:
        """The best of all answers to a text counts."""
        best, fresh = self.scores[row.vector.rowid], score(row, answer)
        if fresh is not None and (best is None or fresh > best):
            self.scores[row.vector.rowid] = fresh

    def is_doubted(self, row: Row) -> bool:
        told = decide.kind(self.scores[row.vector.rowid], self.found.exact)
        return told not in ("ours", "not_embedded")

    def ask(self, texts: list[str]) -> list[Answer]:
        """The embedder, and what it was sent until now."""
        try:
            return self.embedder.ask(texts) if texts else []
        finally:
            self.found.texts_sent = self.embedder.sent
            self.found.said = self.embedder.said
            self.found.least = min(self.found.least, self.embedder.least)


def score(row: Row, answer: Answer) -> float | None:
    """How near a stored vector is to what the embedder gives now; None if it gives nothing."""
    stored = array("f") if row.stored is None else row.stored
    return None if answer is None else decide.cosine(stored, answer)


def batches(all_of: list, size: int) -> Iterator[list]:  # type: ignore[type-arg]
    """Lists of at most `size`."""
    rest = iter(all_of)
    while some := list(islice(rest, size)):
        yield some
