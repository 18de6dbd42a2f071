"""The reference page holds what the program does: options, exit codes, JSON fields, messages."""

import json
import re
import subprocess
import sys

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
    public = fields[: fields.index("argv") + 1]
    assert first_column("`--json`") == ["schema_version", *RESULT, *public, "during_command"]
    example = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.S)[1])
    assert list(example) == ["schema_version", *RESULT]
    assert list(example["processes"][0]) == list(public[:-1])


def test_blind_spots():
    assert set(first_column("Blind spots")) == set(BLIND_SPOTS)


def test_reasons_are_those_of_the_program():
    rooms = sorted((ROOT / "scripts" / "mm_preflight").glob("*.py"))
    source = "\n".join(room.read_text(encoding="utf-8") for room in rooms)
    for reason in first_column("Why unknown?"):
        # a number in a message is computed; quotes and line breaks may stand within it
        known = re.escape(reason).replace("8", ".+")
        assert re.search(known, re.sub(r'"\s*\n\s*f?"', "", source)), reason
