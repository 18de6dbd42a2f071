"""Run a command in the project's own virtual environment, made first if it is not there.

    $ python3 scripts/in_venv.py mm-preflight
    $ python3 scripts/in_venv.py --extra dev pytest

The environment is `.venv`; it holds the project (editable) and the extras asked for, at the
versions of constraints.txt, and is brought up to date when pyproject.toml or constraints.txt
changed. Needs Python >= 3.11 with venv and pip, nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")


def install(extra: str) -> None:
    """Make the environment, or bring it up to date; at once if it already is."""
    wanted = hashlib.sha256(sys.version.encode() + str(ROOT).encode())
    for name in ("pyproject.toml", "constraints.txt"):
        wanted.update((ROOT / name).read_bytes())
    stamp = VENV / f"installed-{extra or 'plain'}"
    if stamp.exists() and stamp.read_text() == wanted.hexdigest():
        return
    if not (VENV / f"made-{sys.version_info[0]}.{sys.version_info[1]}").exists():
        venv.create(VENV, clear=VENV.exists(), with_pip=True)
        (VENV / f"made-{sys.version_info[0]}.{sys.version_info[1]}").touch()
    print(f"installing into {VENV} …", file=sys.stderr)
    target = f"{ROOT}[{extra}]" if extra else str(ROOT)
    pip: list[str | Path] = [BIN / "python", "-m", "pip", "install", "--quiet"]
    pip += ["--disable-pip-version-check", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*pip, "--editable", target], check=True, stdout=sys.stderr)
    # An editable module is compiled at each start where the environment forbids to keep the result.
    subprocess.run([BIN / "python", "-m", "compileall", "-q", ROOT / "scripts"], check=True)
    stamp.write_text(wanted.hexdigest())


def main(argv: list[str] | None = None) -> int:
    """Install, run, and return the command's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--extra", default="", help="an extra of pyproject.toml, such as dev")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run, with its arguments")
    options = parser.parse_args(argv)
    if not options.command:
        parser.error("give the command to run, such as mm-preflight or pytest")
    if sys.version_info < (3, 11):  # noqa: UP036 - a newcomer may start it with any Python
        parser.error(f"Python 3.11 or later is needed; this is {sys.version.split()[0]}")
    try:
        install(options.extra)
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"in_venv.py: the installation failed: {error}", file=sys.stderr)
        return 2
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    environment["VIRTUAL_ENV"] = str(VENV)
    program = shutil.which(options.command[0], path=environment["PATH"])
    if program is None:
        print(f"in_venv.py: {options.command[0]} is not in {BIN}", file=sys.stderr)
        return 127
    try:
        return subprocess.run([program, *options.command[1:]], env=environment).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
