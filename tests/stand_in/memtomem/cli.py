"""The stand-in's `mm` and `memtomem`."""

import os
import subprocess
import sys

from memtomem import stay

OPENS = {"web", "shell", "index", "ingest", "search"}


def cli() -> None:
    """Run one command."""
    command, *options = sys.argv[1:] or [""]
    if command == "web" and "-b" in options:
        code = "from memtomem.cli import cli; cli()"
        daemon = [sys.executable, "-c", code, "web", "--_internal-foreground", "--port", "18080"]
        subprocess.Popen(daemon, start_new_session=True, stdin=subprocess.DEVNULL)
    elif command == "embedding-reset" and "STAND_IN_IN_PROCESS" in os.environ:
        import mm_preflight  # the two lines of an mm embedding-reset that asks first

        sys.exit(mm_preflight.main(["--json"]))
    else:
        stay(database=command in OPENS)


if __name__ == "__main__":
    cli()
