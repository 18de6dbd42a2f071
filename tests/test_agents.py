"""`--agent-hook`: calls as each client sends them, and hostile ones.

Claude Code's and Codex' are as the real clients sent them, Cursor's as its documentation shows.
test_agents_shell.py has shell commands, test_agents_real.py the real clients.
"""

import json
import subprocess
import sys
import time

import pytest
from mm_preflight import agents
from mm_preflight.cli import hook
from mm_preflight.records import Unknown
from real import apart, real
from support import SCRIPT, not_on_windows

__all__ = ["real"]  # the fixture
RESET = "mm embedding-reset --mode apply-current"
COMMON = {"session_id": "8f1c", "transcript_path": "/home/ana/t.jsonl", "cwd": "/home/ana"}


def claude(tool, **inputs):
    """Claude Code's PreToolUse object."""
    call = {"hook_event_name": "PreToolUse", "permission_mode": "bypassPermissions"}
    return COMMON | call | {"tool_name": tool, "tool_input": inputs, "tool_use_id": "toolu_01"}


def codex(tool, **inputs):
    """Codex's, whose shell tools are all called Bash."""
    call = {
        "hook_event_name": "PreToolUse",
        "turn_id": "7",
        "model": "gpt",
        "tool_use_id": "call_1",
    }
    return COMMON | call | {"tool_name": tool, "tool_input": inputs}


def cursor_shell(command):
    base = {"conversation_id": "c", "generation_id": "g", "workspace_roots": ["/home/ana"]}
    return base | {
        "hook_event_name": "beforeShellExecution",
        "command": command,
        "cwd": "/home/ana",
    }


def cursor_mcp(tool, inputs):
    """Its arguments come as text; `command` is what started the server."""
    base = {"hook_event_name": "beforeMCPExecution", "command": "uvx memtomem serve"}
    return base | {"tool_name": tool, "tool_input": json.dumps(inputs)}


MODE = {"mode": "apply_current"}
DENIED = {
    "claude-bash": claude("Bash", command=RESET, description="Reset"),
    "claude-powershell": claude("PowerShell", command=RESET),
    "claude-mcp": claude("mcp__memtomem__mem_embedding_reset", **MODE),
    "claude-plugin": claude("mcp__plugin_memtomem_memtomem__mem_embedding_reset", **MODE),
    "claude-do": claude("mcp__memtomem__mem_do", action="embedding_reset", params=MODE),
    "claude-plugin-do": claude(
        "mcp__plugin_memtomem_memtomem__mem_do", action="embedding_reset", params=MODE
    ),
    "claude-mem-reset": claude("mcp__memtomem__mem_reset", confirm=True),
    "claude-do-reset": claude("mcp__memtomem__mem_do", action="reset", params={"confirm": True}),
    "codex-bash": codex("Bash", command=RESET),
    "codex-mcp": codex("mcp__memtomem__mem_embedding_reset", **MODE),
    "codex-do": codex("mcp__memtomem__mem_do", action="embedding_reset", params=MODE),
    "codex-list": codex("shell", command=["bash", "-lc", RESET]),
    "codex-words": codex("local_shell", command=RESET.split()),
    "codex-exec": codex("exec_command", cmd=RESET),
    "two-keys": claude("mcp__desktop__run", command="mm", args=RESET.split()[1:]),
    "list-of-lists": claude("mcp__desktop__run", commands=[["ls"], RESET.split()]),
    "object": claude("mcp__desktop__run", command={"program": "mm", "args": RESET.split()[1:]}),
    "cursor-shell": cursor_shell(RESET),
    "cursor-mcp": cursor_mcp("mem_embedding_reset", MODE),
    "cursor-do": cursor_mcp("MCP:mem_do", {"action": "embedding_reset", "params": MODE}),
    "cursor-named": cursor_mcp("MCP:memtomem:mem_reset", {}),
    "cursor-tool": claude("Shell", command=RESET) | {"hook_event_name": "preToolUse"},
    "opencode-name": claude("memtomem_mem_do", action="embedding_reset", params=MODE),
    # tools that nobody knows: every text, at any depth
    "terminal": claude("mcp__desktop__interact_with_process", pid=4711, input=RESET + " -y"),
    "python-code": claude("mcp__python__run", python_code=f"import os; os.system('{RESET}')"),
    "keys": claude("mcp__tmux__send", pane="1", keys=[*RESET.split(), "Enter"]),
    "deep": claude("mcp__x__y", steps=[{"do": [{"what": {"run": RESET}}]}]),
    "in-a-key": claude("mcp__x__y", env={RESET: ""}),
    "split-over-keys": claude("mcp__x__y", program="mm", sub="embedding-reset", m="apply-current"),
    "mem-but-not-memtomem": claude("mcp__shell__mem_run", cmd=RESET),
    "not-a-shell": claude("mcp__ssh__bash", host="x", text=f"grep '{RESET}' ."),
    "repl": claude("REPL", code=f"child_process.execSync('{RESET}')"),
    "monitor": claude("Monitor", command=f"while :; do {RESET}; done", description="x"),
    "server-mem": claude("mcp__mem__mem_embedding_reset", **MODE),
    "server-mem-reset": claude("mcp__mem__mem_reset", confirm=True),
    "server-my-mem": claude("mcp__my_mem__mem_do", action="reset"),
    "server-team-mem": claude("mcp__team-mem__mem_do", action="embedding_reset", params=MODE),
    "opencode-mem": claude("mem_mem_do", action="embedding_reset", params=MODE),
    "opencode-mem-reset": claude("mem_mem_reset", confirm=True),
    "http-path": claude("mcp__http__request", method="POST", base="x", path="/embedding-reset"),
    "http-variable": claude("Bash", command="xh POST $MM_BASE/embedding-reset"),
    "http-format": claude("REPL", code="post('%s/embedding-reset' % base)"),
    "http-tool": claude(
        "mcp__http__request", method="POST", url="http://127.0.0.1:8080/api/embedding-reset"
    ),
    # whatever is not plainly harmless
    "odd-mode": claude("mcp__memtomem__mem_embedding_reset", mode="apply"),
    "list-mode": claude("mcp__memtomem__mem_embedding_reset", mode=["status"]),
    "params-as-text": claude(
        "mcp__memtomem__mem_do", action="embedding_reset", params=json.dumps(MODE)
    ),
    "mode-beside": claude("mcp__memtomem__mem_do", action="embedding_reset", **MODE),
    "null-mode": claude("mcp__memtomem__mem_embedding_reset", mode=None),
    "spelled": claude("mcp__memtomem__mem_do", action=" Embedding-Reset ", params=MODE),
}


@pytest.mark.parametrize("name", DENIED)
def test_denied(name):
    call = DENIED[name]
    answer = json.loads(agents.answer(json.dumps(call).encode()))
    if "PreToolUse" in call["hook_event_name"]:
        said = answer["hookSpecificOutput"]
        assert said["hookEventName"] == "PreToolUse"
        assert said["permissionDecision"] == "deny"
        told = said["permissionDecisionReason"]
    else:
        assert answer["permission"] == "deny"
        assert answer["user_message"].endswith(agents.PERSON)
        told = answer["agent_message"]
    assert "Do not kill the server" in told and "mm-preflight --wait 60" in told


@pytest.mark.parametrize(
    "command",
    [
        "memtomem embedding-reset --mode=apply-current --yes",
        "uv run mm embedding-reset --mode apply-current",
        "uvx --from 'memtomem[onnx]==0.6.12' mm embedding-reset --mode apply-current",
        "~/.local/bin/mm embedding-reset --mode apply-current",
        "sudo -u ana env A=b timeout 9 mm embedding-reset --mode apply-current",
        "mm-preflight -- mm embedding-reset --mode apply-current",
        "command mm embedding-reset --mode apply-current",
        "cd /tmp && (mm embedding-reset --mode apply-current)",
        'bash -c "mm embedding-reset --mode apply-current"',
        "bash -c 'cd x; bash -c \"mm embedding-reset \\\\\n  --mode apply-current\"'",
        "mm embedding-\\\nreset --mode apply-\\\r\ncurrent",
        "mm 'embedding'-reset --mode app\"ly-cur\"rent",
        "mm embedding\\-reset --mode $'apply'-current",
        "mm embed`ding-reset --mode apply-cur^rent",
        "echo embedding-reset --mode apply-current | xargs mm",
        "MODE=apply-current; mm embedding-reset --mode $MODE",
        'mm-call mem_embedding_reset \'{"mode": "apply_current"}\'',
        "curl -X POST http://127.0.0.1:8080/api/embedding-reset",
        "python - <<E\nimport os\nos.system('mm embedding-reset --mode apply-current')\nE",
    ],
)
@pytest.mark.parametrize("client", [lambda each: claude("Bash", command=each), cursor_shell])
def test_denied_through_any_launcher(command, client):
    assert '"deny"' in agents.answer(json.dumps(client(command)).encode())


NOTE = f"Never run `{RESET}` from inside; mem_embedding_reset(mode='apply_current') neither."
ALLOWED = {
    "other-command": claude("Bash", command="ls -la"),
    "status": claude("Bash", command="mm embedding-reset --mode status"),
    "revert": claude("Bash", command="mm embedding-reset --mode revert-to-stored"),
    "check": claude("Bash", command="mm-preflight --wait 60"),
    "index": claude("Bash", command="mm index --force ~/notes"),
    "api-status": claude("Bash", command="curl http://127.0.0.1:8080/api/embedding-status"),
    "mcp-status": claude("mcp__memtomem__mem_embedding_reset", mode="status"),
    "mcp-revert": claude("mcp__memtomem__mem_embedding_reset", mode="revert_to_stored"),
    "do-status": claude(
        "mcp__memtomem__mem_do", action="embedding_reset", params={"mode": "status"}
    ),
    "do-other": claude("mcp__memtomem__mem_do", action="tag_list", params={}),
    "do-help": claude("mcp__memtomem__mem_do", action="help", params={"category": "config"}),
    "search": claude("mcp__memtomem__mem_search", query=NOTE),
    "remember": claude("mcp__memtomem__mem_add", content=NOTE),
    "write": claude("Write", file_path="/home/ana/note.md", content=NOTE),
    "edit": claude("Edit", file_path="/home/ana/note.md", old_string="x", new_string=NOTE),
    "notebook": claude("NotebookEdit", notebook_path="/x.ipynb", new_source=NOTE),
    "task": claude("Task", prompt=NOTE, subagent_type="general"),
    "patch": codex("apply_patch", command=f"*** Begin Patch\n+{NOTE}\n*** End Patch"),
    "editor": claude("str_replace_based_edit_tool", command="create", path="/x", file_text=NOTE),
    "mcp-default": claude("mcp__memtomem__mem_embedding_reset"),
    "do-default": claude("mcp__memtomem__mem_do", action="embedding_reset", params=None),
    "do-add": claude("mcp__memtomem__mem_do", action="add", params={"content": NOTE}),
    "opencode-write": claude("write", filePath="/x.md", content=NOTE),
    "opencode-add": claude("memtomem_mem_add", content=NOTE),
    "branch": claude("Bash", command="git checkout -b docs/embedding-reset"),
    "fetched": claude("Bash", command="git fetch origin fix/embedding-reset"),
    "fetched-and-out": claude(
        "Bash", command="git fetch origin && git checkout feat/embedding-reset"
    ),
    "cloned": claude("Bash", command="git clone https://github.com/a/embedding-reset"),
    "worktree": claude("Bash", command="git worktree add ../post fix/embedding-reset"),
    "in-an-api": claude("Bash", command="cd api && git merge fix/embedding-reset"),
    "page": claude("Bash", command="curl https://example.org/guides/embedding-reset/"),
    "file": claude("Bash", command="curl https://example.org/raw/docs/embedding-reset.md"),
    "other-api": claude("Bash", command="mm embedding-reset; curl localhost/api/embedding-status"),
    "monitored": claude("Monitor", command="tail -f mm.log", description=NOTE),
    "elsewhere": claude("mcp__calendar__create", title="Talk about embedding-reset"),
    "no-input": claude("ExitPlanMode") | {"tool_input": None},
    "server-mem": claude("mcp__mem__mem_add", content=NOTE),
    "all-tools": claude("mcp__memtomem__mem_edit", content=NOTE),
    "another-name": claude("mcp__notes__mem_add", content=NOTE),
    "other-server": claude("mcp__calendar__system_reset", confirm=True),
    "described": claude("Bash", command="git log", description=NOTE),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_not_denied(name):
    assert agents.answer(json.dumps(ALLOWED[name]).encode()) == ""


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("claude-bash", agents.RUNS),
        ("terminal", agents.RUNS),
        ("claude-mcp", agents.MODE),
        ("odd-mode", agents.MODE),
        ("claude-do", agents.MODE),
        ("claude-mem-reset", agents.WIPES),
        ("claude-do-reset", agents.WIPES),
        ("cursor-shell", agents.RUNS),
        ("cursor-named", agents.WIPES),
    ],
)
def test_what_is_said_is_true_of_the_call(name, sentence):
    said = json.loads(agents.answer(json.dumps(DENIED[name]).encode()))
    if "permission" in said:
        assert said["user_message"] == sentence + agents.PERSON
        assert said["agent_message"] == sentence + agents.AGENT
    else:
        assert said["hookSpecificOutput"]["permissionDecisionReason"] == sentence + agents.AGENT


def test_nobody_is_asked():
    """Some clients run the call on "ask", and nobody saw the question."""
    for name in DENIED:
        assert '"ask"' not in agents.answer(json.dumps(DENIED[name]).encode())


@pytest.mark.parametrize(
    "call",
    [
        cursor_shell("ls"),
        cursor_mcp("mem_search", {"query": NOTE}),
        cursor_mcp("MCP:mem_do", {"action": "tag_list"}),
    ],
)
def test_cursor_takes_no_empty_answer(call):
    """It takes that for invalid JSON; and "allow" would let through what it would have asked."""
    assert agents.answer(json.dumps(call).encode()) == "{}"


HOSTILE = {
    "nothing": b"",
    "not-json": b"mm embedding-reset --mode apply-current",
    "half": json.dumps(DENIED["claude-bash"]).encode()[:-2],
    "two": b"{}{}",
    "list": b"[]",
    "number": b"1",
    "null": b"null",
    "no-tool": b"{}",
    "tool-is-a-number": b'{"tool_name": 1, "tool_input": {"command": "ls"}}',
    "input-is-a-number": b'{"tool_name": "mcp__memtomem__mem_do", "tool_input": 7}',
    "input-is-half": b'{"tool_name": "mem_do", "tool_input": "{"}',
    "no-command": b'{"hook_event_name": "beforeShellExecution"}',
    "not-utf-8": b'{"tool_name": "Bash\xff"}',
    "utf-16": json.dumps(DENIED["claude-bash"]).encode("utf-16"),
    "deep": b'{"tool_name":"Bash","tool_input":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep-open": b'{"a":' * 200_000,
    "large": json.dumps(claude("Bash", command="x" * (1 << 20))).encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_read_is_blocked(name, preflight):
    with pytest.raises(Unknown):
        agents.answer(HOSTILE[name])
    done = subprocess.run(
        [sys.executable, SCRIPT, "--agent-hook"], input=HOSTILE[name], capture_output=True
    )
    assert (done.returncode, done.stdout) == (2, b"")
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("mm-preflight: blocked, the tool call cannot be read: ")


@pytest.mark.parametrize("where", ["front", "end"])
def test_almost_a_mebibyte_is_read_whole_and_soon(where):
    padding = "x' \\\n" * 145_000
    command = RESET + padding if where == "front" else padding + RESET
    data = json.dumps(claude("Bash", command=command)).encode()
    assert len(data) > 1_000_000
    begin = time.monotonic()
    assert '"deny"' in agents.answer(data)
    assert time.monotonic() - begin < 2


def run(call, **options):
    return subprocess.run(
        [sys.executable, SCRIPT, "--agent-hook"],
        input=json.dumps(call),
        capture_output=True,
        text=True,
        **options,
    )


def test_as_a_program():
    """Exit 0 in both: Claude Code takes 2 for a block, and 1 for nothing at all."""
    done = run(DENIED["claude-bash"])
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["hookSpecificOutput"]["permissionDecision"] == "deny"
    done = run(ALLOWED["write"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_plug_in_of_opencode_is_printed():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--hook", "opencode"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, hook("opencode"), "")
    assert '"tool.execute.before"' in done.stdout


def test_a_byte_order_mark_is_no_trouble():
    """Windows PowerShell puts one before what it pipes."""
    data = json.dumps(DENIED["claude-bash"]).encode("utf-8-sig")
    assert '"deny"' in agents.answer(data)


@not_on_windows("has no sh")
def test_nobody_hears_the_no():
    """Then it is blocked by the exit status."""
    sh = 'exec "$0" "$1" --agent-hook >&-'
    for closed in (sh, 'exec "$0" "$1" --agent-hook <&-'):
        done = subprocess.run(
            ["sh", "-c", closed, sys.executable, SCRIPT],
            input=json.dumps(DENIED["claude-bash"]),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2, closed


def test_it_imports_nothing_slow():
    """It runs before each tool call."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import mm_preflight; "
        "status = mm_preflight.main(['--agent-hook']); print(status, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, SCRIPT.parent],
        input=json.dumps(ALLOWED["write"]),
        capture_output=True,
        text=True,
    )
    status, *modules = done.stdout.split()
    assert status == "0"
    slow = {"psutil", "argparse", "subprocess", "shutil", "typing", "mm_preflight.table"}
    assert not slow & set(modules)


ABOUT = """
import inspect, json, memtomem.server
from memtomem.server.tool_registry import ACTIONS
from memtomem.server.tools.meta import _ALIASES
from memtomem.server.tools.status_config import mem_embedding_reset
print(json.dumps([
    sorted(name for name in ACTIONS if "reset" in name),
    [alias for alias, name in _ALIASES.items() if "reset" in name],
    inspect.signature(mem_embedding_reset).parameters["mode"].default,
]))
"""


def test_the_real_memtomem_has_these_doors_and_no_more(real, tmp_path):
    done = subprocess.run(
        [real.python, "-c", ABOUT], env=apart(real, tmp_path), capture_output=True, text=True
    )
    names, aliases, default = json.loads(done.stdout.splitlines()[-1])
    assert names == ["embedding_reset", "reset"]
    assert aliases == []
    assert default in agents.NO_RESET
