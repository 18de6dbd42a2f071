"""What tests and fixtures share: where things are, whom they skip, and how they wait."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import NamedTuple

import portable
import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "mm_preflight"
PORTABLE = Path(__file__).parent / "portable.py"
STAND_IN = Path(__file__).parent / "stand_in"
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc and its tools")
posix = pytest.mark.skipif(os.name == "nt", reason="on Windows pip writes .exe launchers")
# Whose process table the check reads: "own" is this platform's; "portable" is psutil alone, without
# the names that psutil lacks on macOS and Windows.
PROGRAMS = {"own": SCRIPT, "portable": PORTABLE}
PLATFORMS = list(PROGRAMS) if sys.platform == "linux" else ["own"]
SECONDS = 20  # how long anything is waited for


def until(true, what: str):
    """Poll until `true()` holds, and return it; fail in words if it never does."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.01)
    pytest.fail(f"waited {SECONDS} s in vain: {what}")


def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def use_platform(kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have this process, too, read the process table as `kind` of PROGRAMS does."""
    if kind == "portable":
        monkeypatch.setattr("mm_preflight.table.psutil", portable.psutil)
        monkeypatch.setattr("mm_preflight.table.system", None)
    return kind


class Environment(NamedTuple):
    """The throwaway environment: its programs, its interpreter, its packages."""

    bin: Path
    python: str
    library: Path

    def program(self, name: str) -> str:
        return str(self.bin / name)


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


def environment(stand_in: Environment, home: Path) -> dict[str, str]:
    """A bare environment, as of a login: nothing of the test runner's."""
    kept = ("SYSTEMROOT", "COMSPEC", "TEMP", "TMP", "LANG")
    path = f"{stand_in.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PATH": path,
        "HOME": str(home),
        "USERPROFILE": str(home),
    }
