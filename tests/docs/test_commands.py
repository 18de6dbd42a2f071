"""Every `mm` command and option that the pages show exists in memtomem."""

import json
import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pages import PAGES, fences

TABLE = json.loads((Path(__file__).parent / "mm_commands.json").read_text(encoding="utf-8"))
KNOWN = TABLE["commands"]
CALL = re.compile(
    r"(?:^|[|;&{(]|\bcommand)\s*((?:mm|memtomem)(?: [^|;&{}()`\n]+)?)(?=$|[|;&{}()`\n])", re.M
)


def calls(page):
    """Every call of mm in code: `$` lines of console blocks, lines of scripts, and inline code."""
    for language, body in fences(page):
        if language == "console":
            body = "\n".join(line[2:] for line in body.splitlines() if line.startswith("$ "))
        if language in {"console", "bash", "powershell"}:
            yield from (call.strip() for call in CALL.findall(body))
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    yield from (call for call in re.findall(r"`((?:mm|memtomem) [^`]+)`", text))


def read(call):
    """`mm web -b` → ("mm web", {"-b"})"""
    words = shlex.split(call)
    command, rest = "mm", words[1:]
    while rest and f"{command} {rest[0]}" in KNOWN:
        command, rest = f"{command} {rest[0]}", rest[1:]
    takes_no_argument = any(known.startswith(command + " ") for known in KNOWN)
    if takes_no_argument and rest and not rest[0].startswith("-"):
        return f"{command} {rest[0]}", set()
    return command, {word.split("=")[0] for word in rest if word.startswith("-")}


SHOWN = sorted(
    {
        (command, tuple(sorted(options)))
        for page in PAGES
        for command, options in map(read, calls(page))
    }
)


def test_the_pages_show_commands():
    """Else the next tests would pass for want of anything to look at."""
    assert ("mm embedding-reset", ("--mode",)) in SHOWN
    assert ("mm index", ("--force",)) in SHOWN
    assert ("mm web stop", ()) in SHOWN
    assert len(SHOWN) > 10


@pytest.mark.parametrize(
    "command, options", SHOWN, ids=lambda part: " ".join(part) if isinstance(part, tuple) else part
)
def test_it_exists(command, options):
    assert command in KNOWN, f"memtomem {TABLE['memtomem']} has no {command!r}"
    assert set(options) <= set(KNOWN[command])


def test_it_exists_in_the_memtomem_at_hand(tmp_path):
    mm = os.environ.get("MEMTOMEM_MM")
    if not mm:
        pytest.skip("commands not held against a real memtomem: MEMTOMEM_MM names none")

    def helps(command):
        run = subprocess.run(
            [mm, *command.split()[1:], "--help"],
            env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 0, f"{command}: {run.stderr}"
        return run.stdout

    commands = sorted({command for command, _ in SHOWN})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        printed = dict(zip(commands, pool.map(helps, commands), strict=True))
    for command, options in SHOWN:
        for option in options:
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", printed[command]), (
                f"{command} {option}"
            )
