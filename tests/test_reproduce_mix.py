"""The reproduction: its parts, the whole on the real memtomem, and what that one never does."""

import contextlib
import importlib.util
import json
import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from real import VERSION, real
from support import (
    SECONDS,
    WINDOWS,
    press_ctrl_c,
    start_in_foreground,
    until,
    write_program,
)

__all__ = ["real"]  # the fixture

HERE = Path(__file__).parent
SCRIPT = HERE.parent / "scripts" / "reproduce_mix.py"
CLEAR = {"schema_version": 1, "verdict": "clear", "reason": None, "processes": []}

spec = importlib.util.spec_from_file_location("reproduce_mix", SCRIPT)
mix = sys.modules["reproduce_mix"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mix)


def test_it_is_one_file_that_can_be_read_at_a_sitting():
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) <= 500


# --- The embedding models and their server -----------------------------------------------------


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_a_model_gives_the_same_unit_vector_for_the_same_words_in_any_order():
    vector = mix.embed("alpha", "Kivoted, zumbral")
    assert vector == mix.embed("alpha", "zumbral kivoted")
    assert len(vector) == mix.DIMENSION
    assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-6)


def test_a_synonym_means_the_same_and_is_another_word():
    note = mix.make_notes(1, seed=1)[0]
    words = note.split()
    synonyms = [mix.synonym(word) for word in words]
    assert not set(words) & set(synonyms)
    for model in ("alpha", "beta"):
        assert mix.embed(model, " ".join(synonyms)) == mix.embed(model, note)


def test_half_of_a_note_is_near_it_within_a_model_and_nowhere_in_the_other():
    note = mix.make_notes(1, seed=1)[0]
    half = " ".join(note.split()[:6])
    assert cosine(mix.embed("alpha", half), mix.embed("alpha", note)) > 0.5
    assert abs(cosine(mix.embed("beta", half), mix.embed("alpha", note))) < 0.3


def test_a_text_without_words_has_a_vector():
    assert math.isclose(math.hypot(*mix.embed("alpha", "—")), 1, abs_tol=1e-6)


@pytest.mark.parametrize("count", [10, 60, 400])
def test_notes_depend_on_the_seed_alone_and_share_no_word(count):
    notes = mix.make_notes(count, seed=707)
    assert notes == mix.make_notes(count, seed=707) != mix.make_notes(count, seed=708)
    words = " ".join(notes).split()
    assert len(notes) == count
    assert len(words) == len(set(words)) == count * 12


def ask(url, content):
    request = urllib.request.Request(url, data=json.dumps(content).encode())
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def test_the_server_embeds_over_loopback_and_remembers_who_made_what():
    with mix.embedding_server() as (url, made):
        assert url.startswith("http://127.0.0.1:")
        answer = ask(f"{url}/api/embed", {"model": "alpha", "input": ["one two", "three"]})
        vectors = [list(mix.embed("alpha", text)) for text in ("one two", "three")]
        assert answer["embeddings"] == vectors
        ask(f"{url}/api/embed", {"model": "beta", "input": ["one two"]})
        assert made[mix.embed("alpha", "one two").tobytes()] == "alpha"
        assert made[mix.embed("beta", "one two").tobytes()] == "beta"
        assert len(made) == 3


def test_it_serves_other_models_too():
    with mix.embedding_server(**{"bge-m3": 1024}) as (url, made):
        answer = ask(f"{url}/api/embed", {"model": "bge-m3", "input": ["one"]})
        assert [len(vector) for vector in answer["embeddings"]] == [1024]
        assert list(made.values()) == ["bge-m3"]


@pytest.mark.parametrize("path, model", [("/api/embed", "gamma"), ("/api/chat", "alpha")])
def test_the_server_knows_no_other_model_and_no_other_page(path, model):
    with mix.embedding_server() as (url, made):
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(url + path, {"model": model, "input": ["x"]})
        refused.value.close()
        assert refused.value.code == 404
        assert not made


# --- Measuring and judging ---------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path):
    """A lab around a database that the test fills; nothing is run in it."""
    notes = mix.make_notes(4, seed=1)
    made = {mix.embed(m, n).tobytes(): m for n in notes for m in ("alpha", "beta")}
    return mix.Lab("mm", tmp_path, notes, ("", made, "meaning", "words"))


def fill(lab, models, offset=0):
    """One note per model, laid out as sqlite-vec 0.1 does beneath a vec0 table."""
    with contextlib.closing(sqlite3.connect(lab.database)) as connection, connection:
        connection.executescript(
            """
            CREATE TABLE chunks (id TEXT PRIMARY KEY, source_file TEXT);
            CREATE TABLE _memtomem_meta (key TEXT PRIMARY KEY, value TEXT);
            INSERT INTO _memtomem_meta VALUES ('embedding_model', 'beta');
            CREATE TABLE chunks_vec_rowids
                (rowid INTEGER PRIMARY KEY, id, chunk_id INTEGER, chunk_offset INTEGER);
            CREATE TABLE chunks_vec_vector_chunks00 (rowid PRIMARY KEY, vectors BLOB NOT NULL);
            """
        )
        size = 4 * mix.DIMENSION
        blob = bytearray(size * 1024)
        for number, model in enumerate(models):
            name = str(lab.memories / f"note-{number:03}.md")
            connection.execute("INSERT INTO chunks VALUES (?, ?)", (str(number), name))
            if model:
                place = (offset + number) * size
                blob[place : place + size] = mix.embed(model, lab.notes[number]).tobytes()
                where = (number + 1, 1, offset + number)
                connection.execute("INSERT INTO chunks_vec_rowids VALUES (?, NULL, ?, ?)", where)
        table = "chunks_vec_vector_chunks00 (_rowid_, vectors)"
        connection.execute(f"INSERT INTO {table} VALUES (1, ?)", (blob,))


@pytest.mark.parametrize("questions", ["words", "synonyms"])
def test_what_is_asked_and_what_counts_as_found(lab, monkeypatch, questions):
    """The note's own words must come back, whichever words it was asked for."""
    lab.questions, lab.half = questions, 4
    asked = []

    def run(*_argv, answer):
        asked.extend(line.removeprefix("search ") for line in answer.splitlines()[:-1])
        found = "\n 2 results\n  [1] {}\n  [2] {}\nmm> "
        return 0, "mm> " + "".join(found.format("other", lab.notes[n]) for n in (0, 1, 3, 3)), ""

    monkeypatch.setattr(lab, "run", run)
    assert lab.found(4) == [True, True, False, True]
    words = [" ".join(note.split()[:6]) for note in lab.notes]
    other = [" ".join(map(mix.synonym, each.split())) for each in words]
    assert asked == (words if questions == "words" else other)


@pytest.mark.parametrize("search, bm25", [("meaning", {"enable_bm25": False}), ("default", {})])
def test_memtomems_own_search_is_left_alone_if_asked(lab, search, bm25):
    lab.search = search
    lab.configure("alpha")
    config = json.loads(lab.database.with_name("config.json").read_text(encoding="utf-8"))
    assert config["search"] == bm25


@pytest.mark.parametrize("offset", [0, 1000])
def test_who_made_each_vector_is_read_without_an_extension(lab, offset):
    fill(lab, ["alpha", "beta", None, "alpha"], offset)
    assert lab.makers() == (["alpha", "beta", None, "alpha"], "beta")


def test_a_vector_that_no_model_made_is_not_counted_as_anything(lab):
    fill(lab, ["alpha", "gamma"])
    with pytest.raises(mix.CannotTell, match="neither alpha nor beta"):
        lab.makers()


def test_a_note_in_two_chunks_is_not_counted_twice(lab):
    fill(lab, ["alpha", "beta"])
    with contextlib.closing(sqlite3.connect(lab.database)) as connection, connection:
        connection.execute("UPDATE chunks SET source_file = 'note-000.md'")
    with pytest.raises(mix.CannotTell, match="more than one chunk"):
        lab.makers()


def test_a_database_of_another_layout_is_said_to_be_one(lab):
    sqlite3.connect(lab.database).close()
    with pytest.raises(mix.CannotTell, match="not laid out as"):
        lab.makers()


def row(step, alpha, beta, missing, model):
    counts = {"alpha": alpha, "beta": beta, "missing": missing}
    return {"step": step, "label": step, "database_model": model, **counts}


FORCED = row("reindexed", 0, 30, 0, "beta")


@pytest.mark.parametrize(
    ("without", "behind", "refusal", "verdict"),
    [
        pytest.param([FORCED, row("second-half", 30, 30, 0, "beta")], [], "", "needed", id="mixed"),
        pytest.param(
            [FORCED, row("second-half", 1, 59, 0, "beta")], [], "", "needed", id="one-stray-vector"
        ),
        pytest.param(
            [row("reindexed", 0, 0, 30, "beta"), row("second-half", 30, 0, 30, "beta")],
            [],
            "",
            "needed",
            id="as-0.1.34-where-force-makes-no-vectors",
        ),
        pytest.param(
            [FORCED, row("second-half", 0, 60, 0, "beta")], [], "", "not-needed", id="reloaded"
        ),
        pytest.param([], [], "it refuses the reset", "not-needed", id="reset-guarded"),
        pytest.param(
            [FORCED, row("second-half", 0, 30, 0, "beta")],
            [],
            "the old `mm web` refused",
            "not-needed",
            id="indexing-declined",
        ),
        pytest.param(
            [FORCED, row("second-half", 0, 30, 0, "beta")], [], "", "unknown", id="indexed-nothing"
        ),
        pytest.param(
            [FORCED, row("second-half", 0, 30, 30, "beta")], [], "", "unknown", id="no-vectors"
        ),
        pytest.param(
            [FORCED, row("second-half", 0, 45, 0, "beta")], [], "", "unknown", id="only-part-of-it"
        ),
        pytest.param(
            [FORCED, row("second-half", 30, 30, 0, "alpha")], [], "", "unknown", id="says-alpha"
        ),
        pytest.param([FORCED], [], "", "unknown", id="ended-early"),
        pytest.param(
            [FORCED, row("second-half", 30, 30, 0, "beta")],
            [row("indexed", 30, 0, 0, "alpha"), row("second-half", 1, 59, 0, "beta")],
            "",
            "unknown",
            id="mixed-behind-the-preflight",
        ),
    ],
)
def test_judge(without, behind, refusal, verdict):
    report = {"notes": 60, "without_preflight": without, "with_preflight": behind}
    assert mix.judge(report, refusal)[0] == verdict


def test_exit_status_of_each_verdict():
    assert mix.EXIT == {"needed": 0, "unknown": 2, "not-needed": 3}


def test_nothing_of_the_users_settings_reaches_a_child(tmp_path, monkeypatch):
    names = ("MEMTOMEM_STORAGE__SQLITE_PATH", "OPENAI_API_KEY", "HTTPS_PROXY", "XDG_DATA_HOME")
    for name in names:
        monkeypatch.setenv(name, "/home/ana/secret")
    given = mix.environment(tmp_path)
    assert "/home/ana/secret" not in given.values()
    assert given["PATH"] == os.environ["PATH"]
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "TMPDIR", "TEMP"):
        assert Path(given[name]).is_relative_to(tmp_path)


# --- The whole, on the real memtomem -----------------------------------------------------------


def run(scratch, mm, *options):
    """Run the script with its temporary files in `scratch`; no process of its may be left."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--mm", str(mm), *options],
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=15 * SECONDS,
    )
    assert processes_below(scratch) == []
    return done


def processes_below(folder):
    """Processes that work in a folder: every child of the script does."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def proof(real, tmp_path_factory):
    """One run of the script on the real memtomem, its report, and the homes that it kept."""
    scratch = tmp_path_factory.mktemp("proof")
    done = run(scratch, real.program("mm"), "--notes", "20", "--json", "--keep")
    assert done.returncode == 0, done.stderr
    return done, json.loads(done.stdout), scratch


def figures(rows):
    return [(r["step"], r["alpha"], r["beta"], r["missing"], r["database_model"]) for r in rows]


@pytest.mark.slow
def test_a_live_mm_web_mixes_the_vectors_of_the_real_memtomem(proof):
    _, told, _ = proof
    assert (told["schema_version"], told["memtomem"], told["verdict"]) == (1, VERSION, "needed")
    assert told["reason"] == "10 of 20 vectors are alpha's while the database says beta"
    assert figures(told["without_preflight"]) == [
        ("indexed", 10, 0, 0, "alpha"),
        ("reset", 0, 0, 10, "beta"),
        ("reindexed", 0, 10, 0, "beta"),
        ("second-half", 10, 10, 0, "beta"),
        ("repaired", 0, 20, 0, "beta"),
    ]
    mixed, repaired = told["without_preflight"][3:]
    assert (mixed["found_first"], repaired["found_first"], repaired["found_second"]) == (10, 10, 10)
    assert mixed["found_second"] < 5


@pytest.mark.slow
def test_behind_the_preflight_nothing_mixes(proof):
    _, told, _ = proof
    assert figures(told["with_preflight"]) == [
        ("indexed", 10, 0, 0, "alpha"),
        ("refused", 10, 0, 0, "alpha"),
        ("reset", 0, 0, 10, "beta"),
        ("reindexed", 0, 10, 0, "beta"),
        ("second-half", 0, 20, 0, "beta"),
    ]
    assert told["with_preflight"][-1]["found_second"] == 10
    assert told["preflight"]["refused"] is told["preflight"]["named_mm_web"] is True
    assert told["preflight"]["exit_after_stop"] in (0, 1)  # 1: this machine has an mm of its own
    assert told["isolated"] is True


@pytest.mark.slow
def test_every_field_of_the_json_is_in_the_docstring(proof):
    _, told, _ = proof
    fields = {*told, *told["without_preflight"][0], *told["preflight"]}
    assert {name for name in fields if name not in mix.__doc__} == set()


@pytest.mark.slow
def test_keep_leaves_the_homes_and_says_where(proof):
    done, _, scratch = proof
    kept = Path(re.search(r"^kept: (.+)$", done.stderr, re.MULTILINE)[1])
    assert list(scratch.iterdir()) == [kept]
    for home in ("without", "with"):
        assert (kept / home / ".memtomem" / "memtomem.db").is_file()


@pytest.mark.slow
def test_the_table_fits_80_columns(proof):
    done, _, _ = proof
    lines = [line for line in done.stderr.splitlines() if not line.startswith("kept:")]
    assert max(map(len, lines)) <= 80
    assert "second half, old mm web still alive    10    10     0  beta       10/10" in done.stderr


# --- What the real one does not do: a stand-in -------------------------------------------------


@pytest.fixture
def standin(tmp_path):
    """Make an `mm` with one of the behaviours of standin_memtomem.py."""

    def make(behaviour):
        text = f"import sys\nsys.path.insert(0, {str(HERE)!r})\n"
        text += f"import standin_memtomem\nstandin_memtomem.main({behaviour!r})\n"
        return write_program(tmp_path, "mm", text)

    return make


@pytest.fixture
def work(tmp_path, standin, monkeypatch, capsys):
    """Do the work in this process, impatiently; its status, and what it printed, in one line."""

    def work(behaviour, *options):
        monkeypatch.setattr(mix, "BEGAN", time.monotonic())  # not when it was imported
        monkeypatch.setattr(mix, "WATCHER_LIMIT", 1)
        folder = tmp_path / "folder"
        argv = ["--mm", standin(behaviour), "--notes", "10", *options]
        status = mix.work(mix.parse(argv), folder)
        assert processes_below(folder) == []
        return status, " ".join("".join(capsys.readouterr()).split())

    return work


@pytest.mark.parametrize(
    ("behaviour", "status", "words"),
    [
        ("reloads", 3, "what the old `mm web` indexed after the reset is beta's"),
        ("guards", 3, "Error: mm web is running"),
        ("declines", 3, "the old `mm web` refused to index: model changed"),
        ("silent", 2, "did not index the second half"),
        ("taken", 2, "Stop it (`mm web stop`"),
        ("foreign", 2, "is not memtomem's mm"),
    ],
)
def test_verdict_of_each_behaviour(monkeypatch, work, behaviour, status, words):
    monkeypatch.setattr(mix, "find_preflight", lambda _: [])
    code, said = work(behaviour)
    assert code == status
    assert words in said
    assert "the half with it is left out" in said or status == 2


@pytest.mark.parametrize(
    ("code", "reason", "refused"),
    [
        (f"print({json.dumps(CLEAR)!r})", "missed the live `mm web`", False),
        ("pass", "could not tell, exit 0", None),
        ("raise SystemExit(2)", "could not tell, exit 2", None),
    ],
    ids=["blind", "no-json", "unknown"],
)
def test_a_preflight_that_does_not_do_its_work_makes_it_unknown(
    work, tmp_path, code, reason, refused
):
    preflight = write_program(tmp_path, "preflight", code)
    status, said = work("reloads", "--json", "--preflight", preflight)
    told = json.loads(said[said.index("{") : said.rindex("}") + 1])
    assert (status, told["verdict"]) == (2, "unknown")
    assert (told["search"], told["questions"]) == ("meaning", "words")
    assert reason in told["reason"]
    assert len(told["without_preflight"]) == 5
    assert (told["preflight"] or {"refused": None})["refused"] is refused


def test_where_the_preflight_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(mix, "__file__", str(tmp_path / "reproduce_mix.py"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert mix.find_preflight(None) == []
    (tmp_path / "path").mkdir()
    program = write_program(tmp_path / "path", "mm-preflight", "")
    monkeypatch.setenv("PATHEXT", ".exe")  # it is looked for as that is written
    assert mix.find_preflight(None) == [program]
    beside = tmp_path / "mm_preflight"
    beside.mkdir()
    assert mix.find_preflight(None) == [sys.executable, str(beside)]
    assert mix.find_preflight(f"{program} --quiet") == [program, "--quiet"]
    with pytest.raises(mix.CannotTell, match="was not found"):
        mix.find_preflight("nowhere/mm-preflight")
    monkeypatch.setattr(mix, "find_spec", lambda _: None)
    assert mix.find_preflight(None) == [program], "without psutil the one beside cannot run"


@pytest.mark.parametrize("form", ["text", "json"])
def test_missing_memtomem_is_said_with_the_remedy(tmp_path, form):
    done = run(tmp_path, tmp_path / "nowhere", *(["--json"] if form == "json" else []))
    assert done.returncode == 2
    assert "memtomem is missing" in done.stderr
    assert 'uv tool install "memtomem[web]"' in done.stderr
    if form == "json":
        told = json.loads(done.stdout)
        assert (told["verdict"], told["memtomem"]) == ("unknown", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("notes", ["9", "401", "many"])
def test_a_number_of_notes_that_makes_no_sense_is_refused(notes, capsys):
    with pytest.raises(SystemExit) as left:
        mix.parse(["--notes", notes])
    assert left.value.code == 2
    assert "--notes" in capsys.readouterr().err


# --- However it ends, nothing stays ------------------------------------------------------------


ENDS = {"SIGINT": 130, "SIGKILL": 1 if WINDOWS else -9}  # Windows has Ctrl-C, and its end at once
ENDS |= {} if WINDOWS else {"SIGTERM": -15, "SIGHUP": -1}


@pytest.mark.parametrize(("sent", "status"), ENDS.items())
@pytest.mark.parametrize("behaviour", ["stuck", "silent"])
def test_a_signal_leaves_no_process_and_no_folder(tmp_path, standin, behaviour, sent, status):
    """Once amid a command that has a child of its own, once with a live `mm web`."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    start = start_in_foreground if sent == "SIGINT" else subprocess.Popen
    script = start(
        [sys.executable, str(SCRIPT), "--mm", standin(behaviour), "--notes", "10", "--json"],
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        waited_for = "*/without/pids" if behaviour == "stuck" else "*/without/.memtomem/web-*"
        until(lambda: list(scratch.glob(waited_for)), waited_for)
        assert processes_below(scratch)
        if sent == "SIGINT":
            press_ctrl_c(script)
        else:
            script.send_signal(getattr(signal, sent, signal.SIGTERM))
        out, err = script.communicate(timeout=SECONDS)
    finally:
        script.kill()
        script.wait()
    assert script.returncode == status, err
    assert out == ""
    assert "Traceback" not in err
    until(lambda: not processes_below(scratch), "the end of all that it started")
    until(lambda: not list(scratch.iterdir()), "the removal of its folder")


def test_a_command_that_does_not_end_is_stopped_in_time(lab, monkeypatch):
    monkeypatch.setattr(mix, "COMMAND_LIMIT", 0.5)
    began = time.monotonic()
    with lab, pytest.raises(mix.CannotTell, match="took longer than 0 s"):
        lab.run(sys.executable, "-c", "import time; time.sleep(300)")
    assert time.monotonic() - began < 15
    assert processes_below(lab.home) == []


def test_all_of_it_ends_in_time(lab, monkeypatch):
    monkeypatch.setattr(mix, "TOTAL_LIMIT", 0.01)
    with lab, pytest.raises(mix.CannotTell, match="or all of it than"):
        lab.run(sys.executable, "-c", "import time; time.sleep(300)")
    assert processes_below(lab.home) == []
