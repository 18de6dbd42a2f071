"""A stand-in for uvicorn: calls the application it is given, or has N spawned children do it."""

import importlib
import multiprocessing
import sys


def serve(name: str) -> None:
    """Import `module:attribute` and call it."""
    module, _, attribute = name.partition(":")
    getattr(importlib.import_module(module), attribute)()


def main() -> None:
    """Serve."""
    if "--workers" not in sys.argv:
        serve(sys.argv[1])
    context = multiprocessing.get_context("spawn")
    count = int(sys.argv[sys.argv.index("--workers") + 1])
    workers = [context.Process(target=serve, args=(sys.argv[1],)) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
