"""A home with memtomem and a few notes, and an embedder that does as the test says."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from array import array
from pathlib import Path
from types import SimpleNamespace

import pytest
from real import VERSION, apart
from support import ROOT, start_in_foreground

sys.path.insert(0, str(ROOT / "scripts"))
import reproduce_mix
from mm_postflight.report import report

DIMENSION = 64
# No control character, and none that turns the direction of a line.
HARMLESS = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]*")
PREFLIGHT = """import json, os, sys
verdicts = os.environ["STUB_VERDICTS"].split()
log = os.environ["STUB_LOG"]
asked = open(log).read().splitlines() if os.path.exists(log) else []
open(log, "a").write(f"{sys.argv[1:]}\\n")
verdict = verdicts[min(len(asked), len(verdicts) - 1)]
one = [{"command": "mm web", "pid": 707}] if verdict == "live" else []
why = "psutil is not there" if verdict == "unknown" else None
print(json.dumps({"verdict": verdict, "reason": why, "processes": one}))
sys.exit({"clear": 0, "live": 1}.get(verdict, 2))
"""

OLDER = [pytest.param(each, marks=pytest.mark.slow) for each in ("0.3.14", "0.4.0", "0.5.0")]
VERSIONS = [VERSION, *OLDER]  # of memtomem: those that it repairs


def give(model: str, texts: list[str]) -> tuple[int, object]:
    """What an embedder answers that works: status, and the vectors."""
    return 200, [list(reproduce_mix.embed(model, text, DIMENSION)) for text in texts]


@contextlib.contextmanager
def serving():
    """A server that answers as Ollama and as OpenAI do; `answer`, `raw` and `sent` are the test's.

    `raw`, if it is set, gives the whole body as bytes; None breaks the connection off.
    """
    about = SimpleNamespace(answer=give, raw=None, sent=[])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            about.sent.append(asked["input"])
            with contextlib.suppress(OSError):
                if about.raw:
                    status, body = about.raw(asked["input"])
                else:
                    status, vectors = about.answer(asked["model"], asked["input"])
                    listed = vectors if isinstance(vectors, list) else []
                    data = [{"index": i, "embedding": each} for i, each in enumerate(listed)]
                    body = json.dumps({"embeddings": vectors, "data": data}).encode()
                if body is None:
                    return self.connection.close()
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        about.url = f"http://127.0.0.1:{server.server_port}"
        yield about
        server.shutdown()


def program(folder: Path, **constants: tuple[str, str]) -> Path:
    """mm_postflight as it is installed, beside an mm-preflight that says what the test wants.

    `constants`: by room, a text of it and what is put in its place.
    """
    for name in ("mm_preflight", "mm_postflight"):
        shutil.copytree(ROOT / "scripts" / name, folder / name)
    (folder / "mm_preflight" / "__main__.py").write_text(PREFLIGHT)
    for room, (old, new) in constants.items():
        path = folder / "mm_postflight" / f"{room}.py"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
    return folder / "mm_postflight"


class Home:
    """A home with memtomem, and notes; without --repair, postflight changes no byte of it."""

    patience = 120  # seconds for one command

    def __init__(self, folder: Path, memtomem, url: str, script: Path) -> None:
        self.folder, self.memtomem, self.url, self.script = folder, memtomem, url, script
        self.notes, self.database = folder / "notes", folder / ".memtomem" / "memtomem.db"
        self.env = apart(memtomem, folder) | {"NO_PROXY": "127.0.0.1", "COLUMNS": "80"}
        self.env["PYTHONIOENCODING"] = "utf-8"  # as a terminal has it, also on Windows
        self.env["STUB_LOG"] = str(folder / "preflight-was-asked")
        self.env["STUB_VERDICTS"] = "clear"

    def configure(self, **embedding: object) -> None:
        about = {"provider": "ollama", "model": "beta", "dimension": DIMENSION}
        config = {
            "embedding": about | {"base_url": self.url} | embedding,
            "indexing": {"memory_dirs": [str(self.notes)], "auto_discover": False},
            "search": {"enable_bm25": False},
        }
        self.database.parent.mkdir(exist_ok=True)
        self.database.with_name("config.json").write_text(json.dumps(config), encoding="utf-8")

    def as_openai(self, base_url: str, **configuration: str) -> None:
        """The same database, of a provider that may be anywhere."""
        self.configure(provider="openai", base_url=base_url, **configuration)
        sql = "UPDATE _memtomem_meta SET value = ? WHERE key = ?"
        self.query(sql, "openai", "embedding_provider")
        self.query(sql, "openai:v1", "embedding_policy_fingerprint")

    def write(self, names: list[str]) -> None:
        for number, name in enumerate(names):
            path = self.notes / name
            path.parent.mkdir(parents=True, exist_ok=True)
            words = " ".join(reproduce_mix.make_notes(1, 1000 * len(names) + number))
            path.write_text(f"# About {path.stem}\n\n{words}\n", encoding="utf-8")

    def mm(self, *argv: object) -> str:
        command = [self.memtomem.program("mm"), *map(str, argv)]
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=self.patience
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def query(self, sql: str, *values: object) -> list[tuple]:
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            rows = connection.execute(sql, values).fetchall()
            connection.commit()
        return rows

    def digest(self) -> str:
        return hashlib.sha256(self.database.read_bytes()).hexdigest()

    def run(self, *argv: str, before: tuple = (), **options) -> tuple[int, str, str]:
        """Its exit status, what it printed to stdout, and to stderr."""
        command = [*before, sys.executable, str(self.script), *argv]
        options = {"env": self.env, "stdin": subprocess.DEVNULL, "timeout": self.patience} | options
        done = subprocess.run(command, capture_output=True, encoding="utf-8", **options)
        assert HARMLESS.fullmatch(done.stdout + done.stderr)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    def postflight(self, *argv: str, **options) -> tuple[int, str, str]:
        """The same, of a run that may change no byte."""
        held = self.digest() if self.database.is_file() else ""
        told = self.run(*argv, **options)
        assert (self.digest() if self.database.is_file() else "") == held
        return told

    def ask(self, *argv: str, **options) -> dict:
        """What --json says, with the exit status and the report that a person would get."""
        return self.as_answer(self.postflight("--json", *argv, **options))

    def repair(self, *argv: str, **options) -> dict:
        return self.as_answer(self.run("--repair", "--yes", "--json", *argv, **options))

    def as_answer(self, told: tuple[int, str, str]) -> dict:
        status, out, err = told
        answer = json.loads(out)
        text = report(answer)
        assert HARMLESS.fullmatch(text)
        for line in text.splitlines():
            assert len(line) <= 80 or "/" in line or "\\" in line, text
        assert bool(answer["reason"]) or status != 2
        return answer | {"exit": status, "text": text, "err": err}

    def copy(self, to: Path) -> Home:
        """The same once more, for a test of its own."""
        shutil.copytree(self.folder, to, symlinks=True)
        home = Home(to, self.memtomem, self.url, self.script)
        Path(home.env["STUB_LOG"]).unlink(missing_ok=True)
        home.configure()
        with contextlib.closing(sqlite3.connect(home.database)) as connection:
            sql = "UPDATE chunks SET source_file = replace(source_file, ?, ?)"
            connection.execute(sql, (str(self.notes), str(home.notes)))
            connection.commit()
        return home

    def started(self, *argv: str, **options) -> subprocess.Popen:
        command = [sys.executable, str(self.script), *argv]
        return start_in_foreground(command, env=self.env, text=True, **options)

    def on_terminal(self, *argv: str, typed: str = "", columns: int = 80) -> str:
        """What it shows on a terminal, once `typed` is typed at its question."""
        import fcntl
        import pty
        import struct
        import termios

        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = self.started(*argv, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed
            while data := os.read(ours, 4096):
                shown += data
                if typed and b"[y/N]" in shown:
                    os.write(ours, typed.encode())
                    typed = ""
        os.close(ours)
        assert process.wait(20) in (0, 1, 2)
        return shown.decode().replace("\r\n", "\n")


def put(home: Home, name: str, vector) -> None:
    """Have the database hold this vector for the note `name`."""
    sql = """SELECT chunk_id, chunk_offset, vectors FROM chunks JOIN chunks_vec_rowids r
        ON r.rowid = chunks.rowid JOIN chunks_vec_vector_chunks00 v ON v._rowid_ = chunk_id
        WHERE source_file = ?"""
    ((block, slot, held),) = home.query(sql, str(home.notes / name))
    held = bytearray(held)
    held[slot * 4 * DIMENSION : (slot + 1) * 4 * DIMENSION] = array("f", vector).tobytes()
    home.query("UPDATE chunks_vec_vector_chunks00 SET vectors = ? WHERE _rowid_ = ?", held, block)


def vector_of(home: Home, name: str) -> list[float]:
    """What the database holds for the note `name`."""
    sql = """SELECT chunk_offset, vectors FROM chunks JOIN chunks_vec_rowids r
        ON r.rowid = chunks.rowid JOIN chunks_vec_vector_chunks00 v ON v._rowid_ = chunk_id
        WHERE source_file = ?"""
    ((slot, held),) = home.query(sql, str(home.notes / name))
    return array("f", held[slot * 4 * DIMENSION : (slot + 1) * 4 * DIMENSION]).tolist()


def within(home: Home, code: str) -> None:
    """Have memtomem's Python run `code` as it starts, after what it runs already."""
    before = Path(home.memtomem.library, "sitecustomize.py")
    folder = home.folder / "within"
    folder.mkdir(exist_ok=True)
    cure = before.read_text() if before.is_file() else ""
    (folder / "sitecustomize.py").write_text(f"{cure}\n{code}\n")
    home.env["PYTHONPATH"] = str(folder)


def while_asked(home: Home, embedder) -> list[int]:
    """Whenever the embedder is asked, another process writes and resets the log.

    Returns a list that fills: 0 for each time that nothing kept the log from being reset.
    """
    stuck: list[int] = []

    def answer(model: str, texts: list[str]) -> tuple[int, object]:
        with contextlib.closing(sqlite3.connect(home.database, timeout=0)) as other:
            other.execute("UPDATE chunks SET access_count = access_count + 1 WHERE rowid = 1")
            other.commit()
            stuck.append(other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        return give(model, texts)

    embedder.answer = answer
    return stuck
