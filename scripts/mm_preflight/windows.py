"""What only Windows has: accounts known by their SID, and open files known by being in memory.

Elsewhere in the house: has_launchers goes through table, scan and instances, because mm.exe with
its script inside starts Python and waits; argv and loops read cmd and PowerShell; origin knows the
.exe of a script as a launcher, and advice taskkill's /T; a terminal is not told there (tree); files
and database go without owners, and database knows the prefix of long paths; command has other
signals, exit statuses without a sign, and batch files; apart has a thread for want of a fork, and
waits in steps that hear Ctrl-C; report knows how a pipe that nobody reads fails. hides_open_files:
psutil's open_files() can hang for ever there, so table asks what is in memory, which asks nothing
of a file. SQLite maps a database's -shm once it has read it in WAL mode. It takes milliseconds for
each process, so only Pythons are asked; the blind spot "open-files" says so.
"""

from __future__ import annotations

import ctypes

LOCAL_APPDATA = 0x1C  # CSIDL_LOCAL_APPDATA, shlobj_core.h
LOCAL_SYSTEM = 22  # WinLocalSystemSid, winnt.h


def held(pid: int) -> None:
    """Nothing keeps taskkill from ending a process, if it is suspended or not."""


def kill_command(pid: int, workers: list[int]) -> str:
    """The command that ends a process and its children, which Windows leaves alive."""
    return f"taskkill /PID {pid} /T /F"


def blind_spots(known: set[int], denied: bool) -> list[str]:
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


def local_settings() -> str:
    """The folder of the user's local settings, whatever the environment says.

    Raises OSError where the system does not tell.
    """
    path = ctypes.create_unicode_buffer(260)
    if ctypes.WinDLL("shell32").SHGetFolderPathW(None, LOCAL_APPDATA, None, 0, path):  # type: ignore[attr-defined]
        raise OSError("the folder of local settings is not told")
    return path.value
