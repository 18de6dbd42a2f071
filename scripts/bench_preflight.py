"""Time mm-preflight against the plain ways to ask the same, with few and with many processes.

    $ python scripts/bench_preflight.py --children 0 3000 --pythons 60

Each way is a whole process, from its start to its end; all of them run in turns, and the medians
are compared within one run, because absolute times say more about the machine. The columns:

preflight   mm-preflight
portable    the same, without what only Linux has: what macOS runs
argv        import psutil, read cmdline() of every process
argv+files  import psutil, read cmdline() and open_files() of every process
pgrep       pgrep -af memtomem (reads argv)
lsof        lsof -t DATABASE (reads open files)

Below the children sleep; those of --pythons are Python programs, whose scripts are read. MiB is the
preflight's largest resident set. POSIX only; ways that are not installed are left out.

The last row is `mm-preflight --agent-hook`, which runs before each tool call of an agent, against a
Python that does nothing but read JSON. At most 1.3x is what it may cost.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PREFLIGHT = Path(__file__).with_name("mm_preflight")
PORTABLE = """
import sys
sys.path.insert(0, sys.argv[1])
from mm_preflight import main, table
table.system = table.PORTABLE
sys.exit(main([]))
"""
BARE = """
import psutil
for process in psutil.process_iter():
    try:
        process.cmdline(){}
    except psutil.Error:
        pass
"""


def preflight() -> list[str]:
    """mm-preflight as a command, compiled as pip leaves it."""
    compileall.compile_dir(str(PREFLIGHT), quiet=1)
    installed = Path(sys.executable).with_name("mm-preflight")
    return [str(installed)] if installed.exists() else [sys.executable, str(PREFLIGHT)]


def ways(database: Path) -> dict[str, list[str]]:
    """Each way to ask, by its column, as a command."""
    commands = {
        "preflight": preflight(),
        "portable": [sys.executable, "-c", PORTABLE, str(PREFLIGHT.parent)],
        "argv": [sys.executable, "-c", BARE.format("")],
        "argv+files": [sys.executable, "-c", BARE.format("; process.open_files()")],
        "pgrep": ["pgrep", "-af", "memtomem"],
        "lsof": ["lsof", "-t", str(database)],
    }
    return {name: command for name, command in commands.items() if shutil.which(command[0])}


def run(command: list[str], stdin: str = os.devnull) -> tuple[float, float]:
    """Run a command to its end: wall seconds and largest resident set in MiB."""
    start = time.perf_counter()
    silent = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    silent.append((os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0))
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=silent)
    usage = os.wait4(pid, 0)[2]
    kib = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return time.perf_counter() - start, kib / 1024


def measure(
    commands: dict[str, list[str]], children: list[list[str]], rounds: int
) -> dict[str, float]:
    """Medians in seconds of each way beside processes that run these; MiB of the first."""
    sleepers = []
    try:
        for child in children:
            # Where this prints may be a file, and open files are what some of the ways read.
            none = subprocess.DEVNULL
            sleepers.append(subprocess.Popen(child, stdin=none, stdout=none, stderr=none))
        time.sleep(len(children) / 200)  # until they have started
        times: dict[str, list[float]] = {name: [] for name in commands}
        memory = 0.0
        for turn in range(rounds + 1):  # the first warms the caches and is not counted
            for name, command in commands.items():
                seconds, mib = run(command)
                memory = max(memory, mib) if name == "preflight" else memory
                times[name] += [seconds] if turn else []
        return {name: statistics.median(each) for name, each in times.items()} | {"MiB": memory}
    finally:
        for sleeper in sleepers:
            sleeper.send_signal(signal.SIGKILL)
        for sleeper in sleepers:
            sleeper.wait()


def measure_hook(folder: str, rounds: int) -> tuple[float, float]:
    """Medians in seconds of the agent's hook over a harmless tool call, and of a bare Python."""
    call = Path(folder, "call.json")
    call.write_text(json.dumps({"tool_name": "Bash", "tool_input": {"command": "ls -la"}}))
    commands = [*preflight(), "--agent-hook"], [sys.executable, "-c", "import json"]
    times = [[run(command, str(call))[0] for command in commands] for _ in range(rounds + 1)]
    hook, bare = (statistics.median(each[1:]) for each in zip(*times, strict=True))
    return hook, bare


def main(argv: list[str] | None = None) -> int:
    """Print one row for each number of children: medians in ms, and the preflight's ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--children", type=int, nargs="+", default=[0, 100, 1000, 3000])
    parser.add_argument("--pythons", type=int, nargs="+", default=[])
    parser.add_argument("--rounds", type=int, default=9, help="counted rounds, at least 9")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "memtomem.db")
        with sqlite3.connect(database) as connection:
            connection.execute("create table chunks (id)")
        connection.close()
        script = Path(folder, "program.py")
        script.write_text("import time\n" + "# a line of a program\n" * 500 + "time.sleep(3600)\n")
        os.environ["MEMTOMEM_STORAGE__SQLITE_PATH"] = str(database)
        rows = [(f"{count}", [["sleep", "3600"]] * count) for count in options.children]
        python = [sys.executable, str(script)]
        rows += [(f"{count} py", [python] * count) for count in options.pythons]
        commands = ways(database)
        others = [name for name in commands if name != "preflight"]
        print(f"{'children':>8} {'preflight':>11}", *(f"{name:>18}" for name in others), "    MiB")
        for name, children in rows:
            found = measure(commands, children, max(9, options.rounds))
            mine = found["preflight"]
            cells = [f"{found[each] * 1e3:8.0f} ms {mine / found[each]:5.2f}x" for each in others]
            print(f"{name:>8} {mine * 1e3:8.0f} ms", *(f"{cell:>18}" for cell in cells), end="")
            print(f" {found['MiB']:7.1f}", flush=True)
        hook, bare = measure_hook(folder, 3 * max(9, options.rounds))
        name = "hook"
        print(
            f"{name:>8} {hook * 1e3:8.0f} ms {bare * 1e3:8.0f} ms {hook / bare:5.2f}x  import json"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
