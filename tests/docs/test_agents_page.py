"""What is to be pasted for agents parses, runs and blocks; the page says what the code says."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import agent_settings
import pytest
from mm_preflight import agents
from pages import DOCS, ROOT, fences
from support import not_on_windows

PAGE = DOCS / "guides" / "make-mm-ask-first.md"
FENCES = [*fences(PAGE)]
CLAUDE, CURSOR = (json.loads(body) for language, body in FENCES if language == "json")
[CODEX] = [tomllib.loads(body) for language, body in FENCES if language == "toml"]
GROUPS = [*CLAUDE["hooks"]["PreToolUse"], *CODEX["hooks"]["PreToolUse"]]
COMMANDS = [hook["command"] for group in GROUPS for hook in group["hooks"]]
COMMANDS += [hook["command"] for event in CURSOR["hooks"].values() for hook in event]
RESET = {"tool_name": "Bash", "tool_input": {"command": "mm embedding-reset --mode apply-current"}}


def test_every_block_to_paste_is_read_here():
    settings = [language for language, _ in FENCES if language in {"json", "toml", "markdown"}]
    assert settings == "json toml json markdown".split()
    assert len(COMMANDS) == 4
    assert {hook["type"] for group in GROUPS for hook in group["hooks"]} == {"command"}
    assert set(CURSOR["hooks"]) < set(agents.CURSOR)


@not_on_windows("has no sh, which these lines are for")
@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
@pytest.mark.parametrize(
    "call, installed, status, printed",
    [
        (RESET, True, 0, '"permissionDecision": "deny"'),
        ({"tool_name": "Bash", "tool_input": {"command": "ls"}}, True, 0, ""),
        (RESET | {"tool_input": 1}, True, 2, ""),
        (RESET, False, 2, ""),
    ],
    ids=["reset", "other", "unreadable", "not-installed"],
)
def test_each_command_blocks_and_never_by_exit_status_1(
    command, call, installed, status, printed, tmp_path
):
    """1 blocks nothing in Claude Code; nor does 127, where mm-preflight is gone."""
    if installed:
        program = f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/scripts/mm_preflight" "$@"\n'
        (tmp_path / "mm-preflight").write_text(program)
        (tmp_path / "mm-preflight").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", command],
        env={"PATH": f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin"},
        input=json.dumps(call),
        capture_output=True,
        text=True,
    )
    assert done.returncode == status
    assert printed in done.stdout and bool(printed) == bool(done.stdout)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(
    "tool, taken",
    [
        ("Bash", True),
        ("mcp__memtomem__mem_do", True),
        ("mcp__plugin_memtomem_memtomem__mem_embedding_reset", True),
        ("Write", False),
        ("apply_patch", False),
        ("BashOutput", False),
    ],
)
def test_matchers(group, tool, taken):
    assert bool(re.fullmatch(group["matcher"], tool)) == taken


@pytest.mark.parametrize("server", ["memtomem", "plugin_memtomem_memtomem"])
@pytest.mark.parametrize("tool", ["mem_embedding_reset", "mem_reset"])
def test_both_servers_of_claude_code_are_denied(server, tool):
    call = {"tool_name": f"mcp__{server}__{tool}", "tool_input": {"mode": "apply_current"}}
    assert agents.answer(json.dumps(call).encode())


def test_the_settings_are_those_that_the_real_clients_were_run_with():
    assert CLAUDE == agent_settings.CLAUDE
    assert tomllib.loads(agent_settings.CODEX) == CODEX
    [command] = [body for language, body in FENCES if "--hook opencode" in body]
    assert command.split(" > ~/")[1].strip() == agent_settings.OPENCODE


def test_time_is_enough():
    """A hook that runs out of time lets the call through: each has a time-out, and a long one."""
    hooks = [hook for group in GROUPS for hook in group["hooks"]]
    hooks += [hook for event in CURSOR["hooks"].values() for hook in event]
    assert [hook["timeout"] for hook in hooks] == [60] * 4


def test_the_section_for_agents_md_is_five_lines():
    [body] = [body for language, body in FENCES if language == "markdown"]
    lines = body.splitlines()
    assert len(lines) == 5
    for word in ("apply-current", "mem_do", "mem_reset", "mm-preflight --wait 60"):
        assert word in body


def test_the_agent_is_told_what_the_page_says():
    told = re.sub(r"\s+|> ", " ", (ROOT / "includes" / "agent.md").read_text(encoding="utf-8"))
    told = re.sub(r" +", " ", told).strip()
    assert agents.AGENT.endswith(told)
    assert told.endswith(agents.PERSON)
    stop = (DOCS / "guides" / "stop-mm-processes.md").read_text(encoding="utf-8")
    assert '--8<-- "includes/agent.md"' in stop


@not_on_windows("has no sh, which these lines are for")
def test_the_output_shown_is_printed(tmp_path):
    [body] = [body for _, body in FENCES if "permissionDecisionReason" in body]
    command, shown = body.splitlines()
    os.symlink(Path(sys.executable).parent / "mm-preflight", tmp_path / "mm-preflight")
    done = subprocess.run(
        ["sh", "-c", command.removeprefix("$ ")],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    before, after = shown.split("…")
    assert done.stdout.startswith(before) and done.stdout.endswith(after + "\n")
    assert ast.literal_eval(before + after) == {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": "mm-preflight refused this call, ",
        }
    }
