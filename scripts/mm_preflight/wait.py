"""--wait: look again until clear, or until the time is over."""

from __future__ import annotations

import os
import sys
import time

from mm_preflight import look, table
from mm_preflight.records import Result
from mm_preflight.report import as_text, waiting, write

CLEAR_SECONDS = 3.0  # s6 and busybox init start a server again a second after its end


def wait(option: str | None, seconds: float, quiet: bool = False) -> Result:
    """Look again until clear for CLEAR_SECONDS in a row, or until `seconds` are over."""
    end = time.monotonic() + seconds
    clear_since: float | None = None
    shown: int | None = None
    silent = dict[str, int]()
    dumb = table.system.has_plain_console or os.environ.get("TERM") == "dumb"
    live = not (quiet or dumb) and sys.stderr is not None and sys.stderr.isatty()
    while True:
        result = look.check(option, silent)
        if not result.again:
            return result
        now = time.monotonic()
        clear_since = (clear_since or now) if result.verdict == "clear" else None
        done = now - clear_since >= CLEAR_SECONDS if clear_since else now >= end
        if live:
            back = f"\x1b[{shown}F\x1b[J" if shown else ""
            if shown is None and result.verdict == "live":
                back = as_text(result, False) + "\n\n"  # once: how to stop each
            size = table.ask(lambda: os.get_terminal_size(sys.stderr.fileno()), (80, 24))
            lines = [] if done else waiting(result, size, CLEAR_SECONDS)
            write(sys.stderr, back + "".join(f"{line}\n" for line in lines))
            shown = len(lines)
        if done:
            return result
        time.sleep(min(0.5, max(0.0, end - now)) if clear_since is None else 0.25)
