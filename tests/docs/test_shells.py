"""What a reader pastes runs in the reader's shell: Windows PowerShell 5.1 has no `&&`."""

import re
import textwrap

import pytest
from pages import FENCE, PAGES, ROOT, text_of
from support import powershell_parses

# A set of tabs, from its first `=== "…"` to the last indented line.
TABS = re.compile(r'(?:^=== ".*"\n(?:(?: {4}.*)?\n)+)+', re.M)
CODE = re.compile(r"(?<!`)`([^`\n]*\S\s*&&[^`\n]*)`")  # in a sentence; `&&` alone is only its name


def faults(text):
    """Each piece of code with `&&` that a reader of PowerShell could take for theirs.

    It is right only in a block for bash or zsh, in a tab whose neighbour is for PowerShell.
    """
    tabs = [found.span() for found in TABS.finditer(text) if "```powershell\n" in found[0]]
    for block in FENCE.finditer(text):
        posix = block["language"] in {"bash", "sh", "zsh"}
        beside = any(start <= block.start() < end for start, end in tabs)
        if "&&" in block["body"] and not (posix and beside):
            yield block["body"]
    yield from CODE.findall(FENCE.sub("", text))


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_nothing_that_powershell_refuses(page):
    assert not list(faults(text_of(page)))


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_powershell_parses(page):
    """No page was run in PowerShell, so its grammar at least reads what is to be pasted there."""
    for block in FENCE.finditer(text_of(page)):
        if block["language"] == "powershell":
            assert powershell_parses(textwrap.dedent(block["body"])), block["body"]


TAB = """=== "Linux"

    ```bash
    a &&
    b
    ```

=== "Windows"

    ```{}
    a
    ```
"""


@pytest.mark.parametrize(
    "text, wrong",
    [
        ("```console\n$ a && b\n```\n", 1),
        ("```bash\na && b\n```\n", 1),
        ("Run `a && b`.", 1),
        (TAB.format("console"), 1),
        (TAB.format("powershell") + "\nThen:\n\n```sh\na && b\n```\n", 1),
        (TAB.format("powershell"), 0),
        ("No `&&` is needed.\n\n```console\n$ a -- b\n```\n", 0),
    ],
)
def test_the_rule(text, wrong):
    assert len(list(faults(text))) == wrong
