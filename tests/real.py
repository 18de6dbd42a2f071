"""The real memtomem in the tests: installed from the index, kept between runs, and kept apart.

    MM_TEST_MEMTOMEM   the version to test with (VERSION below, if it is not set)
    MM_TEST_PYTHON     the Python to install it with, instead of the first that will do

memtomem keeps its locks in one runtime folder per user, whatever HOME is, and `mm web` may run once
in it. So a test gives each mm a runtime folder of its own, by one of two ways:

- `apart(real, home)`, an environment: it uses the seam that memtomem's own test suite has, as
  `scripts/reproduce_mix.py` does. It works on every platform.
- `isolated(folder)`, words to put before an argv: namespaces of its own. Linux only; there mm runs
  as a user's does, no process outside is seen, and none that mm started outlives the command.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import WINDOWS, Environment, environment

VERSION = os.environ.get("MM_TEST_MEMTOMEM") or "0.6.12"
OLDEST_PYTHON = (3, 12)  # memtomem's requires-python
INSTALL_LIMIT = 600.0  # seconds; with a slow line and nothing in pip's cache
# Read at import: tests give themselves another HOME.
CACHE = Path(
    os.environ.get("LOCALAPPDATA" if WINDOWS else "XDG_CACHE_HOME") or Path.home() / ".cache"
).joinpath("mm-preflight-tests")

ABOUT = """
import ensurepip, sqlite3, sys, sysconfig, venv
print(*sys.version_info[:2], hasattr(sqlite3.Connection, "enable_load_extension"))
print(sys.executable)
print(sysconfig.get_path("purelib"))
"""
# A sqlite3 without extensions, as pyenv and macOS build it, cannot load sqlite-vec.
CURE = """import sys, pysqlite3, pysqlite3.dbapi2
sys.modules["sqlite3"] = pysqlite3
sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2
"""


class NotToBeHad(Exception):
    """Why there is no real memtomem here."""


@pytest.fixture(scope="session")
def real() -> Environment:
    """The real memtomem, with its web extra. In CI a test is never skipped for want of it."""
    return given(VERSION)


def given(version: str) -> Environment:
    """Install this version, or fail in CI, and skip elsewhere, saying why."""
    try:
        return install_memtomem(version)
    except NotToBeHad as why:
        if os.environ.get("CI"):
            pytest.fail(f"memtomem {version} cannot be had: {why}")
        pytest.skip(f"NOT run on a real memtomem, because {version} cannot be had here: {why}")


def install_memtomem(version: str, extras: str = "web") -> Environment:
    """The environment of this version, made if it is not there yet or does not work any more.

    Safe beside other test runs: only one at a time installs. Raises NotToBeHad.
    """
    python, (major, minor), loads = find_python()
    folder = CACHE / "-".join(["memtomem", version, *extras.split(","), f"py{major}.{minor}"])
    if not (made := installed(folder, version)):
        with only_one(folder.with_suffix(folder.suffix + ".lock")):
            if not (made := installed(folder, version)):
                make(folder, python, f"memtomem[{extras}]=={version}", loads)
                made = installed(folder, version)
    if not made:
        raise NotToBeHad(f"what was installed into {folder} does not answer `mm --version`")
    return made


def installed(folder: Path, version: str) -> Environment | None:
    """The environment in `folder`; None if it is not there, half made, or broken since."""
    if not (folder / "complete").is_file():
        return None
    programs = folder / ("Scripts" if WINDOWS else "bin")
    try:
        about = ask([programs / "python", "-c", ABOUT])
        said = ask([programs / "mm", "--version"])
    except NotToBeHad:
        return None
    _, python, library = about.splitlines()
    return Environment(programs, python, Path(library)) if version in said.split() else None


def make(folder: Path, python: str, requirement: str, loads_extensions: bool) -> None:
    """Install with pip, as this machine configures it. The stamp is written last."""
    shutil.rmtree(folder, ignore_errors=True)
    ask([python, "-m", "venv", folder], INSTALL_LIMIT)
    inside = folder / ("Scripts" if WINDOWS else "bin") / "python"
    pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    cure = [] if loads_extensions else ["pysqlite3-binary"]
    ask([*pip, requirement, *cure], INSTALL_LIMIT)
    if cure:
        library = Path(ask([inside, "-c", ABOUT]).splitlines()[2])
        (library / "sitecustomize.py").write_text(CURE)
    (folder / "complete").touch()


@contextlib.contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """SQLite's own lock: the same on each platform, and gone with the process that holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(lock, timeout=INSTALL_LIMIT, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
    except sqlite3.OperationalError as error:
        raise NotToBeHad(f"another test run has been installing for too long: {error}") from error
    finally:
        connection.close()


def ask(argv: list, limit: float = 60) -> str:
    """What a command prints; NotToBeHad, with its last words, if it does not end well."""
    # A PYTHONPATH of the test runner's is none of memtomem's.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    argv = [os.fspath(each) for each in argv]
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=limit)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotToBeHad(str(error)) from error
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise NotToBeHad(f"{argv[0]} ended with {done.returncode}: {' '.join(last)}")
    return done.stdout


def find_python() -> tuple[str, tuple[int, int], bool]:
    """A Python that memtomem takes: its path, its version, and if its sqlite3 loads extensions.

    The first whose sqlite3 does, else the first. Raises NotToBeHad.
    """
    second_best = None
    for python in dict.fromkeys(pythons()):
        with contextlib.suppress(NotToBeHad):
            version, path, _ = ask([*python, "-c", ABOUT]).splitlines()
            major, minor, loads = version.split()
            found = path, (int(major), int(minor)), loads == "True"
            if found[1] >= OLDEST_PYTHON and found[2]:
                return found
            if found[1] >= OLDEST_PYTHON:
                second_best = second_best or found
    if second_best:
        return second_best
    raise NotToBeHad("there is no Python >= 3.12 with venv here; MM_TEST_PYTHON can name one")


def pythons() -> Iterator[tuple[str, ...]]:
    """Where a Python may be, the likeliest first; many of these are not there."""
    if given := os.environ.get("MM_TEST_PYTHON"):
        yield (given,)
        return
    yield (sys.executable,)
    newer = ["3.12", "3.13", "3.14"]
    if WINDOWS:
        yield from (("py", f"-{each}") for each in newer)
    yield from ((f"python{each}",) for each in newer)
    with contextlib.suppress(NotToBeHad):
        versions = Path(ask(["pyenv", "root"]).strip(), "versions")
        for each in newer:
            yield from ((str(found),) for found in versions.glob(f"{each}.*/bin/python"))
    with contextlib.suppress(NotToBeHad):
        yield (ask(["uv", "python", "find", ">=3.12"]).strip(),)


def apart(real: Environment, home: Path) -> dict[str, str]:
    """The environment of a login in `home`, in which memtomem's runtime folder is `home`'s too."""
    for folder in (home, home / "run"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return environment(real, home) | {
        "_MEMTOMEM_TEST_RUNTIME_DIR": str(home / "run" / "memtomem"),
        "PYTEST_CURRENT_TEST": "real",  # without it memtomem does not heed the other
    }


def isolated(runtime: Path) -> list[str]:
    """What to put before an argv: a process table of its own, and `runtime` as runtime folder.

    `runtime` is made if it is not there; memtomem takes no folder that others may read. Where the
    machine allows no such namespaces, the test is skipped, in words; in CI it fails.
    """
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The mount needs a place to stand on, also where this user never ran memtomem.
    # The shell stays the first process: to that one, signals and orphans are not what they are.
    inside = 'mkdir -p -m 700 "$0" && mount --bind "$1" "$0" || exit 126; shift; "$@"; exit $?'
    for prefix in namespaces():
        place = f"/tmp/memtomem-{os.getuid()}"
        argv = [*prefix, "sh", "-c", inside, place, str(runtime)]
        with contextlib.suppress(NotToBeHad):
            ask([*argv, "true"])
            return argv
    if os.environ.get("CI"):
        pytest.fail("this machine allows no mount and PID namespaces")
    pytest.skip("this machine allows no mount and PID namespaces")


def namespaces() -> Iterator[list[str]]:
    """As root, and as an ordinary user, who stays the same user inside."""
    plain = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    yield plain
    yield [*plain, "--user", "--map-current-user", "--keep-caps"]


def subcommands(help_text: str) -> list[str]:
    """The subcommands that a `--help` of mm's lists."""
    listed = re.split(r"^Commands:$", help_text, flags=re.MULTILINE)[1:]
    return re.findall(r"^  ([a-z][\w-]*)(?=  |$)", "\n".join(listed), re.MULTILINE)
