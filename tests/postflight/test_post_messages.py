"""What it says, to whom, and how it ends: options, streams, questions, Ctrl-C, file names."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import reproduce_mix
from mm_postflight import cli, consent, records
from mm_postflight.answer import answer as as_answer
from mm_postflight.records import EXIT, Findings, Options, Unknown, Vector
from mm_postflight.report import report
from support import SECONDS, WINDOWS, not_on_windows, press_ctrl_c, until

from postflight import home as homes
from postflight.home import DIMENSION, HARMLESS, Home, give, program, put, within

ANOTHER = reproduce_mix.embed("alpha", "something else", DIMENSION)


# --- Options --------------------------------------------------------------------------------------

WRONG = {
    "--db": (["--db", ""], "--db is empty: is a variable not set?"),
    "--mm": (["--mm", ""], "--mm is empty"),
    "a sample of none": (["--sample", "0"], "--sample takes a number from 1"),
    "no number": (["--sample", "x"], "invalid int value: 'x'"),
    "no such option": (["--mend"], "unrecognized arguments: --mend"),
    "an abbreviation": (["--samp", "3"], "unrecognized arguments"),
    "yes to nothing": (["--yes"], "--yes answers --repair"),
    "a sample of a repair": (["--repair", "--sample", "9"], "--repair checks all"),
    "a probe of a database": (["--probe", "--db", "x"], "--probe goes with --json and --mm alone"),
    "a probe that repairs": (["--probe", "--repair"], "--probe goes with --json and --mm alone"),
    "colours": (["\x1b[31m"], "unrecognized arguments"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_usage_error(what, capsys):
    """A verdict like any other: 2, in words, and with --json as JSON."""
    words, told = WRONG[what]
    assert cli.run(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and HARMLESS.fullmatch(err)
    assert told in " ".join(err.split()) and "See mm-postflight --help." in err
    assert cli.run([*words, "--json"]) == 2
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["verdict"], answer["schema_version"], err) == ("unknown", 2, "")
    assert told in answer["reason"]


def test_help_and_version(capsys):
    from mm_preflight import __version__

    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"mm-postflight {__version__}\n"
    assert cli.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "inside" not in text
    for status, words in {0: "one model", 1: "mixed", 2: "unknown", 130: "Ctrl-C"}.items():
        assert re.search(rf"^ +{status}  .*{words}", text, re.MULTILINE)
    assert EXIT == {"one-model": 0, "mixed": 1, "unknown": 2}


def test_every_fault_of_the_program_itself_is_no_verdict(monkeypatch, capsys):
    monkeypatch.setattr("mm_postflight.answer.answer", lambda *_: 1 / 0)
    handler = signal.getsignal(signal.SIGINT)
    assert cli.run(["--sample", "0"]) == 2
    signal.signal(signal.SIGINT, handler)
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError()], ids=repr)
def test_what_ends_a_program_is_no_verdict(error):
    def work():
        raise error

    found = Findings()
    assert cli.attempt(work, found) is None
    assert found.reason == f"{type(error).__name__}: {error}".rstrip(": ")


@pytest.mark.parametrize("ends", ["", KeyboardInterrupt])
def test_a_question_without_an_answer_ends_its_line(monkeypatch, capsys, ends):
    readline = Mock(side_effect=[ends])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(readline=readline))
    with contextlib.suppress(KeyboardInterrupt):
        assert not consent.yes("one " * 30 + "Repair?")
    lines = capsys.readouterr().err.split("\n")
    assert lines[-2].endswith("Repair? [y/N] ") and lines[-1] == ""
    assert max(map(len, lines)) <= 80


def test_a_reason_in_wide_letters_fits():
    text = report(as_answer(Findings(reason="there is no database " + "日本語 " * 30), 300))
    for line in text.splitlines():
        assert sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line) <= 80


def test_a_database_that_is_named_is_named_in_the_answer(clean, tmp_path):
    other = tmp_path / "copy.db"
    other.write_bytes(clean.database.read_bytes())
    status, out, _ = clean.postflight("--db", str(other))
    assert (status, out.splitlines()[1]) == (0, f"Database: {other.resolve()}")
    answer = clean.ask("--db", str(tmp_path / "none.db"))
    assert (answer["exit"], answer["database"]) == (2, str(tmp_path / "none.db"))


# --- Streams and signals --------------------------------------------------------------------------


@not_on_windows("closes no streams in a shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-", ">/dev/full"])
def test_streams_that_are_closed(indexed, closed):
    """The exit status is the answer all the same, and never that of a crash."""
    before = ("sh", "-c", f'exec "$0" "$@" {closed}')
    status, _, err = indexed().postflight(before=before)
    assert (status, err) == (0, "")
    assert indexed(mixed=True).postflight(before=before)[0] == 1
    assert indexed().postflight("--db", "/none", before=before)[0] == 2


@pytest.mark.parametrize("found_one", [True, False])
def test_ctrl_c(clean, embedder, found_one, tmp_path):
    """With what was found until then."""
    clean.script = program(tmp_path / "apart", check=("BATCH = 32", "BATCH = 8"))
    room = clean.script / "check.py"
    room.write_text(room.read_text().replace("ROUND = 512", "ROUND = 8"))
    if found_one:
        for name in ("old/n00.md", "old/n01.md", "old/n02.md", "old/n03.md", "old/n04.md"):
            put(clean, name, ANOTHER)
    waits = []

    def answer(model, texts):
        if len([each for each in embedder.sent if len(each) == 8]) == 2:  # the second round
            waits.append(1)
            time.sleep(30)
        return give(model, texts)

    embedder.answer, before = answer, clean.digest()
    process = clean.started("--all", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: waits, "the second round")
    press_ctrl_c(process)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, clean.digest()) == (130, before)
    told = " ".join((out + err).split())
    if "mixed" not in told:
        assert "unknown, stopped by Ctrl-C Until then: 8 vectors were checked; none of them" in told
    else:
        assert re.match(r"mm-postflight: mixed, \d of 8 vectors checked are not what ollama", told)
        assert "It did not come to its end: stopped by Ctrl-C." in told


@not_on_windows("starts that Python as a child, which hears Ctrl-C by itself")
@pytest.mark.parametrize("when", ["STARTS", "inside"])
def test_ctrl_c_while_its_python_starts(clean, when):
    """Python alone would end with 1, which says that the vectors are mixed."""
    first = "'mm-postflight starts here' in sys.orig_argv"
    test = first if when == "STARTS" else f"'--inside' in sys.orig_argv and not {first}"
    all_hear = "os.killpg(os.getpgrp(), 2)"  # as a terminal has it
    within(clean, f"import os, sys\nif {test}:\n    {all_hear}")
    with clean.started(stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("mm-postflight: unknown, stopped by Ctrl-C\n")


def test_ctrl_c_while_the_answer_is_made(mixed, tmp_path):
    mixed.script = program(
        tmp_path / "apart",
        answer=(
            "    told = Counter(decide",
            "    import signal; signal.raise_signal(signal.SIGINT)\n    told = Counter(decide",
        ),
    )
    status, out, err = mixed.postflight()
    assert (status, err) == (1, "")
    assert "mixed, 6 of 16" in out


@not_on_windows("has no pty in Python")
@pytest.mark.parametrize("columns", [80, 40])
def test_progress_from_the_start_that_fits(clean, embedder, tmp_path, columns):
    clean.script = program(tmp_path / "apart", check=("BATCH = 32", "BATCH = 4"))
    embedder.answer = lambda model, texts: (time.sleep(0.05), give(model, texts))[1]
    shown = clean.on_terminal("--all", columns=columns)
    before, _, told = shown.partition("mm-postflight: one model")
    lines = [line for line in before.split("\r") if line.strip()]
    assert lines[0] == "  waiting for the model"
    assert "embedding 0 texts" not in before
    assert [line for line in lines if re.search(r"\d+ of 16, about \d+ s left", line)]
    assert bool([line for line in lines if "[####" in line]) == (columns == 80)
    assert max(map(len, lines)) < columns
    assert " ".join(told.split()).endswith("all 16 vectors are what ollama/beta gives")
    assert before.endswith("\r")


# --- What leaves this machine ---------------------------------------------------------------------


def test_a_provider_that_charges_is_asked_about_first(clean, embedder):
    clean.as_openai("http://models.example:9")
    answer = clean.ask()
    assert (answer["exit"], answer["texts_sent"], embedder.sent) == (2, 0, [])
    assert answer["reason"] == (
        "16 texts or more would go to http://models.example:9 for openai/beta, and may cost\n"
        "If they may, say so with --send."
    )
    clean.as_openai("")
    assert "16 texts or more would go to openai for openai/beta" in clean.ask()["text"]
    clean.as_openai("http://ana:secret@192.0.2.7:11434/v1")
    where = "16 texts or more would go to http://192.0.2.7:11434/v1 for openai/beta, and may cost"
    assert clean.ask()["reason"].startswith(where)
    assert "secret" not in json.dumps(clean.ask("--send", "--db", "/none"))


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
    monkeypatch.setattr(consent, "is_answered", lambda: False)
    monkeypatch.setenv("NO_PROXY", "")  # as it was, after this
    monkeypatch.setenv("no_proxy", "")
    embedding = SimpleNamespace(provider=provider, base_url=url, model="beta")
    stays = provider == "onnx" or (URLS[url] and (url != "" or provider == "ollama"))
    assert consent.stays_here(embedding) == stays
    consent.may_send(embedding, 16, said_yes=True)
    with (
        contextlib.nullcontext()
        if stays
        else pytest.raises(Unknown, match="16 texts or more would")
    ):
        consent.may_send(embedding, 16, said_yes=False)


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


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
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
    assert consent.without_secrets(text) == SECRETS[text]


def test_a_key_that_is_no_header_is_not_shown(clean, embedder):
    clean.as_openai(embedder.url, api_key="hush-hush\n")
    answer = clean.ask()
    assert "the embedder gives no vectors" in answer["reason"]
    assert "hush" not in json.dumps(answer)


@not_on_windows("has no pty in Python")
@pytest.mark.parametrize("typed", ["n\n", "\n", "y\n"], ids=["no", "Enter", "yes"])
def test_the_question(clean, embedder, typed):
    port = embedder.url.rpartition(":")[2]
    clean.as_openai(f"http://127.0.0.1.nip.example:{port}")
    shown = clean.on_terminal(typed=typed)
    question = f"16 texts or more would go to http://127.0.0.1.nip.example:{port} for openai/beta, "
    question += "and may cost. Send them? [y/N]"
    assert question in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
    assert embedder.sent == []  # that name leads nowhere
    told = "the embedder gives no vectors" if typed == "y\n" else "unknown, not all texts were sent"
    assert told in " ".join(shown.split())


# --- Names of files -------------------------------------------------------------------------------

HOSTILE = {
    "control": "a\x1b[2J\x1b]0;owned\x07\r\nb\x01c.md",
    "bidi": "a\u202egpj.\u2066exe\u2069.md",
    "long": "x" * 4000 + ".md",
    "wide": "한국어 메모 " * 12 + ".md",
    "ideographic space": "買い物\u3000メモ.md",
    "quotes": "a'b\"c $(id) `id`; rm -rf ~ #.md",
    "backslash": "x\\'$(touch MARK)\"\\'.md",
    "surrogate": "a\udc80.md".encode("utf-8", "replace").decode(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_names(clean, name):
    """Shown harmlessly, and repaired like any other: no command has it in it."""
    path = clean.notes / HOSTILE[name]
    with contextlib.suppress(OSError):  # no file can have that name
        path.write_text("x")
    put(clean, "old/n03.md", ANOTHER)
    old = str(clean.notes / "old/n03.md")
    clean.query("UPDATE chunks SET source_file = ? WHERE source_file = ?", str(path), old)
    status, out, _ = clean.postflight()
    assert status == 1
    for line in out.splitlines():
        assert sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line) <= 80
    assert clean.ask()["files"][0]["path"] == str(path)
    assert clean.repair()["repair"]["written"] == 1


@not_on_windows("has no locale of letters")
def test_a_locale_that_knows_no_letter(clean):
    """A file that is there is not called gone."""
    path = clean.notes / "Zoë 買い物.md"
    path.write_text("x", encoding="utf-8")
    put(clean, "old/n03.md", ANOTHER)
    old = str(clean.notes / "old/n03.md")
    clean.query("UPDATE chunks SET source_file = ? WHERE source_file = ?", str(path), old)
    del clean.env["PYTHONIOENCODING"]
    clean.env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    answer = clean.ask()
    assert (answer["exit"], answer["gone"], answer["files"][0]["note"]) == (1, 0, "edited") or (
        answer["files"][0]["note"] == ""
    )
    assert clean.postflight()[0] == 1


def findings(files: list[str], wrong: int) -> Findings:
    """One chunk a file; the last `wrong` are another's."""
    vectors = [Vector(n, 0, file, 0, int(time.time())) for n, file in enumerate(files)]
    scores: dict[int, float | None] = dict.fromkeys(range(len(files)), 1.0)
    scores |= dict.fromkeys(range(len(files) - wrong, len(files)), 0.1)
    return Findings(model="ollama/beta", vectors=vectors, scores=scores, exact=True)


def test_the_rest_of_many_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    names = [os.path.join(tmp_path, "notes", f"note-{n:03}.md") for n in range(60)]
    text = report(as_answer(findings(names, 30), 300))
    assert "  … and 22 more, all in ~" in text.replace(os.sep, "/")
    names = [f"{place}/n{n}.md" for place in ("virtual:", "/home/ana", "rel") for n in range(9)]
    assert "… and 19 more, all in several places, all since today" in report(
        as_answer(findings(names, 27), 300)
    )


def test_json_has_each_field_in_every_verdict(mixed):
    fields = mixed.ask().keys() - {"exit", "text", "err"}
    assert fields == as_answer(Findings(), 300).keys()
    assert mixed.ask("--db", "/none").keys() - {"exit", "text", "err"} == fields
    assert Options().sample == 300 and records.FEW and homes and WINDOWS in (True, False)
    assert mixed.ask()["files"][0].keys() == {
        "path", "chunks", "others", "relatives", "between", "written", "note",
    }  # fmt: skip
    assert isinstance(sys.version, str) and Home
