"""--repair: it brings a database to one model, changes nothing but vectors, and harms nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import reproduce_mix
from mm_postflight.records import Unknown
from real import VERSION, isolated
from support import SECONDS, WINDOWS, linux, not_on_windows, press_ctrl_c, until

from postflight.home import (
    DIMENSION,
    VERSIONS,
    Home,
    give,
    program,
    put,
    vector_of,
    while_asked,
    within,
)

ANOTHER = reproduce_mix.embed("alpha", "something else", DIMENSION)
NEW = [f"new/n{n:02}.md" for n in range(6)]


def tables(home: Home) -> dict[str, list]:
    """All that the database holds, but for where and what the vectors are."""
    with contextlib.closing(sqlite3.connect(home.database)) as connection:
        sql = "SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name"
        names = {n for n, made in connection.execute(sql) if "VIRTUAL" not in str(made)}
        held = {
            name: connection.execute(f"SELECT rowid, * FROM '{name}' ORDER BY rowid").fetchall()
            for name in names
            if not name.startswith("chunks_vec_") and has_rowid(connection, name)
            if name != "sqlite_sequence"  # counts the rows of chunks_vec's own tables
        }
        held["integrity"] = connection.execute("PRAGMA integrity_check").fetchall()
    assert "chunks" in held and "_memtomem_meta" in held
    return held


def has_rowid(connection: sqlite3.Connection, name: str) -> bool:
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute(f"SELECT rowid FROM '{name}' LIMIT 1")
        return True
    return False


def layout(home: Home) -> list:
    """Where each vector lies."""
    return home.query("SELECT rowid, chunk_id, chunk_offset FROM chunks_vec_rowids ORDER BY rowid")


def copied(home: Home, to: Path) -> None:
    """The same database in another place, by SQLite's own backup."""
    with (
        contextlib.closing(sqlite3.connect(to)) as copy,
        contextlib.closing(sqlite3.connect(home.database)) as source,
    ):
        source.backup(copy)


def backups(home: Home) -> list[str]:
    names = sorted(os.listdir(home.database.parent))
    return [name for name in names if "before-repair" in name]


def is_refused(home: Home, answer: dict, words: str) -> None:
    """2, nothing is written, no backup is left."""
    assert (answer["exit"], answer["verdict"]) == (2, "unknown"), answer
    assert words in answer["reason"], answer["reason"]
    assert answer["repair"]["written"] == 0
    assert backups(home) == []


# --- It repairs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_mixture(indexed, version, tmp_path):
    home = indexed(version, mixed=True).copy(tmp_path / "home")
    before, places, held = tables(home), layout(home), home.digest()
    answer = home.repair()
    assert (answer["exit"], answer["verdict"], answer["others"]) == (0, "one-model", 0), answer
    done = answer["repair"]
    assert (done["written"], done["left"], done["changed"]) == (6, 0, 0)
    assert (answer["preflight"], done["preflight_after"]) == ("clear", "clear")
    assert (tables(home), layout(home)) == (before, places)
    assert before["integrity"] == [("ok",)]
    assert home.ask("--all")["others"] == 0
    with contextlib.closing(sqlite3.connect(done["backup"])) as old:
        assert old.execute("SELECT count(*) FROM chunks").fetchone() == (16,)
    assert home.digest() != held
    said = home.mm("status") if version == VERSION else ""
    assert ("16/16 (100.0%)" in said) == (version == VERSION)
    assert "16 unchanged" in home.mm("index", home.notes) or "Unchanged" in home.mm("index", ".")
    assert "No mismatch" in home.mm("embedding-reset")


@pytest.mark.parametrize("version", VERSIONS)
def test_after_a_reset_all_vectors_are_made(indexed, version, tmp_path):
    """Nobody has to know the memory folders."""
    home = indexed(version).copy(tmp_path / "home")
    home.configure(model="gamma")
    yes = ["--yes"] if version in (VERSION, "0.5.0") else []
    reset = [home.memtomem.program("mm"), "embedding-reset", "--mode", "apply-current", *yes]
    subprocess.run(reset, env=home.env, input=b"y\n", check=True, capture_output=True)
    (home.notes / "old/n03.md").unlink()
    before = tables(home)
    answer = home.repair()
    assert (answer["exit"], answer["repair"]["written"], answer["vectors"]) == (0, 16, 16), answer
    assert answer["without_vector"] == 0
    assert tables(home) == before
    assert home.ask("--all")["checked"] == 16
    assert "No mismatch" in home.mm("embedding-reset")


def test_a_second_one_finds_nothing_to_write_and_makes_no_backup(mixed):
    assert mixed.repair()["exit"] == 0
    held, made = mixed.digest(), backups(mixed)
    again = mixed.repair()
    assert (again["exit"], again["repair"]["written"], again["repair"]["backup"]) == (0, 0, "")
    assert (mixed.digest(), backups(mixed)) == (held, made)
    assert len(made) == 1


def test_the_backup_is_the_database_as_it_was(mixed):
    """With its mode, its rowids, and not over a file."""
    mixed.database.chmod(0o640)
    rows = mixed.query("SELECT rowid, * FROM chunks")
    old = vector_of(mixed, NEW[0])
    place = mixed.repair()["repair"]["backup"]
    if not WINDOWS:
        assert stat.S_IMODE(os.stat(place).st_mode) == 0o640
    assert backups(mixed) == [os.path.basename(place)]
    with contextlib.closing(sqlite3.connect(place)) as copy:
        assert copy.execute("SELECT rowid, * FROM chunks").fetchall() == rows
    os.replace(place, mixed.database)
    for name in ("-wal", "-shm"):
        mixed.database.with_name(f"memtomem.db{name}").unlink(missing_ok=True)
    assert vector_of(mixed, NEW[0]) == old
    assert mixed.ask()["others"] == 6


def test_a_copy_is_repaired_like_any_other(mixed, tmp_path):
    copied(mixed, tmp_path / "copy.db")
    held = mixed.digest()
    answer = mixed.repair("--db", str(tmp_path / "copy.db"))
    assert (answer["exit"], answer["repair"]["written"], answer["configured"]) == (0, 6, False)
    assert "Database: " in answer["text"]
    assert mixed.digest() == held
    assert mixed.ask("--all", "--db", str(tmp_path / "copy.db"))["exit"] == 0


def test_a_broken_chunk_and_vectors_of_every_kind(clean):
    """Missing, zero, between, another's; headings that are no JSON are taken as none."""
    put(clean, "old/n00.md", ANOTHER)
    put(clean, "old/n01.md", [0.0] * DIMENSION)
    own = vector_of(clean, "old/n02.md")
    put(clean, "old/n02.md", [a + 0.4 * b for a, b in zip(own, ANOTHER, strict=True)])
    sql = "UPDATE chunks SET heading_hierarchy = '[' WHERE source_file LIKE '%n03.md'"
    clean.query(sql)
    with contextlib.closing(sqlite3.connect(clean.database)) as connection:
        connection.execute("PRAGMA user_version = 7")
    answer = clean.ask("--all")
    assert (answer["others"], answer["relatives"]) == (2, 3), answer
    answer = clean.repair()
    assert (answer["exit"], answer["repair"]["written"]) == (0, 5), answer
    assert clean.query("PRAGMA user_version") == [(7,)]


def test_tags_namespaces_and_ids_stay(mixed):
    mixed.query("UPDATE chunks SET tags = '[\"renamed\"]', namespace = 'work' WHERE rowid = 12")
    before = tables(mixed)
    assert mixed.repair()["exit"] == 0
    assert tables(mixed) == before


# --- It refuses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("verdicts", ["live", "unknown", "clear live", "clear unknown"])
def test_not_clear_before(mixed, verdicts):
    """Asked at the start, and once more when the database is closed, before anything is written."""
    mixed.env["STUB_VERDICTS"], held = verdicts, mixed.digest()
    answer = mixed.repair()
    is_refused(mixed, answer, "mm-preflight is not clear")
    assert answer["preflight"] == verdicts.split()[-1]
    assert mixed.digest() == held


def test_not_clear_after(mixed):
    mixed.env["STUB_VERDICTS"] = "clear clear live"
    answer = mixed.repair()
    assert (answer["exit"], answer["repair"]["written"]) == (0, 6)
    assert answer["repair"]["preflight_after"] == "live"
    assert "After the repair mm-preflight says live" in answer["text"]


def test_mm_preflight_is_asked_about_this_database(mixed, tmp_path):
    other = tmp_path / "other.db"
    copied(mixed, other)
    assert mixed.repair("--db", str(other))["exit"] == 0
    asked = Path(mixed.env["STUB_LOG"]).read_text().splitlines()
    assert asked == [f"['--json', '--db', {str(other)!r}]"] * 3


def test_without_mm_preflight(mixed, tmp_path):
    mixed.script = program(tmp_path / "apart")
    (mixed.script.parent / "mm_preflight" / "__main__.py").unlink()
    is_refused(mixed, mixed.repair(), "mm-preflight gave no answer")


def test_a_psutil_that_is_missing(mixed, tmp_path):
    """The real mm-preflight, under a Python that has none: it cannot tell."""
    mixed.script = program(tmp_path / "apart")
    real = os.path.join(os.path.dirname(reproduce_mix.__file__), "mm_preflight", "__main__.py")
    beside = mixed.script.parent / "mm_preflight" / "__main__.py"
    beside.write_text("import sys\nsys.modules['psutil'] = None\n" + Path(real).read_text())
    is_refused(mixed, mixed.repair(), "psutil")


@linux
def test_the_real_mm_preflight_and_a_live_mm(mixed, tmp_path):
    """In a process table of its own: refused beside `mm shell`, done after it."""
    scripts = os.path.dirname(reproduce_mix.__file__)
    command = [sys.executable, os.path.join(scripts, "mm_postflight"), "--repair", "--yes"]
    mm = mixed.memtomem.program("mm")
    code = f"""if True:
        import subprocess, time
        shell = subprocess.Popen([{mm!r}, "shell"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        shell.stdout.read(2)
        for _ in range(2):
            done = subprocess.run({command!r}, capture_output=True, text=True)
            print(done.returncode, done.stdout, done.stderr, flush=True)
            shell.stdin.close()
            shell.wait()
    """
    argv = [*isolated(tmp_path / "runtime"), sys.executable, "-c", code]
    done = subprocess.run(argv, env=mixed.env, capture_output=True, text=True, timeout=100)
    first, _, second = done.stdout.partition("\n0 ")
    assert first.startswith("2 "), done
    assert "mm-preflight is not clear: alive: mm shell (pid" in " ".join(first.split())
    assert "Made anew: 6 vectors." in second, done
    assert "After the repair" not in second


REFUSALS = {
    "another schema": ("UPDATE _memtomem_meta SET value = '2' WHERE key = 'schema_version'", "2"),
    "no schema": ("DELETE FROM _memtomem_meta WHERE key = 'schema_version'", "none"),
    "another policy": (
        "UPDATE _memtomem_meta SET value = 'ollama:v2' WHERE key = 'embedding_policy_fingerprint'",
        "ollama:v2",
    ),
    "no policy": (
        "DELETE FROM _memtomem_meta WHERE key = 'embedding_policy_fingerprint'",
        "policy none",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_another_state_than_memtomem_writes_into(mixed, what):
    sql, words = REFUSALS[what]
    mixed.query(sql)
    held = mixed.digest()
    answer = mixed.repair()
    is_refused(mixed, answer, words)
    assert "mm index --force" in answer["reason"]
    assert mixed.digest() == held
    assert mixed.ask()["exit"] == 1  # a check reads it all the same


@pytest.mark.parametrize(("made_by", "run_by"), [(VERSION, "0.5.0"), ("0.5.0", VERSION)])
def test_an_older_and_a_newer_memtomem_on_path(indexed, made_by, run_by, tmp_path):
    home, other = indexed(made_by, mixed=True).copy(tmp_path / "home"), indexed(run_by)
    held = home.digest()
    home.env["PATH"] = other.env["PATH"]
    is_refused(home, home.repair(), "schema version")
    assert home.digest() == held


def test_a_release_that_was_not_tried(mixed):
    within(mixed, "import memtomem\nmemtomem.__version__ = '0.6.13'")
    is_refused(mixed, mixed.repair(), "this is memtomem 0.6.13")


def test_a_max_sequence_that_changed_is_another_embedding(clean):
    """Under ONNX the policy has it in it; the same name is then another model."""
    clean.configure(provider="onnx", model="all-MiniLM-L6-v2", max_sequence_tokens=128)
    for key, value in {
        "embedding_provider": "onnx",
        "embedding_model": "all-MiniLM-L6-v2",
        "embedding_policy_fingerprint": "onnx:v1:max_sequence_tokens=256",
    }.items():
        clean.query("UPDATE _memtomem_meta SET value = ? WHERE key = ?", value, key)
    is_refused(clean, clean.repair(), "max_sequence_tokens=256, and the configuration says")


def test_the_question(mixed):
    held = mixed.digest()
    status, _, err = mixed.run("--repair")
    assert (status, mixed.digest()) == (2, held)
    assert "add --yes" in err
    if WINDOWS:
        return
    shown = mixed.on_terminal("--repair", typed="n\n")
    assert "6 vectors of" in shown and "Repair? [y/N]" in shown
    assert "Nothing was written, because the answer was no." in shown
    assert mixed.digest() == held
    process = mixed.started("--repair", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert process.wait(SECONDS) == 2
    assert "Made anew: 6 vectors." in mixed.on_terminal("--repair", typed="y\n")
    assert mixed.ask("--all")["exit"] == 0


@not_on_windows("has no pty in Python")
def test_no_ends_in_1(mixed):
    answer = mixed.as_answer
    shown = mixed.on_terminal("--repair", "--json", typed="\n")
    told = answer((1, shown[shown.index("{\n") :], ""))
    assert (told["verdict"], told["repair"]["declined"], backups(mixed)) == ("mixed", True, [])


def test_a_database_that_matches_nothing_is_asked_about_otherwise(clean, embedder):
    embedder.answer = lambda _, texts: give("gamma", texts)
    status, _, err = clean.run("--repair")
    assert status == 2
    words = " ".join(err.split())
    assert "the configuration is the likelier fault. Is ollama/beta the model that you" in words


# --- Nothing is lost ------------------------------------------------------------------------------


def while_writing(home: Home, tmp_path, code: str, when: int = 2) -> None:
    """Have this run in place of the `when`th batch's embedding, and batches of two."""
    home.script = program(
        tmp_path / "apart",
        check=("BATCH = 32", "BATCH = 2"),
        repair=(
            "        pairs = self.embed(rows)\n",
            f"        pairs = self.embed(rows)\n        self.turn = getattr(self, 'turn', 0) + 1\n"
            f"        if self.turn == {when}:\n            {code}\n",
        ),
    )


OTHERS = """import sqlite3; c = sqlite3.connect(self.path); c.execute(\"{sql}\"); c.commit()"""
LOST = {
    "text": "UPDATE chunks SET content = 'a newer text' WHERE source_file LIKE '%new_n02.md'",
    "headings": "UPDATE chunks SET heading_hierarchy = '[]' WHERE source_file LIKE '%new_n02.md'",
    "rowid used again": "UPDATE chunks SET id = 'another' WHERE source_file LIKE '%new_n02.md'",
    "deleted": "DELETE FROM chunks WHERE source_file LIKE '%new_n02.md'",
    "vector": "UPDATE chunks_vec_vector_chunks00 SET vectors = zeroblob(length(vectors))",
    "vector gone": "DELETE FROM chunks_vec_rowids WHERE rowid = 13",
}


@pytest.mark.parametrize("what", LOST)
def test_what_another_process_writes_meanwhile_is_left(mixed, tmp_path, what):
    """Between the embedding of a batch and its transaction."""
    ((row,),) = mixed.query("SELECT rowid FROM chunks WHERE source_file LIKE '%new_n02.md'")
    assert row == 13
    while_writing(mixed, tmp_path, OTHERS.format(sql=LOST[what]))
    answer = mixed.repair()
    done = answer["repair"]
    assert done["changed"] >= 1, answer
    assert "Changed by another program meanwhile" in answer["text"]
    assert answer["exit"] == (0 if what == "deleted" else 1), answer
    held = mixed.query("SELECT id, content FROM chunks WHERE rowid = 13")
    if what == "text":
        assert held[0][1] == "a newer text"
    if what == "vector":
        assert not any(vector_of(mixed, "new/n02.md")) and not any(vector_of(mixed, "old/n00.md"))


def test_a_reset_between_two_batches(mixed, tmp_path):
    sql = "UPDATE _memtomem_meta SET value = 'gamma' WHERE key = 'embedding_model'"
    while_writing(mixed, tmp_path, OTHERS.format(sql=sql))
    answer = mixed.repair()
    assert (answer["exit"], answer["repair"]["written"]) == (2, 2), answer
    assert "settings in the database changed meanwhile" in answer["reason"]
    assert "Made anew: 2 vectors." in answer["text"]
    mixed.query("UPDATE _memtomem_meta SET value = 'beta' WHERE key = 'embedding_model'")
    assert mixed.ask("--all")["others"] == 4


def test_a_real_reset_between_two_batches(mixed, tmp_path):
    mm = mixed.memtomem.program("mm")
    code = f"import subprocess; subprocess.run([{mm!r}, 'embedding-reset', '--mode', "
    code += "'apply-current', '--yes'], check=True, capture_output=True)"
    whole = mixed.script
    while_writing(mixed, tmp_path, code)
    mixed.repair()
    mixed.script = whole
    assert mixed.query("SELECT count(*) FROM chunks_vec_rowids") == [(0,)]
    assert mixed.repair()["exit"] == 0
    assert mixed.ask("--all")["checked"] == 16


def test_what_changes_between_check_and_writing_is_left(mixed, tmp_path):
    """Before a batch is read again, too: what was judged is not there any more."""
    sql = "UPDATE chunks SET content = 'a newer text' WHERE source_file LIKE '%new_n05.md'"
    mixed.script = program(
        tmp_path / "apart",
        repair=(
            "            require_clear(found, self.options.inside)\n",
            "            require_clear(found, self.options.inside)\n"
            f"            {OTHERS.format(sql=sql)}\n",
        ),
    )
    held = vector_of(mixed, "new/n05.md")
    answer = mixed.repair()
    done = answer["repair"]
    assert (answer["exit"], done["changed"], done["written"], done["left"]) == (1, 1, 5, 1), answer
    assert vector_of(mixed, "new/n05.md") == held


def test_no_lock_is_held_while_texts_are_embedded(mixed, embedder):
    """Another process writes, and resets the log, at any time."""
    stuck = while_asked(mixed, embedder)
    answer = mixed.repair()
    assert (answer["exit"], answer["repair"]["written"]) == (0, 6), answer
    assert len(stuck) > 5 and not any(stuck)


def test_a_database_that_stays_locked(mixed, tmp_path):
    code = "import sqlite3; self.other = sqlite3.connect(self.path, isolation_level=None); "
    code += "self.other.execute('BEGIN IMMEDIATE')"
    while_writing(mixed, tmp_path, code)
    path = mixed.script / "database.py"
    path.write_text(path.read_text().replace("WAIT = 10.0", "WAIT = 0.5"))
    answer = mixed.repair()
    assert (answer["exit"], answer["repair"]["written"]) == (2, 2), answer
    assert "database is locked" in answer["reason"]
    assert mixed.ask("--all")["others"] == 4


def test_it_waits_for_a_lock_as_memtomem_does(mixed, tmp_path):
    code = "import sqlite3, threading; self.other = sqlite3.connect(self.path, "
    code += "isolation_level=None, check_same_thread=False); self.other.execute('BEGIN IMMEDIATE')"
    code += "; threading.Timer(1.5, lambda: self.other.execute('COMMIT')).start()"
    while_writing(mixed, tmp_path, code)
    assert mixed.repair()["exit"] == 0


def test_two_at_once(mixed, embedder):
    """Neither harms: each vector is right, and what one wrote the other leaves."""
    embedder.answer = lambda model, texts: (time.sleep(0.05), give(model, texts))[1]
    pair = [
        mixed.started("--repair", "--yes", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in pair:
        process.communicate(timeout=60)
    assert {process.returncode for process in pair} <= {0, 1, 2}
    embedder.answer = give
    answer = mixed.ask("--all")
    assert (answer["exit"], answer["others"]) == (0, 0)
    assert mixed.query("PRAGMA integrity_check") == [("ok",)]


@not_on_windows("has no SIGKILL")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_the_middle(mixed, tmp_path, how):
    """Within a transaction: whole batches are there, the rest is as it was, and again is enough."""
    whole = mixed.script
    mixed.script = program(
        tmp_path / "apart",
        check=("BATCH = 32", "BATCH = 2"),
        writing=(
            "                    written.append(row",
            "                    self.n = getattr(self, 'n', 0) + 1\n"
            f"                    import os; self.n == 4 and os.kill(os.getpid(), {int(how)})\n"
            "                    written.append(row",
        ),
    )
    status, out, _ = mixed.run("--repair", "--yes")
    mixed.script = whole
    assert (status, out) == (-how, "")
    assert mixed.query("PRAGMA integrity_check") == [("ok",)]
    assert mixed.ask("--all")["others"] == 4
    answer = mixed.repair()
    assert (answer["exit"], answer["repair"]["written"]) == (0, 4)


def test_ctrl_c_in_the_middle(mixed, embedder, tmp_path):
    mixed.script = program(tmp_path / "apart", check=("BATCH = 32", "BATCH = 2"))
    gone = []

    def answer(model, texts):
        if backups(mixed) and not gone and len(texts) == 3:  # the writing's second request
            gone.append(1)
        elif gone:
            gone.append(2)
            time.sleep(30 if len(gone) == 2 else 0)
        return give(model, texts)

    embedder.answer = answer
    process = mixed.started("--repair", "--yes", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: len(gone) == 2, "the second batch")
    press_ctrl_c(process)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "unknown, stopped by Ctrl-C" in err and "Made anew: 2 vectors." in err
    embedder.answer = give
    assert mixed.ask("--all")["others"] == 4


def test_an_embedder_that_fails_half_way(mixed, embedder, tmp_path):
    mixed.script = program(tmp_path / "apart", check=("BATCH = 32", "BATCH = 2"))
    written = []

    def answer(model, texts):
        written.extend(texts if backups(mixed) else [])
        return (404, None) if len(written) > 5 else give(model, texts)

    embedder.answer = answer
    answer = mixed.repair()
    assert answer["exit"] in (1, 2), answer
    assert answer["repair"]["written"] == 2
    embedder.answer = give
    assert mixed.ask("--all")["others"] == 4


SWAPS = {
    "another order": lambda texts: [
        v for _, v in sorted(zip(texts, give("beta", texts)[1], strict=True))
    ],
    "one for all": lambda texts: [give("beta", ["x"])[1][0]] * len(texts),
    "sorted": lambda texts: sorted(give("beta", texts)[1]),
    "the next one's": lambda texts: give("beta", texts[1:] + texts[:1])[1],
}


@pytest.mark.parametrize("what", SWAPS)
def test_an_embedder_that_comes_to_be_at_fault(mixed, embedder, what):
    """It passes the check, and then gives wrong vectors: none of them is written."""
    held = [vector_of(mixed, name) for name in NEW]

    def answer(model, texts):
        return (200, SWAPS[what](texts)) if backups(mixed) else give(model, texts)

    embedder.answer = answer
    answer = mixed.repair()
    assert (answer["exit"], answer["repair"]["written"]) == (2, 0), answer
    assert "the embedder is at fault" in answer["reason"]
    assert [vector_of(mixed, name) for name in NEW] == held


def test_another_model_that_answers_from_the_first_write_on(mixed, embedder):
    """As after `ollama pull` while the question waits: nothing of it is written."""
    held = [vector_of(mixed, name) for name in NEW]
    embedder.answer = lambda _, texts: give("gamma" if backups(mixed) else "beta", texts)
    answer = mixed.repair()
    assert (answer["exit"], answer["repair"]["written"]) == (2, 0), answer
    assert "another model may answer now" in answer["reason"]
    assert [vector_of(mixed, name) for name in NEW] == held


def test_an_embedder_that_is_not_steady_writes_nothing(mixed, embedder):
    def answer(model, texts):
        noise = [reproduce_mix.embed("noise", f"{time.time()}{n}", DIMENSION) for n in range(99)]
        pairs = zip(give(model, texts)[1], noise, strict=False)
        return 200, [[a + 0.12 * b for a, b in zip(*pair, strict=True)] for pair in pairs]

    embedder.answer, held = answer, mixed.digest()
    answer = mixed.repair()
    is_refused(mixed, answer, "not steady")
    assert mixed.digest() == held


# --- The disk -------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("megabytes", [1, 2])
def test_a_full_disk(mixed, tmp_path, megabytes):
    """No room for the backup: nothing is written, and no half of one is left."""
    size = mixed.database.stat().st_size
    room = (1.3 if megabytes == 1 else 2.02) * size  # below the backup's, and just above it
    folder = mixed.database.parent
    inside = f"""set -e; cp -a {folder} {tmp_path}/saved
        mount -t tmpfs -o size={int(room)} none {folder}
        cp -a {tmp_path}/saved/. {folder}/
        set +e; "$@"; status=$?; ls {folder} > {tmp_path}/listed
        cp -a {folder}/memtomem.db* {tmp_path}/saved/; exit $status"""
    before = (*isolated(tmp_path / "run"), "sh", "-c", inside, "sh")
    answer = mixed.as_answer(mixed.run("--repair", "--yes", "--json", before=before))
    listed = (tmp_path / "listed").read_text().split()
    assert not [name for name in listed if "partial" in name]
    done = answer["repair"]
    if megabytes == 1:
        assert (answer["exit"], done["written"]) == (2, 0), answer
        assert "there is no backup, because" in answer["reason"]
        assert "full" in answer["reason"] or "No space" in answer["reason"]
        assert not [name for name in listed if "before-repair" in name]
    else:
        assert answer["exit"] in (0, 2), answer
        assert (done["written"] == 6) == (answer["exit"] == 0)
    with contextlib.closing(sqlite3.connect(tmp_path / "saved" / "memtomem.db")) as held:
        assert held.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_backup_that_waits_for_a_lock_is_given_up(tmp_path):
    from mm_postflight import backup as room

    path = Path(tmp_path, "memtomem.db")
    with (
        contextlib.closing(sqlite3.connect(path, timeout=0.1)) as source,
        contextlib.closing(
            sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        ) as other,
    ):
        other.execute("CREATE TABLE t (x)")
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(3, other.execute, ("COMMIT",))  # else it would wait for ever
        timer.start()
        with pytest.raises(Unknown, match="the database is locked\nNothing was written"):
            room.backup(source, path)
        timer.join()
    assert os.listdir(tmp_path) == ["memtomem.db"]


def test_a_backup_is_never_written_over_a_file(tmp_path, monkeypatch):
    from mm_postflight import backup as room

    monkeypatch.setattr(time, "strftime", lambda *_: "NOW")
    path = Path(tmp_path, "memtomem.db")
    with contextlib.closing(sqlite3.connect(path)) as source:
        source.execute("CREATE TABLE t (x)")
        (tmp_path / "memtomem.db.before-repair-NOW").write_text("mine")
        first, second = room.backup(source, path), room.backup(source, path)
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("none here")))
        third = room.backup(source, path)
    names = ["memtomem.db", *(f"memtomem.db.before-repair-NOW{n}" for n in ("", "-1", "-2", "-3"))]
    assert sorted(os.listdir(tmp_path)) == names
    assert (tmp_path / names[1]).read_text() == "mine"
    assert [os.path.basename(each) for each in (first, second, third)] == names[2:]


# --- What leaves the machine ----------------------------------------------------------------------


def as_if_away(home: Home, tmp_path) -> None:
    """As a provider anywhere, whose address is this machine's all the same."""
    home.script = program(
        tmp_path / "apart",
        consent=('LOCAL = r"https?://(localhost|', 'LOCAL = r"https?://(nowhere|'),
    )
    text = (home.script / "consent.py").read_text()
    (home.script / "consent.py").write_text(text.replace(r"127\.[\d.]+|", ""))


def test_texts_that_do_not_leave_this_machine(mixed, embedder, tmp_path):
    as_if_away(mixed, tmp_path)
    mixed.as_openai(mixed.url)
    (mixed.notes / "new/n00.md").unlink()
    (mixed.notes / "new/n01.md").write_text("api_key = hush-hush-hush\n")
    sql = "UPDATE chunks SET content = 'password: hush' WHERE source_file LIKE ?"
    mixed.query(sql, "%new_n02.md")
    ((gone,), (secret,)) = (
        mixed.query("SELECT content FROM chunks WHERE source_file LIKE ?", f"%{name}")[0]
        for name in ("new_n00.md", "new_n01.md")
    )
    refused = mixed.as_answer(mixed.run("--repair", "--yes", "--json"))
    is_refused(mixed, refused, "13 texts or more would go to")
    assert embedder.sent == []
    answer = mixed.repair("--send")
    done = answer["repair"]
    assert (answer["exit"], done["written"], done["left"]) == (1, 3, 3), answer
    assert (done["gone"], done["held"]) == (1, 2)
    sent = "\n".join(text for texts in embedder.sent for text in texts)
    assert not [text for text in (gone, secret, "hush") if text in sent]
    assert "because their file is gone: 1 text" in " ".join(answer["text"].split())


def test_send_and_yes_are_two_questions(mixed, embedder, tmp_path):
    as_if_away(mixed, tmp_path)
    mixed.as_openai(mixed.url)
    told = mixed.as_answer(mixed.run("--repair", "--send", "--json"))
    is_refused(mixed, told, "add --yes")
    assert embedder.sent


def test_on_this_machine_all_texts_are_embedded(mixed):
    (mixed.notes / "new/n00.md").unlink()
    mixed.query("UPDATE chunks SET content = 'password: hush' WHERE source_file LIKE '%new_n02.md'")
    answer = mixed.repair()
    assert (answer["exit"], answer["repair"]["written"]) == (0, 6)
