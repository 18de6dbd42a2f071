#!/usr/bin/env python3
"""Draw docs/assets/measured-mix.svg from docs/assets/measured-mix.json.

    $ python scripts/draw_chart.py

The data are what `scripts/reproduce_mix.py --json` printed. With --check nothing is written, and
the exit status is 1 if the picture is not what the data say. The page includes the picture inline,
so its colours are Material's variables: they follow the light/dark toggle.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ASSETS = Path(__file__).resolve().parent.parent / "docs" / "assets"

WIDTH = 358  # of the text column on a phone, in CSS pixels: there the letters keep their size
BAR_FROM, BAR_TO = 96, 282  # room for the widest system fonts on both sides
FONT = "var(--md-text-font-family, sans-serif)"
TEXT = "var(--md-default-fg-color, #000)"
TRACK = "var(--md-default-fg-color--lightest, #ccc)"
ALL = "var(--mm-new, #1f6f9e)"
FEWER = "var(--mm-old, #b3261e)"
PAPER = "var(--md-default-bg-color, #fff)"  # README shows the picture by itself, on any ground


def draw(run: dict[str, Any]) -> str:
    half = run["notes"] // 2
    body, y = [], 14
    for number, step in enumerate(run["without_preflight"], 1):
        body.append(text(0, y, f"{number}. {step['label']}", "bold"))
        body += bar(y + 21, "first half", step["found_first"], half)
        body += bar(y + 42, "second half", step["found_second"], half)
        y += 72
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y - 24}" role="img"'
            ' aria-labelledby="measured-title measured-desc">',
            '<title id="measured-title">Notes found by meaning, memtomem'
            f" {escape(run['memtomem'])}</title>",
            f'<desc id="measured-desc">{escape(" ".join(in_words(run, half)))}</desc>',
            f'<rect width="{WIDTH}" height="{y - 24}" fill="{PAPER}"/>',
            f'<g font-family="{FONT}" font-size="12" fill="{TEXT}">',
            *body,
            "</g>",
            "</svg>",
            "",
        ]
    )


def bar(y: int, label: str, found: int | None, half: int) -> list[str]:
    if found is None:
        return [text(0, y, label), text(BAR_FROM, y, "not written yet")]
    full = BAR_TO - BAR_FROM
    return [
        text(0, y, label),
        rectangle(y, full, TRACK),
        rectangle(y, full * found / half, ALL if found == half else FEWER),
        text(BAR_TO + 6, y, f"{found} of {half}", "normal" if found == half else "bold"),
    ]


def rectangle(y: int, width: float, colour: str) -> str:
    return f'<rect x="{BAR_FROM}" y="{y - 11}" width="{width:.1f}" height="14" fill="{colour}"/>'


def text(x: int, y: int, words: str, weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" font-weight="{weight}">{escape(words)}</text>'


def in_words(run: dict[str, Any], half: int) -> list[str]:
    """The chart for those who hear the page."""
    return [
        f"{number}. {step['label']}: {step['found_first']} of {half} of the first half found, "
        + (
            "second half not written yet."
            if step["found_second"] is None
            else f"{step['found_second']} of {half} of the second half."
        )
        for number, step in enumerate(run["without_preflight"], 1)
    ]


def draw_or_check(argv: list[str], draw: Callable[[dict[str, Any]], str], name: str) -> int:
    """Draw a picture from the data beside it, or with --check compare them; the exit status."""
    data, picture = ASSETS / f"{name}.json", ASSETS / f"{name}.svg"
    if argv not in ([], ["--check"]):
        print(f"usage: {Path(sys.argv[0]).name} [--check]", file=sys.stderr)
        return 2
    wanted = draw(json.loads(data.read_text(encoding="utf-8")))
    if not argv:
        picture.write_text(wanted, encoding="utf-8", newline="\n")
    elif not picture.is_file() or picture.read_text(encoding="utf-8") != wanted:
        print(f"{picture.name} is not what {data.name} says: draw it again", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(draw_or_check(sys.argv[1:], draw, "measured-mix"))
