"""What only Windows has: accounts known by their SID, and files known by being in memory.

Elsewhere in the house: judge reads memtomem's launchers (mm.exe with its script inside), argv
reads cmd and PowerShell, advice says taskkill.
"""

from __future__ import annotations

import ctypes
from typing import Any

from mm_preflight.argv import is_python

LOCAL_SYSTEM = 22  # WinLocalSystemSid, winnt.h


def mapped_files(process: Any) -> list[str]:
    """The paths of the files that a Python has in memory; none of another program's.

    SQLite maps a database's -shm once it has read it in WAL mode. open_files() would tell more, but
    it can hang for ever; this asks nothing of a file. It takes milliseconds for each process.
    """
    return [each.path for each in process.memory_maps()] if is_python(process.name()) else []


def blind_spots(known: set[int]) -> list[str]:
    """What cannot be seen from here, as keys of BLIND_SPOTS."""
    return ["open-files"]


def system_account() -> str:
    """DOMAIN\\name of the account S-1-5-18, whose name is in the language of the system.

    Raises OSError where it cannot be looked up.
    """
    api = ctypes.WinDLL("advapi32", use_last_error=True)  # type: ignore[attr-defined]
    sid, size = ctypes.create_string_buffer(68), ctypes.c_ulong(68)
    if not api.CreateWellKnownSid(LOCAL_SYSTEM, None, sid, ctypes.byref(size)):
        raise ctypes.WinError(ctypes.get_last_error())  # type: ignore[attr-defined]
    name, domain = ctypes.create_unicode_buffer(256), ctypes.create_unicode_buffer(256)
    lengths = ctypes.c_ulong(256), ctypes.c_ulong(256)
    found = api.LookupAccountSidW(
        None, sid, name, ctypes.byref(lengths[0]), domain, ctypes.byref(lengths[1]),
        ctypes.byref(ctypes.c_ulong()),
    )  # fmt: skip
    if not found:
        raise ctypes.WinError(ctypes.get_last_error())  # type: ignore[attr-defined]
    return f"{domain.value}\\{name.value}"
