"""Linux's containers and services: the command that stops the one a process runs in."""

from __future__ import annotations

import re

from mm_preflight.files import read_bounded


def stop_command(pid: int, family: frozenset[int]) -> str:
    """The command that stops the container or the systemd service of a process, or ''.

    A service that runs others too, beside the process and its `family`, is not to be stopped.
    """
    try:
        groups, own = (read_bounded(f"/proc/{each}/cgroup").decode() for each in (pid, "self"))
    except (OSError, ValueError):
        return ""
    command = "" if groups == own else stop_command_of(groups)
    if ".service" not in command and command != "?":
        return command
    for tree, line in (("", "0::"), ("/systemd", "name=systemd:"), ("/unified", "0::")):
        path = re.search(rf"^(?:\d+:)?{line}(/.*)$", groups, re.M)
        try:
            members = read_bounded(f"/sys/fs/cgroup{tree}{path[1]}/cgroup.procs") if path else b""
        except OSError:
            continue
        if members and not set(map(int, members.split())) <= family:
            return ""
    return command


def stop_command_of(groups: str) -> str:
    """The same by the text of /proc/PID/cgroup. "?": a service whose name is not to be pasted."""
    if match := re.search(r"(docker|libpod)[-/]([0-9a-f]{12})[0-9a-f]{52}", groups):
        return f"{'podman' if match[1] == 'libpod' else 'docker'} stop {match[2]}"
    # Of version 1, systemd's own line; other controllers stop at the user's.
    match = re.search(r"^(?:0::|\d+:name=systemd:)(.*)/([^/\n]+\.service)$", groups, re.M)
    # A login, a scheduler or a desktop runs other things too.
    if not match or re.match(r"(ssh|cron|at)d?\b|dbus|docker|containerd|gdm|app-|org\.", match[2]):
        return ""
    if not re.fullmatch(r"[\w.@:][\w.@:-]*", match[2], re.A):
        return "?"
    return f"{'systemctl --user' if '/user@' in match[1] else 'sudo systemctl'} stop {match[2]}"
