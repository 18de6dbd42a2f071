"""A hundred thousand chunks: the memory and the time that are this program's own."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
from support import linux

from postflight.home import ROOT

CHUNKS, DIMENSION = 100_000, 384
CHECK = """if True:
    import resource, sys, time
    from array import array
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from mm_postflight.asking import Embedder
    from mm_postflight.check import Check
    from mm_postflight.database import Database
    from mm_postflight.records import Findings

    class Stub:
        async def embed_texts(self, texts):
            return [vector(text) for text in texts]

    def vector(text):
        number = float(text[1:].partition(" ")[0]) if text[0] == "n" else len(text)
        return array("f", [1.0, number / 1000, number % 7, *[0.25] * 381]).tolist()

    began, found = time.process_time(), Findings()
    database = Database(Path(sys.argv[2]), 384, lambda row: [row["content"]])
    database.read_places(found)
    read = time.process_time() - began
    Check(database, Embedder(Stub(), 384), found).search(True, 300, lambda texts: None)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    good = sum(score > 0.9999 for score in found.scores.values())
    print(good, read, time.process_time() - began, kilobytes / 1024)
"""


def large(path: Path) -> None:
    """A database of sqlite-vec's layout, made without it."""
    connection = sqlite3.connect(path)
    connection.executescript("""
        CREATE TABLE chunks (id, content, source_file, created_at, updated_at);
        CREATE TABLE chunks_vec_chunks (chunk_id INTEGER PRIMARY KEY, size, validity, rowids);
        CREATE TABLE chunks_vec_rowids (rowid INTEGER PRIMARY KEY, id, chunk_id, chunk_offset);
        CREATE TABLE chunks_vec_vector_chunks00 (rowid PRIMARY KEY, vectors);
        CREATE TABLE chunks_vec (embedding);""")
    time_of = "2026-11-22T09:{:02}:{:02}.{:06}+00:00"
    rows = (
        (f"id-{n}", f"n{n} " * 200, f"/home/ana/notes/{n // 5}.md",
         time_of.format(n // 60 % 60, n % 60, n))
        for n in range(CHUNKS)
    )  # fmt: skip
    connection.executemany("INSERT INTO chunks VALUES (?1, ?2, ?3, ?4, ?4)", rows)
    places = ((n + 1, n // 1024 + 1, n % 1024) for n in range(CHUNKS))
    connection.executemany("INSERT INTO chunks_vec_rowids VALUES (?, NULL, ?, ?)", places)
    for block in range(-(-CHUNKS // 1024)):
        ids = array("q", range(block * 1024 + 1, block * 1024 + 1025)).tobytes()
        about = (block + 1, b"\xff" * 128, ids)
        connection.execute("INSERT INTO chunks_vec_chunks VALUES (?, 1024, ?, ?)", about)
        held = array("f")
        for n in range(block * 1024, block * 1024 + 1024):
            held.extend([1.0, n / 1000, n % 7, *[0.25] * (DIMENSION - 3)])
        sql = "INSERT INTO chunks_vec_vector_chunks00 VALUES (?, ?)"
        connection.execute(sql, (block + 1, held.tobytes()))
    connection.commit()
    connection.close()


@linux
@pytest.mark.slow
def test_a_hundred_thousand_chunks(tmp_path):
    """In seconds of this process, so that a busy machine does not count."""
    large(tmp_path / "large.db")
    argv = [sys.executable, "-c", CHECK, str(ROOT / "scripts"), str(tmp_path / "large.db")]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    good, read, whole, mebibytes = map(float, done.stdout.split())
    print(done.stdout)
    assert good == CHUNKS
    assert read <= 3
    assert whole <= 120
    assert mebibytes <= 150
