"""What tests and fixtures share: where things are, whom they skip, and how they wait."""

from __future__ import annotations

import importlib.resources
import io
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import portable
import psutil
import pytest
from mm_preflight import table

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "mm_preflight"
PORTABLE = Path(__file__).parent / "portable.py"
STAND_IN = Path(__file__).parent / "stand_in"
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc and its tools")
WINDOWS = os.name == "nt"


def is_wine() -> bool:
    """Whether this Windows is Wine's."""
    if not WINDOWS:
        return False
    import ctypes

    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


def not_on_windows(why: str):
    """A test of what Windows does not have."""
    return pytest.mark.skipif(WINDOWS, reason=f"Windows {why}")


# Whose process table the check reads: "own" is this platform's; "portable" is psutil alone, without
# the names that psutil lacks on macOS and Windows.
PROGRAMS = {"own": SCRIPT, "portable": PORTABLE}
PLATFORMS = list(PROGRAMS) if sys.platform == "linux" else ["own"]
SECONDS = 20 * (6 if is_wine() else 1)  # how long anything is waited for


def until(true, what: str | Callable[[], str], seconds: float = SECONDS):
    """Poll until `true()` holds, and return it; fail in words if it never does.

    `what`: what is waited for, or what tells how it is when the time is over.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.01)
    pytest.fail(f"waited {seconds:g} s in vain: {what() if callable(what) else what}")


# Windows sends Ctrl-C to all of a console: so this has one of its own, and a program in it.
IN_A_CONSOLE = """if True:
    import ctypes, signal, subprocess, sys
    kernel = ctypes.WinDLL("kernel32")
    kernel.SetConsoleCtrlHandler(None, False)  # who started the tests may ignore it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # this one hears it, too
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    sys.stdin.read()
    kernel.GenerateConsoleCtrlEvent(0, 0)
    status = process.wait()
    sys.exit(status - (1 << 32) if status >> 31 else status)
"""


def start_in_foreground(argv: list, **options) -> subprocess.Popen:
    """A program that hears Ctrl-C, as in a terminal; `press_ctrl_c` presses it."""
    if WINDOWS:
        options |= {"stdin": subprocess.PIPE, "creationflags": subprocess.CREATE_NO_WINDOW}
        return subprocess.Popen([sys.executable, "-c", IN_A_CONSOLE, *argv], **options)
    # It is ignored by what a shell started in the background, and by all that this starts.
    hears = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    return subprocess.Popen(argv, start_new_session=True, **options | hears)


def press_ctrl_c(process: subprocess.Popen) -> None:
    if WINDOWS:
        process.stdin.close()
    else:
        os.killpg(process.pid, signal.SIGINT)


def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def use_platform(kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have this process, too, read the process table as `kind` of PROGRAMS does."""
    if kind == "portable":
        monkeypatch.setattr("mm_preflight.table.psutil", portable.psutil)
        monkeypatch.setattr("mm_preflight.table.system", table.PORTABLE)
    return kind


def use_process(patch: pytest.MonkeyPatch, **methods) -> None:
    """Have the check ask processes with these methods; psutil itself stays as it is."""
    real = table.psutil

    def parent(process):
        above = real.Process.parent(process)
        return above and made(above.pid)

    made = type("Process", (real.Process,), {"parent": parent, **methods})
    patch.setattr(table, "psutil", portable.StandIn(real, made))


class Environment(NamedTuple):
    """The throwaway environment: its programs, its interpreter, its packages."""

    bin: Path
    python: str
    library: Path

    def program(self, name: str) -> str:
        return str(self.bin / name) + ".exe" * (WINDOWS and not name.endswith(".py"))


def base_python(name: str = "python") -> str:
    """On Windows, the Python that runs: a venv's python.exe is another program, and starts it."""
    return os.path.join(sys.base_prefix, f"{name}.exe")


def powershell_parses(text: str) -> bool:
    """Whether PowerShell's grammar reads a script; it is there also where PowerShell is not."""
    import tree_sitter
    import tree_sitter_powershell

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    return not parser.parse(text.encode()).root_node.has_error


def write_script(path: Path, interpreter: str, target: str) -> None:
    """A console script with the text pip gives it; `interpreter` is all that follows `#!`."""
    module, _, function = target.partition(":")
    path.write_text(
        f"#!{interpreter}\n"
        "# -*- coding: utf-8 -*-\n"
        "import re\n"
        "import sys\n"
        f"from {module} import {function}\n"
        "if __name__ == '__main__':\n"
        "    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\n"
        f"    sys.exit({function}())\n"
    )
    path.chmod(0o755)


def write_program(folder: Path, name: str, text: str) -> str:
    """A program of this Python's, as pip writes it: on Windows a launcher with the text inside."""
    path = folder / (f"{name}.exe" if WINDOWS else name)
    if WINDOWS:
        launcher = importlib.resources.files("pip._vendor.distlib") / "t64.exe"
        inside = io.BytesIO()
        with zipfile.ZipFile(inside, "w") as script:
            script.writestr("__main__.py", text)
        head = f"#!{sys.executable}\r\n".encode()
        path.write_bytes(launcher.read_bytes() + head + inside.getvalue())
    else:
        path.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def write_wheel(path: Path, package: Path) -> None:
    """A wheel of what lies in `package`: its entry_points.txt are the programs that pip makes."""
    metadata = {
        "METADATA": "Metadata-Version: 2.1\nName: memtomem\nVersion: 0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
        "entry_points.txt": (package / "entry_points.txt").read_text(),
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for file in package.rglob("*.py"):
            wheel.write(file, file.relative_to(package).as_posix())
        for name, text in metadata.items():
            wheel.writestr(f"memtomem-0.dist-info/{name}", text)


def chain(pid: int, below: int | None = None) -> list[int]:
    """The PIDs from below a process (by default, the tests' own) down to `pid`, topmost first.

    On Windows a program of pip's is a launcher, a venv's python.exe, and the Python that runs.
    """
    line = [pid, *(each.pid for each in psutil.Process(pid).parents())]
    if (below or os.getpid()) in line:
        return line[: line.index(below or os.getpid())][::-1]
    return line[::-1] if WINDOWS else [pid]  # its parent is gone; elsewhere PID 1 stands for it


def environment(stand_in: Environment, home: Path) -> dict[str, str]:
    """A bare environment, as of a login: nothing of the test runner's."""
    kept = ("SYSTEMROOT", "COMSPEC", "PATHEXT", "TEMP", "TMP", "LANG")
    path = f"{stand_in.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PATH": path,
        "HOME": str(home),
        "USERPROFILE": str(home),
    }
