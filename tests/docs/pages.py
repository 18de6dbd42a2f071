"""The pages as written: where they are, what code they show, where they are published."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from pages_as_markdown import DOCS, text_of  # noqa: E402 - the scripts are no package

__all__ = ["DOCS", "FENCE", "PAGES", "ROOT", "fences", "text_of", "url_of"]
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```$", re.M | re.S
)


def fences(page):
    """(language, body without its indentation) of each code block of a page, in order."""
    for found in FENCE.finditer(text_of(page)):
        body = re.sub(rf"^{found['indent']}", "", found["body"], flags=re.M)
        yield found["language"], body


def url_of(page):
    """guides/embedding-reset.md → guides/embedding-reset/"""
    path = page.relative_to(DOCS).with_suffix("").as_posix()
    return "" if path == "index" else path + "/"
