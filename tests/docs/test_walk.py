"""The pages hold on a real memtomem: each console block with an output is run, and compared."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import walk
from pages import DOCS, ROOT, text_of
from real import isolated, real
from support import environment, linux

__all__ = ["real"]  # the fixture
HERE = Path(__file__).parent
GUIDES = DOCS / "guides"
ALPHA = {"alpha": 61}
BOTH = {"default": 60, "agent-runtime:bob": 1}
# page: how many commands it shows, whose vectors are there in the end, and in which namespaces
WALKED = {
    "embedding-reset.md": (13, ALPHA, BOTH),
    "mixed-vectors.md": (5, {"beta": 60}, {"default": 60}),
    "make-mm-ask-first.md": (3, {"alpha": 3}, {"default": 3}),
}


@pytest.fixture(scope="module")
def walks(real, tmp_path_factory):
    """One walk for each page, all at once: most of the time mm waits for something."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        folders = {page: tmp_path_factory.mktemp("walk") for page in WALKED}
        yield {page: pool.submit(run, page, real, folder) for page, folder in folders.items()}


def run(page, real, folder):
    path = os.pathsep.join([str(real.bin), str(Path(sys.executable).parent), os.defpath])
    home = folder / "home"
    return subprocess.run(
        [*isolated(folder / "run"), sys.executable, walk.__file__, GUIDES / page, home],
        env=environment(real, home) | {
            "PATH": path,
            "PYTHONPATH": f"{ROOT / 'scripts'}{os.pathsep}{HERE}",
            "PYTHONUNBUFFERED": "1",  # else stderr overtakes stdout, as on no terminal
            "PYTHONUTF8": "1",
        },
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@linux
@pytest.mark.parametrize("page", WALKED)
def test_walk(page, walks):
    count, models, namespaces = WALKED[page]
    done = walks[page].result()
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert not report["differ"], "\n".join(map(told, report["differ"]))
    assert report["commands"] == count
    assert report["models"] == models
    assert report["namespaces"] == namespaces


def told(differ):
    return "$ {command}\n--- the page shows\n{shown}--- memtomem prints\n{printed}".format(**differ)


@pytest.mark.parametrize("page", WALKED)
def test_every_console_block_is_walked(page):
    """A block that the parser overlooks would be a promise that nobody checks."""
    text = text_of(GUIDES / page)
    blocks = [body for _, language, body in walk.steps(text) if language == "console"]
    assert len(blocks) == text.count("```console")
    assert sum(len(walk.commands(body)) for body in blocks) == WALKED[page][0]
    scenes = [scene for scene, *_ in walk.steps(text) if scene]
    assert len(scenes) == text.count("<!-- walk:") and set(scenes) <= set(walk.SCENES)


@pytest.mark.parametrize(
    "shown, printed",
    [
        ("a\nb", "a\n b\n"),
        ("Total\n…\nDense", "Total\nmuch\nmore\nDense"),
        ("stopped pid=41202", "stopped pid=7"),
        ("  812      mm web  2 h ago  zsh, in ttys003", "  7   mm web  5 s ago  zsh, in pts/0"),
        ("quit Cursor (pid 812), Cursor (812)", "quit Cursor (pid 9), Cursor (10)"),
        ("clear (212 examined)", "clear (4 examined, 2 of them only in part)"),
        ("0 deleted (31ms)", "0 deleted (4567ms)"),
        ("DB path: ~/x.db", "DB path: /home/ana/x.db"),
        ("Continue? [y/N]: y\nDone", "Continue? [y/N]: Done"),
        ("Ok", "[11/24/26 11:25:46] INFO     HTTP\n" + " " * 29 + "more\nOk"),
        ("Ok", "Ok\nnote: This is a container: processes of its host are not\nseen.\n"),
    ],
)
def test_what_may_differ(shown, printed):
    assert walk.agree(shown, printed, "/home/ana")


@pytest.mark.parametrize(
    "shown, printed",
    [
        ("60 new", "59 new"),
        ("Dense vectors: 60/60 (100.0%)", "Dense vectors: 30/60 (50.0%)"),
        ("ollama/beta (256d)", "ollama/beta (128d)"),
        ("memtomem 0.6.12", "memtomem 0.6.11"),
        ("refused, 2 mm processes", "refused, 3 mm processes"),
        ("a", "a\nand more"),
        ("a\n…\nc", "a\nb"),
        ("Cancelled.", ""),
        ("", "ERROR"),
    ],
)
def test_what_must_not_differ(shown, printed):
    assert not walk.agree(shown, printed, "/home/ana")
