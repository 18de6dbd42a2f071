"""Which file is memtomem's database, as memtomem 0.6.12 finds it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from mm_preflight.argv import basename, is_shell
from mm_preflight.files import Silent, announce, looking_at, read_bounded, read_start
from mm_preflight.records import TYPE_CHECKING, Database, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC = b"SQLite format 3\0"


def sudo_user() -> int | None:
    """The ID of the user who ran this with sudo: the database meant is theirs, not root's."""
    geteuid = getattr(os, "geteuid", None)
    user = os.environ.get("SUDO_UID", "") if geteuid and geteuid() == 0 else ""
    command = os.environ.get("SUDO_COMMAND", "").partition(" ")[0]
    if is_shell(command) or basename(command) == "su":  # `sudo -i`: a shell with root's home
        return None
    return int(user) if user.isdigit() else None


def user_home() -> str:
    """The home folder of the user whose database is meant."""
    user = sudo_user()
    if user is None:
        return os.path.expanduser("~")
    import pwd

    with suppress(KeyError):
        return pwd.getpwuid(user).pw_dir
    raise Unknown("the user who ran sudo has no home folder; give --db PATH")


def database_path() -> str:
    """Where memtomem keeps its database: environment, config.json, config.d/, the default.

    Source: memtomem 0.6.12, config.py (env_bindings_for, load_config_d, load_config_overrides).
    Raises Unknown for what memtomem would not take: it falls back to its defaults there, and would
    reset to a model that nobody chose.
    """
    home = os.path.join(user_home(), ".memtomem")
    folder, names = os.path.join(home, "config.d"), list[str]()
    with suppress(FileNotFoundError, NotADirectoryError):
        announce(folder)
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    path = os.path.join(home, "memtomem.db")
    for source in [*(os.path.join(folder, name) for name in names), f"{home}/config.json"]:
        try:
            path = _storage(read_bounded(source).decode(), "storage").get("sqlite_path", path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            why = f"{source} cannot be read ({error})"
            raise Unknown(f"{why}; correct it, or give --db PATH") from None
    return _from_environment(path)


def _from_environment(path: str) -> str:
    """The environment's database, or `path`. Names in any case; of several, the last one counts."""
    found = {name.lower(): value for name, value in os.environ.items()}
    if (section := found.get("memtomem_storage")) is not None:
        try:
            fields = _storage(section)
        except (ValueError, RecursionError) as error:
            why = f"MEMTOMEM_STORAGE cannot be read ({error})"
            raise Unknown(f"{why}; correct it, or give --db PATH") from None
        path = {name.lower(): value for name, value in fields.items()}.get("sqlite_path", path)
    return found.get("memtomem_storage__sqlite_path", path)


def _storage(text: str, section: str = "") -> dict[str, str]:
    """The storage section of a JSON text, or the text as that section; ValueError if it is none."""
    import json

    fields = json.loads(text)  # as text: of bytes, json takes UTF-16 too, and memtomem does not
    if isinstance(fields, dict) and section:
        fields = fields.get(section, {})
    elif fields is None and not section:
        fields = {}
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    known = ("backend", "sqlite_path", "collection_name")
    if not all(isinstance(fields[name], str) for name in fields if name.lower() in known):
        raise ValueError("a setting of storage is not text")
    return fields


def _is_sqlite(path: str) -> bool:
    """Whether a file is an SQLite database, or empty, as SQLite makes one; Unknown if unreadable.

    Source: https://www.sqlite.org/fileformat.html#magic_header_string
    """
    try:
        return read_start(path, len(MAGIC)) in (MAGIC, b"")
    except OSError as error:
        why = f"the database cannot be read ({error})"
        raise Unknown(f"{why}; run this as a user who may read it") from None


def plain(path: str) -> str:
    """A path of Windows' without the prefix \\\\?\\, as the files of a process are told there."""
    if path[:4] != "\\\\?\\":
        return path
    if path[4:8].upper() == "UNC\\":
        return "\\\\" + path[8:]
    return path[4:] if path[5:6] == ":" else path


def leads_to(path: str, database: Database) -> bool:
    """Whether the path of a file that some process has open leads to the database."""
    if not database.linked and not path.lower().endswith(database.names):
        return False
    try:
        announce(path)
        info = os.stat(path)
    except (OSError, ValueError, Silent):  # what is on a silent mount is not the database
        return False
    return (info.st_dev, info.st_ino) in database.ids


def find_database(
    option: str | None, device_of: Callable[[str], str] = lambda path: ""
) -> Database:
    """The database of --db or of the configuration. Raises Unknown if it cannot be looked at.

    `device_of`: the device of the file system that a file lies on, "" if untold.
    """
    looking_at("the database")
    try:
        path = database_path() if option is None else option
        if path[:1] == "~" and path[1:2] in ("", "/", "\\"):
            path = user_home() + path[1:]
        path = os.path.expanduser(path)
        if not os.path.isabs(path):  # else the folder does not matter, which may be deleted
            path = os.path.join(os.getcwd(), path)
        announce(path)
        real = os.path.realpath(path)  # before abspath: the system follows a link before its ".."
        path = os.path.abspath(path)
        paths = [real + suffix for suffix in ("", "-wal", "-shm")]
        found = []
        for each in paths:
            with suppress(FileNotFoundError):
                found.append(os.stat(each))
    except (OSError, ValueError, TypeError) as error:
        raise Unknown(f"the database cannot be looked at ({error}); give --db PATH") from None
    if (option is not None and not found) or not all(stat.S_ISREG(each.st_mode) for each in found):
        raise Unknown(f"{path} is not a database file; give --db the path of memtomem's database")
    if os.path.exists(real) and not _is_sqlite(real):
        raise Unknown(f"{path} is not a database file; give --db the path of memtomem's database")
    owner = found[0].st_uid if found and os.path.exists(real) else sudo_user()
    getuid = getattr(os, "getuid", None)
    return Database(
        path=path,
        paths=frozenset({*paths, *map(plain, paths)}),
        names=tuple(os.path.basename(each).lower() for each in paths),
        ids=frozenset((each.st_dev, each.st_ino) for each in found if each.st_ino),  # 0: not known
        device=device_of(real),
        linked=any(each.st_nlink > 1 for each in found),
        owners=frozenset({getuid(), owner, sudo_user()} - {None}) if getuid else frozenset(),
    )
