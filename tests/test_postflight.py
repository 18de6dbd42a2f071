"""mm-postflight on the real memtomem: what it finds, what it says, and that it changes nothing."""

from __future__ import annotations

import ast
import base64
import contextlib
import hashlib
import http.server
import json
import math
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import unicodedata
from array import array
from pathlib import Path
from types import SimpleNamespace

import pytest
from real import VERSION, apart, given, isolated
from support import (
    ROOT,
    SECONDS,
    WINDOWS,
    is_wine,
    linux,
    not_on_windows,
    press_ctrl_c,
    start_in_foreground,
    until,
)

sys.path.insert(0, str(ROOT / "scripts"))
import mm_postflight
import reproduce_mix
from mm_postflight import Run, Unknown, Vector, at_most, cosine, find_python, report

SCRIPT = ROOT / "scripts" / "mm_postflight.py"  # with mm-preflight beside it
PAGE = ROOT / "docs" / "reference" / "postflight.md"
DIMENSION = 64
HARMLESS = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]*")


# --- A memtomem with a few notes, and an embedder that does as the test says ----------------------


def give(model: str, texts: list[str]) -> tuple[int, object]:
    """What an embedder answers that works: status, and the vectors."""
    return 200, [list(reproduce_mix.embed(model, text, DIMENSION)) for text in texts]


@pytest.fixture(scope="session")
def embedder():
    """A server that answers as Ollama and as OpenAI do; `answer` and `sent` are the test's."""
    about = SimpleNamespace(answer=give, sent=0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            about.sent += len(asked["input"])
            status, vectors = about.answer(asked["model"], asked["input"])
            listed = vectors if isinstance(vectors, list) else []
            data = [{"index": i, "embedding": vector} for i, vector in enumerate(listed)]
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps({"embeddings": vectors, "data": data}).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        about.url = f"http://127.0.0.1:{server.server_port}"
        yield about
        server.shutdown()


class Home:
    """A home with memtomem, and notes of `size` in folders; its postflight changes no byte."""

    def __init__(self, folder: Path, memtomem, url: str) -> None:
        self.folder, self.memtomem, self.url = folder, memtomem, url
        # Alone, as a file that is copied: what else runs on this machine is not looked at.
        self.script = folder.parent / "mm_postflight.py"
        shutil.copy(SCRIPT, self.script)
        self.notes, self.database = folder / "notes", folder / ".memtomem" / "memtomem.db"
        self.env = apart(memtomem, folder) | {"NO_PROXY": "127.0.0.1", "COLUMNS": "80"}
        self.env["PYTHONIOENCODING"] = "utf-8"  # as a terminal has it, also on Windows

    def configure(self, **embedding: object) -> None:
        about = {
            "provider": "ollama",
            "model": "beta",
            "dimension": DIMENSION,
            "base_url": self.url,
        }
        config = {
            "embedding": about | embedding,
            "indexing": {"memory_dirs": [str(self.notes)], "auto_discover": False},
            "search": {"enable_bm25": False},
        }
        self.database.parent.mkdir(exist_ok=True)
        self.database.with_name("config.json").write_text(json.dumps(config), encoding="utf-8")

    def write(self, names: list[str]) -> None:
        for number, name in enumerate(names):
            path = self.notes / name
            path.parent.mkdir(parents=True, exist_ok=True)
            words = " ".join(reproduce_mix.make_notes(1, 1000 * len(names) + number))
            path.write_text(f"# About {path.stem}\n\n{words}\n", encoding="utf-8")

    def mm(self, *argv: object) -> str:
        command = [self.memtomem.program("mm"), *map(str, argv)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def query(self, sql: str, *values: object) -> list[tuple]:
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            rows = connection.execute(sql, values).fetchall()
            connection.commit()
        return rows

    def digest(self) -> str:
        return hashlib.sha256(self.database.read_bytes()).hexdigest()

    def postflight(self, *argv: str, before: tuple = (), **options):
        """Its exit status, what it printed to stdout, and to stderr; no byte is changed by it."""
        command = [*before, sys.executable, str(self.script), *argv]
        held = self.digest() if self.database.is_file() else ""
        options = {"env": self.env, "stdin": subprocess.DEVNULL, "timeout": 100} | options
        done = subprocess.run(command, capture_output=True, encoding="utf-8", **options)
        assert (self.digest() if self.database.is_file() else "") == held
        assert HARMLESS.fullmatch(done.stdout + done.stderr)
        return done.returncode, done.stdout, done.stderr

    def ask(self, *argv: str, **options) -> dict:
        """What --json says, with the exit status and the report that a person would get."""
        status, out, err = self.postflight("--json", *argv, **options)
        answer = json.loads(out)
        text = report(answer)
        assert HARMLESS.fullmatch(text)
        assert all(len(line) <= 80 or line.startswith("  mm ") for line in text.splitlines()), text
        assert "Traceback" not in err
        return answer | {"exit": status, "text": text}

    def copy(self, to: Path) -> Home:
        """The same once more, for a test of its own."""
        shutil.copytree(self.folder, to, symlinks=True)
        home = Home(to, self.memtomem, self.url)
        home.configure()
        for (name,) in home.query("SELECT DISTINCT source_file FROM chunks"):
            new = name.replace(str(self.notes), str(home.notes))
            home.query("UPDATE chunks SET source_file = ? WHERE source_file = ?", new, name)
        return home


NAMES = [f"old/n{number:02}.md" for number in range(10)] + [f"new/n{n:02}.md" for n in range(6)]


@pytest.fixture(scope="session")
def indexed(embedder, tmp_path_factory):
    """By version and if mixed: 16 notes; in a mixed one, another model made the vectors of new/."""
    made: dict[tuple[str, bool], Home] = {}

    def prepare(version: str, mixed: bool) -> Home:
        folder = tmp_path_factory.mktemp("home") / "home"
        home = Home(folder.resolve(), given(version), embedder.url)
        home.configure()
        home.write(NAMES)
        home.mm("index", home.notes / "old")
        if mixed:
            embedder.answer = lambda _, texts: give("alpha", texts)
        home.mm("index", home.notes / "new")
        embedder.answer = give
        assert home.query("SELECT count(*) FROM chunks_vec_rowids") == [(len(NAMES),)]
        return home

    def get(version: str = VERSION, mixed: bool = False) -> Home:
        if (version, mixed) not in made:
            made[version, mixed] = prepare(version, mixed)
        return made[version, mixed]

    return get


@pytest.fixture
def clean(indexed, tmp_path, embedder) -> Home:
    embedder.answer = give
    return indexed().copy(tmp_path / "home")


@pytest.fixture
def mixed(indexed, tmp_path, embedder) -> Home:
    embedder.answer = give
    return indexed(mixed=True).copy(tmp_path / "home")


def as_on_unix(text: str, folder: Path) -> str:
    """A report as it reads where paths have slashes, and a shell takes ~ for the home folder."""
    return text.replace(f" {folder}{os.sep}", f" ~{os.sep}").replace(os.sep, "/")


def put(home: Home, name: str, vector) -> None:
    """Have the database hold this vector for the note `name`."""
    sql = """SELECT chunk_id, chunk_offset, vectors FROM chunks JOIN chunks_vec_rowids r
        ON r.rowid = chunks.rowid JOIN chunks_vec_vector_chunks00 v ON v._rowid_ = chunk_id
        WHERE source_file = ?"""
    ((block, slot, held),) = home.query(sql, str(home.notes / name))
    held = bytearray(held)
    held[slot * 4 * DIMENSION : (slot + 1) * 4 * DIMENSION] = array("f", vector).tobytes()
    home.query("UPDATE chunks_vec_vector_chunks00 SET vectors = ? WHERE _rowid_ = ?", held, block)


# --- What it answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [VERSION, "0.4.0"])
@pytest.mark.parametrize("options", [[], ["--all"], ["--sample", "5"]], ids=" ".join)
def test_clean(indexed, version, options):
    answer = indexed(version).ask(*options)
    assert (answer["exit"], answer["verdict"], answer["others"]) == (0, "one-model", 0)
    checked = 5 if "--sample" in options else 16
    assert answer["checked"] == answer["texts_sent"] == checked
    assert ("With 95 % confidence" in answer["text"]) == (checked == 5)


@pytest.mark.parametrize("version", [VERSION, "0.4.0"])
@pytest.mark.parametrize("options", [[], ["--all"], ["--sample", "12"]], ids=" ".join)
def test_mixed_by_file(indexed, version, options):
    home = indexed(version, mixed=True)
    answer = home.ask(*options)
    assert (answer["exit"], answer["verdict"], answer["others"]) == (1, "mixed", 6)
    assert [each["path"] for each in answer["files"]] == [str(home.notes / n) for n in NAMES[10:]]
    assert {(each["chunks"], each["others"], each["note"]) for each in answer["files"]} == {
        (1, 1, "")
    }
    keep = [] if version == VERSION else ["--namespace", "default"]
    assert answer["mend"] == [["mm", "index", "--force", *keep, str(home.notes / "new")]]


def test_what_it_advises_mends_it(mixed):
    status, out, _ = mixed.postflight()
    assert status == 1
    folder = mixed.notes / "new" if WINDOWS else "~/notes/new"
    assert re.findall(r"^  (mm index .*)$", out, re.MULTILINE) == [f"mm index --force {folder}"]
    follow(mixed, out)
    status, out, err = mixed.postflight("--all")
    assert (status, err) == (0, "")
    assert out == "mm-postflight: one model, all 16 vectors are what ollama/beta gives\n"


def test_the_report(mixed):
    status, out, err = mixed.postflight()
    assert (status, err) == (1, "")
    now = time.strftime("today %H:")
    rows = "".join(f"  ~/notes/new/n{n:02}.md{'':28}1 of 1   {now}MM\n" for n in range(6))
    assert re.sub(r"(today \d\d:)\d\d", r"\1MM", as_on_unix(out, mixed.folder)) == (
        "mm-postflight: mixed, 6 of 16 vectors are not what ollama/beta gives\n\n"
        f"  FILE{'':42}CHUNKS   WRITTEN\n{rows}\n"
        "Mend them (stop every mm process first: mm-preflight):\n"
        "  mm index --force ~/notes/new\n"
        "Then run mm-postflight --all again.\n"
    )


ANOTHER = reproduce_mix.embed("alpha", "something else", DIMENSION)
NAN, ZERO = [math.nan] * DIMENSION, [0.0] * DIMENSION
BLOCK = "UPDATE chunks_vec_vector_chunks00 SET vectors = "
EDGES = {
    # what is done to a clean database, or its configuration: then the exit status, and the words
    "no vectors": (
        lambda home: home.mm("embedding-reset", "--mode", "apply-current", "--yes"),
        2,
        "there are no vectors",
    ),
    "a database that never had a model": (
        lambda home: (
            home.configure(provider="none", model="", dimension=0),
            home.database.unlink(),
            home.mm("index", home.notes),
        ),
        2,
        "there are no vectors: search is by words alone",
    ),
    "provider none": (
        lambda home: home.configure(provider="none", model="", dimension=0),
        2,
        "the configuration names none/ (0 numbers), the database ollama/beta (64)",
    ),
    "another model configured": (
        lambda home: home.configure(model="gamma"),
        2,
        "the configuration names ollama/gamma (64 numbers), the database ollama/beta (64)",
    ),
    "another owner's model": (
        lambda home: home.configure(model="ana/beta"),
        2,
        "the configuration names ollama/ana/beta (64 numbers), the database ollama/beta (64)",
    ),
    "no model in the database": (
        lambda home: home.query("DELETE FROM _memtomem_meta"),
        2,
        "the configuration names ollama/beta (64 numbers), the database ?/? (?)",
    ),
    "another dimension": (
        lambda home: home.configure(dimension=32),
        2,
        "the configuration names ollama/beta (32 numbers), the database ollama/beta (64)",
    ),
    "configuration that is not taken": (
        lambda home: home.database.with_name("config.json").write_bytes(b"\xef\xbb\xbf{}"),
        2,
        "the configuration names none/ (0 numbers)",
    ),
    "partial coverage": (
        lambda home: home.query("DELETE FROM chunks_vec_rowids WHERE rowid = 3"),
        0,
        "Without a vector, so not found by meaning: 1 chunk",
    ),
    "orphan vector": (
        lambda home: home.query("DELETE FROM chunks WHERE rowid = 3"),
        0,
        "Without a chunk, which does no harm: 1 vector",
    ),
    "one vector of another": (
        lambda home: put(home, "old/n03.md", ANOTHER),
        1,
        "mm index --force",
    ),
    "NaN": (lambda home: put(home, "old/n03.md", NAN), 1, "mixed, 1 of 16"),
    "zero": (lambda home: put(home, "old/n03.md", ZERO), 1, "mixed, 1 of 16"),
    "infinite": (lambda home: put(home, "old/n03.md", [math.inf] * 64), 1, "mixed, 1 of 16"),
    "short blob": (lambda home: home.query(BLOCK + "substr(vectors, 5)"), 2, "sqlite-vec"),
    "huge blob": (lambda home: home.query(BLOCK + "zeroblob(200000000)"), 2, "sqlite-vec"),
    "no blob": (
        lambda home: home.query("DELETE FROM chunks_vec_vector_chunks00"),
        2,
        "sqlite-vec",
    ),
    "another block size": (
        lambda home: home.query("UPDATE chunks_vec_chunks SET size = 512"),
        2,
        "sqlite-vec",
    ),
    "slots moved": (
        lambda home: home.query("UPDATE chunks_vec_rowids SET chunk_offset = 15 - chunk_offset"),
        2,
        "sqlite-vec",
    ),
    "slot out of range": (
        lambda home: home.query("UPDATE chunks_vec_rowids SET chunk_offset = 5000"),
        2,
        "unknown",
    ),
    "slot not valid": (
        lambda home: home.query("UPDATE chunks_vec_chunks SET validity = zeroblob(128)"),
        2,
        "sqlite-vec",
    ),
    "no table of places": (
        lambda home: home.query("DROP TABLE chunks_vec_rowids"),
        2,
        "no such table: chunks_vec_rowids",
    ),
    "not a database": (
        lambda home: home.database.write_bytes(b"not a database, but long enough to be one\n" * 99),
        2,
        "not a database",
    ),
    "no database": (lambda home: home.database.unlink(), 2, "there is no database"),
    "a blob for a text": (
        lambda home: home.query("UPDATE chunks SET content = x'00ff' WHERE rowid = 3"),
        2,
        "unknown",
    ),
    "headings that are no JSON": (
        lambda home: home.query("UPDATE chunks SET heading_hierarchy = '[' WHERE rowid = 3"),
        2,
        "unknown",
    ),
    "times that are none": (
        lambda home: home.query("UPDATE chunks SET created_at = '', updated_at = 'soon'"),
        0,
        "one model",
    ),
    "deleted file": (
        lambda home: (put(home, "old/n03.md", ANOTHER), (home.notes / "old/n03.md").unlink()),
        1,
        "How to mend these is for you to choose. Gone from the disk, so no index command mends "
        "them: 1 file. More about that: https://memtomem.github.io/mm-preflight/reference/",
    ),
    "edited file": (
        lambda home: (
            put(home, "old/n03.md", ANOTHER),
            os.utime(home.notes / "old/n03.md", (time.time() + 60, time.time() + 60)),
        ),
        1,
        " edited Mend them",
    ),
    "several namespaces": (
        lambda home: (
            put(home, "old/n03.md", ANOTHER),
            home.query(
                """INSERT INTO chunks (id, content, content_hash, source_file, namespace,
                created_at, updated_at) SELECT 'x', 'x', 'x', source_file, 'work', '', ''
                FROM chunks WHERE source_file LIKE '%old_n03.md'"""
            ),
        ),
        1,
        "In several namespaces, which --force does not keep apart: 1 file",
    ),
}


@pytest.mark.parametrize("edge", EDGES)
def test_edge(clean, edge):
    spoil, status, words = EDGES[edge]
    spoil(clean)
    answer = clean.ask()
    assert words in " ".join(answer["text"].split()), answer
    assert answer["exit"] == status
    assert answer["verdict"] == ["one-model", "mixed", "unknown"][status]
    assert bool(answer["reason"]) == (status == 2)
    if status == 1:
        assert [each["path"] for each in answer["files"]] == [str(clean.notes / "old/n03.md")]
        unmendable = edge in ("deleted file", "several namespaces")
        assert len(answer["mend"]) == (not unmendable)
        assert ("Mend them" in answer["text"]) == (not unmendable)


ANSWERS = {
    "a wrong count": (lambda m, t: (200, give(m, t)[1][:-1]), "gives no vectors"),
    "another dimension": (lambda m, t: (200, [v[:-1] for v in give(m, t)[1]]), "63"),
    "nothing": (lambda m, t: (200, None), "gives no vectors"),
    "no numbers": (lambda m, t: (200, [["x"] * DIMENSION for _ in t]), "unknown"),
    "null for numbers": (lambda m, t: (200, [[None] * DIMENSION for _ in t]), "unknown"),
    "zeros": (lambda m, t: (200, [ZERO for _ in t]), "Not embedded"),
    "a model that is not there": (lambda m, t: (404, None), "ollama pull beta"),
    "an error with colours": (lambda m, t: (400, "\x1b[31m\u202e"), "gives no vectors"),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_embedder_answers(clean, embedder, what):
    embedder.answer, words = ANSWERS[what]
    answer = clean.ask()
    assert (answer["exit"], answer["verdict"]) == (2, "unknown")
    assert words in answer["text"], answer


def test_offline(clean):
    clean.configure(base_url="http://127.0.0.1:9")
    status, out, err = clean.postflight()
    assert (status, out) == (2, "")
    assert "unknown, the embedder gives no vectors: Cannot connect to Ollama" in err


def test_one_text_that_the_embedder_does_not_take(clean, embedder):
    word = (clean.notes / "old/n03.md").read_text().split()[-1]

    def answer(model, texts):
        return (400, None) if any(word in text for text in texts) else give(model, texts)

    embedder.answer = answer
    answer = clean.ask()
    assert (answer["exit"], answer["not_embedded"], answer["checked"]) == (2, 1, 16)
    assert "Not embedded, so nothing is known of their vectors: 1 text" in answer["text"]


def test_many_texts_that_the_embedder_does_not_take_one_here_one_there(clean, embedder):
    """It goes on, as long as it gives vectors for others."""
    clean.write([f"many/n{n:02}.md" for n in range(20)])
    clean.mm("index", clean.notes / "many")

    odd = [path.read_text().split()[-1] for path in clean.notes.rglob("n?[13579].md")]

    def answer(model, texts):
        refused = any(text.split()[-1] in odd for text in texts)
        return (400, None) if refused else give(model, texts)

    embedder.answer = answer
    answer = clean.ask()
    assert (answer["exit"], answer["reason"]) == (2, "")
    assert (answer["not_embedded"], answer["checked"]) == (18, 36)


def test_a_quick_embedder_gets_more_texts_at_once(clean, embedder):
    clean.write([f"many/n{n:03}.md" for n in range(100)])
    clean.mm("index", clean.notes / "many")
    sizes = []
    embedder.answer = lambda model, texts: (sizes.append(len(texts)), give(model, texts))[1]
    assert clean.ask()["exit"] == 0
    assert (sizes[0], sum(sizes)) == (32, 116)
    assert max(sizes) > 32


def test_an_onnx_model_may_be_named_without_its_owner_and_in_any_case(clean):
    for configured, held in [("BGE-m3", "BAAI/bge-m3"), ("BAAI/bge-m3", "bge-m3")]:
        clean.configure(provider="onnx", model=configured)
        for key, value in [("provider", "onnx"), ("model", held)]:
            sql = "UPDATE _memtomem_meta SET value = ? WHERE key = ?"
            clean.query(sql, value, f"embedding_{key}")
        assert "the embedder gives no vectors: fastembed is required" in clean.ask()["reason"]


def test_between_the_thresholds_is_said_apart(clean):
    ((text,),) = clean.query("SELECT content FROM chunks WHERE source_file LIKE '%old_n03.md'")
    own = reproduce_mix.embed("beta", f"About n03\n\n{text}", DIMENSION)
    noise = reproduce_mix.embed("beta", "noise", DIMENSION)
    near = [a + 0.4 * b for a, b in zip(own, noise, strict=True)]
    put(clean, "old/n03.md", near)
    answer = clean.ask()
    assert (answer["exit"], answer["between"], answer["others"]) == (2, 1, 0)
    assert "Neither this model's nor clearly another's: 1 vector" in answer["text"]


def test_text_of_older_releases(clean):
    ((text,),) = clean.query("SELECT content FROM chunks WHERE source_file LIKE '%old_n03.md'")
    put(clean, "old/n03.md", reproduce_mix.embed("beta", text, DIMENSION))
    answer = clean.ask()
    assert (answer["exit"], answer["older_text"], answer["texts_sent"]) == (0, 1, 17)


def test_text_of_older_releases_that_is_not_quite_it(clean):
    """It is not blamed: no other model comes so near."""
    ((text,),) = clean.query("SELECT content FROM chunks WHERE source_file LIKE '%old_n03.md'")
    own = reproduce_mix.embed("beta", text, DIMENSION)
    noise = reproduce_mix.embed("beta", "noise", DIMENSION)
    put(clean, "old/n03.md", [a + 0.4 * b for a, b in zip(own, noise, strict=True)])
    answer = clean.ask()
    assert (answer["exit"], answer["between"], answer["others"]) == (2, 1, 0)


def test_a_context_that_is_filled_takes_the_place_of_the_headings(clean):
    clean.query(
        "UPDATE chunks SET retrieval_context = 'in short' WHERE source_file LIKE '%old_n03.md'"
    )
    ((text,),) = clean.query("SELECT content FROM chunks WHERE source_file LIKE '%old_n03.md'")
    put(clean, "old/n03.md", reproduce_mix.embed("beta", f"in short\n\n{text}", DIMENSION))
    answer = clean.ask()
    assert (answer["exit"], answer["older_text"], answer["texts_sent"]) == (0, 0, 16)


# --- What the machine does ------------------------------------------------------------------------


@contextlib.contextmanager
def held(home: Home, how: str):
    """Another process is in the database. (In this one, to read the file would end its lock.)"""
    code = f"""if True:
        import sqlite3, sys
        other = sqlite3.connect({str(home.database)!r}, isolation_level=None)
        other.execute("BEGIN {how}")
        other.execute("UPDATE chunks SET access_count = access_count + 1")
        print("held", flush=True)
        sys.stdin.read()
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        assert process.stdout.readline().strip() == b"held"
        yield
        process.stdin.close()


def test_a_database_that_is_locked(clean):
    clean.query("PRAGMA journal_mode = DELETE")
    with held(clean, "EXCLUSIVE"):
        answer = clean.ask()
    assert (answer["exit"], answer["reason"]) == (2, "OperationalError: database is locked")


def test_a_database_in_use(clean):
    with held(clean, "IMMEDIATE"):
        assert clean.ask()["exit"] == 0


@linux
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_folder_that_may_not_be_written_to(clean, tmp_path, mode):
    clean.query(f"PRAGMA journal_mode = {mode}")
    for name in ("memtomem.db-wal", "memtomem.db-shm"):
        clean.database.with_name(name).unlink(missing_ok=True)
    folder = clean.database.parent
    frozen = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" "$0" && exec "$@"'
    before = [*isolated(tmp_path / "runtime"), "sh", "-c", frozen, str(folder)]
    answer = clean.ask(before=tuple(before))
    assert (answer["exit"], answer["others"], answer["checked"]) == (0, 0, 16)
    assert sorted(os.listdir(folder)) == ["config.json", "memtomem.db"]


@linux
def test_a_log_that_cannot_be_read_is_not_left_out(clean, tmp_path):
    """In a folder without write access SQLite would have to leave the newest rows out."""
    other = sqlite3.connect(clean.database, isolation_level=None)
    other.execute("UPDATE chunks SET access_count = 5")
    shutil.copy(clean.database.with_name("memtomem.db-wal"), tmp_path / "wal")
    other.close()
    shutil.copy(tmp_path / "wal", clean.database.with_name("memtomem.db-wal"))
    frozen = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" "$0" && exec "$@"'
    before = [*isolated(tmp_path / "run"), "sh", "-c", frozen, str(clean.database.parent)]
    answer = clean.ask(before=tuple(before))
    assert (answer["exit"], answer["verdict"]) == (2, "unknown")


@pytest.mark.parametrize("verdict", ["clear", "live", "unknown", None])
def test_it_asks_mm_preflight(clean, verdict):
    beside = clean.script.with_name("mm_preflight")
    if verdict:
        beside.mkdir()
        said = f"import sys; print('{{\"verdict\": \"{verdict}\"}}' if '--json' in sys.argv else 0)"
        (beside / "__main__.py").write_text(said)
    answer = clean.ask()
    assert answer["preflight"] == (verdict or "unknown")
    assert ("An mm process is alive" in answer["text"]) == (verdict == "live")


def test_the_mm_preflight_of_this_project(clean):
    """Whatever runs here: it is asked, and answers."""
    clean.script = SCRIPT
    assert clean.ask()["preflight"] in ("clear", "live")


def started(home: Home, *argv: str, **options) -> subprocess.Popen:
    command = [sys.executable, str(home.script), *argv]
    return start_in_foreground(command, env=home.env, text=True, **options)


def test_ctrl_c(clean, embedder):
    """With what was found until then."""
    put(clean, "old/n00.md", ANOTHER)
    asked = []

    def answer(model, texts):
        asked.append(len(texts))
        time.sleep(30 if len(asked) == 3 else 0)
        return give(model, texts)

    embedder.answer, before = answer, clean.digest()
    text = clean.script.read_text(encoding="utf-8")
    clean.script.write_text(text.replace("BATCH = 32", "BATCH = 6"), encoding="utf-8")
    process = started(clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: len(asked) == 3, "the second batch, behind a second try of what it found")
    press_ctrl_c(process)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, clean.digest(), err) == (130, before, "")
    assert out.startswith("mm-postflight: mixed, 1 of 6 vectors checked are not what ollama/beta")
    assert "It did not come to its end: stopped by Ctrl-C." in out


@not_on_windows("starts that Python as a child, which hears Ctrl-C by itself")
def test_ctrl_c_while_its_python_starts(clean):
    """Python alone would end with 1, which says that the vectors are mixed."""
    within(
        clean,
        "import os, sys\nif '--inside' in sys.orig_argv:\n    os.kill(os.getpid(), 2)",
    )
    with started(clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("mm-postflight: unknown, stopped by Ctrl-C\n")


def test_ctrl_c_while_the_answer_is_made(mixed):
    text = mixed.script.read_text(encoding="utf-8")
    late = "def answer(self) -> dict[str, Any]:\n        signal.raise_signal(signal.SIGINT)\n"
    text = text.replace("def answer(self) -> dict[str, Any]:\n", late)
    assert "signal.SIGINT)\n        " in text
    mixed.script.write_text(text, encoding="utf-8")
    status, out, err = mixed.postflight()
    assert (status, err) == (1, "")
    assert "mixed, 6 of 16" in out


@not_on_windows("closes no streams in a shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", ">/dev/full"])
def test_streams_that_are_closed(indexed, closed):
    """The exit status is the answer all the same, and never that of a crash."""
    before = ("sh", "-c", f'exec "$0" "$@" {closed}')
    status, _, err = indexed().postflight(before=before)
    assert (status, err) == (0, "")
    assert indexed(mixed=True).postflight(before=before)[0] == 1
    assert indexed().postflight("--db", "/none", before=before)[0] == 2


@not_on_windows("has no pty in Python")
def test_a_bar_is_taken_away_when_it_ends_early(clean, embedder):
    asked = []

    def answer(model, texts):
        asked.append(texts)
        return give(model, texts) if len(asked) == 1 else (404, None)

    embedder.answer = answer
    text = clean.script.read_text(encoding="utf-8")
    clean.script.write_text(text.replace("BATCH = 32", "BATCH = 1"), encoding="utf-8")
    shown = on_terminal(clean)
    assert "] 1 of 16" in shown
    before, told = shown.split("mm-postflight: unknown")
    assert before.endswith(f"\r{'':<78}\r")
    assert "ollama pull beta" in " ".join(told.split())


@not_on_windows("has no pty in Python")
def test_on_a_terminal_it_shows_how_far_it_is(clean, embedder):
    embedder.answer = lambda model, texts: (time.sleep(0.2), give(model, texts))[1]
    clean.write([f"many/n{n:02}.md" for n in range(60)])
    clean.mm("index", clean.notes / "many")
    out = on_terminal(clean, "--all")
    assert re.search(r"\r  \[#+ *\] \d+ of 76, about \d+ s left +\r", out)
    assert out.rstrip().endswith("one model, all 76 vectors are what ollama/beta gives")
    assert HARMLESS.fullmatch(out.replace("\r", ""))


def on_terminal(home: Home, *argv: str, typed: str = "") -> str:
    """What it shows on a terminal, once `typed` is typed at its question."""
    import pty

    ours, theirs = pty.openpty()
    process = started(home, *argv, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = ""
    with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed
        while data := os.read(ours, 4096):
            shown += data.decode()
            if typed and "[y/N]" in shown:
                os.write(ours, typed.encode())
                typed = ""
    os.close(ours)
    assert process.wait(20) in (0, 1, 2)
    return shown.replace("\r\n", "\n")


CHARGES = {"provider": "openai", "base_url": "http://models.example:9"}


def as_openai(home: Home, **configuration: str) -> None:
    home.configure(**CHARGES | configuration)
    home.query("UPDATE _memtomem_meta SET value = 'openai' WHERE key = 'embedding_provider'")


def test_a_provider_that_charges_is_asked_about_first(clean, embedder):
    as_openai(clean)
    sent = embedder.sent
    answer = clean.ask()
    assert (answer["exit"], answer["texts_sent"], embedder.sent) == (2, 0, sent)
    assert answer["reason"] == (
        "16 texts or more would go to http://models.example:9 for openai/beta, and may cost\n"
        "If they may, say so with --yes."
    )
    as_openai(clean, base_url="")
    assert "16 texts or more would go to openai for openai/beta" in clean.ask()["text"]
    as_openai(clean, base_url="http://ana:secret@192.0.2.7:11434/v1")
    where = "16 texts or more would go to http://192.0.2.7:11434/v1 for openai/beta, and may cost"
    assert clean.ask()["reason"].startswith(where)
    assert "secret" not in json.dumps(clean.ask("--yes", "--db", "/none"))


URLS = {
    "": True,
    "http://localhost:9": True,
    "http://127.0.0.1:9/v1": True,
    "https://[::1]:9": True,
    "http://0.0.0.0:9": True,
    "http://192.168.1.2:9": False,
    "https://api.example": False,
    "http://127.0.0.1.example": False,
    "http://localhost.example:9": False,
    "http://ana@models.example/localhost": False,
}


@pytest.mark.parametrize("provider", ["ollama", "openai", "onnx", "another"])
@pytest.mark.parametrize("url", URLS)
def test_what_stays_on_this_machine_needs_no_question(provider, url, monkeypatch):
    monkeypatch.setattr(os, "isatty", lambda _: False)
    monkeypatch.setenv("NO_PROXY", "")  # as it was, after this
    monkeypatch.setenv("no_proxy", "")
    run = Run(SimpleNamespace(yes=False, inside=""))
    run.config = SimpleNamespace(embedding=SimpleNamespace(provider=provider, base_url=url))
    stays = provider == "onnx" or (URLS[url] and (url != "" or provider == "ollama"))
    with (
        contextlib.nullcontext()
        if stays
        else pytest.raises(Unknown, match="16 texts or more would")
    ):
        run.consent(16)


@contextlib.contextmanager
def a_proxy():
    """The address of a server, and what is asked of it."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_what_stays_on_this_machine_goes_to_no_proxy(clean, name):
    with a_proxy() as (url, asked):
        clean.env = {key: value for key, value in clean.env.items() if key.lower() != "no_proxy"}
        clean.env[name] = url
        answer = clean.ask()
    assert (answer["exit"], asked) == (0, []), answer


SECRETS = {
    "http://ana:hush@models.example:1/v1": "http://models.example:1/v1",
    "http://ana:hu@sh@models.example": "http://models.example",
    "https://models.example/v1?api-key=hush&x=1 for": "https://models.example/v1 for",
    "'https://models.example/?hush'": "'https://models.example/'",
    "Illegal header value b'Bearer hush, hush\\n'": "Illegal header value b'Bearer '",
    "Is it? Write to ana@models.example": "Is it? Write to ana@models.example",
}


@pytest.mark.parametrize("text", SECRETS)
def test_what_is_secret_is_not_shown(text):
    assert mm_postflight.SECRET.sub("", text) == SECRETS[text]


def test_a_key_that_is_no_header_is_not_shown(clean, embedder):
    as_openai(clean, base_url=embedder.url, api_key="hush-hush\n")
    answer = clean.ask()
    assert "the embedder gives no vectors" in answer["reason"]
    assert "hush" not in json.dumps(answer)


@not_on_windows("has no pty in Python")
@pytest.mark.parametrize("typed", ["n\n", "\n", "y\n"], ids=["no", "Enter", "yes"])
def test_the_question(clean, embedder, typed):
    port = embedder.url.rpartition(":")[2]
    as_openai(clean, base_url=f"http://127.0.0.1.nip.example:{port}")
    sent = embedder.sent
    shown = on_terminal(clean, typed=typed)
    question = f"16 texts or more would go to http://127.0.0.1.nip.example:{port} for openai/beta, "
    question += "and may cost. Send them? [y/N]"
    assert question in shown
    assert embedder.sent == sent  # that name leads nowhere
    told = "the embedder gives no vectors" if typed == "y\n" else "unknown, not all texts were sent"
    assert told in " ".join(shown.split())


def test_yes(clean, embedder):
    as_openai(clean, base_url=embedder.url)
    assert clean.ask("--yes")["exit"] == 0


HOSTILE = {
    "control": "a\x1b[2J\x1b]0;owned\x07\r\nb\x01c.md",
    "bidi": "a\u202egpj.\u2066exe\u2069.md",
    "long": "x" * 4000 + ".md",
    "wide": "한국어 메모 " * 12 + ".md",
    "dash": "--force.md",
}
HOSTILE |= {
    # Names that a Windows file may have; then those that cmd and PowerShell do not take alike.
    "signs": "R&D (1), it's 100 %; #^!@{}.md",
    "umlauts": "Zoë.md",
    "dollar": "$HOME.md",
    "grave": "a`n.md",
    "percent": "%PATH%.md",
    "curly quotes": "a“b”.md",
} if WINDOWS else {
    "quotes": "a'b\"c $(id) `id`; rm -rf ~ #.md",
    "surrogate": "a\udc80.md".encode("utf-8", "replace").decode(),
}  # fmt: skip
NOT_SHOWN = {"control", "bidi", "long", "dollar", "grave", "percent", "curly quotes"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_names(clean, name):
    path = clean.notes / HOSTILE[name]
    with contextlib.suppress(OSError):  # no file can have that name
        path.write_text("x")
    put(clean, "old/n03.md", ANOTHER)
    old = str(clean.notes / "old/n03.md")
    clean.query("UPDATE chunks SET source_file = ? WHERE source_file = ?", str(path), old)
    status, out, _ = clean.postflight()
    assert status == 1
    for line in out.splitlines():
        wide = sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line)
        assert wide <= 80 or line.startswith("  mm index")
    lines = [line for line in out.splitlines() if line.startswith("  mm index")]
    assert len(lines) == (name not in NOT_SHOWN)
    for line in lines:  # each shell takes it for that one file
        assert pasted(clean, line.strip()) == {ascii(["index", "--force", str(path)])}
    answer = clean.ask()
    assert answer["files"][0]["path"] == str(path)
    there = os.path.isfile(path)
    assert answer["mend"] == ([["mm", "index", "--force", str(path)]] if there else [])
    assert ("see --json" in out) == (there and name in NOT_SHOWN)


def pasted(home: Home, line: str) -> set[str]:
    """What a program in place of mm is given if this line is pasted, by each shell there is."""
    show = home.folder / "show.py"
    show.write_text("import sys; print(ascii(sys.argv[1:]))")
    line = line.replace("mm ", f'"{sys.executable}" "{show}" ', 1)
    given = {"env": home.env, "capture_output": True, "text": True, "check": True}
    said = {subprocess.run(line, shell=True, **given).stdout.strip()}
    for name in ("powershell", "pwsh") if WINDOWS and not is_wine() else ():
        if program := shutil.which(name):
            encoded = base64.b64encode(f"& {line}".encode("utf-16-le")).decode()
            argv = [program, "-NoProfile", "-EncodedCommand", encoded]
            said.add(subprocess.run(argv, **given).stdout.strip())
    return said


@not_on_windows("has drives: no path lies within another")
def test_a_home_in_the_middle_of_a_name_is_not_shortened(clean):
    path = clean.notes / f"copy of {clean.folder}" / "n.md"
    path.parent.mkdir(parents=True)
    path.write_text("x")
    put(clean, "old/n03.md", ANOTHER)
    old = str(clean.notes / "old/n03.md")
    clean.query("UPDATE chunks SET source_file = ? WHERE source_file = ?", str(path), old)
    _, out, _ = clean.postflight()
    ((line,), (row,)) = (re.findall(rf"^  {start}.*$", out, re.M) for start in ("mm index", "…"))
    echo = line.replace("mm index --force", "printf %s", 1)
    done = subprocess.run(["sh", "-c", echo], env=clean.env, capture_output=True, text=True)
    assert done.stdout == str(path)
    assert "~" not in row


def test_a_file_in_several_namespaces_has_a_line_of_its_own(clean):
    EDGES["several namespaces"][0](clean)
    _, out, _ = clean.postflight()
    assert re.search(r"^  ~.*n03\.md +1 of 1   today \d\d:\d\d +spaces$", out, re.MULTILINE)


def test_twenty_thousand_files_are_put_together_soon(monkeypatch):
    run = Run(SimpleNamespace(all=True, sample=300, inside="", mm="mm"))
    root = os.path.realpath("/notes")
    names = [os.path.join(root, f"d{n // 500}", f"s{n // 50}", f"n{n}.md") for n in range(20_000)]
    run.vectors = run.others = [Vector(n, 1, n, name, 0, 0) for n, name in enumerate(names)]
    run.spaces = {name: {"default"} for name in names}
    run.config = SimpleNamespace(indexing=SimpleNamespace(memory_dirs=[root]))
    monkeypatch.setattr(os.path, "isfile", lambda path: True)
    began = time.process_time()
    assert run.mend() == [["mm", "index", "--force", root]]
    assert time.process_time() - began < 2


# --- Which Python ---------------------------------------------------------------------------------

LAUNCHER = b"MZ" + bytes(range(256)) * 40
PYTHON = "/opt/mem/bin/python3.12"
ON_WINDOWS = "C:\\Users\\Zoë Müller\\uv\\tools\\memtomem\\Scripts\\python.exe"
SCRIPTS = {
    "pip": (f"#!{PYTHON}\n# -*- coding: utf-8 -*-\nimport re\n", PYTHON),
    "pip, long": (f"#!/bin/sh\n'''exec' \"{PYTHON}\" \"$0\" \"$@\"\n' '''\nimport re\n", PYTHON),
    "blanks": (
        "#!/bin/sh\n'''exec' \"/opt/my python things/bin/python3\" \"$0\" \"$@\"\n' '''\n",
        "/opt/my python things/bin/python3",
    ),
    "uv": (f"#!/bin/sh\n'''exec' '{PYTHON}' \"$0\" \"$@\"\n' '''\n", PYTHON),
    "options": (f"#!{PYTHON} -sP\n", PYTHON),
    "env": ("#!/usr/bin/env python3\n", "python3"),
    "relocatable": (
        '#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")"/\'python\' "$0" "$@"\n',
        "BESIDE",
    ),
    "windows, pip": (
        LAUNCHER + f"#!{ON_WINDOWS}\r\nPK\x03\x04".encode() + b"import re",
        ON_WINDOWS,
    ),
    "windows, pip, blanks": (LAUNCHER + f'#!"{ON_WINDOWS}"\r\nPK\x03\x04'.encode(), ON_WINDOWS),
    "windows, uv": (
        LAUNCHER + b"\x01\0\0\0" + ON_WINDOWS.encode() + b"\0\0PK\x03\x04#!x\n\x00PADDINGX",
        ON_WINDOWS,
    ),
    "midnight commander": (b"\x7fELF" + bytes(range(256)) * 9, None),
    "a shell script": ("#!/bin/sh\necho hello\n", None),
    "a wrapper": ("#!/usr/bin/env bash\nexec asdf exec mm\n", None),
    "empty": ("", None),
    "a broken quote": ("#!/bin/sh\n'''exec' \"/opt/x\n", None),
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_find_python(kind, tmp_path, monkeypatch):
    text, wanted = SCRIPTS[kind]
    mm = tmp_path / "bin" / "mm"
    mm.parent.mkdir()
    mm.write_bytes(text if isinstance(text, bytes) else text.encode())
    mm.chmod(0o755)
    link = mm if WINDOWS else tmp_path / "link"  # there, not every user may make one
    if not WINDOWS:
        link.symlink_to(mm)
    if wanted == "BESIDE":
        wanted = str(mm.with_name("python"))
    there = {wanted, str(mm), str(link), "/bin/sh", "/usr/bin/bash"}
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there else None)
    for program in (mm, link):
        if wanted:
            assert find_python(str(program)) == wanted
        else:
            with pytest.raises(Unknown, match="does not say which Python runs it"):
                find_python(str(program))


def test_a_python_may_be_named_itself(clean):
    assert clean.ask("--mm", clean.memtomem.python)["exit"] == 0
    assert clean.ask("--mm", clean.memtomem.program("mm"))["exit"] == 0


def test_the_commands_are_of_the_mm_that_is_named(mixed):
    """`mm` alone may be nothing, or another program."""
    program = mixed.memtomem.program("mm")
    python, beside = (os.path.join(os.path.dirname(program), name) for name in ("python", "mm"))
    mixed.env["PATH"] = os.path.dirname(sys.executable)
    for named, said in ((program, program), (python, beside)):  # a shell adds the .exe
        _, out, _ = mixed.postflight("--mm", named)
        (line,) = re.findall(r"^  (.* index --force .*)$", out, re.MULTILINE)
        assert line.startswith(f"{said} ")
    subprocess.run(line, shell=True, env=mixed.env, check=True, capture_output=True)
    assert mixed.postflight("--all", "--mm", program)[0] == 0


def test_no_mm(clean):
    clean.env["PATH"] = os.path.dirname(sys.executable)
    status, out, err = clean.postflight()
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "mm-postflight: unknown, there is no program mm",
        "Name memtomem's mm, or the Python that has memtomem, with --mm PATH.",
    ]


def test_an_mm_that_is_no_memtomem(clean, tmp_path):
    mm = tmp_path / ("mm.exe" if WINDOWS else "mm")
    mm.write_bytes(LAUNCHER * WINDOWS + f"#!{sys.executable}\nprint('hello')\n".encode())
    mm.chmod(0o755)
    answer = clean.ask("--mm", str(mm))
    assert (answer["exit"], answer["verdict"]) == (2, "unknown")
    assert "No module named 'memtomem'" in answer["reason"]


NAMED = [
    "config.Mem2MemConfig",
    "config.load_config_d",
    "config.load_config_overrides",
    "embedding.factory.create_embedder",
    "models.Chunk",
    "models.ChunkMetadata",
]


def within(home: Home, code: str) -> None:
    """Have memtomem's Python run `code` as it starts, after what it runs already."""
    before = Path(home.memtomem.library, "sitecustomize.py")
    folder = home.folder / "within"
    folder.mkdir()
    cure = before.read_text() if before.is_file() else ""
    (folder / "sitecustomize.py").write_text(f"{cure}\n{code}\n")
    home.env["PYTHONPATH"] = str(folder)


@pytest.mark.parametrize("name", NAMED)
def test_a_name_that_is_gone(clean, name):
    module, _, attribute = name.rpartition(".")
    within(
        clean,
        f"import sys\nif '--inside' in sys.orig_argv:\n"
        f"    import memtomem.{module}\n    del memtomem.{module}.{attribute}",
    )
    answer = clean.ask()
    assert (answer["exit"], answer["verdict"]) == (2, "unknown")
    assert f"there is no memtomem.{name} in " in answer["reason"]


def test_it_uses_no_other_name_of_memtomems():
    used = re.findall(r'memtomem\("([\w.]+)"\)', SCRIPT.read_text(encoding="utf-8"))
    assert set(used) == set(NAMED)


def test_an_embedder_that_hangs(clean, embedder):
    embedder.answer = lambda model, texts: time.sleep(20) or give(model, texts)
    text = clean.script.read_text(encoding="utf-8")
    clean.script.write_text(text.replace("PATIENCE = 300.0", "PATIENCE = 1.0"), encoding="utf-8")
    began = time.monotonic()
    answer = clean.ask()
    assert time.monotonic() - began < 15
    assert answer["exit"] == 2
    assert answer["reason"] == "the embedder gives no vectors: no answer in 1 s"


# --- How sure it is -------------------------------------------------------------------------------


def exact(total: int, drawn: int) -> int:
    """The bound by its definition, in whole numbers."""
    draws = math.comb(total, drawn)
    missed = (k for k in range(total, -1, -1) if 20 * math.comb(total - k, drawn) > draws)
    return next(missed)


@pytest.mark.parametrize("total", [1, 2, 17, 299, 300, 301, 1000, 2500])
@pytest.mark.parametrize("drawn", [1, 5, 29, 299, 300])
def test_the_bound_is_exact(total, drawn):
    if drawn <= total:
        assert at_most(total, drawn) - exact(total, drawn) in (0, 1)  # 1: it is 5 % to a hair


@pytest.mark.parametrize(("drawn", "share"), [(29, 0.1), (59, 0.05), (299, 0.01)])
def test_the_bound_of_a_large_database(drawn, share):
    assert at_most(1_000_000, drawn) == pytest.approx(1_000_000 * share, rel=0.02)


def test_cosine():
    assert cosine([3.0, 4.0], [6, 8]) == pytest.approx(1)
    assert cosine([1.0, 0.0], [0.0, 2.0]) == 0
    assert cosine([1.0, 1.0], [-1.0, -1.0]) == pytest.approx(-1)
    for nowhere in ([0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]):
        assert cosine(nowhere, [1.0, 0.0]) == -1
        assert cosine([1.0, 0.0], nowhere) is None
    assert cosine([0.0, 0.0], [0.0, 0.0]) == 1


class Simulated(Run):
    """A database without one: who made a vector is known, and nothing is embedded."""

    def __init__(self, vectors: list[Vector], others: set[int]) -> None:
        super().__init__(SimpleNamespace(all=False, sample=300, inside=""))
        self.vectors, self.made = vectors, others

    def check(self, todo):
        others = [vector for vector in todo if vector.rowid in self.made]
        self.kinds |= dict.fromkeys(todo, "ours") | dict.fromkeys(others, "others")
        self.others += others


TOTAL = 1500  # vectors, four to a file, written one a second


def times(dice: random.Random, tagged: float) -> list[Vector]:
    """Of this share, `updated` was moved since: tags were edited, or they were embedded again."""
    moved = [TOTAL + dice.randrange(TOTAL) if dice.random() < tagged else n for n in range(TOTAL)]
    return [Vector(n, n // 1024, n % 1024, f"f{n // 4}", n, moved[n]) for n in range(TOTAL)]


def others(dice: random.Random, share: float, layout: str) -> set[int]:
    """Whom an old process made: all, or every third, from some moment on; or anything anywhere."""
    count, step = round(TOTAL * share), 3 if layout == "every third" else 1
    if layout == "anywhere":
        return set(dice.sample(range(TOTAL), count))
    first = dice.randrange(TOTAL - step * count)
    return set(range(first, first + step * count, step))


@pytest.mark.parametrize("layout", ["in a row", "every third", "anywhere"])
@pytest.mark.parametrize("tagged", [0.05, 0.5])
@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.03, 0.1])
def test_the_confidence_holds(layout, tagged, share):
    """Over 1,000 draws more vectors are missed than it says in at most one of twenty."""
    dice, wrong, hits, complete = random.Random(707), 0, 0, 0
    random.seed(707)
    vectors, bound = times(dice, tagged), at_most(TOTAL, 300)
    for _ in range(1000):
        run = Simulated(vectors, others(dice, share, layout))
        run.search()
        found = {vector.rowid for vector in run.others}
        assert found <= run.made
        wrong += len(run.made) - len(found) > bound
        hits += bool(found)
        complete += bool(found) and found == run.made
    assert wrong <= 50 + 2 * math.sqrt(50 * 0.95)  # 1,000 draws are themselves a draw
    assert (hits > 0) == (share > 0)
    if layout != "anywhere":  # one process, one time: found once is found all
        assert complete == hits


def large(path: Path, chunks: int, dimension: int) -> None:
    """A database of sqlite-vec's layout, made without it."""
    connection = sqlite3.connect(path)
    connection.executescript("""
        CREATE TABLE chunks (content, source_file, heading_hierarchy, created_at, updated_at);
        CREATE TABLE chunks_vec_chunks (chunk_id INTEGER PRIMARY KEY, size, validity, rowids);
        CREATE TABLE chunks_vec_rowids (rowid INTEGER PRIMARY KEY, id, chunk_id, chunk_offset);
        CREATE TABLE chunks_vec_vector_chunks00 (rowid PRIMARY KEY, vectors);
        PRAGMA writable_schema = ON;""")
    sql = f"CREATE VIRTUAL TABLE chunks_vec USING vec0(embedding float[{dimension}])"
    insert = "INSERT INTO sqlite_master VALUES ('table', 'chunks_vec', 'chunks_vec', 0, ?)"
    connection.execute(insert, (sql,))
    time_of = "2026-11-22T09:{:02}:{:02}.{:06}+00:00"
    rows = (
        (f"n{n} " * 200, f"/home/ana/notes/{n // 5}.md", time_of.format(n // 60 % 60, n % 60, n))
        for n in range(chunks)
    )
    connection.executemany("INSERT INTO chunks VALUES (?1, ?2, '[]', ?3, ?3)", rows)
    places = ((n + 1, n // 1024 + 1, n % 1024) for n in range(chunks))
    connection.executemany("INSERT INTO chunks_vec_rowids VALUES (?, NULL, ?, ?)", places)
    for block in range(-(-chunks // 1024)):
        ids = array("q", range(block * 1024 + 1, block * 1024 + 1025)).tobytes()
        about = (block + 1, b"\xff" * 128, ids)
        connection.execute("INSERT INTO chunks_vec_chunks VALUES (?, 1024, ?, ?)", about)
        held = random.randbytes(4096 * dimension)
        connection.execute(
            "INSERT INTO chunks_vec_vector_chunks00 VALUES (?, ?)", (block + 1, held)
        )
    connection.commit()
    connection.close()


READ = """if True:
    import argparse, resource, sys, time
    sys.path.insert(0, sys.argv[1])
    from mm_postflight import Run, Path
    began, run = time.process_time(), Run(argparse.Namespace(inside=""))
    run.read(Path(sys.argv[2]))
    run.dimension = 384
    assert sum(len(numbers) for _, numbers in run.stored(run.vectors)) == 100_000 * 384
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(len(run.vectors), time.process_time() - began, kilobytes / 1024)
"""


@linux
def test_a_hundred_thousand_chunks_are_read_soon_and_in_little_memory(tmp_path):
    """In seconds of this process, so that a busy machine does not count."""
    large(tmp_path / "large.db", 100_000, 384)
    argv = [sys.executable, "-c", READ, str(SCRIPT.parent), str(tmp_path / "large.db")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    chunks, seconds, mebibytes = map(float, done.stdout.split())
    assert chunks == 100_000
    assert seconds <= 3
    assert mebibytes <= 300


# --- A real mixture, and back ---------------------------------------------------------------------


def follow(home: Home, out: str) -> None:
    """Run each command of the report in a shell, as it stands there."""
    lines = re.findall(r"^  (mm index .*)$", out, re.MULTILINE)
    assert lines
    for line in lines:
        subprocess.run(line, shell=True, env=home.env, check=True, capture_output=True)


@pytest.mark.parametrize("version", [VERSION, "0.4.0"])
def test_what_a_live_mm_web_mixed_is_found_and_mended(version, tmp_path, monkeypatch):
    """The steps of reproduce_mix.py up to the mixture; then nothing but what mm-postflight says."""
    monkeypatch.setattr(reproduce_mix, "BEGAN", time.monotonic())  # it has 15 minutes from there
    memtomem, folder = given(version), tmp_path.resolve() / "home"
    notes = reproduce_mix.make_notes(60, 707)
    with (
        reproduce_mix.embedding_server() as server,
        reproduce_mix.Lab(memtomem.program("mm"), folder, notes, server) as lab,
    ):
        home = Home(folder, memtomem, server[0])
        home.env = lab.options["env"] | {"PATH": home.env["PATH"], "HOME": str(folder)}
        lab.write_notes(0, 30)
        lab.configure("alpha")
        lab.run(lab.mm, "index", str(lab.memories))
        lab.start_web()
        lab.configure("beta")
        lab.run(lab.mm, *reproduce_mix.RESET, answer="y\n")
        lab.run(lab.mm, "index", "--force", str(lab.memories))
        assert home.ask("--all")["exit"] == 0
        lab.index_second_half()
        lab.stop_web()
        assert lab.makers() == (["beta"] * 30 + ["alpha"] * 30, "beta")
        assert sum(lab.found_by_meaning(60)) < 35

        answer = home.ask()
        assert (answer["exit"], answer["others"], answer["checked"]) == (1, 30, 60)
        late = [str(lab.memories / f"note-{number:03}.md") for number in range(30, 60)]
        assert [each["path"] for each in answer["files"]] == late
        sampled = home.ask("--sample", "20")
        assert [each["path"] for each in sampled["files"]] == late

        status, out, _ = home.postflight()
        assert status == 1
        follow(home, out)
        status, out, _ = home.postflight("--all")
        assert status == 0
        assert out == "mm-postflight: one model, all 60 vectors are what ollama/beta gives\n"
        assert lab.makers() == (["beta"] * 60, "beta")
        assert sum(lab.found_by_meaning(60)) == 60


@pytest.mark.parametrize("version", [VERSION, "0.4.0"])
def test_what_it_advises_keeps_namespaces(indexed, version, tmp_path, embedder):
    """Also where `mm index --force` alone moves them to `default`."""
    embedder.answer = give
    home = Home((tmp_path / "home").resolve(), given(version), embedder.url)
    home.configure()
    home.write(NAMES[:14])
    home.mm("index", home.notes / "old")
    embedder.answer = lambda _, texts: give("alpha", texts)
    home.mm("index", "--namespace", "work", home.notes / "new" / "n00.md")
    home.mm("index", "--namespace", "work", home.notes / "new" / "n01.md")
    home.mm("index", "--namespace", "agent-runtime:bob", home.notes / "new" / "n02.md")
    home.mm("index", home.notes / "new" / "n03.md")
    embedder.answer = give
    spaces = home.query("SELECT source_file, namespace FROM chunks ORDER BY source_file")
    assert len({space for _, space in spaces}) == 3

    status, out, _ = home.postflight("--all")
    assert status == 1
    assert ("--namespace" in out) == (version == "0.4.0")
    follow(home, out)
    assert home.postflight("--all")[0] == 0
    assert home.query("SELECT source_file, namespace FROM chunks ORDER BY source_file") == spaces


# --- What the page says ---------------------------------------------------------------------------


def test_the_page_names_each_field_and_option(mixed):
    page = PAGE.read_text(encoding="utf-8")
    answer = mixed.ask()
    fields = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert set(fields) == (answer.keys() - {"exit", "text"}) | answer["files"][0].keys()
    help_text = mixed.postflight("--help")[1]
    options = set(re.findall(r"--\w+", help_text)) - {"--help"}
    assert options == set(re.findall(r"^\| `(--\w+)", page, re.MULTILINE)) - {"--help"}
    for verdict, status in mm_postflight.EXIT.items():
        assert re.search(rf"^\| {status} \| `{verdict}` \|", page, re.MULTILINE)


def test_the_picture_and_the_table_are_what_was_measured():
    drawn = [sys.executable, str(ROOT / "scripts" / "draw_cosines.py"), "--check"]
    assert subprocess.run(drawn, capture_output=True, text=True).stderr == ""
    run = json.loads((ROOT / "docs/assets/measured-cosines.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/explanation/how-postflight-knows.md").read_text(encoding="utf-8")
    for one in run["series"]:
        low, high = min(one["cosines"]), max(one["cosines"])
        row = f"| {one['label']} | {len(one['cosines'])} | {low:.3f} | {high:.3f} |"
        assert row in page
    assert (run["own_from"], run["another_below"]) == (mm_postflight.OURS, mm_postflight.ANOTHERS)
    own, quantised, _, another = (one["cosines"] for one in run["series"])
    assert min(own + quantised) >= mm_postflight.OURS
    assert max(another) < mm_postflight.ANOTHERS


def test_the_report_on_the_page_is_one_of_its_own(tmp_path, monkeypatch):
    """The one of the measured mixture: 30 of 60 notes of one chunk each."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    run = Run(SimpleNamespace(all=False, sample=300, inside="clear"))
    vectors = [
        Vector(n, 1, n, str(tmp_path / "notes" / f"note-{n:03}.md"), 0, time.time())
        for n in range(60)
    ]
    run.vectors, run.others = vectors, vectors[30:]
    run.kinds = dict.fromkeys(vectors, "ours") | dict.fromkeys(run.others, "others")
    run.told["model"] = "ollama/beta"
    mend = ["mm", "index", "--force", str(tmp_path / "notes")]
    monkeypatch.setattr(run, "mend", lambda: [mend])
    run.db = sqlite3.connect(":memory:")
    run.db.execute("CREATE TABLE chunks (source_file, namespace)")
    for folder in {Path(vector.file).parent for vector in vectors}:
        folder.mkdir()
    for vector in vectors:
        Path(vector.file).touch()
    told = as_on_unix(report(run.answer()), tmp_path)
    told = re.sub(r"today \d\d:\d\d", "today 09:31", told)
    page = PAGE.read_text(encoding="utf-8")
    assert f"```text\n{told}\n```" in page


def test_another_database_than_the_configured_one(mixed, tmp_path):
    backup = shutil.copy(mixed.database, tmp_path / "backup.db")
    answer = mixed.ask("--db", str(backup))
    assert (answer["exit"], answer["others"], answer["configured"]) == (1, 6, False)
    assert answer["mend"] == []
    assert "no command is named for another one" in answer["text"]


def test_places_that_have_nothing_in_common():
    """As on Windows with two drives, or with summaries that are in no file."""
    run = Run(SimpleNamespace(all=True, sample=300, inside=""))
    names = [
        f"{place}/n{n}.md" for place in ("virtual:", "/home/ana", "relative") for n in range(9)
    ]
    run.vectors = run.others = [Vector(n, 1, n, name, 0, 0) for n, name in enumerate(names)]
    run.kinds, run.db = dict.fromkeys(run.others, "others"), sqlite3.connect(":memory:")
    run.told["configured"] = False
    run.db.execute("CREATE TABLE chunks (source_file, namespace)")
    assert "… and 19 more, all in several places, all since 1970" in report(run.answer())


def test_what_goes_wrong_in_the_report_is_no_verdict(monkeypatch, capsys):
    monkeypatch.setattr(Run, "prepare", lambda self: None)
    monkeypatch.setattr(Run, "search", lambda self: None)
    monkeypatch.setattr(Run, "answer", lambda self: 1 / 0)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "reconfigure", lambda **_: None, raising=False)
    assert mm_postflight.main(["--inside", "clear"]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_functions_are_short():
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 40, node.name
