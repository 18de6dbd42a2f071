"""The reference page holds what the program does: options, exit codes, JSON fields, messages."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from types import SimpleNamespace

from mm_postflight import cli, consent
from mm_postflight.answer import answer
from mm_postflight.host import REPAIRED
from mm_postflight.records import EXIT, Findings, Repair, Vector
from mm_preflight import clients, supervisors
from mm_preflight.records import BLIND_SPOTS, EXIT_CODES, Result, Row
from pages import DOCS, ROOT

RESULT = [name for name in Result._fields if name not in ("again", "after")]  # not printed
PAGE = (DOCS / "reference" / "preflight.md").read_text(encoding="utf-8")


def first_column(heading):
    """The words in code in the first column of the tables under a heading."""
    part = re.split(r"^#+ ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    return re.findall(r"^\| `([^`]+)`", part, re.M)


def test_options():
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "mm_preflight", "--help"],
        capture_output=True,
        text=True,
    )
    usage = run.stdout.split("\n\n")[0]
    assert {option.split()[0] for option in first_column("Options")} == {
        "--help",
        *re.findall(r"--\w[\w-]+", usage),
    }


def test_exit_codes():
    rows = dict(re.findall(r"^\| (\d+) \| `?([\w-]+)`? \|", PAGE, re.M))
    assert {int(code) for code in rows} == set(EXIT_CODES)
    for code, verdict in rows.items():
        if verdict != "-":
            assert EXIT_CODES[int(code)].startswith(verdict + ":")


def test_json_fields():
    fields = Row._fields
    public = fields[: fields.index("registered") + 1]
    table = ["schema_version", *RESULT, *public, "during_command"]
    assert first_column("`--json`") == table, "the table differs from the program"
    example = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.S)[1])
    assert list(example) == ["schema_version", *RESULT], "the example differs from the program"
    process = list(example["processes"][0])
    assert process == list(public[:-2]), "the example's process differs from the program"


def test_blind_spots():
    assert set(first_column("Blind spots")) == set(BLIND_SPOTS)


def test_reasons_are_those_of_the_program():
    rooms = sorted((ROOT / "scripts" / "mm_preflight").glob("*.py"))
    source = "\n".join(room.read_text(encoding="utf-8") for room in rooms)
    for reason in first_column("Why unknown?"):
        # a number in a message is computed; quotes and line breaks may stand within it
        known = re.escape(reason).replace("8", ".+").replace("…", ".+")
        assert re.search(known, re.sub(r'"\s*\n\s*f?"', "", source)), reason


STOP = (DOCS / "guides" / "stop-mm-processes.md").read_text(encoding="utf-8")


def test_each_client_has_its_row():
    """As the report names it; and the versions that were run are those that the tests install."""
    names = {client.name for client in [*clients.CLIENTS.values(), clients.CLAUDE_DESKTOP]}
    rows = re.findall(r"^\| ([^|`]+?) \|.*\| (.+?) \|$", STOP.split("## Each client")[1], re.M)
    told = {name: run for row, run in rows for name in row.split(", ")}
    assert names <= set(told), f"not in the table of stop-mm-processes.md: {names - set(told)}"
    pinned = (ROOT / "tests" / "clients.py").read_text(encoding="utf-8")
    pinned = dict(re.findall(r'^    "(\w+)": \("\S+", "([\d.]+)"\),$', pinned, re.M))
    assert len(pinned) >= 4
    for name, version in pinned.items():
        assert told[clients.CLIENTS[name].name] == version


def test_each_supervisor_has_its_command():
    for supervisor in supervisors.SUPERVISORS.values():
        assert f"`{supervisor.stop}`" in STOP


# --- mm-postflight ----

POST = (DOCS / "reference" / "postflight.md").read_text(encoding="utf-8")


def rows_of_postflight(heading):
    """The words in code of each row of the table under a heading: first column, the rest."""
    part = re.split(r"^#+ ", POST.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", part, re.M)
    return [(re.findall(r"`([^`]+)`", name), re.findall(r"`(\w+)`", told)) for name, told in rows]


def test_options_of_postflight():
    usage = cli.parser().format_usage()
    shown = [names[0].split()[0] for names, _ in rows_of_postflight("Options")]
    assert {*shown} == {"--help", *re.findall(r"--\w+", usage)} - {"--inside"}
    synopsis = POST.partition("```text")[2].partition("```")[0]
    assert {*re.findall(r"--\w+", synopsis)} == {*shown}


def test_exit_codes_of_postflight():
    rows = dict(re.findall(r"^\| (\d+) \| `?([\w-]+)`? \|", POST, re.M))
    assert {verdict: int(code) for code, verdict in rows.items() if verdict != "-"} == EXIT


def test_json_fields_of_postflight():
    found = Findings(scores={1: 0.1}, vectors=[Vector(1, 0, "a.md", 1, 1)])
    told = answer(found, 300)
    rows = rows_of_postflight("`--json`")
    assert [name for names, _ in rows for name in names] == list(told)
    about = {names[0]: words for names, words in rows}
    assert [name for name in about["files"] if name in told["files"][0]] == list(told["files"][0])
    assert about["repair"][: len(fields(Repair))] == [field.name for field in fields(Repair)]


def test_reasons_of_postflight_are_those_of_the_program():
    rooms = sorted((ROOT / "scripts" / "mm_postflight").glob("*.py"))
    source = "\n".join(room.read_text(encoding="utf-8") for room in rooms)
    source = re.sub(r"\"\s*\n\s*f?\"|\{[^{}]*\}", "", source)
    for names, _ in rows_of_postflight("Why unknown?"):
        for part in names[0].split("…"):
            assert part.strip() in source, names


def test_the_question_before_texts_leave_is_the_program_s(monkeypatch):
    asked = []
    monkeypatch.setattr(consent, "is_answered", lambda: True)
    monkeypatch.setattr(consent, "yes", lambda question: asked.append(question) or True)
    embedding = SimpleNamespace(provider="openai", model="beta", base_url="https://models.example")
    consent.may_send(embedding, 16, False)
    assert f"{asked[0]} [y/N]" in POST


def test_the_releases_that_are_repaired_are_named():
    assert f"({', '.join(REPAIRED[:-1])} and {REPAIRED[-1]})" in re.sub(r"\s+", " ", POST)
