"""Whose a process is: those of the database's owner, of the check's user, and of root count."""

from __future__ import annotations

import os

from mm_preflight import table
from mm_preflight.records import Database, Seen
from mm_preflight.system import user_name


def users(database: Database) -> frozenset[str]:
    """The names of those whose processes count, but root's: the check's and the database's."""
    return frozenset({table.own_user(), *map(user_name, database.owners)})


def root() -> str:
    """The name of the system's own account: root, or on Windows SYSTEM in its language."""
    return table.ask(table.system.system_account, "")


def is_of_one(pid: int, names: frozenset[str]) -> bool:
    """Whether a process, which may be gone by now, is of one of these users."""
    return table.user_of(pid) in names


def could_be_own_python(seen: Seen, names: frozenset[str]) -> bool:
    """Whether a process that hides something may be a Python of one of these users.

    One that hides even its user is the system's, or another user's. Of one without a name, nothing
    is known.
    """
    return (seen.python or not any([seen.name, *(seen.argv or [])[:1]])) and seen.user in names


def is_root() -> bool:
    """Whether this user may end every process."""
    return getattr(os, "geteuid", lambda: 1)() == 0
