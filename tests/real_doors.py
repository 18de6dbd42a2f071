"""Every way to a reset of a real memtomem, tried beside a live mm web, and after it.

    python real_doors.py HOME

Run it where no other process is seen, with memtomem's `mm` and `mm-preflight` on PATH:
test_command.py does. It prints one JSON object; the keys are told there.
"""

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from reproduce_mix import embedding_server
from walk import Stage, reconfigured

RESET = "mm embedding-reset --mode apply-current --yes"
LOAD = 'eval "$(mm-preflight --hook {0})"'
WAYS = {
    "bash": f"{LOAD.format('bash')}; {RESET}",
    "zsh": f"zsh -fc {shlex.quote(LOAD.format('zsh') + '; ' + RESET)}",
    "fish": f"fish --no-config -c {shlex.quote('mm-preflight --hook fish | source; ' + RESET)}",
    "memtomem": f"{LOAD.format('bash')}; memtomem{RESET[2:]}",
    "alone": f"mm-preflight -- {RESET}",
    "path": f'mm-preflight -- "$(command -v mm)"{RESET[2:]}',
    "env": f"mm-preflight -- env A=b {RESET}",
    "timeout": f"mm-preflight -- timeout 60 {RESET}",
    "nohup": f"mm-preflight -- nohup {RESET}",
    "sh": f"mm-preflight -- sh -c {shlex.quote(RESET)}",
    "xargs": f"echo {RESET[3:]} | mm-preflight -- xargs mm",
    "python": 'mm-preflight -- "$(dirname "$(command -v mm)")/python" -c '
    f"'from memtomem.cli import cli; cli()'{RESET[2:]}",
    "function": f"{LOAD.format('bash')}; mm-preflight -- {RESET}",
}


def fingerprint(stage):
    """Of the database and its write-ahead log, byte for byte."""
    files = sorted((stage.home / ".memtomem").glob("memtomem.db*"))
    data = [(file.name, file.read_bytes()) for file in files if not file.name.endswith("-shm")]
    return hashlib.sha256(repr(data).encode()).hexdigest()


def refused(stage):
    """{way: [exit status, what was printed, whether the database stayed as it was]}."""
    seen = {}
    for name, command in WAYS.items():
        before = fingerprint(stage)
        status, printed = stage.run(command)
        seen[name] = [status, printed, fingerprint(stage) == before]
    return seen


def gap(stage):
    """A reset, while a client that waited starts its server again."""
    script = 'until [ -e go ]; do sleep 0.1; done; "$@"; exit\n'
    (stage.home / "client").write_text(script)
    client = ["Cursor", stage.home / "client", "memtomem-server"]
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "cwd": stage.home}
    process = subprocess.Popen(client, **stage.shell("Cursor", **pipe))
    alive = "until mm-preflight --json | grep -q mcp-server; do sleep 0.2; done"
    answer = stage.run(f"mm-preflight -- sh -c {shlex.quote(f'touch go; {alive}; {RESET}')}")
    process.stdin.close()
    process.wait(60)
    return answer


def main(home):
    missing = [shell for shell in ("zsh", "fish") if not shutil.which(shell)]
    for shell in missing:
        del WAYS[shell]
    with embedding_server() as (address, made):
        stage = Stage(Path(home), address, made)
        reconfigured(stage, "")
        report = {"refused": refused(stage), "missing": missing}
        stage.must("mm web stop")
        stage.until(lambda: stage.run("mm-preflight --quiet")[0] == 0, "the end of mm web")
        report["clear"] = stage.run(f"{LOAD.format('bash')}; {RESET}")
        report["models"] = stage.models()
        report["gap"] = gap(stage)
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
