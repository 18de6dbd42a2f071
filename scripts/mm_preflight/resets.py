"""Which text names a reset of memtomem's embeddings. Pure.

A text names one if it holds both words of the command, in any order and however they are quoted,
or the path of the web UI's reset together with a sign of HTTP. What is put together from parts when
it runs is not seen.
"""

from __future__ import annotations

import re

QUOTING = re.compile(r"""[\\`^]\r?\n|[\\`^]|\$?['"]""")  # of sh, PowerShell and cmd
ENCODED = re.compile(r"(?:%|\\x|\\u00)([0-9A-Fa-f]{2})")  # of URLs, and of strings in code
# The last part of a path: behind api, behind a variable, or first. So no file, no longer word, no
# branch or repository (fix/embedding-reset), not this project's page of that name.
WEB_PATH = re.compile(r"(?:^|\W|\bapi|[$%][\w:-]+)/embedding-reset(?![\w-]|[./]\w)")
HTTP = re.compile(r"api\b|https?|curl|wget|fetch|post|localhost|127\.0\.0\.1", re.IGNORECASE)
TOKEN = "csrf"  # memtomem's web UI resets for nobody who does not send its token


def names_reset(text: str) -> bool:
    """Whether a text names a reset, by the command's words or by the web UI's path."""
    text = ENCODED.sub(lambda found: chr(int(found[1], 16)), text)
    text = QUOTING.sub("", text).replace("_", "-")
    if "embedding-reset" not in text:
        return False
    if "apply-current" in text or TOKEN in text.lower():
        return True
    return bool(WEB_PATH.search(text) and HTTP.search(text))
