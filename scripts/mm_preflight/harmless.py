"""Which command lines certainly execute none of their own text. Pure.

Each program in the line is one of a short list that runs none of its arguments and nothing of what
it reads, with no option that would; and what the line writes to a file, nothing in it runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mm_preflight.literal import Command, commands

# Programs that run nothing, by what must not begin an argument of theirs: options that run a
# program, that write a file besides standard output, or that have the shell evaluate a name.
SIMPLE = {
    "cat": "",
    "cd": "",
    "cut": "",
    "diff": "",
    "echo": "",
    "egrep": "",
    "fgrep": "",
    "find": r"-(exec|ok|f)",
    "grep": "",
    "head": "",
    "jq": "",
    "ls": "",
    "mkdir": "",
    "printf": r"-v|[\s\S]*%(?![sb%])",  # zsh evaluates what %n is given
    "pwd": "",
    "rg": r"--(pre|hostname-bin)",
    "sort": r"-\w*o|--(o|c)",
    "tail": "",
    "tee": "",
    "tr": "",
    "true": "",
    "uniq": r"[^-]",
    "wc": "",
}
GIT = {
    "add": "",
    "commit": "",
    "diff": r"--ou",
    "grep": r"-\w*O|--op",
    "log": r"--ou",
    "push": r"(?!(-u|--set-upstream|--tags|--force-with-lease)$)(?![\w.][\w./-]*$)",
    "show": r"--ou",
    "status": "",
    "tag": "",
}
GH = ("issue", "pr", "release", "search")
GH_VERBS = "close code comment create edit issues list prs reopen review status view".split()
MM = ("--help", "add", "doctor", "recall", "search", "status", "version")
# Options of pytest that run and load nothing.
PYTEST = re.compile(
    r"-(q+|v+|x|s|k|m|n|r\w*)|--(tb|maxfail|durations)=\w+|--(lf|ff|co|collect-only)|[^-@].*"
)
LINES = re.compile(r"[0-9,$]+p")  # what `sed -n` prints
# A file with an ending, and one that nobody runs. No device: what a shell reads may hang on it.
FILE = re.compile(r"(?!/dev/|/proc/)[^\n]*[^/\n]\.\w+")
NOTE = re.compile(r"[^\n]*\.(md|rst|txt)")
# These run the examples in texts too, by a name or an argument, or as a project's settings say.
PYTESTS = {"pytest", "python", "python3"}
LONGEST = 1 << 16  # characters


def executes_nothing(text: str) -> bool:
    """Whether a shell that is told this certainly executes nothing of its text.

    A client waits for the answer only so long, and lets the call run then: a long text is not read.
    """
    found = commands(text) if len(text) <= LONGEST else None
    if found is None or not all(_is_harmless(each) for each in found):
        return False
    written = [name for each in found for name in _written(each)]
    # A file that was just written may be a hook, a configuration or a test of these.
    programs = {each.words[0] for each in found}
    if written and programs & PYTESTS:
        return False
    return all((FILE if programs <= SIMPLE.keys() else NOTE).fullmatch(name) for name in written)


def _written(command: Command) -> list[str]:
    """The files that a command writes to."""
    tee = [word for word in command.words[1:] if command.words[0] == "tee" and word[:1] != "-"]
    return [name for name in [*command.written, *tee] if name != "/dev/null"]


def _is_harmless(command: Command) -> bool:
    program, *arguments = command.words
    if program not in SIMPLE:
        return not command.doubtful and program in PROGRAMS and PROGRAMS[program](arguments)
    forbidden = SIMPLE[program]
    return not forbidden or not (command.doubtful or _begins(forbidden, arguments))


def _begins(forbidden: str, arguments: list[str]) -> bool:
    """Whether an argument begins as it must not."""
    return any(re.match(forbidden, each) for each in arguments)


def _git(arguments: list[str]) -> bool:
    while arguments[:1] in (["--no-pager"], ["-C"]):
        arguments = arguments[2:] if arguments[0] == "-C" else arguments[1:]
    command, *arguments = arguments or [""]
    return command in GIT and not (GIT[command] and _begins(GIT[command], arguments))


def _gh(arguments: list[str]) -> bool:
    about, verb = [*arguments, "", ""][:2]
    return about in GH and verb in GH_VERBS


def _mm(arguments: list[str]) -> bool:
    """memtomem's own commands that drop no vectors; its `--help` comes before all else."""
    command, *arguments = arguments or [""]
    if command != "embedding-reset":
        return command in MM
    if "--help" in arguments and "--" not in arguments:
        return True
    text = " ".join(arguments).replace("--mode=", "--mode ")
    return re.fullmatch(r"(--mode (status|revert-to-stored) ?)*", text) is not None


def _pytest(arguments: list[str]) -> bool:
    return all(PYTEST.fullmatch(each) for each in arguments)


def _python(arguments: list[str]) -> bool:
    return arguments[:2] == ["-m", "pytest"] and _pytest(arguments[2:])


def _sed(arguments: list[str]) -> bool:
    """`sed -n 1,20p FILE …`: it prints lines."""
    option, script, *files = [*arguments, "", ""]
    return option == "-n" and bool(LINES.fullmatch(script)) and not _begins("-", files)


PROGRAMS: dict[str, Callable[[list[str]], bool]] = {
    "gh": _gh,
    "git": _git,
    "memtomem": _mm,
    "mm": _mm,
    "mm-preflight": lambda arguments: "--" not in arguments,
    "pytest": _pytest,
    "python": _python,
    "python3": _python,
    "sed": _sed,
}
