"""A copy of the database beside it, before anything is written."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path

from mm_postflight.records import Unknown


def backup(source: sqlite3.Connection, path: Path) -> str:
    """Copy by SQLite's own backup, which keeps rowids. Its path; raises Unknown without a trace.

    It has the database's mode and owner, and is never written over a file.
    """
    name = f"{path}.before-repair-{time.strftime('%Y%m%d-%H%M%S')}"
    partial = f"{name}.{os.getpid()}.partial"
    try:
        _create(partial, os.stat(path))
        with contextlib.closing(sqlite3.connect(partial)) as target:
            source.backup(target, progress=_require_progress)
        return _give_name(partial, name)
    except (OSError, sqlite3.Error) as error:
        where = path.parent
        told = f"there is no backup, because it cannot be made in {where}: {error}"
        raise Unknown(
            f"{told}\nNothing was written. Make room there, and run this again."
        ) from error
    finally:
        for left in (partial, f"{partial}-journal", f"{partial}-wal", f"{partial}-shm"):
            with contextlib.suppress(OSError):
                os.unlink(left)


def _require_progress(status: int, _left: int, _all: int) -> None:
    """Raise Unknown where SQLite waited for a lock: Python waits on for ever, deaf to Ctrl-C."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        told = "there is no backup, because the database is locked"
        raise Unknown(f"{told}\nNothing was written. Run this again.")


def _create(partial: str, like: os.stat_result) -> None:
    """An empty file with the mode and owner of another; OSError if there is one already."""
    handle = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        if os.name != "nt":
            with contextlib.suppress(PermissionError):  # only root may give a file away
                os.fchown(handle, like.st_uid, like.st_gid)
            os.fchmod(handle, stat.S_IMODE(like.st_mode))
    finally:
        os.close(handle)


def _give_name(partial: str, name: str) -> str:
    """Its last name, once it is whole; the first that is free."""
    for number in range(100):
        free = f"{name}-{number}" if number else name
        try:
            os.link(partial, free)  # fails where a rename would replace
            return free
        except FileExistsError:
            continue
        except OSError:  # a file system without hard links
            if not os.path.lexists(free):
                os.rename(partial, free)
                return free
    raise FileExistsError(f"{name} is there already")
