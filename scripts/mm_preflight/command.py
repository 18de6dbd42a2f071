"""`-- COMMAND`: run it between two looks, with this terminal, these streams and these signals."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from mm_preflight import apart, table
from mm_preflight.files import announce, looking_at
from mm_preflight.look import silence_of
from mm_preflight.records import VERDICTS, NotStarted, Result, Row
from mm_preflight.report import visible

# A terminal sends the first three to COMMAND as well, which may go on after them.
SIGNALS = ("SIGINT", "SIGQUIT", "SIGBREAK", "SIGTERM", "SIGHUP")
FIND_SECONDS = 5.0
HANDED_ON = SIGNALS[3:]
Look = Callable[[], Result]


def between(argv: list[str], look: Look, again: Look, show: Callable[[Result], None]) -> int:
    """Look, run COMMAND if all is clear, look again, and show what each look saw.

    Returns COMMAND's exit status if that is not 0, else that of the verdict. Raises NotStarted.
    """
    program = find(argv[0])
    if os.name == "nt" and is_split(program, argv[1:]):
        why = 'is a batch file, and its path or an argument holds & | < > ^ % " or a line break'
        raise _not_started(program, missing=False, why=why)
    first = look()
    show(first)
    if first.verdict != "clear":
        return VERDICTS.index(first.verdict)
    status, began = run([program, *argv[1:]])
    try:
        last = mark(again(), began)
        with suppress(OSError):  # nobody reads it; the exit status still answers
            show(last)
        return status or VERDICTS.index(last.verdict)
    except KeyboardInterrupt:
        return status or 130


def find(name: str) -> str:
    """The path of the program that a shell would start. Raises NotStarted.

    PATH may lead to a file system that does not answer.
    """
    try:
        told, late, _ = apart.call(lambda tell: _search(name, tell), FIND_SECONDS)
    except (OSError, RuntimeError) as error:  # a limit on processes, threads or memory
        raise _not_started(name, missing=False, why=f"cannot be looked for: {error}") from None
    if late:
        why = f"was not found in {FIND_SECONDS:g} s: {silence_of(late) or 'run this again'}"
        raise _not_started(name, missing=False, why=why)
    if not told:
        why = "cannot be looked for: the search ended without an answer, run this again"
        raise _not_started(name, missing=False, why=why)
    found, there = told
    if not found:
        raise _not_started(name, missing=not there)
    return str(found)


def _search(name: str, tell: Callable[[object], None]) -> None:
    """Tell the path of a program, or None, and whether a file of that name is there at all.

    Folder by folder, so that the one which does not answer is known.
    """
    here, there = table.ask(os.getcwd, ""), False  # the folder may have been deleted
    is_path = os.path.dirname(name) != ""
    for folder in [""] if is_path else os.get_exec_path():
        looking_at(f"{visible(folder)}, a folder of PATH," if folder else "it")
        announce(os.path.join(here, folder, name))
        path = folder or os.curdir
        if found := shutil.which(name, path=path):
            tell((found, True))
            return
        there = there or shutil.which(name, os.F_OK, path) is not None
        there = there or (is_path and os.path.exists(name))
    tell((None, there))


def is_split(program: str, args: list[str]) -> bool:
    """Whether cmd, which runs batch files, would take a part of these words for its own."""
    batch = program.rstrip(". ").lower().endswith((".bat", ".cmd"))
    return batch and re.search(r'[&|<>^%"\r\n]', "".join([program, *args])) is not None


def _not_started(name: str, missing: bool, why: str = "cannot be executed") -> NotStarted:
    why = "is not there" if missing else why
    return NotStarted(f"{visible(name, 200)} {why}; nothing was run", 127 if missing else 126)


def run(argv: list[str]) -> tuple[int, float]:
    """Run a program to its end. Raises NotStarted.

    Returns its exit status as a shell has it (128 + N after signal N), and when it started.
    """
    early: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def take(number: int, _frame: object) -> None:
        if child is None:
            early.append(number)
        elif signal.Signals(number).name in HANDED_ON:
            _send(child, number)

    undo = _install(take)
    try:
        # As a shell does it: what else is open and may be inherited, such as <(…), is.
        child = subprocess.Popen(argv, close_fds=False)
        began = table.started_of(child.pid, time.time())
        for number in early:
            _send(child, number)
        code = child.wait()
    except OSError as error:
        raise _not_started(argv[0], isinstance(error, FileNotFoundError)) from None
    finally:
        for restore in undo:
            restore()
    unsigned = code >> 31 == 1  # Windows counts them without a sign
    return (128 - code if code < 0 else code - (1 << 32) if unsigned else code), began


def _send(child: subprocess.Popen[bytes], number: int) -> None:
    with suppress(PermissionError):  # sudo is root's
        # To one process, Windows has nothing to send; it can be ended.
        child.terminate() if os.name == "nt" else child.send_signal(number)


def _install(handler: Callable[[int, object], None]) -> list[Callable[[], object]]:
    """Handle these signals, but those that are ignored (nohup). Returns how to undo it.

    With a function, because COMMAND would inherit SIG_IGN. Only the main thread may do it. Where
    the end of a child is ignored, the system keeps no exit status, and each would be 0.
    """
    undo: list[Callable[[], object]] = []
    if threading.current_thread() is threading.main_thread():
        child = getattr(signal, "SIGCHLD", None)
        if child and signal.getsignal(child) == signal.SIG_IGN:
            undo.append(partial(signal.signal, child, signal.signal(child, signal.SIG_DFL)))
        for each in signal.Signals:
            old = signal.getsignal(each) if each.name in SIGNALS else None
            if old not in (None, signal.SIG_IGN):
                undo.append(partial(signal.signal, each, signal.signal(each, handler)))
    return undo


def mark(result: Result, began: float) -> Result:
    """The look after COMMAND: each row says whether it started before COMMAND or while it ran."""

    def marked(row: Row) -> Row:
        return row._replace(during_command=row.began is None or row.began >= began)

    counted, others = ([*map(marked, each)] for each in (result.processes, result.other_users))
    return result._replace(after=True, processes=counted, other_users=others)
