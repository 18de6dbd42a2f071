"""The check among a test's own processes alone, where the system has no PID namespaces.

A program, like scripts/mm_preflight: it sees the processes that have the test's mark, which they
inherit, in their environment. `pids(mark)` are these.
"""

import os
import sys
from pathlib import Path

import psutil

MARK = "MM_TEST_FAMILY"


def is_marked(pid: int, mark: str) -> bool:
    try:
        return psutil.Process(pid).environ().get(MARK) == mark
    except (psutil.Error, OSError, SystemError):
        return False


def pids(mark: str) -> list[int]:
    return [pid for pid in psutil.pids() if is_marked(pid, mark)]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
    from mm_preflight import main, table

    table.pids = lambda: set(pids(os.environ[MARK]))
    sys.exit(main())
