"""`--agent-hook` and shell commands: what resets is denied, what only writes about it passes.

Each of RESETS is run in a real bash, where a stand-in `mm` tells that it was called: it does reset.
Each of PASSES is run in bash and in zsh: there nothing does. Many are spellings from public reports
of guards that were passed by, and of guards that fired on a commit message or a search.
"""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some
from mm_preflight import agents
from mm_preflight.harmless import executes_nothing
from mm_preflight.literal import commands
from mm_preflight.resets import names_reset
from support import not_on_windows

R = "mm embedding-reset --mode apply-current"
WEB = "http://127.0.0.1:8080/api"
# The stand-ins: what memtomem and curl are told, and programs that run what they are given.
TELLS = """#!/bin/sh
{ printf %s "${0##*/} $*" | tr '\\n\\r' '  '; echo; } >> "$TOLD"
[ "${0##*/}" = curl ] && echo token
exit 0
"""
RUNS_REST = '#!/bin/sh\nwhile [ "$1" != mm ] && [ $# -gt 1 ]; do shift; done\nexec "$@"\n'
RUNS_TEXT = '#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n'
STAND_INS = {name: TELLS for name in ("mm", "memtomem", "curl", "gh", "git", "pytest", "rg")}
STAND_INS |= {name: RUNS_REST for name in ("uv", "uvx", "pipx", "doas", "docker", "my-wrapper")}
STAND_INS |= {name: RUNS_TEXT for name in ("ssh", "su", "script")}

RESETS = {
    # by another name, path or launcher
    "plain": R,
    "memtomem": "memtomem embedding-reset --mode=apply-current --yes",
    "path": f"$BIN/{R}",
    "uv-run": f"uv run {R}",
    "uvx": f"uvx --from 'memtomem[onnx]==0.6.12' {R}",
    "pipx": f"pipx run --spec memtomem {R}",
    "unknown-wrapper": f"my-wrapper --fast {R}",
    "doas": f"doas -u ana {R}",
    "env": f"env A=b {R}",
    "env-split": f"env -S '{R}'",
    "variable-before": f"MEMTOMEM_STORAGE__SQLITE_PATH=x.db {R}",
    "timeout": f"timeout 60 {R}",
    "nice": f"nice -n 5 {R}",
    "nohup": f"nohup {R}",
    "setsid": f"setsid -w {R}",
    "stdbuf": f"stdbuf -oL {R}",
    "command": f"command {R}",
    "exec": f"exec {R}",
    "docker": f"docker exec -i box {R}",
    "ssh": f"ssh ana@host '{R}'",
    "su": f"su ana -c '{R}'",
    "backslash": rf"\{R}",
    # with other commands about it
    "chained": f"cd . && {R}",
    "semicolon": f"true; {R}",
    "or": f"false || {R}",
    "background": f"true & {R}",
    "new-line": f"echo about the reset\n{R}",
    "subshell": f"( cd . ; {R} )",
    "braces": f"{{ {R}; }}",
    "if": f"if true; then {R}; fi",
    "for": "for mode in apply-current; do mm embedding-reset --mode $mode; done",
    "negated": f"! {R}",
    "function": f"f() {{ {R}; }}; f",
    "trap": f"trap '{R}' EXIT",
    "two-modes": "mm embedding-reset --mode status --mode apply-current",
    "status-first": f"mm embedding-reset --mode status; {R}",
    "piped-yes": f"echo y | {R}",
    # as a text that something runs
    "bash-c": f'bash -c "{R}"',
    "nested": "bash -c 'cd .; bash -c \"mm embedding-reset \\\\\n  --mode apply-current\"'",
    "eval": f"eval '{R}'",
    "piped-to-sh": f"echo '{R}' | sh",
    "here-string": f"bash <<< '{R}'",
    "heredoc-to-sh": f"sh <<'E'\n{R}\nE",
    "cat-piped": f"cat <<'E' | bash\n{R}\nE",
    "written-and-run": f"cat > x.md <<'E'\n{R}\nE\nsh x.md",
    "tee-and-run": f"echo '{R}' | tee x.sh; sh ./x.sh",
    "substitution": f'echo "$({R})"',
    "backticks": f"git commit -m `{R}`",
    "commit-message": f'git commit -m "after $({R})"',
    "unquoted-heredoc": f"cat > NOTES.md <<E\n$({R})\nE",
    "process-substitution": f"cat <({R})",
    "after-the-heredoc": f"git commit -m \"$(cat <<'E'\nabout it\nE\n{R}\nE\n)\"",
    "xargs": "echo embedding-reset --mode apply-current | xargs mm",
    "find-exec": f"touch x.md; find . -name x.md -exec {R} \\;",
    "python": f"python3 - <<'E'\nimport os\nos.system('{R}')\nE",
    "subprocess": "python3 -c \"import subprocess; subprocess.run(['mm', 'embedding-reset',"
    " '--mode', 'apply-current'])\"",
    "awk": f"awk 'BEGIN {{ system(\"{R}\") }}'",
    "sed": f"echo x | sed '1e {R}'",
    "printf-v": f"printf -v 'a[$({R})]' x",
    "sort": f"echo '{R}' > c.sh; chmod +x c.sh; seq 99999 | sort -S 1k --compress-prog=./c.sh",
    # spelled otherwise
    "quotes": "mm 'embedding'-reset --mode app\"ly-cur\"rent",
    "empty-quotes": 'mm embedding-reset --mode apply-""current',
    "continued": "mm embedding-\\\nreset --mode apply-\\\ncurrent",
    "escaped": "mm embedding\\-reset --mode $'apply'-current",
    "hexadecimal": r"mm $'embedding\x2dreset' --mode $'apply\x2dcurrent'",
    "variable-mode": "MODE=apply-current; mm embedding-reset --mode $MODE",
    "variable-program": f"M=mm; $M {R.removeprefix('mm ')}",
    "comments": f"# it's\n{R}\n# it's",
    "continued-comment": f"ls\\\n#x; {R}",
    "stream-and-word": f"echo x\n2>&1echo {R}",
    # by the web UI
    "web": f"curl -X POST {WEB}/embedding-reset",
    "web-token": f'T=$(curl -s {WEB}/session); curl -X POST -H "X-Memtomem-CSRF: $T"'
    f" {WEB}/embedding-reset",
    "web-base": f"B={WEB}; curl -d '' $B/embedding-reset",
    "web-encoded": f"curl -X POST {WEB}/embedding%2Dreset",
    "web-slash": f"curl -L -X POST {WEB}/embedding-reset/",
    "web-joined": f'B={WEB}/; T=$(curl -s ${{B}}session); curl -H "X-Memtomem-CSRF: $T"'
    ' -X POST "${B}embedding-reset"',
}

TEXT = f'Never run `{R}` while it\'s alive; it "mixes" (old & new) vectors: $5.'
HEREDOC = f"cat <<'EOF'\ndocs: the reset\n\n{TEXT}\n- don't; ever!\nEOF\n"
PASSES = {
    # searches
    "grep": f"grep -rn '{R[3:]}' .",
    "grep-words": "grep -rnE 'embedding-reset.*apply-current' src docs --include='*.md'",
    "grep-glob": "grep -n 'embedding-reset --mode apply-current' *.md",
    "grep-double": f'grep -c "{R}" README.md',
    "rg": f"rg -n --hidden '{R}' docs/",
    "rg-lines": "rg -l 'embedding_reset' -g '*.py' | grep apply_current | head -20",
    "git-grep": "git grep -n 'embedding-reset' -- docs | grep -c apply-current",
    "git-log": "git --no-pager log --oneline --grep='embedding-reset --mode apply-current'",
    "find": "find . -name '*embedding-reset*' -not -path '*apply-current*'",
    "cat-grep": "cat docs/guides/embedding-reset.md | grep -n apply-current",
    "sed-lines": "sed -n '10,40p' docs/embedding-reset.md | grep apply-current",
    "sorted": f"grep -rhn '{R}' . | sort | uniq -c | sort -rn | head",
    "errors-away": f"grep -rn '{R}' . 2>/dev/null | wc -l",
    "both-streams": f"grep -rn '{R}' . 2>&1 | tail -5",
    "cd-grep": f"cd . && grep -rn '{R}' .",
    "jq": f"""jq -r '.[] | select(.command == "{R}")' hooks.json""",
    "comment": f"# don't run {R} here\nls -la",
    "comment-behind": "ls docs  # embedding-reset --mode apply-current has a page",
    # git
    "commit": f"git commit -m 'docs: never run {R}'",
    "commit-double": f'git commit -m "docs: \\"{R}\\" is a door"',
    "commit-heredoc": f'git commit -m "$({HEREDOC})"',
    "add-commit-push": f'git add -A && git commit -m "$({HEREDOC})" && git push -u origin main',
    "commit-two": f"git commit -m 'docs: the reset' -m '{R}'",
    "commit-amend": f"git -C . commit --amend -m 'docs: {R}'",
    "commit-file": f"git commit -F - <<'EOF'\ndocs: {R}\nEOF",
    "commit-unquoted": f"git commit -F - <<EOF\ndocs: {R}\nEOF",
    "written-commit": f"cat > msg.txt <<'EOF'\n{TEXT}\nEOF\ngit commit -F msg.txt",
    "tag": f"git tag -a v1 -m 'without {R}'",
    "log-s": "git log -S'embedding-reset --mode apply-current' --oneline",
    # gh
    "gh-issue": f"gh issue create --title 'apply-current' --body '{TEXT.replace(chr(39), '')}'",
    "gh-heredoc": f'gh issue create --title x --body "$({HEREDOC})"',
    "gh-comment": f"gh issue comment 7 --body 'see {R}'",
    "gh-pr": f'gh pr create --draft --title "docs" --body "$({HEREDOC})"',
    "gh-body-file": f"cat > body.md <<'EOF'\n{TEXT}\nEOF\ngh pr create --body-file body.md",
    "gh-stdin": f"gh issue comment 7 --body-file - <<'EOF'\n{TEXT}\nEOF",
    "gh-search": "gh search code 'embedding-reset apply-current' --limit 5",
    "gh-review": f"gh pr review 7 --comment --body 'asks before {R}'",
    "gh-list": "gh issue list --search 'embedding-reset apply-current in:body'",
    # files
    "cat-append": f"cat >> AGENTS.md <<'E'\n## memtomem\n- {TEXT}\nE",
    "cat-write": f"cat > docs/reset.md <<'EOF'\n# Reset\n\n    {R}\n\nEOF",
    "cat-code": f"cat > tests/test_reset.py <<'EOF'\nLINE = '{R}'\nEOF",
    "cat-plain-mark": f"cat > notes.md <<EOF\nAsk before {R}\nEOF",
    "tabs": f"cat <<-'E' > notes.md\n\t{R}\n\tE",
    "two-heredocs": f"cat > a.md <<'A' && cat > b.md <<'B'\n{R}\nA\n{R}\nB",
    "echo": f"echo '{R}'",
    "echo-append": f'echo "- never run {R}" >> CLAUDE.md',
    "printf": f"printf '%s\\n' 'never {R}' >> NOTES.md",
    "tee": f"echo 'never {R}' | tee -a NOTES.md",
    "made": f"mkdir -p docs && cat > docs/x.md <<'E'\n{R}\nE\nls -l docs",
    # memtomem's own
    "search": f"mm search 'why is {R} dangerous'",
    "add": f'mm add "{R} only when nothing is alive" --tags ops',
    "recall": "mm recall --query 'embedding-reset apply-current'",
    "status": "mm embedding-reset --mode status | grep apply-current",
    "status-default": "mm embedding-reset | grep -c apply-current",
    "revert": "memtomem embedding-reset --mode=revert-to-stored | grep apply-current",
    "help": "mm embedding-reset --help | grep -A2 apply-current",
    "help-behind": f"{R} --help",
    "check": f"mm-preflight --wait 60 || echo 'not clear: no {R} now'",
    # tests
    "pytest": "pytest tests/test_embedding_reset.py::test_apply_current",
    "pytest-k": "python -m pytest -x -q tests -k 'embedding_reset and apply_current'",
}


def hook(command, tool="Bash"):
    call = {"hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": {"command": command}}
    return agents.answer(json.dumps(call).encode())


def test_there_are_enough():
    assert len(RESETS) >= 60 and len(PASSES) >= 60


@pytest.mark.parametrize("name", RESETS)
def test_denied(name):
    said = json.loads(hook(RESETS[name]))["hookSpecificOutput"]["permissionDecisionReason"]
    assert said == agents.RUNS + agents.AGENT


@not_on_windows("quotes otherwise: there, no command is read")
@pytest.mark.parametrize("name", PASSES)
def test_passes(name):
    assert names_reset(PASSES[name])
    assert hook(PASSES[name]) == ""


@pytest.mark.parametrize("name", PASSES)
def test_powershell_quotes_otherwise(name):
    """What is certain in a POSIX shell is not in PowerShell."""
    assert hook(PASSES[name], "PowerShell")


def runner(folder):
    """What runs a text in a real shell, and returns what the stand-ins were told."""
    programs, told = folder / "bin", folder / "told"
    programs.mkdir(exist_ok=True)
    (folder / "work" / "docs").mkdir(parents=True, exist_ok=True)
    for name, text in STAND_INS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    def run(text, shell):
        told.write_text("")
        subprocess.run(
            [*shell, text],
            cwd=folder / "work",
            env={"PATH": f"{programs}:/usr/bin:/bin", "BIN": str(programs), "TOLD": str(told)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
        )
        return told.read_text().split("\n")

    return run


@not_on_windows("quotes otherwise: there, no command is read")
def test_a_terminal_reads_comments_otherwise():
    """Cursor may type into a zsh that takes no comments."""
    assert hook(f"grep -rn '{R}' .", "Shell") == ""
    assert hook(f"ls # then; {R}", "Shell")
    assert hook(f"ls # then; {R}", "Bash") == ""


@pytest.fixture
def run(tmp_path):
    return runner(tmp_path)


def is_reset(line):
    mm = line.startswith(("mm embedding-reset ", "memtomem embedding-reset "))
    web = line.startswith("curl ") and "embedding" in line and "/session" not in line
    return web or (mm and "apply-current" in line and "--help" not in line)


@not_on_windows("has no bash of its own")
@pytest.mark.parametrize("name", RESETS)
def test_it_does_reset(run, name):
    assert any(is_reset(line) for shell in shells() for line in run(RESETS[name], shell))


def shells():
    yield ["bash", "-c"]
    if shutil.which("zsh"):
        yield ["zsh", "-fc"]
    elif os.environ.get("CI") and sys.platform == "linux":
        pytest.fail("zsh is not installed")


@not_on_windows("has no bash of its own")
@pytest.mark.parametrize("name", PASSES)
def test_it_resets_nothing(run, name):
    for shell in shells():
        assert not any(map(is_reset, run(PASSES[name], shell)))


# Pieces of shell, and of what fools a reader of shell.
PIECES = [R, R, f"'{R}'", f'"{R}"', f"\"$(cat <<'E'\n{R}\nE\n)\"", f"cat <<'E'\n{R}\nE\n"]
PIECES += [" ", " ", "\n", "\t", "\r", "\\", "\\\n", "'", '"', "`", "$(", ")", "(", "${", "}", "{"]
PIECES += [";", "|", "&&", "||", "&", "#", "!", "=", "~", "*", "[", "]", "-", "2", "0", "é", "x.md"]
PIECES += [">", ">>", "<", "<<", "<<<", "<<'E'", "<<-E", "\nE\n", ">|", "&>", "2>&1", ">&", "<&"]
PIECES += ["echo ", "grep ", "cat ", "tee ", "git commit -m ", "mm ", "-n ", "sed ", "xargs ", "sh"]


@not_on_windows("has no bash of its own")
@settings(max_examples=300)
@given(some.lists(some.sampled_from(PIECES), min_size=2, max_size=12).map("".join))
@example(f"echo x\n2>&1echo {R}")
@example(f"ls\\\n#x; {R}")
def test_whatever_passes_resets_nothing(tmp_path_factory, text):
    """A reader that reads otherwise than bash or zsh would let something through here."""
    if not (names_reset(text) and executes_nothing(text)):
        return
    run = runner(tmp_path_factory.getbasetemp())
    for shell in shells():
        assert not any(map(is_reset, run(text, shell)))


@pytest.mark.parametrize(
    "text, words",
    [
        ("a 'b c' \"d e\" f\\ g", [["a", "b c", "d e", "f g"]]),
        ("a''b \"\" c", [["ab", "", "c"]]),
        ('a "x \\"y\\" \\z $ "', [["a", 'x "y" \\z $ ']]),
        ("a\\\nb c", [["ab", "c"]]),
        ("a | b && c; d # e\nf", [["a"], ["b"], ["c"], ["d"], ["f"]]),
        ("a 2>&1 >/dev/null <b <<<c d", [["a", "d"]]),
        ("a <<'E' b\n$x\nE\nc", [["a", "b"], ["c"]]),
        ("a \"$(cat <<'E'\nb $x\nE\n)\"", [["a", "b $x"]]),
        ("a#b", [["a#b"]]),
    ],
)
def test_read(text, words):
    assert [command.words for command in commands(text)] == words


@pytest.mark.parametrize(
    "text",
    [
        *["a $x", "a `b`", 'a "$x"', "a $(b)", "a & b", "(a)", "{ a; }", "a 'b", 'a "b', "a {b,c}"],
        *["a <(b)", "a >(b)", "a > *", "a >", "> a", "a <<E", "a <<E\nx", "a <<E\n$x\nE", "a <> b"],
        *["a <<'E' 'x\ny'\nE", "a >& b", "a 2>&1b", "a |& b", "! a", "a\rb", "a > b$c", "a \x00"],
        "a \"$(cat <<'E'\nb\nE\nc\n)\"",
        *["a 'b\\' '; c; '", "a 'b\\'"],
    ],
)
def test_not_read(text):
    assert commands(text) is None


@pytest.mark.parametrize(
    "padding", ["a''", "''", "\\\n", ";", "<<'E' ", "#\n", "\"$(cat <<'E'\nE\n)\"", "x\n", "* "]
)
def test_it_answers_soon(padding):
    """A client that waits in vain lets the call run."""
    for size in (60_000, 400_000):
        text = f"echo '{R}' " + padding * (size // len(padding) - 20)
        begin = time.monotonic()
        hook(text)
        assert time.monotonic() - begin < 3


@pytest.mark.parametrize(
    "command",
    [
        f"git -c alias.x='!{R}' x",
        f"git grep -O'{R}' x",
        f"git grep -n5O'{R}' x",
        f"printf '%n' 'a[$({R})]'",
        f"printf '% n' 'a[$({R})]'",
        f"git grep --open-files-in-pager='{R}' x",
        f"git push 'ext::sh -c {R}'",
        f"rg --pre 'sh' '{R}'",
        f"rg '{R}' *",
        f"find . -okdir {R} ';'",
        f"GIT_EDITOR='{R}' git commit",
        f"cat > .git/hooks/pre-commit <<'E'\n{R}\nE\ngit commit -m x",
        f"cat > conftest.py <<'E'\n{R}\nE\npytest",
        f"cat > test_x.txt <<'E'\n>>> {R}\nE\npytest -q",
        f"echo '{R}' > notes.rst; python -m pytest notes.rst",
        f"echo '{R}' | tee README.md && python3 -m pytest",
        f"sort -o .git/hooks/pre-commit <<< '{R}'; git commit -m x",
        f"echo '{R}' > /dev/pts/3",
        f"echo '{R}' > /proc/7/fd/0",
        f"echo '{R}' >> ~/.bashrc",
        f"pytest -p '{R}'",
        f"gh alias set x '!{R}'",
        f"echo '{R}' | mm shell",
        f"mm-preflight -- {R}",
        "mm embedding-reset --mode apply-current -- --help",
        f"sed -n 1p x.md -e '1e {R}'",
        f"unknown '{R}'",
    ],
)
def test_not_certain(command):
    """Each of these can run its text, or what it wrote."""
    assert not executes_nothing(command)
