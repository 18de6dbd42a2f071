"""A stand-in for memtomem's mm, for what no real one does yet, or not in a test: plain sqlite3.

The test writes a program `mm` that calls `main(behaviour)`. Behaviours:
  reloads    `mm web` reads the configuration anew before it indexes
  declines   `mm web` indexes nothing after the reset, and says so when it is asked to
  silent     the same, without a word
  guards     `mm embedding-reset` refuses while `mm web` is alive
  taken      an `mm web` of the same user is alive elsewhere
  stuck      `mm index` starts a grandchild and never ends
  foreign    it is not memtomem
"""

import contextlib
import http.server
import json
import os
import signal
import socket
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
TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS chunks (id TEXT PRIMARY KEY, content TEXT, source_file TEXT);
CREATE TABLE IF NOT EXISTS _memtomem_meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS chunks_vec_rowids
    (rowid INTEGER PRIMARY KEY, id, chunk_id INTEGER, chunk_offset INTEGER);
CREATE TABLE IF NOT EXISTS chunks_vec_vector_chunks00
    (rowid PRIMARY KEY, vectors BLOB NOT NULL);
"""


def config():
    return json.loads((HOME / "config.json").read_text())


@contextlib.contextmanager
def database():
    path = config()["storage"]["sqlite_path"]
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        connection.executescript(TABLES)
        yield connection


def embed(texts):
    body = json.dumps({"model": config()["embedding"]["model"], "input": texts}).encode()
    url = config()["embedding"]["base_url"] + "/api/embed"
    with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=20) as answer:
        return json.load(answer)["embeddings"]


def vectors(connection):
    """All of them in one blob, found by their offset, as sqlite-vec lays them out."""
    stored = connection.execute("SELECT vectors FROM chunks_vec_vector_chunks00").fetchone()
    return bytearray(stored[0] if stored else bytes(BYTES * SLOTS))


def index(force=False):
    with database() as connection:
        connection.execute("BEGIN IMMEDIATE")  # or it writes back what another has replaced
        blob = vectors(connection)
        for path in sorted(Path(config()["indexing"]["memory_dirs"][0]).glob("*.md")):
            values = (path.name, path.read_text().strip(), str(path))
            new = connection.execute("INSERT OR IGNORE INTO chunks VALUES (?, ?, ?)", values)
            if new.rowcount or force:
                sql = "SELECT rowid FROM chunks WHERE id = ?"
                row = connection.execute(sql, values[:1]).fetchone()[0]
                blob[row * BYTES : (row + 1) * BYTES] = struct.pack("<256f", *embed([values[1]])[0])
                sql = "INSERT OR REPLACE INTO chunks_vec_rowids VALUES (?, NULL, 1, ?)"
                connection.execute(sql, (row, row))
        connection.execute("DELETE FROM chunks_vec_vector_chunks00")
        sql = "INSERT INTO chunks_vec_vector_chunks00 (_rowid_, vectors) VALUES (1, ?)"
        connection.execute(sql, (blob,))
        sql = "INSERT OR IGNORE INTO _memtomem_meta VALUES ('embedding_model', ?)"
        connection.execute(sql, (config()["embedding"]["model"],))


def reset():
    with database() as connection:
        connection.execute("DELETE FROM chunks_vec_rowids")
        model = config()["embedding"]["model"]
        connection.execute("UPDATE _memtomem_meta SET value = ?", (model,))


def search(words, top):
    asked, ranked = embed([words])[0], []
    with database() as connection:
        blob = vectors(connection)
        sql = "SELECT content, place.rowid FROM chunks, chunks_vec_rowids AS place"
        sql += " WHERE chunks.rowid = place.rowid"
        for content, row in connection.execute(sql):
            vector = struct.unpack("<256f", blob[row * BYTES : (row + 1) * BYTES])
            ranked.append((sum(a * b for a, b in zip(vector, asked, strict=True)), content))
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
    if behaviour == "taken":
        sys.exit("Error: memtomem Web UI is already running (pid file: /tmp/x/web.pid)")

    def watch():
        while behaviour == "reloads":
            time.sleep(0.1)
            index()

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

    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        ALIVE.write_text(str(port))
        threading.Thread(target=watch, daemon=True).start()
        server.serve_forever()


def web_is_alive():
    try:
        socket.create_connection(("127.0.0.1", int(ALIVE.read_text())), 1).close()
    except OSError:
        return False
    return True


def hang():
    """With a child that is there, and hears Ctrl-C, too."""
    argv = [sys.executable, "-c", "import time; print(flush=True); time.sleep(300)"]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE)
    child.stdout.readline()
    (HOME.parent / "pids").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(300)


def ask_and_reset(guards):
    if guards and web_is_alive():
        sys.exit("Error: mm web is running")
    if input("Continue? [y/N]: ") != "y":
        sys.exit("Aborted!")
    reset()


def main(behaviour):
    match sys.argv[1:]:
        case ["--version"]:
            print("Midnight Commander 4.8" if behaviour == "foreign" else "memtomem 9.9.9")
        case ["index", *_] if behaviour == "stuck":
            hang()
        case ["index", *rest]:
            index(force="--force" in rest)
        case ["embedding-reset", "--mode", "apply-current"]:
            ask_and_reset(guards=behaviour == "guards")
        case ["shell"]:
            shell()
        case ["search", words, "--top-k", top, "--format", "json"]:
            print(json.dumps([{"content": content} for _, content in search(words, int(top))]))
        case ["web", "--host", "127.0.0.1", "--port", port]:
            web(behaviour, int(port))
        case other:
            sys.exit(f"Error: no such command {other}")
