"""What a person pastes so that a client asks mm-preflight, as it was tested with the real clients.

The page for agents shows the same.
"""

COMMAND = "mm-preflight --agent-hook || { echo 'mm-preflight failed' >&2; exit 2; }"
CLAUDE = {
    "hooks": {
        "PreToolUse": [
            {
                "matcher": "^(Bash|Monitor|PowerShell|mcp__.*)$",
                "hooks": [{"type": "command", "command": COMMAND, "timeout": 60}],
            }
        ]
    }
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
