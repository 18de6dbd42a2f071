"""The page for agents: what is to be pasted parses, runs and blocks; it says what the code says."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from mm_preflight import agents
from pages import DOCS, ROOT, fences, text_of
from support import not_on_windows

PAGE = DOCS / "guides" / "agents.md"
FENCES = [*fences(PAGE)]
CLAUDE, CURSOR, OPENCODE = (json.loads(body) for language, body in FENCES if language == "json")
[CODEX] = [tomllib.loads(body) for language, body in FENCES if language == "toml"]
GROUPS = [*CLAUDE["hooks"]["PreToolUse"], *CODEX["hooks"]["PreToolUse"]]
COMMANDS = [hook["command"] for group in GROUPS for hook in group["hooks"]]
COMMANDS += [hook["command"] for event in CURSOR["hooks"].values() for hook in event]
RESET = {"tool_name": "Bash", "tool_input": {"command": "mm embedding-reset --mode apply-current"}}


def test_every_block_to_paste_is_read_here():
    assert [language for language, _ in FENCES] == "json toml json json markdown console".split()
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


def test_both_servers_of_claude_code_are_denied():
    tools = ("mem_embedding_reset", "mem_reset")
    servers = ("memtomem", "plugin_memtomem_memtomem")
    names = {f"mcp__{server}__{tool}" for server in servers for tool in tools}
    assert set(CLAUDE["permissions"]["deny"]) == names
    for name in names:
        call = {"tool_name": name, "tool_input": {"mode": "apply_current"}}
        assert agents.answer(json.dumps(call).encode())


def wildcard(pattern, text):
    """As OpenCode's documentation has it: `*` is anything, and the whole text must match."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text, re.S) is not None


@pytest.mark.parametrize(
    "tool, text, effect",
    [
        ("bash", "mm embedding-reset --mode apply-current", "deny"),
        ("bash", 'bash -c "uv run mm embedding-reset --mode=apply-current --yes"', "deny"),
        ("bash", "mm embedding-reset --mode status", None),
        ("memtomem_mem_embedding_reset", "", "deny"),
        ("memtomem_mem_reset", "", "deny"),
        ("memtomem_mem_do", "", "ask"),
        ("memtomem_mem_search", "", None),
    ],
)
def test_rules_of_opencode(tool, text, effect):
    found = None
    for pattern, rule in OPENCODE["permission"].items():
        if wildcard(pattern, tool):
            rules = rule if isinstance(rule, dict) else {"*": rule}
            found = next((each for one, each in rules.items() if wildcard(one, text)), found)
    assert found == effect


def test_the_section_for_agents_md_is_six_lines():
    [body] = [body for language, body in FENCES if language == "markdown"]
    lines = body.splitlines()
    assert len(lines) == 6
    for word in ("apply-current", "mem_do", "mem_reset", "mm-preflight --wait 60"):
        assert word in body


def test_the_agent_is_told_what_the_page_says():
    told = re.sub(r"\s+|> ", " ", (ROOT / "includes" / "agent.md").read_text(encoding="utf-8"))
    told = re.sub(r" +", " ", told).strip()
    assert agents.AGENT.endswith(told)
    assert told.endswith(agents.PERSON)
    assert told.split(":")[0] in re.sub(r"\s+", " ", text_of(PAGE))


@not_on_windows("has no sh, which these lines are for")
def test_the_output_shown_is_printed(tmp_path):
    [body] = [body for language, body in FENCES if language == "console"]
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
