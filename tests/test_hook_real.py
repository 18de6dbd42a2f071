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
# How a shell finds a program of one's own, and its line above the hook's.
FOUND = {
    "bash-tilde": 'PATH="~/mine:$PATH"',
    "bash-hash": "hash -p $HOME/mine/mm mm",
    "bash-path": "PATH=$HOME/mine:$PATH",
    "zsh-hash": "hash mm=$HOME/mine/mm",
    "zsh-path": "PATH=$HOME/mine:$PATH",
    "fish-path": "set -gx PATH $HOME/mine $PATH",
}
START = {"bash": "bash --norc", "zsh": "zsh -f", "fish": "fish --no-config"}


@pytest.fixture
def run(tmp_path):
    """Run a script in a shell that has loaded the hook, with a HOME of its own."""
    home, programs = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    programs.mkdir()
    (programs / "mm-preflight").write_text(f'#!/bin/sh\nexec "{sys.executable}" {SCRIPT} "$@"\n')
    (programs / "mm-preflight").chmod(0o755)

    def run(name, before, script, more_path=()):
        shell = name.partition("-")[0]
        if not shutil.which(shell):
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{shell} is not installed")
        (tmp_path / "script").write_text(f"{before}\n{hook(shell)}\n{script}\n")
        path = os.pathsep.join(map(str, [programs, *more_path, "/usr/bin", "/bin"]))
        return subprocess.run(
            [*isolated(tmp_path / "run"), *START[shell].split(), tmp_path / "script"],
            env={"PATH": path, "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    run.home = home
    return run


@pytest.mark.parametrize("name", OWN)
def test_the_reset_is_that_of_ones_own_database(real, run, name):
    """memtomem makes the database that it resets, if there is none."""
    reset = "mm embedding-reset --mode apply-current --yes"
    done = run(name, OWN[name], reset, [real.bin])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("mm-preflight: clear, no live mm process") == 2
    assert (run.home / "work.db").exists()
    assert not (run.home / ".memtomem" / "memtomem.db").exists()


@pytest.mark.parametrize("name", FOUND)
def test_the_reset_is_that_of_the_program_that_the_shell_finds(run, name):
    """Also of a script without `#!`, which a shell runs."""
    mine, other = run.home / "mine", run.home / "other"
    for folder in (mine, other):
        folder.mkdir()
        (folder / "mm").write_text(f'echo {folder.name} "$1"\nexit 7\n')
        (folder / "mm").chmod(0o755)
    script = "mm index\nmm embedding-reset --mode apply-current"
    done = run(name, FOUND[name], script, [other])
    assert (done.returncode, done.stdout) == (7, "mine index\nmine embedding-reset\n"), done.stderr
    assert "mm-preflight: clear" in done.stderr
