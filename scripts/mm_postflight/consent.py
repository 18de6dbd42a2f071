"""What may leave this machine, and who says so."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from mm_preflight.report import visible

from mm_postflight.records import Unknown
from mm_postflight.report import wrap

LOCAL = r"https?://(localhost|127\.[\d.]+|\[::1\]|0\.0\.0\.0)(:\d+)?(/.*)?"
SECRET = re.compile(r"(?<=//)[^/\s]*@|(?<=[\w/])\?[^\s'\"]+|(?<=Bearer )[^'\"]+")  # in a URL


def without_secrets(text: str) -> str:
    """A text without the names, passwords and keys of URLs and headers."""
    return SECRET.sub("", text)


def stays_here(embedding: Any) -> bool:
    """Whether the texts stay on this machine; then they do so whatever proxy is set."""
    name, url = embedding.provider.lower(), embedding.base_url
    if re.fullmatch(LOCAL, url or {"ollama": "http://localhost"}.get(name, "")):
        os.environ |= dict.fromkeys(("NO_PROXY", "no_proxy"), "*")
        return True
    return bool(name == "onnx")


def may_send(embedding: Any, texts: int, said_yes: bool) -> None:
    """Ask, before texts leave this machine. Raises Unknown if nobody says yes."""
    if stays_here(embedding) or said_yes:
        return
    where = without_secrets(embedding.base_url) or embedding.provider.lower()
    model = f"{embedding.provider}/{embedding.model}"
    told = visible(f"{texts:,} texts or more would go to {where} for {model}, and may cost")
    if not is_answered():
        raise Unknown(f"{told}\nIf they may, say so with --send.")
    if not yes(f"{told}. Send them?"):
        raise Unknown("not all texts were sent")


def is_answered() -> bool:
    """Whether there is a person to ask."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def yes(question: str) -> bool:
    """The answer of the person at the terminal."""
    print(*wrap(f"{question} [y/N]"), sep="\n", end=" ", file=sys.stderr, flush=True)
    answer = ""
    try:
        answer = sys.stdin.readline()
    finally:
        if not answer:  # Ctrl-C, Ctrl-D: what is said next begins a line
            print(file=sys.stderr)
    return answer.strip().lower() in ("y", "yes")
