"""A stand-in for memtomem's mm: as much of 0.4.0 as the reproduction sees, in plain sqlite3.

The test writes a program `mm` that calls `main(behaviour)`. Behaviours:
  holds      `mm web` keeps the model it started with, as every memtomem up to 0.4.0 does
  reloads    `mm web` reads the configuration anew before it indexes
  declines   `mm web` indexes nothing that the database would call another model's, and says so
  guards     `mm embedding-reset` refuses while `mm web` is alive
  silent     `mm web` indexes nothing at all
  no-web     the web extra is not installed
  taken      an `mm web` of the same user is alive elsewhere
  stuck      `mm index` starts a grandchild and never ends
  foreign    it is not memtomem
"""

import contextlib
import http.server
import json
import os
import re
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

HOME = Path.home() / ".memtomem"
ALIVE = HOME / "web-is-alive"
BYTES, SLOTS = 4 * 256, 1024


def config():
    return json.loads((HOME / "config.json").read_text())


def open_database():
    connection = sqlite3.connect(config()["storage"]["sqlite_path"], timeout=10)
    connection.executescript(
        """
        PRAGMA journal_mode = WAL;
        CREATE TABLE IF NOT EXISTS chunks (id TEXT PRIMARY KEY, content TEXT, source_file TEXT);
        CREATE TABLE IF NOT EXISTS _memtomem_meta (key TEXT PRIMARY KEY, value TEXT);
        CREATE TABLE IF NOT EXISTS chunks_vec_rowids
            (rowid INTEGER PRIMARY KEY, id, chunk_id INTEGER, chunk_offset INTEGER);
        CREATE TABLE IF NOT EXISTS chunks_vec_vector_chunks00
            (rowid PRIMARY KEY, vectors BLOB NOT NULL);
        """
    )
    return connection


def embed(model, texts):
    body = json.dumps({"model": model, "input": texts}).encode()
    url = config()["embedding"]["base_url"] + "/api/embed"
    with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=20) as answer:
        return json.load(answer)["embeddings"]


def store(connection, rowid, vector):
    """As sqlite-vec lays it out: many vectors in one blob, found by chunk and offset."""
    chunk, offset = divmod(rowid, SLOTS)
    table = "chunks_vec_vector_chunks00"
    old = connection.execute(f"SELECT vectors FROM {table} WHERE _rowid_ = ?", (chunk + 1,))
    blob = bytearray((old.fetchone() or [bytes(BYTES * SLOTS)])[0])
    blob[offset * BYTES : (offset + 1) * BYTES] = struct.pack("<256f", *vector)
    connection.execute(f"DELETE FROM {table} WHERE _rowid_ = ?", (chunk + 1,))
    connection.execute(f"INSERT INTO {table} (_rowid_, vectors) VALUES (?, ?)", (chunk + 1, blob))
    connection.execute(
        "INSERT OR REPLACE INTO chunks_vec_rowids (rowid, chunk_id, chunk_offset) VALUES (?, ?, ?)",
        (rowid, chunk + 1, offset),
    )


def vector_of(connection, rowid):
    row = connection.execute(
        f"""SELECT substr(vectors, 1 + chunk_offset * {BYTES}, {BYTES}) FROM chunks_vec_rowids AS r
        JOIN chunks_vec_vector_chunks00 AS v ON v._rowid_ = r.chunk_id WHERE r.rowid = ?""",
        (rowid,),
    ).fetchone()
    return struct.unpack("<256f", row[0]) if row else None


def index(model, force=False):
    with contextlib.closing(open_database()) as connection, connection:
        for path in sorted(Path(config()["indexing"]["memory_dirs"][0]).glob("*.md")):
            values = (path.name, path.read_text().strip(), str(path))
            new = connection.execute("INSERT OR IGNORE INTO chunks VALUES (?, ?, ?)", values)
            if new.rowcount or force:
                sql = "SELECT rowid FROM chunks WHERE id = ?"
                rowid = connection.execute(sql, values[:1]).fetchone()[0]
                store(connection, rowid, embed(model, [values[1]])[0])
        meta = "INSERT OR IGNORE INTO _memtomem_meta VALUES ('embedding_model', ?)"
        connection.execute(meta, (model,))


def stored_model():
    with contextlib.closing(open_database()) as connection:
        row = connection.execute("SELECT value FROM _memtomem_meta").fetchone()
    return row[0] if row else None


def reset():
    with contextlib.closing(open_database()) as connection, connection:
        connection.execute("DELETE FROM chunks_vec_rowids")
        connection.execute("DELETE FROM chunks_vec_vector_chunks00")
        connection.execute("UPDATE _memtomem_meta SET value = ?", (config()["embedding"]["model"],))


def search(words, top):
    asked = embed(config()["embedding"]["model"], [words])[0]
    ranked = []
    with contextlib.closing(open_database()) as connection:
        for rowid, content in connection.execute("SELECT rowid, content FROM chunks").fetchall():
            if vector := vector_of(connection, rowid):
                score = sum(a * b for a, b in zip(vector, asked, strict=True))
                ranked.append((score, content))
    return sorted(ranked, reverse=True)[:top]


def shell():
    for line in sys.stdin:
        print("mm> ", end="")
        if line.strip() == "quit":
            return print("Bye!")
        hits = search(line.removeprefix("search ").strip(), 10)
        for rank, (score, content) in enumerate(hits, 1):
            print(f"  [{rank}] {score:.3f} note\n      {content[:100]}")
        print(f"\n  {len(hits)} results (0 BM25 + {len(hits)} dense)" if hits else "No results.")


def web(behaviour, port):
    started_with = config()["embedding"]["model"]

    def may_index():
        changed = stored_model() not in (None, started_with)
        return behaviour != "silent" and not (behaviour == "declines" and changed)

    def watch():
        while True:
            time.sleep(0.2)
            if may_index():
                reloads = behaviour == "reloads"
                index(config()["embedding"]["model"] if reloads else started_with)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer({"csrf_token": "open sesame"} if self.path == "/api/session" else {})

        def do_POST(self):
            allowed = self.headers["X-Memtomem-CSRF"] == "open sesame"
            refused = behaviour == "declines"
            self.answer({"errors": ["model changed"] if refused else []}, 200 if allowed else 403)

        def answer(self, content, status=200):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_):
            pass

    signal.signal(signal.SIGINT, lambda *_: (ALIVE.unlink(missing_ok=True), os._exit(0)))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        ALIVE.touch()
        threading.Thread(target=watch, daemon=True).start()
        server.serve_forever()


def main(behaviour):
    match sys.argv[1:]:
        case ["--version"]:
            print("Midnight Commander 4.8" if behaviour == "foreign" else "memtomem 9.9.9")
        case ["index", *rest]:
            if behaviour == "stuck":
                grandchild = subprocess.Popen(
                    [sys.executable, "-c", "import time; time.sleep(300)"]
                )
                (HOME.parent / "pids").write_text(f"{os.getpid()} {grandchild.pid}")
                time.sleep(300)
            index(config()["embedding"]["model"], force="--force" in rest)
        case ["embedding-reset", "--mode", "apply-current"]:
            if behaviour == "guards" and ALIVE.exists():
                sys.exit("Error: mm web is running")
            if not re.match("y", input("Continue? [y/N]: ")):
                sys.exit("Aborted!")
            reset()
        case ["shell"]:
            shell()
        case ["search", words, "--top-k", top, "--format", "json"]:
            print(json.dumps([{"content": content} for _, content in search(words, int(top))]))
        case ["web", "--host", "127.0.0.1", "--port", port]:
            if behaviour == "no-web":
                print("Error: Web UI requires the [web] extra (missing: fastapi).")
                sys.exit(1)
            if behaviour == "taken":
                sys.exit("Error: memtomem Web UI is already running (pid file: /tmp/x/web.pid)")
            web(behaviour, int(port))
        case other:
            sys.exit(f"Error: no such command {other}")
