"""What starts a process again, what starts nothing, and what merely waits. Tables, pure."""

from __future__ import annotations

import re

from mm_preflight.naming import script_of
from mm_preflight.records import Ancestor, NamedTuple


class Supervisor(NamedTuple):
    """What starts again what ends."""

    stop: str  # the command that stops one service, and keeps it down
    list: str = ""  # the one that tells its NAME, where it is not the FOLDER that it keeps


SUPERVISORS = {
    "supervisord": Supervisor("supervisorctl stop NAME", "supervisorctl status"),
    "circusd": Supervisor("circusctl stop NAME", "circusctl list"),
    "pm2": Supervisor("pm2 stop NAME", "pm2 list"),
    "runsv": Supervisor("sv down FOLDER"),
    "s6-supervise": Supervisor("s6-svc -d FOLDER"),
    "supervise": Supervisor("svc -d FOLDER"),  # of daemontools
}
LAUNCHERS = frozenset(  # they start a program and wait for it: the child counts, not they
    "doas env flock hatch mise nice nohup pdm pipx poetry py pyw setsid su sudo timeout uv uvx"
    " xargs".split()
)
CRON = re.compile(r"(?i)(ana|f)?crond?")  # it starts again at the next time that its table names
# What has no terminal and started nobody either: the system's own, desktops, terminal programs.
NOBODY = re.compile(
    r"(?i)(init\b|systemd|launchd|login\b|sshd|atd|dbus-|containerd-shim|dockerd|conmon|tini"
    r"|dumb-init|docker-init|catatonit|gnome-|plasma|kwin|ksmserver|kded|xfce4-|sway|Hyprland|i3\b"
    r"|openbox|Xorg|gdm|lightdm|sddm|tmux|screen\b|zellij|.*term(inal)?\d*\b|kitty|alacritty|konsole"
    r"|explorer|conhost|OpenConsole|svchost|services\b|wininit|winlogon|userinit|sihost|taskeng"
    r"|WmiPrvSE|wsmprovhost|Finder|Dock\b|loginwindow)"
)
MANAGER = re.compile(r"init\b|systemd|launchd")
FOLDER = re.compile(r"(/(?!-)[\w.@:-]+)+/?", re.A)  # one that may be part of a command to paste


def supervisor_of(each: Ancestor) -> Supervisor | None:
    """The supervisor that an ancestor is. A title may stand in its name: pm2's does."""
    names = (each.name.lower().split() or [""])[0], script_of(each)
    return next((SUPERVISORS[name] for name in names if name in SUPERVISORS), None)


def stop_of(each: Ancestor) -> tuple[str, str]:
    """The command that stops what a supervisor keeps, and where its NAME or FOLDER is told."""
    supervisor = supervisor_of(each) or Supervisor("")
    if "FOLDER" not in supervisor.stop:
        return supervisor.stop, f"{supervisor.list} tells its NAME"
    # It was told the folder, and went there: a relative path is right for its parent alone.
    told = "".join(each.argv[1:2])
    folder = told if told.startswith("/") else each.folder
    if FOLDER.fullmatch(folder):
        return supervisor.stop.replace("FOLDER", folder), ""
    return supervisor.stop, f"its FOLDER is the working directory of pid {each.pid}"


def is_cron(each: Ancestor) -> bool:
    return any(CRON.fullmatch(name) for name in (each.name, script_of(each)))


def is_manager(each: Ancestor) -> bool:
    """Whether it takes over a process whose parent ended: init, systemd (a user's too), launchd."""
    return MANAGER.match(each.name) is not None


def is_nobody(each: Ancestor) -> bool:
    """Whether it started nobody: PID 1, whoever that is, takes over what others started."""
    return each.pid <= 1 or NOBODY.match(each.name) is not None
