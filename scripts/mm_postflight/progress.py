"""How far it is, on a terminal: one line of stderr that fits, and is taken away."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import ClassVar

BAR = 30


class Progress:
    """A line on a terminal; nothing at all elsewhere. `last`: the one that may stand there."""

    last: ClassVar[Progress | None] = None

    def __init__(self) -> None:
        Progress.last = self
        self.live = sys.stderr is not None and sys.stderr.isatty()
        self.began, self.shown = time.monotonic(), 0

    def say(self, text: str) -> None:
        """Show this in place of what stands there."""
        if not self.live:
            return
        columns = 80
        with contextlib.suppress(OSError):
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        text = text[: columns - 1]
        with contextlib.suppress(OSError):
            print(f"\r{text:<{self.shown}}\r", end="", file=sys.stderr, flush=True)
        self.shown = min(len(text), columns - 1)

    def start(self, what: str) -> None:
        """Something begins that takes a while."""
        self.began = time.monotonic()
        self.say(f"  {what}")

    def step(self, done: int, total: int) -> None:
        """So many of so many are done."""
        pace = done / max(time.monotonic() - self.began, 0.001)  # in a second
        left = (total - done) / pace if done else 0.0
        lasts = f"about {left:.0f} s left" if left < 100 else f"about {left / 60:.0f} min left"
        told = f"{done:,} of {total:,}, {lasts}"
        bar = f"[{'#' * (BAR * done // max(total, 1)):<{BAR}}] "
        columns = 80
        with contextlib.suppress(OSError, AttributeError):
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        self.say(f"  {bar if columns > BAR + 5 + len(told) else ''}{told}")

    def stop(self) -> None:
        """Take the line away."""
        if self.shown:
            self.say("")
            self.shown = 0
