# /// script
# requires-python = ">=3.11"
# dependencies = ["psutil>=6"]
# ///
"""`python scripts/mm_preflight`, also below `uv run --no-project --with psutil`; `python -m`."""

import sys

try:
    if not __package__:  # run as a folder: sys.path starts inside the package, not beside it
        from os.path import dirname

        sys.path[0] = dirname(dirname(__file__))
    from mm_preflight import main
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())
