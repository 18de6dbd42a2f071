"""Asking mm-preflight whether an mm process is alive; under the Python that has psutil."""

from __future__ import annotations

import json
import os
import subprocess
from typing import NamedTuple

SECONDS = 20.0  # it ends within 10 s itself


class Told(NamedTuple):
    """Its verdict: clear, live or unknown; and, where it is not clear, what it says to do."""

    verdict: str
    why: str


def ask(python: str, database: str) -> Told:
    """Look once, at the processes of this database. Whatever goes wrong is unknown."""
    folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    program = os.path.join(folder, "mm_preflight")
    argv = [python, program, "--json", "--db", database]
    try:
        done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS)
        answer = json.loads(done.stdout)
        verdict, reason = str(answer["verdict"]), str(answer.get("reason") or "")
        names = [f"{each['command']} (pid {each['pid']})" for each in answer.get("processes", [])]
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as error:
        return Told("unknown", f"mm-preflight gave no answer ({type(error).__name__})")
    if verdict == "clear" and done.returncode == 0:
        return Told("clear", "")
    if verdict == "live":
        return Told("live", f"alive: {', '.join(names[:3])}")
    return Told("unknown", reason or "mm-preflight could not tell")
