"""The real memtomem can be had, works, and is kept apart; and what happens if it cannot be had."""

import os
import subprocess
import sys
import time

import pytest
import real as module
from real import VERSION, NotToBeHad, apart, given, installed, isolated, only_one, real, subcommands
from support import SECONDS, linux

__all__ = ["real"]  # the fixture


def run(argv, **options):
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, **options)


def test_it_is_the_version_asked_for(real):
    assert run([real.program("mm"), "--version"]).stdout.split()[-1] == VERSION


def test_its_help_lists_the_subcommands(real):
    listed = subcommands(run([real.program("mm"), "--help"]).stdout)
    assert {"embedding-reset", "index", "init", "search", "serve", "shell", "web"} <= set(listed)


def test_it_keeps_its_data_in_the_home_it_is_given(real, tmp_path):
    mm, env = real.program("mm"), apart(real, tmp_path / "home")
    done = run([mm, "embedding-reset"], env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "home" / ".memtomem" / "memtomem.db").is_file()


def test_it_has_its_web_extra(real):
    assert run([real.python, "-c", "import fastapi, uvicorn"]).returncode == 0


def test_a_second_run_does_not_install_again(real):
    began = time.monotonic()
    assert given(VERSION) == real
    assert time.monotonic() - began < SECONDS / 2


def test_a_half_made_environment_is_not_taken(real, tmp_path):
    assert installed(real.bin.parent, VERSION) == real
    assert installed(real.bin.parent, "0.0.1") is None
    (tmp_path / "bin").mkdir()
    assert installed(tmp_path, VERSION) is None
    (tmp_path / "complete").touch()
    assert installed(tmp_path, VERSION) is None


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_what_cannot_be_had_fails_in_ci_and_is_said_elsewhere(monkeypatch, ci, outcome):
    def refuse(version):
        raise NotToBeHad("no network")

    monkeypatch.setattr(module, "install_memtomem", refuse)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no network"):
        given("0.6.12")


def test_the_python_named_is_the_only_one_asked(monkeypatch):
    monkeypatch.setenv("MM_TEST_PYTHON", "/nowhere/python")
    with pytest.raises(NotToBeHad, match="MM_TEST_PYTHON"):
        module.find_python()


def test_pip_s_last_words_are_kept(tmp_path):
    python, _, _ = module.find_python()
    with pytest.raises(NotToBeHad, match=r"memtomem==0\.0\.0\.nowhere"):
        module.make(tmp_path / "environment", python, "memtomem==0.0.0.nowhere", True)
    assert not (tmp_path / "environment" / "complete").exists()


HOLD = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from real import only_one
with only_one(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_at_a_time_installs_and_a_killed_one_holds_nobody_up(tmp_path, monkeypatch):
    lock = tmp_path / "lock"
    argv = [sys.executable, "-c", HOLD, os.path.dirname(__file__), str(lock)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, **pipes) as holder:
        try:
            assert holder.stdout.readline() == b"held" + os.linesep.encode()
            monkeypatch.setattr(module, "INSTALL_LIMIT", 0.1)
            with pytest.raises(NotToBeHad, match="too long"), only_one(lock):
                pytest.fail("two at a time")
        finally:
            holder.kill()
    monkeypatch.setattr(module, "INSTALL_LIMIT", 10)
    with only_one(lock):
        pass


@linux
def test_isolated_shows_no_other_process_and_a_runtime_folder_of_its_own(tmp_path):
    runtime = tmp_path / "runtime"
    script = f"touch /tmp/memtomem-{os.getuid()}/here; id -u; ls -d /proc/[0-9]*; exit 7"
    done = run([*isolated(runtime), "sh", "-c", script])
    assert done.returncode == 7, done.stderr
    user, *processes = done.stdout.split()
    assert int(user) == os.getuid()
    assert "/proc/1" in processes and len(processes) <= 4
    assert [path.name for path in runtime.iterdir()] == ["here"]
