"""The reproduction: its parts, its verdicts on a stand-in memtomem, and the whole on a real one.

The whole runs where MEMTOMEM_MM names the mm of a memtomem with its web extra.
"""

import contextlib
import dataclasses
import importlib.util
import json
import math
import os
import shlex
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

HERE = Path(__file__).parent
SCRIPT = HERE.parent / "scripts" / "reproduce_mix.py"
PREFLIGHT = shlex.join([sys.executable, str(SCRIPT.with_name("mm_preflight"))])
CLEAR = {"schema_version": 1, "verdict": "clear", "reason": None, "processes": []}
BLIND = shlex.join([sys.executable, "-c", f"print({json.dumps(CLEAR)!r})"])

spec = importlib.util.spec_from_file_location("reproduce_mix", SCRIPT)
mix = sys.modules["reproduce_mix"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mix)

posix_only = pytest.mark.skipif(os.name == "nt", reason="the stand-in mm is a #! script")


# --- The embedding models and their server -----------------------------------------------------


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_a_model_gives_the_same_unit_vector_for_the_same_words_in_any_order():
    vector = mix.embed("alpha", "Kivoted, zumbral")
    assert vector == mix.embed("alpha", "zumbral kivoted")
    assert len(vector) == mix.DIMENSION
    assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-6)


def test_a_vector_survives_being_stored_as_float32():
    vector = mix.embed("beta", "kivoted zumbral")
    assert list(mix.FLOATS.unpack(mix.FLOATS.pack(*vector))) == vector


def test_half_of_a_note_is_near_it_within_a_model_and_nowhere_in_the_other():
    note = mix.make_notes(1, seed=1)[0]
    half = " ".join(note.split()[:6])
    assert cosine(mix.embed("alpha", half), mix.embed("alpha", note)) > 0.5
    assert abs(cosine(mix.embed("beta", half), mix.embed("alpha", note))) < 0.3


def test_a_text_without_words_has_a_vector():
    assert math.isclose(math.hypot(*mix.embed("alpha", "—")), 1, abs_tol=1e-6)


def test_notes_depend_on_the_seed_alone_and_share_no_word():
    notes = mix.make_notes(60, seed=707)
    assert notes == mix.make_notes(60, seed=707) != mix.make_notes(60, seed=708)
    words = " ".join(notes).split()
    assert len(notes) == 60
    assert len(words) == len(set(words)) == 60 * 12


def ask(url, content=None):
    data = None if content is None else json.dumps(content).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=5) as answer:
        return json.load(answer)


def test_the_server_embeds_over_loopback_and_remembers_who_made_what():
    with mix.embedding_server() as (url, made):
        assert url.startswith("http://127.0.0.1:")
        answer = ask(f"{url}/api/embed", {"model": "alpha", "input": ["one two", "three"]})
        assert answer["embeddings"] == [mix.embed("alpha", "one two"), mix.embed("alpha", "three")]
        ask(f"{url}/api/embed", {"model": "beta:latest", "input": "one two"})
        assert made[mix.FLOATS.pack(*mix.embed("alpha", "one two"))] == "alpha"
        assert made[mix.FLOATS.pack(*mix.embed("beta", "one two"))] == "beta"
        assert len(made) == 3
        names = [model["model"] for model in ask(f"{url}/api/tags")["models"]]
        assert names == ["alpha", "beta"]


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        pytest.param("/api/embed", {"model": "gamma", "input": "x"}, 404, id="unknown-model"),
        pytest.param("/api/embed", {"model": "alpha"}, 400, id="no-input"),
        pytest.param("/api/embed", ["alpha"], 400, id="not-an-object"),
        pytest.param("/api/chat", {"model": "alpha", "input": "x"}, 404, id="unknown-endpoint"),
        pytest.param("/", None, 404, id="unknown-page"),
    ],
)
def test_the_server_refuses(path, content, status):
    with mix.embedding_server() as (url, made):
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(url + path, content)
        refused.value.close()
        assert refused.value.code == status
        assert not made


# --- Measuring and judging ---------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path):
    """A lab around a database that the test fills; nothing is run in it."""
    (tmp_path / ".memtomem").mkdir()
    notes = mix.make_notes(4, seed=1)
    made = {mix.FLOATS.pack(*mix.embed(m, n)): m for n in notes for m in ("alpha", "beta")}
    until = time.monotonic() + 60
    return mix.Lab("mm", tmp_path, "", made, notes, 2, mix.Children(), print, until)


def fill(lab, models, offset=0):
    """One note per model, laid out as sqlite-vec 0.1 does beneath a vec0 table."""
    with contextlib.closing(sqlite3.connect(lab.database)) as connection, connection:
        connection.executescript(
            """
            CREATE TABLE chunks (id TEXT PRIMARY KEY, source_file TEXT);
            CREATE TABLE chunks_vec_rowids
                (rowid INTEGER PRIMARY KEY, id, chunk_id INTEGER, chunk_offset INTEGER);
            CREATE TABLE chunks_vec_vector_chunks00 (rowid PRIMARY KEY, vectors BLOB NOT NULL);
            """
        )
        blob = bytearray(mix.FLOATS.size * 1024)
        for number, model in enumerate(models):
            name = str(lab.memories / f"note-{number:03}.md")
            connection.execute("INSERT INTO chunks VALUES (?, ?)", (str(number), name))
            if model:
                vector = mix.FLOATS.pack(*mix.embed(model, lab.notes[number]))
                place = (offset + number) * mix.FLOATS.size
                blob[place : place + len(vector)] = vector
                where = (number + 1, 1, offset + number)
                connection.execute("INSERT INTO chunks_vec_rowids VALUES (?, NULL, ?, ?)", where)
        table = "chunks_vec_vector_chunks00 (_rowid_, vectors)"
        connection.execute(f"INSERT INTO {table} VALUES (1, ?)", (blob,))


@pytest.mark.parametrize("offset", [0, 1000])
def test_who_made_each_vector_is_read_without_an_extension(lab, offset):
    fill(lab, ["alpha", "beta", None, "alpha"], offset)
    assert list(mix.makers(lab).values()) == ["alpha", "beta", None, "alpha"]


def test_a_vector_that_no_model_made_is_not_counted_as_anything(lab):
    fill(lab, ["alpha", "gamma"])
    with pytest.raises(mix.CannotTell, match="neither alpha nor beta"):
        mix.makers(lab)


def test_a_note_in_two_chunks_is_not_counted_twice(lab):
    fill(lab, ["alpha", "beta"])
    with contextlib.closing(sqlite3.connect(lab.database)) as connection, connection:
        connection.execute("UPDATE chunks SET source_file = 'note-000.md'")
    with pytest.raises(mix.CannotTell, match="more than one chunk"):
        mix.makers(lab)


def test_a_database_of_another_layout_is_said_to_be_one(lab):
    sqlite3.connect(lab.database).close()
    with pytest.raises(mix.CannotTell, match="not laid out as"):
        mix.makers(lab)


def row(step, alpha, beta, missing, model, first=0, second=None):
    return mix.Row(step, step, alpha, beta, missing, model, first, second)


FORCED = row("reindexed", 0, 30, 0, "beta")


@pytest.mark.parametrize(
    ("without", "behind", "declined", "verdict"),
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
def test_judge(without, behind, declined, verdict):
    findings = mix.Findings("1", True, declined, without, behind)
    assert mix.judge(findings)[0] == verdict


def test_exit_status_of_each_verdict():
    assert mix.EXIT == {"needed": 0, "unknown": 2, "not-needed": 3}


def test_the_table_fits_80_columns():
    rows = [row("second half, old mm web still alive", 200, 200, 0, "beta", 200, 200)]
    findings = mix.Findings("0.4.0", True, "", rows, rows)
    text = mix.as_text(findings, "needed", "a reason " * 20, 400)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count(" beta     200/200  200/200") == 2


def test_nothing_of_the_users_settings_reaches_a_child(tmp_path, monkeypatch):
    for name in ("MEMTOMEM_STORAGE__SQLITE_PATH", "OPENAI_API_KEY", "HTTPS_PROXY", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, "/home/ana/secret")
    given = mix.environment(tmp_path)
    assert "/home/ana/secret" not in given.values()
    assert given["PATH"] == os.environ["PATH"]
    for name in ("HOME", "USERPROFILE", "APPDATA", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "TMPDIR"):
        assert Path(given[name]).is_relative_to(tmp_path)


# --- The whole, on a stand-in memtomem ---------------------------------------------------------


@pytest.fixture
def standin(tmp_path):
    """Make an `mm` with one of the behaviours of standin_memtomem.py."""

    def make(behaviour):
        program = tmp_path / "mm"
        program.write_text(
            f"#!{sys.executable}\n# stands in for memtomem\n"
            f"import sys\nsys.path.insert(0, {str(HERE)!r})\n"
            f"import standin_memtomem\nstandin_memtomem.main({behaviour!r})\n"
        )
        program.chmod(0o755)
        return program

    return make


def command(mm, *more, preflight=PREFLIGHT):
    return [sys.executable, str(SCRIPT), "--mm", str(mm), "--preflight", preflight, *more]


def reproduce(tmp_path, mm, *more, preflight=PREFLIGHT):
    """Run the script with its temporary files in tmp_path, and see that nothing stays there."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        command(mm, "--notes", "20", *more, preflight=preflight),
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "--keep" not in more:
        assert list(scratch.iterdir()) == []
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


def figures(rows):
    return [(r["step"], r["alpha"], r["beta"], r["missing"], r["database_model"]) for r in rows]


@posix_only
def test_a_memtomem_that_holds_its_model_needs_the_constraint(tmp_path, standin):
    done = reproduce(tmp_path, standin("holds"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["schema_version"], told["memtomem"], told["verdict"]) == (1, "9.9.9", "needed")
    assert told["reason"] == "10 of 20 vectors are alpha's while the database says beta"
    assert figures(told["without_preflight"]) == [
        ("indexed", 10, 0, 0, "alpha"),
        ("reset", 0, 0, 10, "beta"),
        ("reindexed", 0, 10, 0, "beta"),
        ("second-half", 10, 10, 0, "beta"),
        ("repaired", 0, 20, 0, "beta"),
    ]
    assert figures(told["with_preflight"]) == [
        ("indexed", 10, 0, 0, "alpha"),
        ("refused", 10, 0, 0, "alpha"),
        ("reset", 0, 0, 10, "beta"),
        ("reindexed", 0, 10, 0, "beta"),
        ("second-half", 0, 20, 0, "beta"),
    ]
    mixed, repaired = told["without_preflight"][3:]
    assert (mixed["found_first"], repaired["found_first"], repaired["found_second"]) == (10, 10, 10)
    assert mixed["found_second"] < 5
    assert told["preflight"]["refused"] is told["preflight"]["named_mm_web"] is True


@posix_only
def test_every_field_of_the_json_is_in_the_docstring(tmp_path, standin):
    told = json.loads(reproduce(tmp_path, standin("holds"), "--json").stdout)
    fields = {*told, *told["without_preflight"][0], *told["preflight"]}
    assert {name for name in fields if name not in mix.__doc__} == set()


@posix_only
@pytest.mark.parametrize(
    ("behaviour", "status", "words"),
    [
        ("reloads", 3, "what the old `mm web` indexed after the reset is beta's"),
        ("guards", 3, "Error: mm web is running"),
        ("declines", 3, "model changed"),
        ("silent", 2, "did not index the second half"),
        ("no-web", 2, 'uv tool install --reinstall "memtomem[web]"'),
        ("taken", 2, "Stop it (`mm web stop`"),
        ("foreign", 2, "is not memtomem's mm"),
    ],
)
def test_verdict_of_each_behaviour(
    tmp_path, standin, monkeypatch, capsys, behaviour, status, words
):
    monkeypatch.setattr(mix, "WATCHER_LIMIT", 2)
    monkeypatch.setattr(mix.tempfile, "tempdir", str(tmp_path))
    mm = str(standin(behaviour))
    assert mix.main(["--mm", mm, "--notes", "10", "--preflight", PREFLIGHT]) == status
    assert words in " ".join("".join(capsys.readouterr()).split())
    assert processes_below(tmp_path) == []
    assert list(tmp_path.iterdir()) == [Path(mm)]


@posix_only
def test_a_preflight_that_misses_mm_web_makes_it_unknown(tmp_path, standin):
    done = reproduce(tmp_path, standin("holds"), "--json", preflight=BLIND)
    told = json.loads(done.stdout)
    assert done.returncode == 2
    assert told["verdict"] == "unknown"
    assert "missed the live `mm web`" in told["reason"]
    assert len(told["without_preflight"]) == 5
    assert told["preflight"]["named_mm_web"] is False


@posix_only
def test_where_the_preflight_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(mix, "__file__", str(tmp_path / "reproduce_mix.py"))
    monkeypatch.setattr(mix.sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    mm = str(tmp_path / "tools" / "mm")
    assert mix.find_preflight(None, mm) == []
    beside = tmp_path / "mm_preflight"
    beside.mkdir()
    assert mix.find_preflight(None, mm) == [sys.executable, str(beside)]
    for place in ("path", "bin", "tools"):
        program = tmp_path / place / "mm-preflight"
        program.parent.mkdir()
        program.touch(0o755)
        assert mix.find_preflight(None, mm) == [str(program)]
    assert mix.find_preflight(f"{program} --quiet", mm) == [str(program), "--quiet"]
    with pytest.raises(mix.CannotTell, match="was not found"):
        mix.find_preflight("nowhere/mm-preflight", mm)


@posix_only
def test_without_a_preflight_memtomem_is_judged_all_the_same(
    tmp_path, standin, monkeypatch, capsys
):
    monkeypatch.setattr(mix, "find_preflight", lambda *_: [])
    monkeypatch.setattr(mix.tempfile, "tempdir", str(tmp_path))
    assert mix.main(["--mm", str(standin("holds")), "--notes", "10", "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["with_preflight"], told["preflight"]) == ([], None)
    assert "no mm-preflight found" in err


@pytest.mark.parametrize("form", ["text", "json"])
def test_missing_memtomem_is_said_with_the_remedy(tmp_path, form):
    done = reproduce(tmp_path, tmp_path / "nowhere" / "mm", *(["--json"] if form == "json" else []))
    assert done.returncode == 2
    assert "memtomem is missing" in done.stderr
    assert 'uv tool install "memtomem[web]"' in done.stderr
    if form == "json":
        told = json.loads(done.stdout)
        assert (told["verdict"], told["memtomem"]) == ("unknown", None)


@posix_only
def test_keep_leaves_the_homes_and_says_where(tmp_path, standin):
    done = reproduce(tmp_path, standin("holds"), "--keep")
    assert done.returncode == 0, done.stderr
    kept = Path(done.stderr.rpartition("kept: ")[2].strip())
    for home in ("without", "with"):
        assert (kept / home / ".memtomem" / "memtomem.db").is_file()
    assert "10 of 20 vectors are alpha's" in done.stdout


@pytest.mark.parametrize("notes", ["9", "401", "many"])
def test_a_number_of_notes_that_makes_no_sense_is_refused(notes, capsys):
    with pytest.raises(SystemExit) as left:
        mix.main(["--notes", notes])
    assert left.value.code == 2
    assert "--notes" in capsys.readouterr().err


# --- However it ends, nothing stays ------------------------------------------------------------


@posix_only
@pytest.mark.parametrize(
    ("sent", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (getattr(signal, "SIGHUP", 1), 129)],
    ids=["ctrl-c", "terminate", "hang-up"],
)
@pytest.mark.parametrize("behaviour", ["stuck", "holds"])
def test_a_signal_leaves_no_process_and_no_folder(tmp_path, standin, behaviour, sent, status):
    """Once amid a command that has a child of its own, once with a live `mm web`."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    script = subprocess.Popen(
        command(standin(behaviour)),
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        waited_for = "*/without/pids" if behaviour == "stuck" else "*/without/.memtomem/web-*"
        until = time.monotonic() + 60
        while not list(scratch.glob(waited_for)):
            assert script.poll() is None, script.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        assert processes_below(scratch)
        script.send_signal(sent)
        out, err = script.communicate(timeout=30)
    finally:
        script.kill()
        script.wait()
    assert script.returncode == status, err
    assert out == ""
    assert "Traceback" not in err
    assert processes_below(scratch) == []
    assert list(scratch.iterdir()) == []


def test_a_command_that_does_not_end_is_stopped_in_time(lab, monkeypatch):
    monkeypatch.setattr(mix, "COMMAND_LIMIT", 0.5)
    began = time.monotonic()
    with lab.children, pytest.raises(mix.CannotTell, match="did not end within"):
        mix.run(lab, sys.executable, "-c", "import time; time.sleep(300)")
    assert time.monotonic() - began < 15
    assert processes_below(lab.home) == []


def test_all_of_it_ends_in_time(lab):
    late = dataclasses.replace(lab, deadline=time.monotonic() - 1)
    with lab.children, pytest.raises(mix.CannotTell, match="in all"):
        mix.run(late, sys.executable, "-c", "import time; time.sleep(300)")
    assert processes_below(lab.home) == []


# --- The whole, on a real memtomem -------------------------------------------------------------


def test_the_whole_on_a_real_memtomem(tmp_path):
    if not (mm := os.environ.get("MEMTOMEM_MM")):
        pytest.skip("the reproduction was NOT run on a real memtomem: MEMTOMEM_MM names none")
    done = subprocess.run(command(mm, "--json"), capture_output=True, text=True, timeout=960)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    mixed = told["without_preflight"][3]
    assert mixed["alpha"] > 0
    assert mixed["database_model"] == "beta"
    assert mixed["found_second"] < 15
    assert [r["alpha"] for r in told["with_preflight"]] == [30, 30, 0, 0, 0]
    assert told["with_preflight"][-1]["found_second"] == 30
