"""From one ONNX model of 384 numbers to another: the page on mixing is right about it.

memtomem is the real one, with a stand-in for fastembed, whose weights would be downloaded.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from pages import DOCS
from real import isolated, real
from support import environment, linux

__all__ = ["real"]  # the fixture
HERE = Path(__file__).parent
PAGE = (DOCS / "explanation" / "how-vectors-mix.md").read_text(encoding="utf-8")
BGE, MINILM, E5 = "bge-small-en-v1.5", "all-MiniLM-L6-v2", "multilingual-e5-small"


def changed(real, folder, old, new):
    """What an old `mm web` did after a change of the ONNX model."""
    home = folder / "home"
    path = os.pathsep.join([str(real.bin), str(Path(sys.executable).parent), os.defpath])
    done = subprocess.run(
        [*isolated(folder / "run"), sys.executable, HERE / "onnx_scene.py", home, old, new],
        env=environment(real, home)
        | {"PATH": path, "PYTHONPATH": str(HERE / "stand_in_fastembed"), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@linux
def test_two_of_one_dimension_mix(real, tmp_path):
    told = changed(real, tmp_path, MINILM, BGE)
    assert told == {"whose": [f"sentence-transformers/{MINILM}"] * 2, "stored": 2, "says": BGE}
    assert f"| onnx: {MINILM} → {BGE}, both 384 | **mixed**" in PAGE


@linux
def test_e5_is_kept_apart(real, tmp_path):
    told = changed(real, tmp_path, BGE, E5)
    assert told == {"whose": [], "stored": 0, "says": E5}
    assert f"| onnx: to {E5}, also 384 | not stored" in PAGE
