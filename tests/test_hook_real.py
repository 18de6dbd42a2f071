"""The shell hook with the real memtomem: the reset that runs is that of one's own `mm`."""

import os
import shutil
import subprocess
import sys

import pytest
from mm_preflight.cli import hook
from real import isolated, real
from support import SCRIPT, linux

__all__ = ["real"]  # the fixture

pytestmark = linux
WORK = "MEMTOMEM_STORAGE__SQLITE_PATH=$HOME/work.db"
OWN = {
    "bash-alias": f"shopt -s expand_aliases\nalias mm='{WORK} mm'",
    "bash-function": f'mm() {{ {WORK} command mm "$@"; }}',
    "zsh-alias": f"alias mm='{WORK} mm'",
    "zsh-function": f'mm() {{ {WORK} command mm "$@"; }}',
    "fish-alias": f"alias mm '{WORK} command mm'",
    "fish-function": f"function mm; {WORK} command mm $argv; end",
}
START = {"bash": "bash --norc", "zsh": "zsh -f", "fish": "fish --no-config"}


@pytest.mark.parametrize("name", OWN)
def test_the_reset_is_that_of_ones_own_database(real, tmp_path, name):
    """memtomem makes the database that it resets, if there is none."""
    shell = name.partition("-")[0]
    if not shutil.which(shell):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{shell} is not installed")
    home, programs = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    programs.mkdir()
    (programs / "mm-preflight").write_text(f'#!/bin/sh\nexec "{sys.executable}" {SCRIPT} "$@"\n')
    (programs / "mm-preflight").chmod(0o755)
    script = tmp_path / "script"
    reset = "mm embedding-reset --mode apply-current --yes"
    script.write_text(f"{OWN[name]}\n{hook(shell)}\n{reset}\n")
    done = subprocess.run(
        [*isolated(tmp_path / "run"), *START[shell].split(), script],
        env={"PATH": f"{programs}:{real.bin}:/usr/bin:/bin", "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mm-preflight: clear, no live mm process" in done.stdout + done.stderr
    assert (home / "work.db").exists()
    assert not (home / ".memtomem" / "memtomem.db").exists()
