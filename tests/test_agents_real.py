"""The agent's hook in the real Claude Code, Codex and OpenCode: a scripted model calls the tools.

What the agent reads is what its client sends back to the model. `mm` is a stand-in that writes
down how it was called; memtomem's MCP server is the real one.
"""

import json
import re
import sys
import time

import pytest
from agent_settings import CLAUDE, CODEX, OPENCODE
from clients import Terminal, clients, real, world_of_clients
from mm_preflight import agents
from mm_preflight.cli import hook
from support import SCRIPT, linux, until

__all__ = ["clients", "real", "world_of_clients"]  # the fixtures

pytestmark = [linux, pytest.mark.slow]
RESET = "mm embedding-reset --mode apply-current"
COMMIT = f"git commit -m \"$(cat <<'EOF'\ndocs: never run {RESET}\n\nIt's a door.\nEOF\n)\""
HEADLESS = {
    "claude": ["claude", "--print", "--dangerously-skip-permissions", "go"],
    "codex": [
        *["codex", "exec", "--dangerously-bypass-approvals-and-sandbox"],
        *["--dangerously-bypass-hook-trust", "--skip-git-repo-check", "go"],
    ],
    "opencode": ["opencode", "run", "go"],
}


def program(world, name, text):
    path = world.home / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def world(world_of_clients):
    """The three clients with the hook, a git repository, `mm-preflight`, and a stand-in `mm`."""
    world = world_of_clients
    world.env["PATH"] = f"{world.home}/bin:{world.env['PATH']}"
    program(world, "mm", f'echo "mm $*" >> {world.home}/told')
    program(world, "mm-preflight", f'exec {sys.executable} {SCRIPT} "$@"')
    # Codex runs a login shell, and /etc/profile sets PATH anew.
    (world.home / ".bash_profile").write_text(f"PATH={world.env['PATH']}\n")
    about = "git init -q; git config user.name Ana; git config user.email ana@example.org"
    assert world.shell(f"{about}; echo x > x; git add x").returncode == 0
    (world.home / ".claude").mkdir(exist_ok=True)
    (world.home / ".claude" / "settings.json").write_text(json.dumps(CLAUDE))
    with (world.home / ".codex" / "config.toml").open("a") as file:
        file.write(CODEX)
    plugin = world.home / OPENCODE
    plugin.parent.mkdir(parents=True)
    plugin.write_text(hook("opencode"))
    npm_is_done(plugin.parent.parent)
    return world


def npm_is_done(folder):
    """OpenCode fetches its types once for a folder of plug-ins; without network it tries for 70 s.

    They are for who writes in TypeScript: the plug-in needs nothing of them.
    """
    needs = {"dependencies": {"@opencode-ai/plugin": "*"}}
    (folder / "node_modules").mkdir()
    (folder / "package.json").write_text(json.dumps(needs))
    (folder / "package-lock.json").write_text(json.dumps({"packages": {"": needs}}))


def told(world):
    """How the stand-in `mm` was called."""
    file = world.home / "told"
    return file.read_text().splitlines() if file.exists() else []


def shell(client, command):
    if client == "codex":
        return {"tool": "exec_command", "input": {"cmd": command, "yield_time_ms": 30000}}
    tool = "Bash" if client == "claude" else "bash"
    return {"tool": tool, "input": {"command": command, "description": "x"}}


def mem_do(client, action, **params):
    inputs = {"action": action, "params": params}
    if client == "codex":
        return {"tool": "mem_do", "namespace": "mcp__memtomem", "input": inputs}
    tool = {"claude": "mcp__memtomem__mem_do", "opencode": "memtomem_mem_do"}[client]
    return {"tool": tool, "input": inputs}


def results(world, client):
    """What the agent read, call by call."""
    bodies = [each["body"] for each in world.requests() if each["body"].get("tools")]
    if client == "codex":
        return [json.dumps(item) for item in bodies[-1]["input"] if "output" in item["type"]]
    messages = bodies[-1]["messages"]
    if client == "opencode":
        return [json.dumps(message) for message in messages if message["role"] == "tool"]
    lists = [message["content"] for message in messages if isinstance(message["content"], list)]
    return [
        json.dumps(each) for blocks in lists for each in blocks if each["type"] == "tool_result"
    ]


def run(world, client, *steps):
    """Let the model make these calls, in a session without a terminal; return what it read."""
    # An MCP server takes a moment to start: its tools are there from the next request on.
    started = "until ls /tmp/memtomem-*/presence/*.lock; do sleep 0.5; done; sleep 5"
    world.says(shell(client, started), *steps, {"text": "done"})
    done = world.run(*HEADLESS[client], limit=180)
    read = results(world, client)[1:]
    assert len(read) == len(steps), done.stdout + done.stderr
    return read


@pytest.mark.parametrize("client", HEADLESS)
def test_denied_and_passed(world, client):
    """In the mode that asks nobody, where there is one."""
    denied = {
        agents.RUNS: [
            shell(client, RESET),
            shell(client, "M=apply-current; bash -lc \"uv run mm embedding-reset --mode '$M'\""),
            shell(client, 'mm embedding-reset --mode apply-""current'),
            shell(client, "B=http://127.0.0.1:9/api; curl -X POST $B/embedding%2Dreset"),
        ],
        agents.MODE: [mem_do(client, "embedding_reset", mode="apply_current")],
        agents.WIPES: [mem_do(client, "reset", confirm=True)],
    }
    passed = {
        "reset --mode apply-current": shell(client, f"echo '{RESET}'"),
        "1 file changed": shell(client, COMMIT),
        "in sync": mem_do(client, "embedding_reset", mode="status"),
    }
    steps = [(sentence, step) for sentence, each in denied.items() for step in each]
    read = run(world, client, *(step for _, step in steps), *passed.values())
    for (sentence, step), text in zip(steps, read, strict=False):
        assert json.dumps(sentence + agents.AGENT)[1:-1] in text, step
    for text, answer in zip(passed, read[len(steps) :], strict=True):
        assert text in answer and "mm-preflight" not in answer
    assert told(world) == []


@pytest.mark.parametrize("client", HEADLESS)
def test_a_hook_that_is_gone_blocks(world, client):
    (world.home / "bin" / "mm-preflight").unlink()
    world.says(shell(client, RESET), shell(client, "echo ran"), {"text": "done"})
    world.run(*HEADLESS[client], limit=180)
    for text in results(world, client):
        assert ("gave no answer" if client == "opencode" else "mm-preflight failed") in text, text
    assert told(world) == []


@pytest.mark.parametrize("client", HEADLESS)
def test_a_hook_that_hangs(world, client):
    """Claude Code and Codex let the call run when the time is over; the plug-in blocks it."""
    program(world, "mm-preflight", "exec sleep 600")
    for file in (".claude/settings.json", ".codex/config.toml", OPENCODE):
        text = (world.home / file).read_text()
        for old in ('"timeout": 60', "timeout = 60", "timeout: 10_000"):
            text = text.replace(old, old.replace("60", "1").replace("10_000", "1_000"))
        (world.home / file).write_text(text)
    world.says(shell(client, RESET), {"text": "done"})
    world.run(*HEADLESS[client], limit=180)
    [text] = results(world, client)
    if client == "opencode":
        assert "no answer" in text and told(world) == []
    else:
        assert told(world) == [RESET], text


def test_opencode_runs_it_without_the_plug_in(world):
    """So it is the plug-in that denies above."""
    (world.home / OPENCODE).unlink()
    world.says(shell("opencode", RESET), {"text": "done"})
    world.run(*HEADLESS["opencode"], limit=180)
    assert told(world) == [RESET]


@pytest.mark.parametrize("client, tool", [("claude", "Agent"), ("opencode", "task")])
def test_a_subagent_is_denied_too(world, client, tool):
    about = {"description": "x", "prompt": "go", "subagent_type": "general"}
    if client == "claude":
        about["subagent_type"] = "general-purpose"
    task = {"tool": tool, "input": about}
    world.says(task, shell(client, RESET), {"text": "sub done"}, {"text": "done"})
    world.run(*HEADLESS[client], limit=180)
    said = [json.dumps(each["body"]) for each in world.requests() if each["body"].get("tools")]
    assert any(agents.RUNS[:60] in each for each in said)
    assert any("sub done" in each for each in said), "the subagent did not answer"
    assert told(world) == []


def press(terminal, key, chosen):
    """Press a key where this line is chosen, until it is not: what starts drops keys."""

    def goes():
        if re.search(chosen, terminal.screen()):
            terminal.press(key)
            time.sleep(1)
        return not re.search(chosen, terminal.screen())

    until(lambda: re.search(chosen, terminal.screen()), terminal.screen, 60)
    until(goes, terminal.screen, 60)


def test_codex_asks_for_trust_first(world):
    """In its terminal: until the hook is trusted, it does not run; then it denies."""
    world.says(shell("codex", RESET), {"text": "all done"})
    terminal = Terminal(world, "codex", "--no-daemon", "--dangerously-bypass-approvals-and-sandbox")
    press(terminal, "Down", r"\S 1\. Review hooks")
    press(terminal, "Enter", r"\S 2\. Trust all and continue")
    until(lambda: "Hooks need review" not in terminal.screen(), terminal.screen, 60)
    terminal.types("go")
    until(lambda: "all done" in terminal.screen(), terminal.screen, 60)
    [text] = results(world, "codex")
    assert agents.RUNS[:60] in text and told(world) == []
