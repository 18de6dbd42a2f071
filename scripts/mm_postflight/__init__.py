"""After a change of model: is every vector in memtomem's database of the configured model?

A text embedded again by the model that made its vector gives that vector again; by another model
it does not. So stored texts are embedded again, with memtomem's own configuration and embedder,
and compared. Without --repair no byte of the database changes.

    $ mm-postflight
    mm-postflight: one model, all 212 vectors are what ollama/nomic-embed-text gives

One room for each concern: cli (options, exit status), inside (running itself under mm's Python),
host (memtomem's names), database (reading), asking (the embedder), consent (what may leave this
machine), decide (the rule), check (one run of it), preflight (asking mm-preflight), repair, with
backup and writing (--repair only), probe, answer (what --json prints), report (for people),
progress. decide, answer and report are pure. It needs nothing but Python: psutil is
mm-preflight's, memtomem the database's owner's.
"""

from __future__ import annotations


def main(argv: list[str] | None = None) -> int:
    """Run over `argv` (default: sys.argv[1:]) and return the exit status.

    0 one model, 1 mixed, 2 unknown, 130 Ctrl-C; it never calls sys.exit for a verdict.
    """
    try:
        from mm_postflight.cli import run

        return run(argv)
    except KeyboardInterrupt:
        return 130
