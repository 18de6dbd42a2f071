"""The workflows of .github: nothing that zizmor finds wrong, offline."""

import re
import subprocess
import sys
from pathlib import Path

from support import ROOT

GITHUB = ROOT / ".github"


def test_zizmor():
    zizmor = Path(sys.executable).with_name("zizmor")
    run = subprocess.run([zizmor, "--offline", GITHUB], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_each_action_is_pinned_to_one_commit_with_its_version_behind_it():
    """Dependabot keeps the version in the comment true; zizmor does not ask for one."""
    text = "\n".join(path.read_text() for path in GITHUB.glob("workflows/*.yml"))
    used = re.findall(r"uses: (.*)", text)
    pinned = {
        re.fullmatch(r"(actions/[\w-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", each) for each in used
    }
    assert None not in pinned, used
    assert len({match[1] for match in pinned}) == len({match[0] for match in pinned})
