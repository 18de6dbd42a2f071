"""`--agent-hook`: may this tool call of an agent reset embeddings? And the client's no. Pure.

The client that runs an agent keeps a memtomem server alive, so a reset from inside it is never
safe. Claude Code and Codex send a PreToolUse object before a tool call, and so does this project's
plug-in for OpenCode; Cursor sends one before a shell command or an MCP call, and takes another
answer. This runs before each tool call: it imports nothing that is slow.

It never answers "ask": some clients and modes then run the call, and nobody was asked.
"""

from __future__ import annotations

import json
import os
import re

from mm_preflight.records import Any, Unknown
from mm_preflight.resets import names_reset

LIMIT = 1 << 20  # bytes of one object
CURSOR = ("beforeShellExecution", "beforeMCPExecution", "preToolUse")
# The last mem_ of a name: the server's own name may end in mem.
MCP_TOOL = re.compile(r"(?:.*[^a-z0-9]|^)mem_([a-z_]+)$")
# memtomem's tools by which it is known if the server has another name: those of its default mode
# and the two that reset.
CORE = "add do embedding_reset index list read recall reset search stats status".split()
NO_RESET = ("status", "revert_to_stored")  # memtomem 0.6.12 knows one more, apply_current

# Tools that run a command, and where each of them is told it. "Bash" is also what Codex calls all
# of its shells, and "Shell" what Cursor does.
SHELLS = ("bash", "exec_command", "local_shell", "monitor", "powershell", "shell")
TOLD = ("command", "cmd", "commands", "command_line", "script", "code", "args", "arguments")
# Tools of Claude Code, Codex and OpenCode that write or pass on a text, and run none of it.
WRITERS = frozenset(
    "agent apply_patch edit exitplanmode glob grep list multiedit notebookedit patch question read"
    " skill str_replace_based_edit_tool task todoread todowrite webfetch websearch write".split()
)

REFUSED = "mm-preflight refused this call, because "
RUNS = (
    f"{REFUSED}it names a reset of memtomem's embeddings: if it runs one, vectors of two models "
    "may get mixed. "
)
MODE = (
    f"{REFUSED}the mode that it gives to `embedding_reset` is not `status` or `revert_to_stored`. "
)
WIPES = f"{REFUSED}memtomem's `reset` deletes all that its database holds. "
PERSON = (  # this and the next as includes/agent.md has them
    "I can't run the reset from here. This program may keep a memtomem server alive, and the reset "
    "is safe only while none is. Please quit this program and your other MCP clients, open a plain "
    "terminal, and run `mm-preflight --wait 60`. When it says clear, follow the guide "
    '"Change the embedding model" from step 1.'
)
AGENT = (
    "If it only writes about a reset, write that text with your client's own file-editing tool: "
    "this check does not stop that. A reset is safe only while no memtomem process is alive. The "
    "client that runs you may keep a memtomem server alive, and it is your own parent, so you "
    "cannot finish a reset from inside it. Do not kill the server, and do not go past this check. "
    f"If the person wants a reset, hand this to them instead: {PERSON}"
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
        why = _why_not(call)
    except RecursionError:
        raise Unknown("it is nested too deeply") from None
    except (ValueError, LookupError, AttributeError):
        raise Unknown("it is not a JSON object that names a tool or a command") from None
    if cursor:
        no = {"permission": "deny", "user_message": why + PERSON, "agent_message": why + AGENT}
        return json.dumps(no if why else {})
    no = {"permissionDecision": "deny", "permissionDecisionReason": why + AGENT}
    return json.dumps({"hookSpecificOutput": {"hookEventName": "PreToolUse"} | no}) * bool(why)


def _object(value: Any) -> dict[str, Any]:
    """A JSON object, also where it comes as text. Raises ValueError."""
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise ValueError
    return found


def _why_not(call: dict[str, Any]) -> str:
    """The first sentence of the denial; "" for what passes."""
    if call.get("hook_event_name") == "beforeShellExecution":
        return _shell_resets("shell", call["command"])
    tool = call["tool_name"].lower()
    inputs = call.get("tool_input") or {}
    found = MCP_TOOL.search(tool)
    if found and ("memtomem" in tool or found[1] in CORE):
        return _memtomem_resets(found[1], _object(inputs))
    if isinstance(inputs, str) and not inputs.lstrip().startswith("{"):
        inputs = {"command": inputs}
    inputs = _object(inputs)
    if tool in WRITERS:
        return ""
    if tool in SHELLS:
        return _shell_resets(tool, *(inputs[key] for key in TOLD if key in inputs))
    return RUNS * names_reset(_texts(inputs))


def _memtomem_resets(action: str, arguments: dict[str, Any]) -> str:
    """A tool of memtomem's own. Without a mode, memtomem (0.3.14 to 0.6.12) takes `status`."""
    if action == "do":
        action = str(arguments.get("action")).strip().lower().replace("-", "_")
        arguments = arguments | _object(arguments.get("params") or {})
    if action == "reset":
        return WIPES
    harmless = action != "embedding_reset" or arguments.get("mode", "status") in NO_RESET
    return "" if harmless else MODE


def _shell_resets(tool: str, *told: Any) -> str:
    """A shell's command, read as POSIX shells quote it, where it is certain that one runs it."""
    if not names_reset(_texts(told)):
        return ""
    text = told[0]
    posix = len(told) == 1 and isinstance(text, str) and tool != "powershell" and os.name != "nt"
    # "shell" may be a terminal that a person types into: in zsh, neither is then what it is in -c.
    if posix and not (tool == "shell" and ("#" in text or "!" in text)):
        from mm_preflight.harmless import executes_nothing

        if executes_nothing(text):
            return ""
    return RUNS


def _texts(value: Any) -> str:
    """Every text in a value, at any depth, keys too, with a blank between them."""
    if isinstance(value, dict):
        return " ".join(f"{_texts(key)} {_texts(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(map(_texts, value))
    return str(value)
