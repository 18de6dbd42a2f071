"""Which Python it runs itself under, and what it needs there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sys

import pytest
from mm_postflight import host
from mm_postflight.inside import find_python
from mm_postflight.records import Unknown
from support import WINDOWS, not_on_windows

from postflight.home import ROOT, Home, program, within

ROOMS = sorted((ROOT / "scripts" / "mm_postflight").glob("*.py"))
LAUNCHER = b"MZ" + bytes(range(256)) * 40
PYTHON = "/opt/mem/bin/python3.12"
ON_WINDOWS = "C:\\Users\\Zoë Müller\\uv\\tools\\memtomem\\Scripts\\python.exe"
SCRIPTS = {
    "pip": (f"#!{PYTHON}\n# -*- coding: utf-8 -*-\nimport re\n", PYTHON),
    "pip, long": (f"#!/bin/sh\n'''exec' \"{PYTHON}\" \"$0\" \"$@\"\n' '''\nimport re\n", PYTHON),
    "blanks": (
        "#!/bin/sh\n'''exec' \"/opt/my python things/bin/python3\" \"$0\" \"$@\"\n' '''\n",
        "/opt/my python things/bin/python3",
    ),
    "uv": (f"#!/bin/sh\n'''exec' '{PYTHON}' \"$0\" \"$@\"\n' '''\n", PYTHON),
    "options": (f"#!{PYTHON} -sP\n", PYTHON),
    "env": ("#!/usr/bin/env python3\n", "python3"),
    "relocatable": (
        '#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")"/\'python\' "$0" "$@"\n',
        "BESIDE",
    ),
    "windows, pip": (
        LAUNCHER + f"#!{ON_WINDOWS}\r\nPK\x03\x04".encode() + b"import re",
        ON_WINDOWS,
    ),
    "windows, pip, blanks": (LAUNCHER + f'#!"{ON_WINDOWS}"\r\nPK\x03\x04'.encode(), ON_WINDOWS),
    "windows, uv": (
        LAUNCHER + b"\x01\0\0\0" + ON_WINDOWS.encode() + b"\0\0PK\x03\x04#!x\n\x00PADDINGX",
        ON_WINDOWS,
    ),
    "midnight commander": (b"\x7fELF" + bytes(range(256)) * 9, None),
    "a shell script": ("#!/bin/sh\necho hello\n", None),
    "a wrapper": ("#!/usr/bin/env bash\nexec asdf exec mm\n", None),
    "empty": ("", None),
    "a broken quote": ("#!/bin/sh\n'''exec' \"/opt/x\n", None),
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_find_python(kind, tmp_path, monkeypatch):
    text, wanted = SCRIPTS[kind]
    mm = tmp_path / "bin" / "mm"
    mm.parent.mkdir()
    mm.write_bytes(text if isinstance(text, bytes) else text.encode())
    mm.chmod(0o755)
    link = mm if WINDOWS else tmp_path / "link"  # there, not every user may make one
    if not WINDOWS:
        link.symlink_to(mm)
    if wanted == "BESIDE":
        wanted = str(mm.with_name("python"))
    there = {wanted, str(mm), str(link), "/bin/sh", "/usr/bin/bash"}
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there else None)
    for one in (mm, link):
        if wanted:
            assert find_python(str(one)) == wanted
        else:
            with pytest.raises(Unknown, match="does not say which Python runs it"):
                find_python(str(one))


def test_a_python_may_be_named_itself(clean):
    assert clean.ask("--mm", clean.memtomem.python)["exit"] == 0
    assert clean.ask("--mm", clean.memtomem.program("mm"))["exit"] == 0


def test_no_mm(clean):
    clean.env["PATH"] = os.path.dirname(sys.executable)
    status, out, err = clean.postflight()
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "mm-postflight: unknown, there is no program mm",
        "Name memtomem's mm, or the Python that has memtomem, with --mm PATH.",
    ]


def test_an_mm_that_is_no_memtomem(clean, tmp_path):
    mm = tmp_path / ("mm.exe" if WINDOWS else "mm")
    mm.write_bytes(LAUNCHER * WINDOWS + f"#!{sys.executable}\nprint('hello')\n".encode())
    mm.chmod(0o755)
    answer = clean.ask("--mm", str(mm))
    assert (answer["exit"], answer["verdict"]) == (2, "unknown")
    assert "No module named 'memtomem'" in answer["reason"]


@not_on_windows("needs no PYTHONHOME")
def test_a_pythonhome_that_is_another_pythons(clean):
    """memtomem's Python does not start; alone it would end with 1."""
    clean.env["PYTHONHOME"] = sys.base_prefix
    answer = clean.ask()
    assert (answer["exit"], answer["verdict"]) == (2, "unknown")
    assert "does not start this program: " in answer["reason"]
    assert "PYTHONHOME is set: try it without." in answer["reason"]


@not_on_windows("runs no script by its first line")
@pytest.mark.parametrize("ending", ["sys.exit(1)", "os.abort()", "sys.exit(0)", "1 / 0"])
def test_a_python_that_ends_as_it_starts(clean, ending, tmp_path):
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nimport os, sys\n{ending}\n")
    python.chmod(0o755)
    answer = clean.ask("--mm", str(python))
    assert (answer["exit"], answer["verdict"]) == (2, "unknown")


def test_what_lies_beside_this_project_is_not_imported_there(clean, tmp_path):
    """It was installed for another Python."""
    clean.script = program(tmp_path / "site")
    for name in ("httpx", "pydantic", "sqlite_vec", "json", "database", "report"):
        (tmp_path / "site" / f"{name}.py").write_text("raise SystemExit(7)")
    assert clean.ask()["exit"] == 0


NAMED = [
    "config.Mem2MemConfig",
    "config.load_config_d",
    "config.load_config_overrides",
    "embedding.factory.create_embedder",
    "models.Chunk",
    "models.ChunkMetadata",
]
FOR_REPAIR = [
    "config.embedding_policy_fingerprint",
    "privacy.scan",
    "storage.sqlite_schema.SCHEMA_VERSION",
]


def without(home: Home, name: str) -> None:
    module, _, attribute = name.rpartition(".")
    within(
        home,
        f"import sys\nif '--inside' in sys.orig_argv and '-P' in sys.orig_argv:\n"
        f"    import memtomem.{module}\n    del memtomem.{module}.{attribute}",
    )


@pytest.mark.parametrize("name", NAMED)
def test_a_name_that_is_gone(clean, name):
    without(clean, name)
    answer = clean.ask()
    assert (answer["exit"], answer["verdict"]) == (2, "unknown")
    assert f"there is no memtomem.{name} in " in answer["reason"]


def test_a_name_that_is_gone_refuses_the_repair(mixed):
    without(mixed, "config.embedding_policy_fingerprint")
    held = mixed.digest()
    answer = mixed.repair()
    assert (answer["exit"], answer["repair"]["written"], mixed.digest()) == (2, 0, held)


def test_it_uses_no_other_name_of_memtomems():
    used = set[str]()
    for room in ROOMS:
        used |= set(re.findall(r'memtomem\("([\w.]+)"\)', room.read_text(encoding="utf-8")))
    assert used == {*NAMED, *FOR_REPAIR}
    assert host.REPAIRED


# --- The house ------------------------------------------------------------------------------------

PURE = {"records", "decide"}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.stem)
def test_room(room):
    """Small, short functions, and arrows in one direction."""
    text = room.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert text.count("\n") <= 300
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 40, node.name
    own = imported(tree)
    assert "cli" not in own or room.stem in ("__init__", "__main__")
    if room.stem in PURE:
        assert own <= {"records"}


def imported(tree: ast.Module) -> set[str]:
    """The rooms of this house that a room imports, at its top or later."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    found = {
        f"{node.module}.{alias.name}".split(".")[1]
        for node in nodes
        for alias in node.names
        if str(node.module).startswith("mm_postflight")
    }
    return found & {room.stem for room in ROOMS}


def test_no_room_needs_itself():
    trees = {room.stem: ast.parse(room.read_text(encoding="utf-8")) for room in ROOMS}
    left, built = set(trees) - {"__init__", "__main__"}, set[str]()
    while ready := {room for room in left if imported(trees[room]) <= built}:
        built |= ready
        left -= ready
    assert not left
