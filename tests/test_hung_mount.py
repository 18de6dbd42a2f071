"""A file system that does not answer holds nothing: sshfs or rclone without their server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from real import apart, isolated, real
from support import PROGRAMS, SCRIPT, linux

__all__ = ["real"]  # the fixture

CHECK = [sys.executable, str(SCRIPT)]
SERVER = "exec('from mem' 'tomem.server import main; main()')"
pytestmark = [
    pytest.mark.slow,  # and alone: all that look meanwhile at this machine are held, too
    linux,
    pytest.mark.skipif(
        not os.path.exists("/dev/fuse") or getattr(os, "geteuid", lambda: 1)() != 0,
        reason="NOT run: a mount of FUSE needs /dev/fuse and root",
    ),
]


@pytest.fixture
def silent(real, tmp_path):
    """Run steps beside a mount that does not answer, at FOLDER/m; what each ended with."""

    def silent(steps, processes=(), files=None, servers=0):
        (tmp_path / "src").mkdir()
        for name, text in (files or {"job.py": "import time; time.sleep(99)\n"}).items():
            (tmp_path / "src" / name).write_text(text)
        home = tmp_path / "home"
        env = apart(real, home)
        del env["_MEMTOMEM_TEST_RUNTIME_DIR"]  # the namespace has one of its own
        filled = [[part.replace("{m}", str(tmp_path / "m")) for part in argv] for argv in processes]
        wanted = {
            "servers": servers,
            "processes": filled,
            "steps": [
                (name, [part.replace("{m}", str(tmp_path / "m")) for part in argv], more)
                for name, argv, more in steps
            ],
        }
        world = Path(__file__).with_name("hung_world.py")
        done = subprocess.run(
            [*isolated(tmp_path / "run"), sys.executable, str(world), str(tmp_path)],
            input=json.dumps(wanted), env=env, text=True, timeout=300,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0
        return json.loads((tmp_path / "results.json").read_text())

    return silent


def text_of(result: dict) -> str:
    return " ".join((result["stdout"] + result["stderr"]).split())


@pytest.mark.parametrize("platform", PROGRAMS)
def test_script_on_a_mount_that_does_not_answer(real, silent, tmp_path, platform):
    check = [sys.executable, str(PROGRAMS[platform])]
    results = silent(
        [
            ("plain", check, {}),
            ("json", [*check, "--json"], {}),
            ("wait", [*check, "--wait", "11"], {}),
            ("command", [*check, "--", "touch", str(tmp_path / "ran")], {}),
            ("advice", ["umount", "-l", "-f", "{m}"], {}),
            ("after", check, {}),
        ],
        [[real.python, "{m}/job.py"]],
    )
    mount = str(tmp_path / "m")
    followed, after = results.pop("advice"), results.pop("after")
    assert (followed["status"], after["status"], after["left"]) == (0, 0, 0)
    for name, result in results.items():
        assert result["status"] == 2, name
        assert f"needs a file on {mount}, which does not answer" in text_of(result)
        assert f"sudo umount -l -f {mount}" in text_of(result)
        assert "(python" in text_of(result)
        assert result["seconds"] < (10 if name != "wait" else 14)
    assert json.loads(results["json"]["stdout"])["verdict"] == "unknown"
    assert not (tmp_path / "ran").exists()
    # Each run leaves one child, in the end also the one that looked many times.
    left = [result["left"] for result in results.values()]
    assert [now - before for before, now in zip([0, *left], left, strict=False)] == [1, 1, 1, 1]


def test_what_is_no_python_there_is_nothing_to_the_check(real, silent, tmp_path):
    """`tail -f`, a shell with its folder there: it is clear; also with a database of two names."""
    home = tmp_path / "home" / ".memtomem"
    home.mkdir(parents=True)
    (home / "memtomem.db").touch()
    os.link(home / "memtomem.db", home / "other.db")
    results = silent(
        [("clear", CHECK, {})],
        [["tail", "-f", "{m}/log"], ["sh", "-c", "cd {m} && sleep 99; exit"]],
        {"log": "x\n"},
    )
    assert results["clear"]["status"] == 0
    assert results["clear"]["seconds"] < 5


def test_live_server_beside_it_is_named(real, silent):
    results = silent(
        [("live", CHECK, {}), ("wait", [*CHECK, "--wait", "10"], {})],
        [[real.python, "{m}/job.py"], [real.python, "-c", SERVER]],
        servers=1,
    )
    for result in results.values():
        assert result["status"] == 1
        assert "MCP server" in text_of(result)


def test_database_there(silent, tmp_path):
    results = silent(
        [
            ("option", [*CHECK, "--db", "{m}/x.db"], {}),
            ("path", [*CHECK, "--", "no-such"], {"PATH": f"{tmp_path}/m:/usr/bin:/bin"}),
        ],
        files={"x.db": ""},
    )
    assert results["option"]["status"] == 2
    assert "the database needs a file on" in text_of(results["option"])
    assert results["option"]["seconds"] < 10
    assert results["path"]["status"] == 126
    told = text_of(results["path"])
    assert f"{tmp_path}/m, a folder of PATH, needs a file on {tmp_path}/m, which does not" in told
    assert f"sudo umount -l -f {tmp_path}/m " in told
