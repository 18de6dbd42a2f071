"""Finding the Python that `mm` runs under, and going on there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from mm_preflight.report import visible

from mm_postflight.records import STOPPED, Unknown

PYTHON = rb'(?:/usr/bin/env (?:-S )?|(?=/|\w:\\|\\\\))([^\0-\x1f"<>|*?]*python(?:\.?\d)*(?:\.exe)?)'
ENTRY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
STARTS = "mm-postflight starts here"


def find_python(program: str) -> str:
    """The interpreter behind `mm`, or a Python given as it is. Raises Unknown."""
    why = f"there is no program {visible(program)}"
    if path := shutil.which(program):
        why = f"{visible(path)} does not say which Python runs it"
        data = Path(path).read_bytes()
        if data[:2] != b"MZ":  # else a Windows launcher, pip's or uv's: it holds the path as text
            data = b"\n".join(data[:4096].splitlines()[:2])  # after #!, or in an '''exec' line
        beside = os.path.join(os.path.dirname(os.path.realpath(path)), "python")  # relocatable
        named = re.findall(PYTHON, b"\n".join([os.fsencode(beside), data, os.fsencode(path)]))
        for name in reversed(named):
            if python := shutil.which(os.fsdecode(name)):
                return python
    raise Unknown(f"{why}\nName memtomem's mm, or the Python that has memtomem, with --mm PATH.")


def require_start(python: str) -> None:
    """Raise Unknown if this program does not start under that Python.

    A Python that fails as it starts ends in 1, which would be taken for a verdict.
    """
    argv = [python, "-P", ENTRY, "--inside", STARTS]
    try:
        done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
        said = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unknown(f"{python} does not start: {error}") from error
    if done.returncode == 130 or done.returncode == -signal.SIGINT:
        raise Unknown(STOPPED)
    if done.returncode or STARTS not in said[0]:
        last = (said[1].strip().splitlines() or ["it says nothing"])[-1]
        remedy = "Name memtomem's mm, or the Python that has memtomem, with --mm PATH."
        if names := [name for name in ("PYTHONHOME", "PYTHONPATH") if os.environ.get(name)]:
            remedy = f"{' and '.join(names)} is set: try it without."
        raise Unknown(f"{python} does not start this program: {visible(last)}\n{remedy}")


def go(mm: str, words: list[str]) -> int:
    """Run this program under memtomem's Python. Raises Unknown; elsewhere it does not return."""
    python = find_python(mm)
    require_start(python)
    argv = [python, "-P", ENTRY, "--inside", sys.executable or "python", *words]
    if os.name == "nt":
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # that one hears it, and reports
        return subprocess.call(argv)
    # Ctrl-C waits until `hear_ctrl_c`: Python's own start would end in 1, as "mixed" does.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.execv(python, argv)


def hear_ctrl_c() -> None:
    """From here on, Ctrl-C is heard."""
    if os.name != "nt":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
