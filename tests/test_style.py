"""The code is as ruff and mypy leave it, and the house as its plan has it."""

import ast
import subprocess
import sys

import pytest
from support import ROOT, SCRIPT


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
PURE = {"argv": set(), "records": set(), "source": set(), "advice": {"argv", "records"}}
PURE |= {"judge": {"argv", "records", "source"}, "report": {"records"}}
PURE |= {"database": {"argv", "files", "records"}, "files": set(), "windows": {"argv", "records"}}
PURE |= {"agents": {"harmless", "records", "resets"}, "harmless": {"literal"}}
PURE |= {"literal": set(), "resets": set(), "linux": {"argv", "files", "records"}}


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
    assert text.count("\n") <= 240
    for node in ast.walk(ROOMS[room]):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 40, node.name
    assert imported(room) <= PURE.get(
        room, set(ROOMS) - {"cli", "__main__"} | ({"cli"} if room == "__init__" else set())
    )


def test_no_room_needs_itself():
    """No circle: each room can be built before those that import it."""
    left, built = dict.fromkeys(set(ROOMS) - {"__init__", "__main__"}), set()
    while ready := {room for room in left if imported(room) <= built}:
        built |= ready
        left = {room: None for room in left if room not in built}
    assert not left
