"""A check of the real memtomem: what it finds, and that it changes nothing."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest
import reproduce_mix
from real import VERSION, given, isolated
from support import linux

from postflight.conftest import NAMES
from postflight.home import DIMENSION, VERSIONS, Home, give, program, put, vector_of, while_asked

ANOTHER = reproduce_mix.embed("alpha", "something else", DIMENSION)
ZERO = [0.0] * DIMENSION


@pytest.mark.parametrize("version", VERSIONS)
def test_clean(indexed, version):
    answer = indexed(version).ask("--all")
    assert (answer["exit"], answer["verdict"], answer["others"]) == (0, "one-model", 0)
    assert answer["checked"] == answer["texts_sent"] == 16
    assert (answer["steady"], answer["exact"]) == (True, True)


@pytest.mark.parametrize("version", VERSIONS)
def test_mixed_by_file(indexed, version):
    home = indexed(version, mixed=True)
    answer = home.ask("--all")
    assert (answer["exit"], answer["verdict"], answer["others"]) == (1, "mixed", 6)
    assert [each["path"] for each in answer["files"]] == [str(home.notes / n) for n in NAMES[10:]]
    about = {"chunks": 1, "others": 1, "relatives": 0, "between": 0, "note": ""}
    for each in answer["files"]:
        assert about.items() <= each.items()


def test_a_sample(indexed):
    answer = indexed().ask("--sample", "5")
    assert (answer["exit"], answer["checked"], answer["at_most"]) == (0, 5, 6)
    assert "With 95 % confidence" in answer["text"]
    answer = indexed(mixed=True).ask("--sample", "12")
    assert (answer["exit"], len(answer["files"])) == (1, 6)


def test_the_report(mixed):
    status, out, err = mixed.postflight()
    assert (status, err) == (1, "")
    out = out.replace(f"{mixed.folder}{os.sep}", f"~{os.sep}").replace(os.sep, "/")
    now = "today HH:MM"
    rows = [f"  ~/notes/new/n{n:02}.md                1 of 1  another's   {now}" for n in range(6)]
    lines = [re.sub(r"(today|[\d-]{10}) \d\d:\d\d$", now, line) for line in out.splitlines()]
    assert lines == [
        "mm-postflight: mixed, 6 of 16 vectors are not what ollama/beta gives",
        "",
        "  FILE                              CHUNKS  WHOSE       WRITTEN",
        *rows,
        "",
        "another's: another model made these 6. Search by meaning does not find them.",
        "",
        "To repair them, stop every mm process (mm-preflight names them), then:",
        "  mm-postflight --repair",
    ]


def near(home: Home, name: str, much: float) -> list[float]:
    """The note's own vector with something of another one in it."""
    return [a + much * b for a, b in zip(vector_of(home, name), ANOTHER, strict=True)]


BLOCK = "UPDATE chunks_vec_vector_chunks00 SET vectors = "
EDGES = {
    # what is done to a clean database, or its configuration: then the exit status, and the words
    "no vectors": (
        lambda home: home.mm("embedding-reset", "--mode", "apply-current", "--yes"),
        2,
        "there are no vectors: search is by words alone",
    ),
    "provider none": (
        lambda home: home.configure(provider="none", model="", dimension=0),
        2,
        "the configuration names no model, the database ollama/beta (64 numbers)",
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
    "a configuration with a byte order mark": (
        lambda home: home.database.with_name("config.json").write_bytes(b"\xef\xbb\xbf{}"),
        2,
        "cannot be read: ",
    ),
    "a configuration that is no JSON": (
        lambda home: home.database.with_name("config.json").write_text("{"),
        2,
        "config.json cannot be read: Expecting",
    ),
    "a part of one that is no object": (
        lambda home: (
            home.database.with_name("config.d").mkdir(),
            (home.database.parent / "config.d" / "a.json").write_text("[]"),
        ),
        2,
        "a.json cannot be read: it is not a JSON object",
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
    "one vector of another": (lambda home: put(home, "old/n03.md", ANOTHER), 1, "another's"),
    "a relative's": (
        lambda home: put(home, "old/n03.md", near(home, "old/n03.md", 0.1)),
        1,
        "relative's: a relative of this model made these 1",
    ),
    "NaN": (lambda home: put(home, "old/n03.md", [math.nan] * 64), 1, "mixed, 1 of 16"),
    "zero": (lambda home: put(home, "old/n03.md", ZERO), 1, "mixed, 1 of 16"),
    "infinite": (lambda home: put(home, "old/n03.md", [math.inf] * 64), 1, "mixed, 1 of 16"),
    "short blob": (lambda home: home.query(BLOCK + "substr(vectors, 5)"), 2, "sqlite-vec"),
    "huge blob": (lambda home: home.query(BLOCK + "zeroblob(200000000)"), 2, "sqlite-vec"),
    "a text for a blob": (lambda home: home.query(BLOCK + "'x'"), 2, "sqlite-vec"),
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
        1,
        "mixed, 1 of 16",
    ),
    "times that are none": (
        lambda home: home.query("UPDATE chunks SET created_at = '', updated_at = 'soon'"),
        0,
        "one model",
    ),
    "deleted file": (
        lambda home: (put(home, "old/n03.md", ANOTHER), (home.notes / "old/n03.md").unlink()),
        1,
        "Gone from the disk: 1 file. More about that: https://memtomem.github.io/mm-preflight/",
    ),
    "edited file": (
        lambda home: (
            put(home, "old/n03.md", ANOTHER),
            os.utime(home.notes / "old/n03.md", (time.time() + 60, time.time() + 60)),
        ),
        1,
        " edited another's:",
    ),
}


@pytest.mark.parametrize("edge", EDGES)
def test_edge(clean, edge):
    spoil, status, words = EDGES[edge]
    spoil(clean)
    answer = clean.ask()
    assert words in " ".join(answer["text"].split()), answer
    assert answer["exit"] == status, answer
    assert answer["verdict"] == ["one-model", "mixed", "unknown"][status]
    assert "--mode" not in answer["reason"] and "embedding-reset to none" not in answer["text"]
    if status == 1:
        (path,) = [each["path"] for each in answer["files"]]
        assert edge.startswith("headings") or path == str(clean.notes / "old/n03.md")


def test_a_configuration_without_a_model_sends_nobody_to_a_reset(clean):
    clean.configure(provider="none", model="", dimension=0)
    assert "mm embedding-reset" not in clean.ask()["text"]


def test_between_is_said_apart_and_its_files_are_named(clean):
    """Where the embedder is not exact: all stored vectors are a little off."""
    for name in NAMES:
        put(clean, name, near(clean, name, 0.05))
    assert clean.ask()["exit"] == 0
    put(clean, "old/n03.md", near(clean, "old/n03.md", 0.5))
    answer = clean.ask()
    assert (answer["exit"], answer["verdict"], answer["between"]) == (2, "unknown", 1), answer
    assert [each["path"] for each in answer["files"]] == [str(clean.notes / "old/n03.md")]
    assert "unclear" in answer["text"]
    assert clean.repair()["repair"]["written"] == 1


def test_text_of_older_releases(clean):
    ((text,),) = clean.query("SELECT content FROM chunks WHERE source_file LIKE '%old_n03.md'")
    put(clean, "old/n03.md", reproduce_mix.embed("beta", text, DIMENSION))
    answer = clean.ask()
    assert (answer["exit"], answer["older_text"]) == (0, 1)
    assert clean.repair()["repair"]["written"] == 0


def test_a_context_that_is_filled_takes_the_place_of_the_headings(clean):
    clean.query(
        "UPDATE chunks SET retrieval_context = 'in short' WHERE source_file LIKE '%old_n03.md'"
    )
    ((text,),) = clean.query("SELECT content FROM chunks WHERE source_file LIKE '%old_n03.md'")
    put(clean, "old/n03.md", reproduce_mix.embed("beta", f"in short\n\n{text}", DIMENSION))
    answer = clean.ask()
    assert (answer["exit"], answer["older_text"], answer["texts_sent"]) == (0, 0, 16)


def test_an_onnx_model_may_be_named_without_its_owner_and_in_any_case(clean):
    for configured, held in [("BGE-m3", "BAAI/bge-m3"), ("BAAI/bge-m3", "bge-m3")]:
        clean.configure(provider="onnx", model=configured)
        for key, value in [("provider", "onnx"), ("model", held)]:
            sql = "UPDATE _memtomem_meta SET value = ? WHERE key = ?"
            clean.query(sql, value, f"embedding_{key}")
        assert "the embedder gives no vectors: fastembed is required" in clean.ask()["reason"]


# --- An embedder at fault, on both protocols ------------------------------------------------------


def vectors(texts: list[str]) -> list[list[float]]:
    return give("beta", texts)[1]


FAULTS = {
    "NaN": lambda m, t: (200, [[math.nan] * DIMENSION] * len(t)),
    "one vector for all": lambda m, t: (200, [vectors(["x"])[0]] * len(t)),
    "backwards": lambda m, t: (200, vectors(t)[::-1]),
    "zeros": lambda m, t: (200, [ZERO] * len(t)),
    "booleans": lambda m, t: (200, [[True] * DIMENSION] * len(t)),
    "no numbers": lambda m, t: (200, [["x"] * DIMENSION for _ in t]),
    "a wrong count": lambda m, t: (200, vectors(t)[:-1]),
    "another dimension": lambda m, t: (200, [v[:-1] for v in vectors(t)]),
    "nothing": lambda m, t: (200, None),
    "a model that is not there": lambda m, t: (404, None),
    "an error with colours": lambda m, t: (400, "\x1b[31m\u202e"),
}


@pytest.mark.parametrize("provider", ["ollama", "openai"])
@pytest.mark.parametrize("what", FAULTS)
def test_a_faulty_embedder_is_unknown_and_never_mixed(indexed, tmp_path, embedder, provider, what):
    home = indexed(mixed=True)
    if provider == "openai":
        home = home.copy(tmp_path / "home")
        home.as_openai(home.url)
    embedder.answer = FAULTS[what]
    answer = home.ask()
    assert (answer["exit"], answer["verdict"], answer["files"]) == (2, "unknown", []), answer
    assert "the embedder" in answer["reason"]
    sent = [text for texts in embedder.sent for text in texts]
    assert not [text for text in sent if "About" in text]  # no note


BODIES = {
    "a page": ((200, b"<html><body>Welcome</body></html>"), "its answer is not JSON"),
    "an error with status 200": ((200, b'{"error": "out of memory"}'), "'error'"),
    "a list": ((200, b"[]"), "its answer is not what this protocol has"),
    "not UTF-8": ((200, b'{"embeddings": "\xff"}'), "its answer is not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("what", BODIES)
def test_an_answer_that_is_none_is_told_in_words(clean, embedder, what):
    body, words = BODIES[what]
    embedder.raw = lambda texts: body
    answer = clean.ask()
    assert (answer["exit"], answer["checked"]) == (2, 0)
    assert words in " ".join(answer["text"].split()), answer
    assert "did not take" not in answer["text"]


def test_a_connection_that_breaks_off_each_time(clean, embedder):
    embedder.raw = lambda texts: (200, None)
    answer = clean.ask()
    assert answer["exit"] == 2
    assert "failed: " in answer["reason"] and not answer["reason"].endswith(": ")


def test_a_connection_that_breaks_off_once(clean, embedder):
    def raw(texts):
        embedder.raw = None
        return 200, None

    embedder.raw = raw
    assert clean.ask("--all")["exit"] == 0


@pytest.mark.parametrize("status", [400, 500])
def test_one_text_that_the_embedder_does_not_take(clean, embedder, status):
    """The others are checked all the same; after memtomem's own retries of a 500."""
    word = (clean.notes / "old/n03.md").read_text().split()[-1]
    put(clean, "old/n05.md", ANOTHER)

    def answer(model, texts):
        return (status, None) if any(word in text for text in texts) else give(model, texts)

    embedder.answer = answer
    answer = clean.ask()
    assert (answer["exit"], answer["not_embedded"], answer["checked"]) == (1, 1, 16), answer
    assert "Not embedded, so nothing is known of their vectors: 1 text" in answer["text"]
    put(clean, "old/n05.md", vectors([f"About n05\n\n{content(clean, 'old_n05.md')}"])[0])
    answer = clean.ask()
    assert (answer["exit"], answer["verdict"]) == (2, "unknown")
    assert "1 texts were not embedded: " in answer["reason"]


def content(home: Home, name: str) -> str:
    ((text,),) = home.query("SELECT content FROM chunks WHERE source_file LIKE ?", f"%{name}")
    return text


def test_offline(clean):
    clean.configure(base_url="http://127.0.0.1:9")
    status, out, err = clean.postflight()
    assert (status, out) == (2, "")
    assert "unknown, the embedder gives no vectors: Cannot connect to Ollama" in " ".join(
        err.split()
    )


def test_an_embedder_that_is_not_steady(clean, embedder):
    """What it gives depends on the batch; nothing is blamed, and it is said."""
    noise = [list(reproduce_mix.embed("noise", str(n), DIMENSION)) for n in range(40)]

    def answer(model, texts):
        off = noise[len(texts)]
        return 200, [[a + 0.15 * b for a, b in zip(v, off, strict=True)] for v in vectors(texts)]

    for name in NAMES:  # as if indexed one by one
        put(clean, name, answer("beta", [f"About {name[4:7]}\n\n{content(clean, name)}"])[1][0])
    embedder.answer = answer
    answer = clean.ask("--all")
    assert (answer["exit"], answer["verdict"], answer["steady"]) == (0, "one-model", False), answer
    assert answer["older_text"] == 0
    assert "This embedder is not steady" in answer["text"]


def test_batches_that_come_to_be_in_another_order(mixed, embedder, tmp_path):
    """The fixed sentences were right; the notes are not: a mismatch is asked again alone."""
    first = []

    def answer(model, texts):
        first.append(texts)
        told = give(model, texts)[1]
        return 200, told if len(first) <= 4 else told[::-1]

    embedder.answer = answer
    answer = mixed.ask("--all")
    assert (answer["exit"], answer["files"]) == (2, []), answer
    assert "the embedder is at fault: one text got two vectors" in answer["reason"]


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


def test_a_database_that_is_locked(clean, tmp_path):
    clean.script = program(tmp_path / "apart", database=("WAIT = 10.0", "WAIT = 0.2"))
    clean.query("PRAGMA journal_mode = DELETE")
    with held(clean, "EXCLUSIVE"):
        answer = clean.ask()
    assert (answer["exit"], answer["reason"]) == (
        2,
        "the database cannot be used: database is locked",
    )


def test_a_database_in_use(clean):
    with held(clean, "IMMEDIATE"):
        assert clean.ask()["exit"] == 0


FROZEN = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" "$0" && exec "$@"'


@linux
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_folder_that_may_not_be_written_to(clean, tmp_path, mode):
    clean.query(f"PRAGMA journal_mode = {mode}")
    for name in ("memtomem.db-wal", "memtomem.db-shm"):
        clean.database.with_name(name).unlink(missing_ok=True)
    folder = clean.database.parent
    before = (*isolated(tmp_path / "runtime"), "sh", "-c", FROZEN, str(folder))
    answer = clean.ask(before=before)
    assert (answer["exit"], answer["others"], answer["checked"]) == (0, 0, 16)
    assert sorted(os.listdir(folder)) == ["config.json", "memtomem.db"]
    put(clean, "old/n03.md", ANOTHER)
    answer = clean.as_answer(clean.run("--repair", "--yes", "--json", before=before))
    assert (answer["exit"], answer["repair"]["written"]) == (2, 0), answer


@linux
def test_a_log_that_cannot_be_read_is_not_left_out(clean, tmp_path):
    """In a folder without write access SQLite would have to leave the newest rows out."""
    other = sqlite3.connect(clean.database, isolation_level=None)
    other.execute("UPDATE chunks SET access_count = 5")
    shutil.copy(clean.database.with_name("memtomem.db-wal"), tmp_path / "wal")
    other.close()
    shutil.copy(tmp_path / "wal", clean.database.with_name("memtomem.db-wal"))
    before = [*isolated(tmp_path / "run"), "sh", "-c", FROZEN, str(clean.database.parent)]
    answer = clean.ask(before=tuple(before))
    assert (answer["exit"], answer["verdict"]) == (2, "unknown")


def test_what_is_deleted_meanwhile_is_left_out(clean, embedder):
    """No snapshot is held: the log can be reset while texts are embedded."""
    stuck = while_asked(clean, embedder)
    assert clean.as_answer(clean.run("--json", "--all"))["exit"] == 0
    assert stuck and not any(stuck)


@pytest.mark.parametrize("verdict", ["clear", "live", "unknown"])
def test_it_asks_mm_preflight(clean, verdict):
    clean.env["STUB_VERDICTS"] = verdict
    answer = clean.ask()
    assert (answer["exit"], answer["preflight"]) == (0, verdict)
    assert ("An mm process is alive" in answer["text"]) == (verdict == "live")


# --- A real mixture, and back ---------------------------------------------------------------------


def world_of(server):
    """As reproduce_mix.py has it: searched by meaning alone, with the notes' own words."""
    return (*server, "meaning", "words")


@pytest.mark.slow
@pytest.mark.parametrize("version", [VERSION, "0.4.0"])
def test_what_a_live_mm_web_mixed_is_found_and_repaired(version, script, tmp_path, monkeypatch):
    """The steps of reproduce_mix.py up to the mixture; then nothing but what mm-postflight says."""
    monkeypatch.setattr(reproduce_mix, "BEGAN", time.monotonic())  # it has 15 minutes from there
    memtomem, folder = given(version), tmp_path.resolve() / "home"
    notes = reproduce_mix.make_notes(60, 707)
    with (
        reproduce_mix.embedding_server() as server,
        reproduce_mix.Lab(memtomem.program("mm"), folder, notes, world_of(server)) as lab,
    ):
        home = Home(folder, memtomem, server[0], script)
        home.env = home.env | lab.options["env"] | {"PATH": home.env["PATH"], "HOME": str(folder)}
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
        assert sum(lab.found(60)) < 35

        late = [str(lab.memories / f"note-{number:03}.md") for number in range(30, 60)]
        answer = home.ask()
        assert (answer["exit"], answer["others"], answer["checked"]) == (1, 30, 60)
        assert [each["path"] for each in answer["files"]] == late
        sampled = home.ask("--sample", "20")
        assert [each["path"] for each in sampled["files"]] == late

        answer = home.repair()
        assert (answer["exit"], answer["repair"]["written"]) == (0, 30)
        status, out, _ = home.postflight("--all")
        assert status == 0
        assert out == "mm-postflight: one model, all 60 vectors are what ollama/beta gives\n"
        assert lab.makers() == (["beta"] * 60, "beta")
        assert sum(lab.found(60)) == 60
