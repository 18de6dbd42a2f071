"""Programs that run another Python program, and which words of their argv may name it. Pure."""

from __future__ import annotations

import re

from mm_preflight.records import TYPE_CHECKING, NamedTuple
from mm_preflight.source import MODULE

if TYPE_CHECKING:
    from collections.abc import Iterator

# They serve an application, `module:attribute`.
APP_SERVERS = frozenset("uvicorn gunicorn hypercorn daphne granian".split())
# They run it in their own process. One that starts a child (mcp-proxy, watchfiles, uv) does not
# belong here: the child is a process of its own, and counts by itself.
IN_PROCESS = APP_SERVERS | frozenset(
    "coverage trace pdb cprofile profile debugpy pydevd runpy pudb ipdb ipython viztracer scalene"
    " pyinstrument memray kernprof line_profiler hupper jurigged mcp fastmcp fastapi streamlit"
    " chainlit marimo".split()
)
# Options that certainly take no value: the word behind one is what runs.
FLAGS = dict.fromkeys(APP_SERVERS, "--reload --factory --preload --daemon --proxy-headers".split())
FLAGS |= {
    "coverage": "-a --append --branch -p --parallel-mode -L --pylib --timid".split(),
    "debugpy": ["--wait-for-client"],
    "kernprof": "-l -v -lv -vl -b -z".split(),
    "pydevd": ["--file"],  # its value is what runs
    "trace": "-t --trace -c --count -l --listfuncs -T --trackcalls".split(),
}
RUN = ("run", "dev")  # subcommands of runners that run what follows
ARGUMENTS = 512  # of a runner that are read; its own options are few
PERHAPS = 8  # words behind options that are looked into
DOTTED = r"[A-Za-z_]\w*(?:\.\w+)*"


class Given(NamedTuple):
    """A word that a runner may be told to run."""

    runner: str
    word: str
    rest: list[str]  # the arguments behind it
    # "module": behind -m, so nothing else is run; "word": behind no option; "perhaps": behind an
    # option, whose value it may be.
    kind: str


def plain(runner: str) -> str:
    """A runner's name without its version."""
    return runner.lower().rstrip("0123456789.-")


def is_title(text: str) -> bool:
    """Whether a known runner wrote it over its argv, as `gunicorn: master [app:app]`."""
    name, colon, _ = text.partition(":")
    return colon != "" and plain(name) in IN_PROCESS


def given(runner: str, args: list[str]) -> list[Given]:
    """What may be run, the likeliest first; nothing where this is no known runner.

    A word behind no option is what runs, and all behind it is its own. A word behind an option may
    be that option's value.
    """
    runner = plain(runner)
    if runner not in IN_PROCESS:
        return []
    found = list(_words(runner, args[:ARGUMENTS]))
    perhaps = [each for each in found if each.kind == "perhaps"]
    return [each for each in found if each.kind != "perhaps"] + perhaps[:PERHAPS]


def _words(runner: str, args: list[str]) -> Iterator[Given]:
    """The words up to the one that is certainly run, in their order."""
    before = ""
    for at, arg in enumerate(args):
        rest = args[at + 1 :]
        if module := _dash_m(runner, arg, rest):
            behind = rest[1:] if arg in ("-m", "--module", "--file") else rest
            yield Given(runner, module, behind, "module")
            return
        if arg.startswith("-"):
            pass
        elif _may_take_a_value(runner, before):
            yield Given(runner, arg, rest, "perhaps")
        elif arg not in RUN or before:
            yield Given(runner, arg, rest, "word")
            return
        before = arg


def _may_take_a_value(runner: str, option: str) -> bool:
    """Whether the word behind another may be an option's value."""
    if not option.startswith("-") or option == "--" or option.startswith("--no-"):
        return False
    return "=" not in option and option not in FLAGS.get(runner, ())


def _dash_m(runner: str, arg: str, rest: list[str]) -> str:
    """The module that a runner is given by `-m`, or ''; application servers mean other things."""
    named = "--file" if runner == "pydevd" else "--module"  # pydevd: --module --file MODULE
    if runner in APP_SERVERS or (arg != named and arg[:2] != "-m"):
        return ""
    module = "".join(rest[:1]) if arg in ("-m", named) else arg[2:]
    return module if re.fullmatch(DOTTED, module) and not module.endswith(".py") else ""


def application(word: str) -> tuple[str, str]:
    """`module:attribute`, or `file.py:attribute()`, in its two parts; the second may be ''."""
    target, _, attribute = word.partition("(")[0].rpartition(":")
    return (target, attribute) if target and attribute.isidentifier() else (word, "")


def is_dotted(target: str) -> bool:
    """Whether a word can be a module's name."""
    return re.fullmatch(DOTTED, target) is not None and not target.endswith(".py")


def is_likely(each: Given, verified: bool, subcommands: frozenset[str]) -> bool:
    """Whether a word behind an option is what runs, as it names something of memtomem's.

    A bare name of memtomem's may be that option's value, such as a project's or a log's: it is run
    if nothing else can be, or one of memtomem's subcommands follows. `verified`: its text says so.
    """
    if application(each.word)[1]:
        return True
    if re.fullmatch(MODULE, each.word) is None and verified:
        return True
    after = [arg for arg in each.rest if not arg.startswith("-")][:1]
    return not set(after) - subcommands
