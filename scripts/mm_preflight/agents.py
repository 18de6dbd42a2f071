"""`--agent-hook`: would this tool call of an agent reset embeddings? And the client's no. Pure.

The client that runs an agent keeps a memtomem server alive, so a reset from inside it is never
safe. Claude Code and Codex send a PreToolUse object before a tool call; Cursor sends one before a
shell command or an MCP call, and takes another answer. This runs before each tool call: it imports
nothing that is slow.
"""

from __future__ import annotations

import json
import re

from mm_preflight.records import Any, Unknown

LIMIT = 1 << 20  # bytes of one object
CURSOR = ("beforeShellExecution", "beforeMCPExecution", "preToolUse")
# Where tools are told what to run. The words may be in two of these: {"command": …, "args": […]}.
COMMANDS = ("command", "cmd", "commands", "command_line", "script", "code", "args", "arguments")
PATCH = "apply_patch"  # Codex: its `command` is the text of a patch
MCP_TOOL = re.compile(r"(?:^|[^a-z0-9])mem_(do|embedding_reset|reset)$")
NO_RESET = ("status", "revert_to_stored")  # memtomem 0.6.12 knows one more, apply_current
QUOTING = re.compile(r"""[\\`^]\r?\n|[\\`^]|\$?['"]""")  # of sh, PowerShell and cmd

PERSON = (  # this and the next as includes/agent.md has them
    "I can't run the reset from here. This program keeps a memtomem server alive, and the reset is "
    "safe only when none is. Please quit this program and your other MCP clients, open a plain "
    "terminal, and run `mm-preflight --wait 60`. When it says clear, follow the guide "
    '"Change the embedding model" from step 5.'
)
AGENT = (
    "mm-preflight refused this call, because it would reset memtomem's embeddings. You cannot "
    "finish this from inside the client that runs you, because that client keeps a memtomem server "
    "alive, and it is your own parent. Do not kill the server, and do not go past the check. Hand "
    f"this to the person instead: {PERSON}"
)


def answer(data: bytes) -> str:
    """What to print for one object: the client's denial, or "" for any other tool call.

    Cursor takes no empty answer, so there the other is "{}". Raises Unknown for what is no tool
    call, or is more than LIMIT bytes.
    """
    try:
        if len(data) > LIMIT:
            raise Unknown("it is larger than 1 MiB")
        call = _object(data.decode("utf-8-sig"))
        cursor = call.get("hook_event_name") in CURSOR
        denied = _resets(call)
    except RecursionError:
        raise Unknown("it is nested too deeply") from None
    except (ValueError, LookupError, AttributeError):
        raise Unknown("it is not a JSON object that names a tool or a command") from None
    if cursor:
        no = {"permission": "deny", "user_message": PERSON, "agent_message": AGENT}
        return json.dumps(no if denied else {})
    no = {"permissionDecision": "deny", "permissionDecisionReason": AGENT}
    return json.dumps({"hookSpecificOutput": {"hookEventName": "PreToolUse"} | no}) * denied


def _object(value: Any) -> dict[str, Any]:
    """A JSON object, also where it comes as text. Raises ValueError."""
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise ValueError
    return found


def _resets(call: dict[str, Any]) -> bool:
    if call.get("hook_event_name") == "beforeShellExecution":
        return _runs_reset({"command": call["command"]})
    tool = call["tool_name"].lower()
    inputs = call.get("tool_input") or {}
    if found := MCP_TOOL.search(tool):
        return _mcp_resets(found[1], _object(inputs))
    if isinstance(inputs, str) and not inputs.lstrip().startswith("{"):
        inputs = {"command": inputs}
    return not tool.endswith(PATCH) and _runs_reset(_object(inputs))


def _mcp_resets(action: str, arguments: dict[str, Any]) -> bool:
    """Whether a memtomem tool resets; also where its mode is not said, or is one nobody knows."""
    if action == "do":
        action = str(arguments.get("action")).strip().lower().replace("-", "_")
        arguments = _object(arguments.get("params") or {})
    return action == "reset" or (
        action == "embedding_reset" and arguments.get("mode") not in NO_RESET
    )


def _runs_reset(inputs: dict[str, Any]) -> bool:
    """Whether what a shell is told to run holds both words of a reset, in any order.

    `POST /api/embedding-reset` of the web UI resets whatever else it is told.
    """
    told = [inputs[key] for key in COMMANDS if key in inputs]
    text = " ".join(" ".join(map(str, each if isinstance(each, list) else [each])) for each in told)
    text = QUOTING.sub("", text).replace("_", "-")
    return "embedding-reset" in text and ("apply-current" in text or "api/embedding" in text)
