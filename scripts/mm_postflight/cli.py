"""Options and exit status."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sqlite3
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from mm_postflight import inside
from mm_postflight.records import EXIT, STOPPED, Findings, Options, Unknown

HELP = "See mm-postflight --help."
ABOUT = """\
Was every vector in memtomem's database made by the embedding model that is
configured now?

It embeds stored texts again with memtomem's own embedder, and compares the
result with the database. It checks 300 vectors, drawn at random; with --all,
every one. It names the files whose vectors another model made. It changes
nothing unless you say --repair."""
STATUS = """\
exit status:
    0  one model: all that was checked is what the configured model gives
    1  mixed: some vectors are not; with --repair, some are left or you said no
    2  unknown: it could not be told, or --repair could not; the reason says why
  130  stopped by Ctrl-C; the report says what was found until then"""


class Usage(Unknown):
    """An option that is wrong."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Usage(f"{message}\n{HELP}")


def parser() -> Parser:
    """What the command line may hold."""
    made = Parser(
        "mm-postflight",
        description=ABOUT,
        epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,  # argparse would print it by itself, past `tell`
    )
    add = made.add_argument
    add("--all", action="store_true", help="check every vector")
    add("--sample", type=int, metavar="N", help="check N vectors, drawn at random (300)")
    add("--repair", action="store_true", help="check all, make a backup, make new vectors")
    add("--probe", action="store_true", help="only ask the model for one vector, of no note")
    add("--json", action="store_true", help="print one JSON object")
    add("--db", metavar="PATH", help="this database, not the configured one")
    add("--mm", metavar="PROGRAM", default="mm", help="memtomem's mm (default: on PATH)")
    add("--send", action="store_true", help="texts may leave this machine, and cost money")
    add("--yes", action="store_true", help="answer yes to the question that --repair asks")
    add("--version", action="store_true", help="print the version")
    add("-h", "--help", action="store_true", help="print this text")
    add("--inside", default="", help=argparse.SUPPRESS)  # the Python that asks mm-preflight
    return made


def read_options(words: list[str]) -> Options | str:
    """The options, or a text that was asked for in place of a check. Raises Usage."""
    made = parser()
    found = vars(made.parse_args(words))
    if found.pop("help"):
        return made.format_help()
    if found.pop("version"):
        from mm_preflight import __version__

        return f"mm-postflight {__version__}"
    if found["inside"] == inside.STARTS:
        return inside.STARTS
    sample = found.pop("sample")
    options = Options(**found, sample=300 if sample is None else sample)
    others = [options.all, options.repair, options.db is not None, options.send, options.yes]
    wrong = {
        "--sample takes a number from 1": options.sample < 1,
        "--db is empty: is a variable not set?": options.db == "",
        "--mm is empty: is a variable not set?": options.mm == "",
        "--yes answers --repair; texts may leave with --send": options.yes and not options.repair,
        "--repair checks all, so it takes no --sample": options.repair and sample is not None,
        "--probe goes with --json and --mm alone": options.probe and (any(others) or sample),
    }
    for told, holds in wrong.items():
        if holds:
            raise Usage(f"{told}\n{HELP}")
    return options


def tell(text: str, stream: Any) -> None:
    """Print it, and have it arrive: this process may end at once."""
    with contextlib.suppress(OSError, ValueError):  # whoever reads it may have gone
        print(text, file=stream, flush=True)


def run(argv: list[str] | None) -> int:
    """Do what the options ask for, and return the exit status."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None is one that was closed before
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    options, found = Options(json="--json" in words), Findings()

    def work() -> int | None:
        nonlocal options
        asked = read_options(words)
        if isinstance(asked, str):
            tell(asked, sys.stdout)
            return 0
        options = asked
        if not options.inside:
            return inside.go(options.mm, words)
        inside.hear_ctrl_c()
        from mm_postflight import steps

        steps.work(found, options)
        return None

    status = attempt(work, found)
    return show(found, options) if status is None else status


def attempt(work: Callable[[], int | None], found: Findings) -> int | None:
    """Its exit status; None if there is something to report, why it did not end among it."""
    try:
        return work()
    except KeyboardInterrupt:
        found.reason = STOPPED
    except Unknown as error:
        found.reason = str(error)
    except sqlite3.Error as error:
        found.reason = f"the database cannot be used: {error}"
    except BaseException as error:  # SystemExit, CancelledError: their exit status is `mixed`'s
        found.reason = f"{type(error).__name__}: {error}".rstrip(": ")
    return None


def show(found: Findings, options: Options) -> int:
    """Print the answer; its exit status."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the answer is soon there
        from mm_postflight.answer import answer
        from mm_postflight.consent import without_secrets
        from mm_postflight.progress import Progress
        from mm_postflight.report import report

        if Progress.last:
            Progress.last.stop()
        found.reason = without_secrets(found.reason)[:2000]
        told: dict[str, Any] = answer(found, options.sample)
        aside = told["verdict"] == "unknown" and not options.json
        text = json.dumps(told, indent=2) if options.json else report(told)
        tell(text, sys.stderr if aside else sys.stdout)
        return 130 if told["stopped"] else EXIT[str(told["verdict"])]
    except Exception as error:  # whatever it is, it is no verdict
        tell(f"mm-postflight: internal error, please report it: {error!a}", sys.stderr)
        return EXIT["unknown"]
