"""The code is as ruff and mypy leave it, and the house as its plan has it."""

import ast
import os
import subprocess
import sys

import pytest
from support import ROOT, SCRIPT, linux, not_on_windows


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff(command):
    run = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_mypy():
    run = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


ROOMS = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in SCRIPT.glob("*.py")}
# Which rooms a room may import. Those without a line may import any but cli.
PURE = {"argv": set(), "records": set(), "source": {"records"}, "loops": set()}
PURE |= {
    "judge": {"argv", "records", "source", "runners"},
    "runners": {"records", "source"},
    "report": {"records"},
}
PURE |= {
    "database": {"argv", "files", "records"},
    "files": {"records"},
    "windows": {"argv", "records"},
}
PURE |= {"apart": {"files", "records"}, "registry": {"files", "records"}}
PURE |= {"cgroups": {"files", "records"}, "look": {"apart", "files", "records", "report", "scan"}}
PURE |= {
    "naming": {"argv", "records"},
    "clients": {"naming", "records"},
    "supervisors": {"naming", "records"},
    "origin": {"argv", "clients", "loops", "naming", "records", "supervisors"},
    "advice": {"naming", "origin", "records", "supervisors"},
    "linux_state": {"argv", "files", "records", "supervisors"},
}
PURE |= {"agents": {"harmless", "records", "resets"}, "harmless": {"literal"}}
PURE |= {"literal": {"records"}, "resets": set()}
PURE |= {"linux": {"argv", "files", "linux_state", "records", "registry"}}
PURE |= {"system": {"cgroups", "linux", "records", "windows"}}


def imported(room: str) -> set[str]:
    """The other rooms that a room imports."""
    nodes = [node for node in ast.walk(ROOMS[room]) if isinstance(node, ast.ImportFrom)]
    found = {
        f"{node.module}.{alias.name}".split(".")[1]
        for node in nodes
        for alias in node.names
        if str(node.module).startswith("mm_preflight")
    }
    return found & set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_room(room):
    """Small, short functions, and arrows in one direction."""
    text = (SCRIPT / f"{room}.py").read_text(encoding="utf-8")
    assert text.count("\n") <= 300, f"{room}.py has more than 300 lines"
    for node in ast.walk(ROOMS[room]):
        if isinstance(node, ast.FunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= 40, f"{node.name} in {room}.py has {lines} lines, more than 40"
    may = PURE.get(
        room, set(ROOMS) - {"cli", "__main__"} | ({"cli"} if room == "__init__" else set())
    )
    assert imported(room) <= may, f"{room}.py may not import {imported(room) - may}"


def test_no_room_needs_itself():
    """No circle: each room can be built before those that import it."""
    left, built = dict.fromkeys(set(ROOMS) - {"__init__", "__main__"}), set()
    while ready := {room for room in left if imported(room) <= built}:
        built |= ready
        left = {room: None for room in left if room not in built}
    assert not left


HEAD = """
from mm_preflight.cli import Options
from mm_preflight.literal import commands
from mm_preflight.records import Command, Seen
from mm_preflight.table import PORTABLE, parent_of
"""
MISTAKES = {
    "field": "def f(seen: Seen) -> int:\n    return seen.pid_of_it\n",
    "type": "def f(seen: Seen) -> str:\n    return seen.pid\n",
    "argument": "Command('web')\n",
    "keyword": "PORTABLE._replace(glanse=lambda pid, database: None)\n",
    "table": "def f() -> None:\n    if above := parent_of(1):\n        above.cmdline()\n",
    "option": "def f(options: Options) -> None:\n    options.quiet.oops()\n",
    "options": "Options(1, 2)\n",
    "literal": "for each in commands('ls') or []:\n    each.words.oops()\n",
    "optional": "def f(seen: Seen) -> int:\n    return len(seen.argv)\n",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mypy_sees_the_fields(tmp_path, mistake):
    """A record whose fields were Any would let each of these pass."""
    (tmp_path / "planted.py").write_text(HEAD + MISTAKES[mistake])
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", ROOT / "pyproject.toml",
         tmp_path / "planted.py"],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "MYPYPATH": str(SCRIPT.parent)},
    )  # fmt: skip
    assert run.returncode == 1, run.stdout + run.stderr
    assert "planted.py" in run.stdout


def test_table_alone_asks_psutil():
    """And hands out plain values, so what else a test makes up is made up there."""
    modules = {
        room: {name.name for node in ast.walk(tree) if isinstance(node, ast.Import)
               for name in node.names}
        for room, tree in ROOMS.items()
    }  # fmt: skip
    assert [room for room in ROOMS if "psutil" in modules[room]] == ["table"]
    public = [
        node
        for node in ROOMS["table"].body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    assert [node.name for node in public if "Any" in ast.unparse(node.returns)] == []


# What differs there: each name that is not as psutil has it everywhere.
OVERRIDES = {
    "linux": {"require_own_table", "glance", "exe_of", "cwd_of", "root_of", "device_of", "held"}
    | {"in_front", "stop_command", "blind_spots"},
    "win32": {"held", "system_account", "local_settings", "kill_command"}
    | {"blind_spots", "has_launchers", "hides_open_files", "has_plain_console", "elevated"},
}


@pytest.mark.parametrize("platform", OVERRIDES)
def test_what_a_platform_answers_itself(platform):
    """What it puts in place of psutil's answers, in system; macOS nothing."""
    [there] = [
        node
        for node in ast.walk(ROOMS["system"])
        if isinstance(node, ast.If) and ast.unparse(node.test) == f"sys.platform == '{platform}'"
    ]
    [call] = [node.value for node in there.body if isinstance(node, ast.Return)]
    assert {keyword.arg for keyword in call.keywords} == OVERRIDES[platform]


# Modules that take milliseconds to import, and that a clear answer does not need.
NEEDLESS = "argparse ast json typing shutil bz2 lzma zlib threading dataclasses inspect".split()


@not_on_windows("looks in a thread")
def test_a_clear_answer_imports_little():
    """As the process itself imports it; psutil's own modules are its child's."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", str(SCRIPT)],
        capture_output=True, text=True,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    bare = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", ""], capture_output=True, text=True
    )
    always = {line.rpartition("|")[2].strip() for line in bare.stderr.splitlines()}
    assert "mm_preflight.look" in imported
    assert not (imported - always) & set(NEEDLESS)


LOOKS = """
import sys
import psutil
always = {*sys.modules}
sys.path.insert(0, sys.argv[1])
from mm_preflight import look
told = []
look._look(None, frozenset(), told.append)
print(told[-1][2][0], *({*sys.modules} - always))
"""


@linux
def test_the_look_of_a_clear_answer_imports_little(own_world, home):
    """In the child of the process; beside what psutil itself imports."""
    argv = [*own_world, sys.executable, "-c", LOOKS, SCRIPT.parent]
    run = subprocess.run(argv, capture_output=True, text=True)
    verdict, *imported = run.stdout.split()
    assert verdict == "clear", run.stdout + run.stderr
    assert "mm_preflight.scan" in imported
    assert not set(imported) & set(NEEDLESS)
