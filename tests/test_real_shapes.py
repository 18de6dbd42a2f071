"""The real memtomem, however it is launched: named, with its role; and its list of commands."""

import json
import subprocess
import sys

import psutil
import pytest
from conftest import reap
from mm_preflight.judge import SUBCOMMANDS
from real import apart, real, subcommands
from support import PLATFORMS, PROGRAMS, WINDOWS, free_port, until, use_platform

__all__ = ["real"]  # the fixture


@pytest.fixture(params=PLATFORMS, autouse=True)
def platform(request, monkeypatch) -> str:
    return use_platform(request.param, monkeypatch)


def test_subcommands_are_those_of_memtomem(real):
    """An unknown word after `mm` is not shown, so a new subcommand would lose its name."""
    done = subprocess.run([real.program("mm"), "--help"], capture_output=True, text=True)
    assert set(subcommands(done.stdout)) == SUBCOMMANDS


BOTH, ALL = ["command-line", "database-open"], ["command-line", "registered", "database-open"]
SERVER = ("mcp-server", ["command-line", "registered"])
# How it is launched: a program of the environment's and its arguments; the role, and the evidence.
# {port} is a free one; an MCP server does not open the database until its first tool call.
LAUNCHED = {
    "mm web": ("mm web --port {port}", "web", ALL),
    "mm serve": ("mm serve", *SERVER),
    "memtomem serve": ("memtomem serve", *SERVER),
    "memtomem-server": ("memtomem-server", *SERVER),
    "memtomem-server, http": ("memtomem-server --transport http --port {port}", *SERVER),
    "python -m memtomem.server": ("python -m memtomem.server", *SERVER),
    "mm shell": ("mm shell", "shell", BOTH),
    "memtomem-web": ("memtomem-web --port {port}", "web", ALL),
    "uvicorn": ("uvicorn memtomem.web.app:app --port {port}", "web", ALL),
    "library": ("python {home}/app.py", "library", BOTH),
    "module": ("python -m memtomem.web.app --port {port}", "web", ALL),
    "uvicorn with workers": (
        "uvicorn memtomem.web.app:app --workers 2 --port {port}",
        "web",
        ALL,
    ),
}
if not WINDOWS:  # there, nobody makes a link to an .exe
    LAUNCHED["link"] = ("{home}/memory shell", "shell", BOTH)
LIBRARY = """
import time
from memtomem.config import Mem2MemConfig
from memtomem.storage.factory import create_storage
import asyncio
async def main():
    storage = create_storage(Mem2MemConfig())
    await storage.initialize()
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def launched(real, tmp_path_factory):
    """Every row of LAUNCHED, running: its PID by its name, and the home that all share."""
    home = tmp_path_factory.mktemp("real")
    (home / ".memtomem").mkdir()
    (home / ".memtomem" / "config.json").write_text("{}")  # without one, mm shell ends
    (home / "app.py").write_text(LIBRARY)
    if not WINDOWS:
        (home / "memory").symlink_to(real.program("mm"))
    processes = {}
    for name, (line, *_) in LAUNCHED.items():
        argv = line.format(home=home, port=free_port()).split()
        argv[0] = argv[0] if str(home) in argv[0] else real.program(argv[0])
        env = apart(real, home) | {"_MEMTOMEM_TEST_RUNTIME_DIR": str(home / name / "memtomem")}
        (home / name).mkdir()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        processes[name] = subprocess.Popen(
            argv, cwd=home, env=env, start_new_session=True, stderr=subprocess.DEVNULL, **pipes
        )
    yield home, {name: process.pid for name, process in processes.items()}
    reap(list(processes.values()), [])


@pytest.mark.parametrize("name", LAUNCHED)
def test_real_process_is_named(launched, real, platform, name):
    home, pids = launched
    command, role, evidence = LAUNCHED[name]
    process = psutil.Process(pids[name])
    workers = 2 if "--workers 2" in command else 0

    def row() -> dict:
        argv = [sys.executable, PROGRAMS[platform], "--json"]
        done = subprocess.run(argv, env=apart(real, home), capture_output=True, text=True)
        # On Windows the process is a launcher, and what it started is below it. multiprocessing's
        # tracker of resources has nothing to do with memtomem.
        family = (process, *process.children(recursive=True))
        pids = sorted(each.pid for each in family if "resource_tracker" not in str(each.cmdline()))
        found = [one for one in json.loads(done.stdout)["processes"] if one["pid"] in pids]
        whole = found and found[0]["evidence"] == evidence and sorted(found[0]["pids"]) == pids
        return found[0] if whole and len(pids) > workers else {}

    found = until(row, f"{command} with {evidence}", 60)
    assert (found["role"], found["verified"]) == (role, True)
