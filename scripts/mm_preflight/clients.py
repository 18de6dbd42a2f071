"""The MCP clients that people use: what their processes are called, and how each is left. Pure.

To add one: a line in CLIENTS (and in PACKAGES, if npm installs it), and its name in the table of
the page docs/guides/stop-mm-processes.md.
"""

from __future__ import annotations

import re

from mm_preflight.naming import display_name, is_of_shell, package_of, script_path
from mm_preflight.records import Ancestor, NamedTuple


class Client(NamedTuple):
    """An MCP client."""

    name: str  # as people know it
    typed: bool = False  # it is used in a terminal: without one, it has no window to close
    # It was seen to start no other server in place of one that was killed, until its next session.
    idle: bool = False


CLAUDE_CODE = Client("Claude Code", typed=True, idle=True)
CLAUDE_DESKTOP = Client("Claude Desktop")
CODEX = Client("Codex CLI", typed=True, idle=True)
GEMINI = Client("Gemini CLI", typed=True, idle=True)
OPENCODE = Client("OpenCode", typed=True, idle=True)
# By the first word of a process's name.
CLIENTS = {
    "antigravity": Client("Antigravity"),
    "claude": CLAUDE_CODE,
    "code": Client("VS Code"),
    "codex": CODEX,
    "cursor": Client("Cursor"),
    "gemini": GEMINI,
    "kimi": Client("Kimi Code", typed=True),
    "opencode": OPENCODE,
    "windsurf": Client("Windsurf"),
}
# By the npm package, exactly: others may bear a client's name within theirs.
PACKAGES = {
    "@anthropic-ai/claude-code": CLAUDE_CODE,
    "@google/gemini-cli": GEMINI,
    "@openai/codex": CODEX,
    "opencode-ai": OPENCODE,
}
# The folders and names of the other program that is called claude.
DESKTOP = r"(?i)(.*[/\\])?(AnthropicClaude|Claude\.app|claude-desktop)([/\\]|\Z)"
# claude --bg: each session has a host of its own, and its ID is the first part of a UUID.
BACKGROUND_HOST = "--bg-pty-host"
SESSION = re.compile(r"([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def client_of(each: Ancestor) -> Client | None:
    """The MCP client that an ancestor is; a script may merely bear its name."""
    if is_of_shell(each):
        return None
    if package := package_of(script_path(each)):
        return PACKAGES.get(package)
    name = display_name(each)
    if name.lower().endswith((".sh", ".py")):
        return None
    word = re.match(r"[a-z]+(?=[ .-]|\Z)", name.lower())
    found = CLIENTS.get(word[0]) if word else None
    if found is CLAUDE_CODE:
        desktop = name == "Claude" or re.match(DESKTOP, "".join(each.argv[:1]) or name)
        return CLAUDE_DESKTOP if desktop else found
    return found


def own_command(client: Client, family: list[Ancestor]) -> str:
    """The command by which a client ends what it keeps in the background, or "".

    `family`: the processes of the client above the server, nearest first.
    """
    if client is CODEX and any(_is_codex_daemon(each) for each in family):
        return "codex app-server daemon stop"
    if client is CLAUDE_CODE and any(BACKGROUND_HOST in each.argv[1:3] for each in family):
        argv = family[0].argv
        after = argv[argv.index("--session-id") + 1 :] if "--session-id" in argv else []
        # One that was held in reserve tells its ID nowhere in the process table.
        session = SESSION.fullmatch("".join(after[:1]))
        if session:
            return f"claude stop {session[1]}"
        return f"claude stop ID   (claude agents --json tells the ID of pid {family[0].pid})"
    return ""


def _is_codex_daemon(each: Ancestor) -> bool:
    """Not one that an editor started, which listens nowhere, or a person, at another place."""
    listens = each.argv[each.argv.index("--listen") + 1 :] if "--listen" in each.argv else []
    return not each.terminal and "app-server" in each.argv and listens[:1] == ["unix://"]
