"""The outputs of mm-preflight that the pages show are what it prints beside real processes."""

import os
import re
import shlex
import subprocess

import psutil
import pytest
from mm_preflight.cli import read_options
from pages import PAGES as ALL
from pages import ROOT
from support import linux
from test_walk import WALKED

# The pages that are walked on a real memtomem show what it prints there: the walk compares them.
PAGES = [ROOT / "README.md", *(page for page in ALL if page.name not in WALKED)]
CONSOLE = re.compile(r"^( *)```console\n(.*?)^ *```$", re.M | re.S)


def blocks(pages=PAGES):
    """Each console block of a page: its page, the mark in the comment above it, its lines."""
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for match in CONSOLE.finditer(text):
            mark = re.search(r"<!-- output: ([\w-]+) -->\n$", text[: match.start()])
            lines = [line.removeprefix(match[1]) for line in match[2].splitlines()]
            yield page.relative_to(ROOT), mark and mark[1], lines


def normal(text):
    """A report with its PIDs, ages, terminals and line breaks replaced: those differ each time."""
    text = re.sub(r"ttys\d+|pts/\d+", "TERMINAL", text)
    text = re.sub(r", \d+ of them not in full", "", text)
    text = re.sub(r"\d+ (s|min|h|days) ago", "AGE", text)
    return re.sub(r"\s+", " ", re.sub(r"\b\d+\b(?!\.)", "N", text)).strip()


@pytest.fixture
def scene(start, shell_as, only):
    """Processes as a person has them: `mm web` typed at a prompt, and what two clients started."""

    def typed():
        import fcntl
        import pty
        import termios

        master, slave = pty.openpty()
        options = {"stdin": slave, "stderr": subprocess.DEVNULL}
        options |= {"preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
        os.write(master, b"mm web\n")
        return start("zsh", executable=shell_as("zsh", "run")["executable"], **options)

    def under(client, *argv):
        return start(client, "run", *argv, **shell_as(client, "run"))

    def scene(mark):
        pids = []
        if mark != "clear":
            pids = [typed(), under("cursor", "memtomem-server")]
        if mark == "live-three":
            pids.append(under("claude", "mm", "index"))
        only(*pids)
        return pids

    return scene


@linux
@pytest.mark.parametrize("mark", ["clear", "live", "live-three"])
def test_outputs_shown_are_printed(mark, scene, in_process, monkeypatch):
    shown = [(page, lines) for page, name, lines in blocks() if name == mark]
    assert shown
    scene(mark)
    psutil._psposix.get_terminal_map.cache_clear()  # it knows the terminals of an earlier test
    # Where the tests run in a container, the report ends in a note that the pages leave out.
    namespace = os.stat("/proc/self/ns/pid").st_ino
    monkeypatch.setattr("mm_preflight.linux.INITIAL_PID_NAMESPACE", namespace)
    report = in_process()
    for page, lines in shown:
        assert lines[0] == "$ mm-preflight", page
        assert normal("\n".join(lines[1:])) == normal(report.stdout + report.stderr), page
        assert all(len(line) <= 80 for line in lines), page


def test_outputs_are_marked():
    """No output of mm-preflight stands in a page without a mark that has it compared."""
    for page, mark, lines in blocks():
        if any(line.startswith("mm-preflight: ") for line in lines):
            assert mark, page


def test_commands_are_taken():
    """Every mm-preflight command of a page has options that the program takes."""
    seen = 0
    for _page, _, lines in blocks(ALL):
        for line in lines:
            for command in re.findall(r"^\$ .*", line):
                words = re.split(r"&&|\||>", command[2:])
                for argv in map(shlex.split, (each for each in words if "mm-preflight" in each)):
                    if argv[0] == "mm-preflight":
                        read_options(argv[1:])
                        seen += 1
    assert seen > 5
