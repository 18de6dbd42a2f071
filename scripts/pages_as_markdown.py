#!/usr/bin/env python3
"""Put each page of docs/ beside its HTML, as Markdown, for those who read the site with a program.

    $ python scripts/pages_as_markdown.py site

Works on the site that MkDocs or Zensical has built: guides/x.md becomes site/guides/x.md. What a
page includes is put in its place, a drawing is told in words, and what only a browser needs is left
out. MkDocs calls `on_post_build` itself, because mkdocs.yml names this file under `hooks`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
INCLUDE = re.compile(r'^( *)--8<-- "([^"]+)"\n', re.MULTILINE)


def text_of(page: Path) -> str:
    """A page as its readers get it: with all that it includes, indented as the include is.

    Raises OSError if a file that it includes is not there.
    """

    def included(found: re.Match[str]) -> str:
        lines = text_of(ROOT / found[2]).splitlines(keepends=True)
        return "".join(found[1] + line if line.strip() else line for line in lines)

    return INCLUDE.sub(included, page.read_text(encoding="utf-8"))


def plain(text: str) -> str:
    """Markdown without front matter, comments, drawings and attribute lists."""
    text = re.sub(r"\A---\n.*?^---\n\s*", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = re.sub(r"<svg.*?<desc[^>]*>(.*?)</desc>.*?</svg>", r"\1", text, flags=re.DOTALL)
    text = re.sub(r"^ *</?(?:figure|div|figcaption)[^>]*>\n|</?figcaption>", "", text, flags=re.M)
    text = re.sub(r"(?<=\))\{[^}\n]*\}|^\{[^}\n]*\}$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text)


def publish(site: Path) -> int:
    """Write every page into a built site. Returns how many."""
    pages = sorted(DOCS.rglob("*.md"))
    for page in pages:
        target = site / page.relative_to(DOCS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(plain(text_of(page)), encoding="utf-8", newline="\n")
    return len(pages)


def on_post_build(config: Any, **_: object) -> None:
    publish(Path(config.site_dir))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: pages_as_markdown.py SITE")
    print(f"{publish(Path(sys.argv[1]))} pages as Markdown")
