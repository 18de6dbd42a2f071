"""`python scripts/mm_postflight`, `python -m mm_postflight`, and itself under memtomem's Python.

There, this project's folder must not be on the path: what lies beside it was installed for another
Python. So the two packages are loaded from where they are.
"""

import os
import sys


def load(name: str) -> None:
    """Import a package from the folder beside this one, whatever the path holds."""
    from importlib.util import module_from_spec, spec_from_file_location

    folder = os.path.join(os.path.dirname(HERE), name)
    entry = os.path.join(folder, "__init__.py")
    spec = spec_from_file_location(name, entry, submodule_search_locations=[folder])
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no {folder}")
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


HERE = os.path.dirname(os.path.abspath(__file__))
try:
    if not __package__:
        if sys.path and os.path.realpath(sys.path[0] or ".") == os.path.realpath(HERE):
            del sys.path[0]  # run as a folder: its rooms are no modules of their own
        load("mm_preflight")
        load("mm_postflight")
    from mm_postflight import main

    status = main() if __name__ == "__main__" else 0
except KeyboardInterrupt:
    status = 130
if __name__ == "__main__":
    os._exit(status)  # at once: a thread of memtomem's may hang
