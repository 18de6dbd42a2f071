"""A stand-in for memtomem: the same entry points and argv, and nothing behind them.

The tests install it into a throwaway environment, so that the process table shows what it shows
for the real one. Each program opens the database if its model does, says `ready PID` on standard
output, and stays until it is ended.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time

LIFETIME = 120  # seconds; a test that dies leaves nothing behind for longer


def stay(database: bool) -> None:
    """Stay as the real program does; with STAND_IN_RUNS, run that argv (JSON) and end with it."""
    connection = open_database() if database else None
    print("ready", os.getpid(), flush=True)
    if "STAND_IN_RUNS" in os.environ:
        sys.exit(subprocess.run(json.loads(os.environ.pop("STAND_IN_RUNS"))).returncode)
    time.sleep(LIFETIME)
    del connection


def open_database() -> sqlite3.Connection:
    """Open the database in WAL mode, as memtomem does: `-wal` and `-shm` lie beside it."""
    default = os.path.expanduser("~/.memtomem/memtomem.db")
    connection = sqlite3.connect(os.environ.get("MEMTOMEM_STORAGE__SQLITE_PATH", default))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("SELECT * FROM sqlite_master").fetchall()
    return connection
