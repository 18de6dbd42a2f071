"""The scripts that processes run, by paths as those processes see them."""

from __future__ import annotations

import os
import time

from mm_preflight import table
from mm_preflight.argv import one_word
from mm_preflight.files import announce, is_trusted, looking_at, read_program
from mm_preflight.records import Database, Files, Seen


def locate(pid: int, path: str) -> str:
    """Where a script of a process lies, seen from here; OSError if that cannot be told."""
    if os.path.isabs(path):
        path = table.system.root_of(pid) + path
    else:
        path = os.path.join(table.system.cwd_of(pid), path)
    announce(path)
    main = os.path.join(path, "__main__.py")
    return main if os.path.isdir(path) else path


def reader(seen: Seen, database: Database, until: float) -> Files:
    """How to read the scripts of a process, by paths as it sees them; not after `until`."""

    def read(path: str) -> bytes:
        looking_at(f"process {seen.pid} ({one_word(seen.name)})")
        try:
            if time.monotonic() > until:
                raise OSError("too late")
            return read_program(locate(seen.thread, path))
        except table.TROUBLE as error:
            raise OSError(str(error)) from None

    def trusted(path: str) -> bool:
        if table.system.root_of(seen.thread):
            return False
        return table.ask(lambda: is_trusted(locate(seen.thread, path), database.owners), False)

    return Files(read, trusted)
