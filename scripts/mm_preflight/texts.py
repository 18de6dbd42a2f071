"""The text of the scripts that interpreters run: where it lies, and what it says."""

from __future__ import annotations

import os

from mm_preflight import table
from mm_preflight.database import is_trusted, read_bounded
from mm_preflight.records import Database, Files

TYPE_CHECKING = False  # typing takes 4 ms to import
if TYPE_CHECKING:
    from typing import Any


def locate(process: Any, path: str) -> str:
    """Where a script of a process lies; OSError if that cannot be told from here."""
    if hasattr(table.system, "require_same_files"):
        table.system.require_same_files(process.pid)
    if not os.path.isabs(path):
        path = os.path.join(process.cwd(), path)
    main = os.path.join(path, "__main__.py")
    return main if os.path.isdir(path) else path


def reader(process: Any, database: Database) -> Files:
    """How to read the scripts of a process: by paths as it sees them, bounded."""

    def read(path: str) -> bytes:
        try:
            return read_program(locate(process, path))
        except table.TROUBLE as error:
            raise OSError(str(error)) from None

    def trusted(path: str) -> bool:
        return bool(table.ask(lambda: is_trusted(locate(process, path), database.owners), False))

    return Files(read, trusted)


def read_program(path: str) -> bytes:
    """The Python text of a script; of a zip application or a launcher, its main file's."""
    text = read_bounded(path)
    if b"PK\5\6" not in text[-65557:]:  # a zip's end, with the longest comment it may have
        return text
    import io
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(io.BytesIO(text)) as archive, archive.open("__main__.py") as main:
            return main.read(1 << 16)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, EOFError, zlib.error):
        return text
