"""Every command and option that the pages show exists in the real memtomem, as its --help says."""

import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from pages import PAGES, ROOT, fences, text_of
from real import apart, real, subcommands

__all__ = ["real"]  # the fixture
CALL = re.compile(
    r"(?:^|[|;&{(]|\bcommand|\bmm-preflight .*--)\s*"
    r"((?:mm|memtomem|memtomem-server)(?: [^|;&{}()`\n]+)?)"
    r"(?=$|[|;&{}()`\n])",
    re.M,
)


def calls(page):
    """Every call of mm in code: `$` lines of console blocks, lines of scripts, and inline code."""
    for language, body in fences(page):
        if language == "console":
            body = "\n".join(line[2:] for line in body.splitlines() if line.startswith("$ "))
        if language in {"console", "bash", "powershell"}:
            yield from (call.strip() for call in CALL.findall(body))
    text = re.sub(r"^ *```.*?^ *```$", "", text_of(page), flags=re.M | re.S)
    yield from re.findall(r"`((?:mm|memtomem|memtomem-server) [^`]+)`", text)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_a_block_is_one_command(page):
    """Pasted, the second line of two would be the answer to what the first one asks."""
    for language, body in fences(page):
        if language == "console":
            assert len(re.findall(r"^\$ ", body, re.M)) == 1, body


def has_option(help_text, option):
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", help_text)


class Helps(dict):
    """What `mm web --help` prints, under "mm web": asked once each."""

    def __init__(self, real, home):
        self.real, self.env = real, apart(real, home)

    def __missing__(self, command):
        program, *rest = command.split()
        argv = [self.real.program(program), *rest, "--help"]
        run = subprocess.run(argv, env=self.env, capture_output=True, text=True)
        assert run.returncode == 0, f"{command}: {run.stderr}"
        return self.setdefault(command, run.stdout)


def faults(call, helps):
    """What is wrong with a call as a page shows it; nothing, if all is right."""
    program, *words = shlex.split(call)
    command = program
    while words and subcommands(helps[command]) and not words[0].startswith("-"):
        if words[0] not in subcommands(helps[command]):
            return [f"{call}: {command} has no subcommand {words[0]!r}"]
        command, words = f"{command} {words[0]}", words[1:]
    options = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    return [
        f"{call}: {command} has no {option}"
        for option in options
        if not has_option(helps[command], option)
    ]


@pytest.fixture(scope="module")
def helps(real, tmp_path_factory):
    return Helps(real, tmp_path_factory.mktemp("helps"))


def test_they_exist(helps):
    shown = sorted({call for page in [*PAGES, ROOT / "README.md"] for call in calls(page)})
    assert {"mm web stop", "mm index --force ~/notes", "mm doctor"} <= set(shown)
    assert len(shown) > 20
    first = {" ".join(call.split()[:2]) for call in shown if call.startswith("mm ")}
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # a help takes a moment each
        known = subcommands(helps["mm"])
        list(pool.map(helps.__getitem__, [two for two in first if two.split()[1] in known]))
    assert not [fault for call in shown for fault in faults(call, helps)]


@pytest.mark.parametrize(
    "wrong", ["mm stop", "mm web halt", "mm index --forced", "memtomem-server --transport=x --pipe"]
)
def test_what_does_not_exist_is_seen(helps, wrong):
    assert faults(wrong, helps)
