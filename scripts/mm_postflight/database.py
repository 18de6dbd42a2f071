"""Reading memtomem's database: where each vector lies, its numbers, its text. Writes nothing."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mm_postflight.records import Findings, Row, Unknown, Vector

PLACES = """SELECT c.rowid, {block}, source_file,
    0 + coalesce(strftime('%s', created_at), 0),
    0 + coalesce(strftime('%s', updated_at), 4000000000) FROM chunks c {join}"""
WITH_VECTORS = PLACES.format(
    block="coalesce(r.chunk_id, -1)", join="LEFT JOIN chunks_vec_rowids r ON r.rowid = c.rowid"
)
BLOCK = """SELECT vectors, k.rowids, validity FROM chunks_vec_chunks k
    JOIN chunks_vec_vector_chunks00 v ON v._rowid_ = chunk_id WHERE chunk_id = ? AND size = 1024
    AND length(vectors) = 4096 * ? AND length(k.rowids) = 8192 AND length(validity) = 128"""
WAIT = 10.0  # seconds for another program's lock, as memtomem waits
Texts = Callable[[dict[str, Any]], list[str]]


class Database:
    """One connection. It holds no transaction longer than it takes to read one batch."""

    def __init__(self, path: Path, dimension: int, texts: Texts) -> None:
        """Open it read-only. Raises Unknown, and sqlite3.Error."""
        if not path.is_file():
            raise Unknown(f"there is no database {path}")
        # In a folder that it may not write to, SQLite reads a log only if it is in use already.
        logged = os.path.exists(f"{path}-wal") or os.path.exists(f"{path}-shm")
        still = "" if logged or os.access(path.parent, os.W_OK) else "&immutable=1"
        self.use(connect(path, f"mode=ro{still}"), dimension, texts)

    def use(self, connection: sqlite3.Connection, dimension: int, texts: Texts) -> None:
        """Read through this connection."""
        self.connection, self.dimension, self.texts = connection, dimension, texts

    def close(self) -> None:
        self.connection.close()

    def meta(self) -> dict[str, str]:
        """What it says of the embedding, and its schema's version."""
        sql = "SELECT key, value FROM _memtomem_meta WHERE key LIKE 'embedding\\_%' ESCAPE '\\'"
        return dict(self.connection.execute(sql + " OR key = 'schema_version'").fetchall())

    def read_places(self, found: Findings) -> None:
        """Where each vector lies, and which chunks have none."""
        sql = "SELECT 1 FROM sqlite_master WHERE name = 'chunks_vec'"
        there = self.connection.execute(sql).fetchone()
        select = WITH_VECTORS if there else PLACES.format(block="-1", join="")
        names: dict[str, str] = {}  # one string for all chunks of a file
        for rowid, block, file, created, updated in self.connection.execute(select):
            vector = Vector(rowid, block, names.setdefault(file, file), created, updated)
            (found.missing if block == -1 else found.vectors).append(vector)
        if there:
            (held,) = self.connection.execute("SELECT count(*) FROM chunks_vec_rowids").fetchone()
            found.without_chunk = held - len(found.vectors)

    def rows(self, vectors: list[Vector]) -> list[Row]:
        """Each chunk as it is now, in the order of the vectors; one that is gone is left out."""
        places = {vector.rowid: vector for vector in vectors}
        with self.reading():
            held = dict(self._stored(list(places)))
            marks = ",".join("?" * len(places))
            sql = f"SELECT rowid AS number, * FROM chunks WHERE rowid IN ({marks})"
            cursor = self.connection.execute(sql, list(places))
            columns = [each[0] for each in cursor.description]
            read = {row[0]: dict(zip(columns, row, strict=True)) for row in cursor}
        return [
            Row(vector, str(read[rowid]["id"]), self.texts(read[rowid]), held.get(rowid))
            for rowid, vector in places.items()
            if rowid in read
        ]

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """One state of the database; within a transaction, that one."""
        if self.connection.in_transaction:
            yield
            return
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")

    def _stored(self, rowids: list[int]) -> Iterator[tuple[int, array[float]]]:
        """The numbers of those that have a vector. Raises Unknown for another layout."""
        marks = ",".join("?" * len(rowids))
        sql = f"""SELECT chunk_id, chunk_offset, rowid FROM chunks_vec_rowids
            WHERE rowid IN ({marks}) ORDER BY chunk_id"""
        last, floats, slots = None, array("f"), dict[int, int]()
        for block, slot, rowid in self.connection.execute(sql, rowids).fetchall():
            if block != last:
                last, (floats, slots) = block, self._block(block)
            if slots.get(rowid) != slot:
                raise Unknown("its vectors do not lie as sqlite-vec 0.1 lays them")
            yield rowid, floats[slot * self.dimension : (slot + 1) * self.dimension]

    def _block(self, block: int) -> tuple[array[float], dict[int, int]]:
        """The numbers of 1,024 slots, and which row lies in which of them."""
        row = self.connection.execute(BLOCK, (block, self.dimension)).fetchone()
        vectors, numbers, validity = row or (b"", b"", b"")
        floats, rowids = array("f"), array("q")
        floats.frombytes(vectors)
        rowids.frombytes(numbers)
        valid = (slot for slot in range(len(rowids)) if validity[slot // 8] >> slot % 8 & 1)
        return floats, {rowids[slot]: slot for slot in valid}


def connect(path: Path, how: str) -> sqlite3.Connection:
    """A connection without transactions of its own."""
    name = f"{path.as_uri()}?{how}"
    return sqlite3.connect(name, uri=True, timeout=WAIT, isolation_level=None)
