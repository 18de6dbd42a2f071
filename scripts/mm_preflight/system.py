"""What differs between the platforms: what is asked of each, and who answers it there."""

from __future__ import annotations

import sys

from mm_preflight.records import TYPE_CHECKING, Database, Glance, Held, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


def user_name(user: int) -> str:
    """The name of a user ID, or the ID where nobody knows it: as psutil has it."""
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _root_account() -> str:
    return user_name(0)


def _kill_command(pid: int, workers: list[int]) -> str:
    return " ".join(map(str, ["kill", pid, *workers]))


class System(NamedTuple):
    """What is asked of a platform. The first four are psutil's to answer, in table."""

    # A first look at a process; None if it has nothing to do with memtomem.
    glance: Callable[[int, Database], Glance | None]
    exe_of: Callable[[int], str]
    # A path that leads from here to the folder of a process.
    cwd_of: Callable[[int], str]
    # What keeps a process from hearing a kill, or None.
    held: Callable[[int], Held | None]
    # Raises Unknown where the table is not this process's own.
    require_own_table: Callable[[], None] = lambda: None
    # Where a process's files begin, seen from here: "", or a folder if that is elsewhere.
    root_of: Callable[[int], str] = lambda pid: ""
    # The device of the file system that a file lies on, or "".
    device_of: Callable[[str], str] = lambda path: ""
    # The name of the system's own account. OSError or KeyError if it has none.
    system_account: Callable[[], str] = _root_account
    # The folder of the user's local settings, below which memtomem's runtime folder lies, or "".
    local_settings: Callable[[], str] = lambda: ""
    # Whether what is typed at its terminal reaches a process; True where that is not told.
    in_front: Callable[[int], bool] = lambda pid: True
    # The command that ends a process and its workers, which may live on without it.
    kill_command: Callable[[int, list[int]], str] = _kill_command
    # The command that stops a process's container or service, "?" (cgroups.py), or "".
    stop_command: Callable[[int, frozenset[int]], str] = lambda pid, family: ""
    # Keys of BLIND_SPOTS, by every PID in the table, and whether some process hides its arguments.
    blind_spots: Callable[[set[int], bool], list[str]] = lambda known, denied: []
    has_launchers: bool = False  # programs that start Python and wait
    # So what a Python has in memory is asked (windows.py), and the names of memtomem's lock files.
    hides_open_files: bool = False
    has_plain_console: bool = False  # it may know no control sequences
    elevated: str = "sudo"  # how to see and end what is not one's own


def on_this_platform(portable: System) -> System:
    """Who answers here: `portable`, but for what this platform answers itself; macOS has none."""
    if sys.platform == "linux":
        from mm_preflight import cgroups, linux

        return portable._replace(
            require_own_table=linux.require_own_table,
            glance=linux.glance,
            exe_of=linux.exe_of,
            cwd_of=linux.cwd_of,
            root_of=linux.root_of,
            device_of=linux.device_of,
            held=linux.held,
            in_front=linux.in_front,
            stop_command=cgroups.stop_command,
            blind_spots=linux.blind_spots,
        )
    if sys.platform == "win32":
        from mm_preflight import windows

        return portable._replace(
            held=windows.held,
            system_account=windows.system_account,
            local_settings=windows.local_settings,
            kill_command=windows.kill_command,
            blind_spots=windows.blind_spots,
            has_launchers=True,  # mm.exe, and the python.exe of a virtual environment
            hides_open_files=True,
            has_plain_console=True,
            elevated="an administrator's terminal",
        )
    return portable
