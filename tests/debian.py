"""Programs of Debian's in the tests, unpacked into the cache: nothing of the machine changes."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from real import CACHE, NotToBeHad, ask, only_one

LIBRARIES = r"^\s*\|?(?:Pre)?Depends: (lib(?:skarnet|s6|execline)[\w.-]*)$"


def unpacked(*names: str) -> Path:
    """A folder with these packages in it. In CI a test is never skipped for want of them."""
    try:
        return unpack(names)
    except NotToBeHad as why:
        if os.environ.get("CI"):
            pytest.fail(f"{', '.join(names)} cannot be had: {why}")
        pytest.skip(f"NOT run with {', '.join(names)}, which cannot be had here: {why}")


def unpack(names: tuple[str, ...]) -> Path:
    """Download with apt, as this machine configures it, and unpack. The stamp is written last."""
    if not shutil.which("apt-get"):
        raise NotToBeHad("there is no apt-get")
    folder = CACHE / "-".join(["debian", *names])
    with only_one(folder.with_suffix(".lock")):
        if not (folder / "complete").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "down").mkdir(parents=True)
            try:
                download(folder / "down", names)
            except NotToBeHad:  # where the lists are old or missing
                ask(["apt-get", "update", "-qq"], 300)
                download(folder / "down", names)
            for file in (folder / "down").glob("*.deb"):
                ask(["dpkg", "-x", file, folder])
            (folder / "complete").touch()
    return folder


def download(folder: Path, names: tuple[str, ...]) -> None:
    libraries = re.findall(LIBRARIES, ask(["apt-cache", "depends", *names]), re.M)
    ask(["env", "-C", folder, "apt-get", "download", "-qq", *names, *libraries], 300)


def programs_of(folder: Path) -> list[Path]:
    return [folder / each for each in ("usr/bin", "usr/sbin", "bin", "sbin")]


def library_path(folder: Path) -> str:
    return ":".join(str(path) for path in (folder / "usr/lib").glob("*-linux-gnu"))
