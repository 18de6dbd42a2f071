#!/usr/bin/env python3
"""Draw docs/assets/measured-cosines.svg from docs/assets/measured-cosines.json.

    $ python scripts/draw_cosines.py

The data are cosines of vectors and of the same texts embedded again. With --check nothing is
written, and the exit status is 1 if the picture is not what the data say. The page includes the
picture inline, so its colours are Material's variables: they follow the light/dark toggle.
"""

import sys
from typing import Any
from xml.sax.saxutils import escape

from draw_chart import draw_or_check

Run = dict[str, Any]

WIDTH = 358  # of the text column on a phone, in CSS pixels: there the letters keep their size
LEFT, RIGHT, LOWEST = 4, 354, -0.2  # where the cosines LOWEST and 1 are
FIRST, ROW = 24, 52  # where the first strip begins, and the next
TEXT = "var(--md-default-fg-color, #000)"
TRACK = "var(--md-default-fg-color--lightest, #ccc)"
OURS = "var(--md-code-hl-keyword-color, #3f6ec6)"
ANOTHERS = "var(--md-code-hl-special-color, #db1457)"


def draw(run: Run) -> str:
    bottom = FIRST + ROW * len(run["series"])
    body = [text(LEFT, 12, "another model's"), text(RIGHT, 12, "this model's", "end")]
    for row, one in enumerate(run["series"]):
        body += strip(FIRST + ROW * row, one, run)
    body += [text(place(at), bottom + 15, f"{at:g}", "middle") for at in (0, run["another_below"])]
    body.append(text(RIGHT, bottom + 15, "1", "end"))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 20}"'
            ' role="img" aria-labelledby="cosines-title cosines-desc">',
            '<title id="cosines-title">Cosines of vectors and texts embedded again</title>',
            f'<desc id="cosines-desc">{escape(" ".join(in_words(run)))}</desc>',
            f'<g font-family="inherit" font-size="12.5" fill="{TEXT}">',
            *body,
            "</g>",
            "</svg>",
            "",
        ]
    )


def place(cosine: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * (cosine - LOWEST) / (1 - LOWEST), 1)


def strip(top: int, one: Run, run: Run) -> list[str]:
    """A line of text, and under it a mark for each chunk, and dashes where the limits are."""
    limits = [place(run["another_below"]), place(run["own_from"])]
    dashes = "".join(f"M{x} {top + 20}v20" for x in limits)
    colour = ANOTHERS if max(one["cosines"]) < run["another_below"] else OURS
    marks = "".join(f"M{x} {top + 22}v16" for x in sorted({place(c) for c in one["cosines"]}))
    return [
        text(LEFT, top + 14, one["label"]),
        f'<rect x="{LEFT}" y="{top + 29}" width="{RIGHT - LEFT}" height="2" fill="{TRACK}"/>',
        f'<path d="{marks}" stroke="{colour}"/>',
        f'<path d="{dashes}" stroke="{TEXT}" stroke-dasharray="2 2"/>',
    ]


def text(x: float, y: int, words: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def in_words(run: Run) -> list[str]:
    """The picture for those who hear the page."""
    return [
        f"{one['label']}: {len(one['cosines'])} chunks, from {min(one['cosines']):.3f}"
        f" to {max(one['cosines']):.3f}."
        for one in run["series"]
    ]


if __name__ == "__main__":
    sys.exit(draw_or_check(sys.argv[1:], draw, "measured-cosines"))
