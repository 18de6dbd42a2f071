"""memtomem's own list of what is alive: the lock files of its runtime folders.

Since 0.5.0 each MCP server and each web form keeps an empty file open and locked while it lives,
`<pid>-<ppid>-<digest16>-<id8>-<nonce8>.lock`: in `presence/` from a server's start, in `instances/`
from the moment that a process opens a database (servers since 0.4.0). What is killed leaves its
file behind, and PIDs are used again, so a name alone proves nothing.
Source: memtomem 0.6.12, _instance_registry.py, _runtime_paths.py.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress

from mm_preflight.files import announce
from mm_preflight.records import Command, Database, Unknown

LOCK = ".lock"
PRESENCE = "presence"
FOLDERS = (PRESENCE, "instances")
NAME = r"(\d{1,10})-\d{1,10}-[0-9a-f]{16}-[0-9a-f]{8}-[0-9a-f]{8}\.lock"
FILES_READ = 200_000  # names in one runtime folder; memtomem clears it at each start
LATER_SECONDS = 5.0  # by how much a process may have started after its file was made: clocks


def pid_of(path: str) -> int:
    """The PID in the path of one of memtomem's lock files; 0 if it is none.

    Whatever the runtime folder is called: that of a live server may have been moved, or unmounted.
    """
    *_, folder, name = ["", *re.split(r"[/\\]", path)]
    match = re.fullmatch(NAME, name)
    return int(match[1]) if match and folder in FOLDERS else 0


def is_presence(path: str) -> bool:
    """Whether a lock file says that its process is an MCP server; else it may be the web, too."""
    return re.split(r"[/\\]", path)[-2:-1] == [PRESENCE]


def best(command: Command | None, path: str, name: str) -> Command:
    """The best that is known of a process with this lock file (or ""), called `name`."""
    if path and is_presence(path) and (command is None or command.role in ("library", "cli")):
        return Command("mcp-server", command.name if command else name)
    if command:
        return command._replace(verified=command.verified or path != "")
    return Command("library" if path else "database", name)


def folders(database: Database, local: str) -> list[str]:
    """The runtime folders, today's and older, of the database's owners; `local`: on Windows, the
    folder of a user's local settings, else ""."""
    temporary = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    if local:
        above = [os.path.join(local, "Temp"), *filter(None, temporary)]
        return list(dict.fromkeys(os.path.join(each, "memtomem-0") for each in above))
    runtime = filter(None, [os.environ.get("XDG_RUNTIME_DIR")])
    found = [os.path.join(each, "memtomem") for each in runtime]
    for owner in sorted(database.owners):
        found.append(f"/run/user/{owner}/memtomem")
        found += [f"{each}/memtomem-{owner}" for each in ["/tmp", *filter(None, temporary)]]
    return list(dict.fromkeys(found))


def listed(runtime: list[str], owners: frozenset[int]) -> dict[int, list[tuple[str, float]]]:
    """By PID, the lock files in these runtime folders: path, and mtime in seconds.

    A folder that is a link, or another user's, is none of memtomem's. Raises Unknown if one holds
    more than can be read.
    """
    found: dict[int, list[tuple[str, float]]] = {}
    for folder in (os.path.join(each, name) for each in runtime for name in FOLDERS):
        with suppress(OSError):
            announce(folder)
            for path, info in _regular(folder, owners):
                found.setdefault(pid_of(path), []).append((path, info.st_mtime))
    found.pop(0, None)
    return found


def _regular(folder: str, owners: frozenset[int]) -> list[tuple[str, os.stat_result]]:
    """The regular files of memtomem's names in a folder that belongs to one of these users."""
    for each in (os.path.dirname(folder), folder):
        info = os.lstat(each)
        if not stat.S_ISDIR(info.st_mode) or (owners and info.st_uid not in owners):
            return []
    found = []
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= FILES_READ:
                raise Unknown(f"{folder} holds more than {FILES_READ} files; clear it")
            if pid_of(entry.path) and entry.is_file(follow_symlinks=False):
                info = os.lstat(entry.path)  # Windows' scandir tells an mtime that may be old
                if not owners or info.st_uid in owners:
                    found.append((entry.path, info))
    return found


def registered(files: list[tuple[str, float]], started: float | None) -> str:
    """Which of the files with a process's PID is its own, or "".

    One whose process has gone is older than the process that was given its PID again.
    """
    for path, made in sorted(files, key=lambda each: not is_presence(each[0])):
        if started is not None and started <= made + LATER_SECONDS:
            return path
    return ""
