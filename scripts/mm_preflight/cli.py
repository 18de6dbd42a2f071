"""Options and exit status."""

from __future__ import annotations

import os
import sys
from collections import namedtuple
from contextlib import suppress

from mm_preflight import __version__, look
from mm_preflight.records import EXIT_CODES, VERDICTS, Any, Result, Unknown
from mm_preflight.report import as_json, as_text, visible, write

HOOKS = {"bash": "mm.sh", "zsh": "mm.sh", "fish": "mm.fish", "powershell": "mm.ps1"}
Options = namedtuple(
    "Options",
    "json quiet verbose wait db hook",
    defaults=(False, False, False, None, None, None),
)


def read_options(argv: list[str]) -> Options:
    """The options of a command line; Unknown for a usage error, SystemExit after --help."""
    if not argv:  # the most usual call: argparse takes a tenth of the run to import
        return Options()
    parser = _parser()
    found = vars(parser.parse_args(argv))
    help, version = found.pop("help"), found.pop("version")
    if help or version:
        write(sys.stdout, parser.format_help() if help else f"mm-preflight {__version__}\n")
        raise SystemExit(0)
    return Options(**found)


def _parser() -> Any:
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> Any:
            raise Unknown(f"{message}; see mm-preflight --help")

    codes = "\n".join(f"  {code:>3}  {text}" for code, text in EXIT_CODES.items())
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
        help=f"print functions that ask before a reset, for {', '.join(HOOKS)}",
    )
    add("--version", action="store_true", help="print the version")
    add("-h", "--help", action="store_true", help="print this text")
    return parser


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) <= 86400:
            return value
    raise Unknown(f"{text!r} is not a number of seconds from 0 to 86400; see mm-preflight --help")


def hook(shell: str) -> str:
    """The functions for a shell's start-up file, which ask before vectors are dropped."""
    with open(os.path.join(os.path.dirname(__file__), "hooks", HOOKS[shell])) as file:
        return file.read()


def run(argv: list[str] | None) -> int:
    """Run the check and return its exit status (EXIT_CODES)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        try:
            options = read_options(argv)
            if options.hook:
                write(sys.stdout, hook(options.hook))
                return 0
            if options.wait is None:
                result = look.check(options.db)
            else:
                result = look.wait(options.db, options.wait, options.quiet)
        except Unknown as error:  # a usage error
            options = Options(json="--json" in argv)
            result = Result("unknown", visible(str(error)))
        if options.json:
            write(sys.stdout, as_json(result, options.verbose) + "\n")
        if result.verdict == "unknown" or not (options.json or options.quiet):
            clear = result.verdict == "clear"
            write(sys.stdout if clear else sys.stderr, as_text(result, options.verbose) + "\n")
        return VERDICTS.index(result.verdict)
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except BrokenPipeError:  # who asked has stopped to listen
        return 2
    except Exception as error:  # what was asked for could not be printed, or worse
        with suppress(Exception):
            name = type(error).__name__
            write(sys.stderr, f"mm-preflight: unknown, refused: internal error: {name}\n")
        return 2
