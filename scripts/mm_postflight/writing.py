"""Writing vectors into memtomem's database: a batch at a time, and only what is as it was read."""

from __future__ import annotations

import pkgutil
import sqlite3
from array import array
from pathlib import Path

from mm_postflight.database import Database, Texts, connect
from mm_postflight.records import Row, Unknown


class Writer(Database):
    """A connection that may write vectors alone, and only while `meta_then` holds."""

    def __init__(self, path: Path, dimension: int, texts: Texts, meta_then: dict[str, str]) -> None:
        """Open it. Raises Unknown, and sqlite3.Error."""
        self.use(connect(path, "mode=rw"), dimension, texts)
        self.meta_then = meta_then
        try:
            self.connection.enable_load_extension(True)
            pkgutil.resolve_name("sqlite_vec.load")(self.connection)
            self.connection.enable_load_extension(False)
        except (AttributeError, ImportError, sqlite3.Error) as error:
            self.close()
            told = f"sqlite-vec cannot be loaded under memtomem's Python: {error}"
            raise Unknown(f"{told}\nNothing was written.") from error

    def write(self, rows: list[Row], answers: list[array[float]]) -> list[Row]:
        """Write what is still as it was read, in one transaction; the rows that were written.

        Waits for other programs as memtomem does. Raises Unknown, and sqlite3.Error; then nothing
        of this batch was written.
        """
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            if self.meta() != self.meta_then:
                told = "the embedding's settings in the database changed meanwhile"
                raise Unknown(f"{told}\nCheck again: mm-postflight")
            now = {row.vector.rowid: row.digest() for row in self.rows([r.vector for r in rows])}
            written = []
            for row, answer in zip(rows, answers, strict=True):
                if now.get(row.vector.rowid) == row.digest():
                    self._put(row, answer.tobytes())
                    written.append(row._replace(stored=answer))
            self.connection.execute("COMMIT")
            return written
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def _put(self, row: Row, numbers: bytes) -> None:
        """One vector, and read again. An UPDATE of a row that is not there would write nothing."""
        rowid = row.vector.rowid
        if row.stored is None:
            sql = "INSERT INTO chunks_vec (embedding, rowid) VALUES (?, ?)"
        else:
            sql = "UPDATE chunks_vec SET embedding = ? WHERE rowid = ?"
        self.connection.execute(sql, (numbers, rowid))
        sql = "SELECT embedding FROM chunks_vec WHERE rowid = ?"
        if self.connection.execute(sql, (rowid,)).fetchone() != (numbers,):
            raise Unknown("sqlite-vec did not take a vector: this batch was not written")
