"""What a person pastes so that a client asks mm-preflight, as it was tested with the real clients.

The page for agents shows the same.
"""

COMMAND = (
    "mm-preflight --agent-hook || { echo mm-preflight --agent-hook gave no answer >&2; exit 2; }"
)
SERVERS = ("mcp__memtomem", "mcp__plugin_memtomem_memtomem")  # by `claude mcp add`, by the plug-in
TOOLS = ("mem_embedding_reset", "mem_reset")
CLAUDE = {
    "permissions": {"deny": [f"{server}__{tool}" for server in SERVERS for tool in TOOLS]},
    "hooks": {
        "PreToolUse": [
            {
                "matcher": "^(Bash|PowerShell|Monitor|REPL|mcp__.*)$",
                "hooks": [{"type": "command", "command": COMMAND, "timeout": 60}],
            }
        ]
    },
}
CODEX = f"""
[[hooks.PreToolUse]]
matcher = "^(Bash|mcp__.*)$"

[[hooks.PreToolUse.hooks]]
type = "command"
command = "{COMMAND}"
timeout = 60
"""
OPENCODE = ".config/opencode/plugins/mm-preflight.js"  # in the home; --hook opencode prints it
