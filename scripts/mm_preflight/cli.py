"""Options and exit status."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial

from mm_preflight import __version__
from mm_preflight.records import EXIT_CODES, VERDICTS, Any, NamedTuple, NotStarted, Result, Unknown
from mm_preflight.report import as_json, as_text, visible, write

HOOKS = {
    "bash": "mm.sh",
    "zsh": "mm.sh",
    "fish": "mm.fish",
    "powershell": "mm.ps1",
    "opencode": "opencode.js",
}


class Options(NamedTuple):
    """What the command line asks for."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    wait: float | None = None  # seconds
    db: str | None = None
    hook: str | None = None  # a key of HOOKS
    agent_hook: bool = False
    command: list[str] | None = None


def read_options(argv: list[str]) -> Options:
    """The options of a command line; Unknown for a usage error, SystemExit after --help."""
    argv, command = split(argv)
    if command == []:
        raise Unknown("no COMMAND behind --; see mm-preflight --help")
    if not argv:  # the most usual call: argparse takes a tenth of the run to import
        return Options(command=command)
    if argv == ["--agent-hook"] and not command:
        return Options(agent_hook=True)
    parser = _parser()
    found = vars(parser.parse_args(argv))
    help, version = found.pop("help"), found.pop("version")
    if help or version:
        write(sys.stdout, _help(parser) if help else f"mm-preflight {__version__}\n")
        raise SystemExit(0)
    if command and (found["hook"] or found["agent_hook"]):
        raise Unknown("a hook takes no COMMAND; see mm-preflight --help")
    return Options(**found, command=command)


def split(argv: list[str]) -> tuple[list[str], list[str] | None]:
    """The options, and the COMMAND behind the first `--`; None without one."""
    if "--" not in argv:
        return argv, None
    cut = argv.index("--")
    return argv[:cut], argv[cut + 1 :]


def _parser() -> Any:
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> Any:
            raise Unknown(f"{message}; see mm-preflight --help")

    codes = "\n".join(f"  {code:>3}  {text}" for code, text in EXIT_CODES.items())
    codes += "\n\nWith COMMAND: its own status if that is not 0, else that of a second look."
    parser = Parser(
        "mm-preflight",
        description="Name every live memtomem process, and refuse to go on while there is one.",
        epilog=f"exit status:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,  # argparse would print it by itself, past write()
    )
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object")
    add("--quiet", action="store_true", help="no report: the exit status answers")
    add(
        "--verbose",
        action="store_true",
        help="add evidence and full arguments (may hold passwords)",
    )
    add("--wait", type=_seconds, metavar="SECONDS", help="look again until clear, at most so long")
    add("--db", metavar="PATH", help="the database, if not the configured one")
    add(
        "--hook",
        choices=HOOKS,
        metavar="SHELL",
        help=f"print what asks before a reset, for {', '.join(HOOKS)}",
    )
    add("--agent-hook", action="store_true", help="answer a tool call of an agent, on stdin")
    add("--version", action="store_true", help="print the version")
    add("-h", "--help", action="store_true", help="print this text")
    return parser


def _help(parser: Any) -> str:
    """All of --help; argparse's usage takes 2 ms to make, and knows no COMMAND."""
    usage = parser.format_usage().removeprefix("usage: ").rstrip()
    parser.usage = f"{usage}\n                    [-- COMMAND [ARG ...]]"
    return str(parser.format_help())


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) <= 86400:
            return value
    raise Unknown(f"{text!r} is not a number of seconds from 0 to 86400; see mm-preflight --help")


def hook(shell: str) -> str:
    """What asks before vectors are dropped: functions for a shell, or OpenCode's plug-in."""
    with open(os.path.join(os.path.dirname(__file__), "hooks", HOOKS[shell])) as file:
        return file.read()


def agent_hook() -> int:
    """Answer the tool call on stdin; 2, which blocks it, where it cannot be read."""
    from mm_preflight import agents

    try:
        if sys.stdin is None or sys.stdout is None:
            raise Unknown("a standard stream is closed")
        if text := agents.answer(sys.stdin.buffer.read(agents.LIMIT + 1)):
            write(sys.stdout, text + "\n")
        return 0
    except Unknown as error:
        write(sys.stderr, f"mm-preflight: blocked, the tool call cannot be read: {error}\n")
        return 2


def show(result: Result, options: Options) -> None:
    """Print a report as it was asked for. Beside a COMMAND, stdout is COMMAND's."""
    beside = options.command is not None
    if options.json and (not beside or result.after or result.verdict != "clear"):
        write(sys.stderr if beside else sys.stdout, as_json(result, options.verbose) + "\n")
    if result.verdict == "unknown" or not (options.json or options.quiet):
        here = result.verdict == "clear" and not beside
        write(sys.stdout if here else sys.stderr, as_text(result, options.verbose) + "\n")


def answer(argv: list[str]) -> int:
    """Do what the options ask for, and return the exit status."""
    options = Options(json="--json" in split(argv)[0], command=split(argv)[1])
    try:
        options = read_options(argv)
        if options.hook:
            write(sys.stdout, hook(options.hook))
            return 0
        if options.agent_hook:
            return agent_hook()
        from mm_preflight import look  # with psutil, and so most of the run

        def first() -> Result:
            if options.wait is None:
                return look.check(options.db)
            from mm_preflight.wait import wait

            return wait(options.db, options.wait, options.quiet)

        if options.command:
            from mm_preflight.command import between

            again = partial(look.check, options.db)
            return between(options.command, first, again, partial(show, options=options))
        result = first()
    except Unknown as error:  # a usage error
        result = Result("unknown", visible(str(error)))
    show(result, options)
    return VERDICTS.index(result.verdict)


def run(argv: list[str] | None) -> int:
    """Run the check and return its exit status (EXIT_CODES)."""
    try:
        return answer(sys.argv[1:] if argv is None else list(argv))
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except NotStarted as error:
        why, status = error.args
        write(sys.stderr, f"mm-preflight: {why}\n")
        return int(status)
    except BrokenPipeError:  # who asked has stopped to listen
        return 2
    except Exception as error:  # what was asked for could not be printed, or worse
        with suppress(Exception):
            name = type(error).__name__
            write(sys.stderr, f"mm-preflight: unknown, refused: internal error: {name}\n")
        return 2
