"""Name every live memtomem process, and refuse to go on while there is one.

`mm embedding-reset --mode apply-current` gives a database a new embedding model. A memtomem
process that is alive meanwhile goes on writing the old model's vectors, and nothing marks them.

    $ mm-preflight
    mm-preflight: clear, no live mm process (212 examined)

One room for each concern. What is alive: look (one look and its limit), apart (nothing that hangs
holds it), scan (the look itself), wait (--wait), table (the process table through psutil), system
(what differs by platform), linux, windows, cgroups, linux_state (what only they have), registry
(memtomem's own list), database (which file), users (whose), files and scripts (reading what is
others'). What runs: argv, judge, runners, source. How to stop it: instances (processes that belong
together), tree, origin, loops (who started them), naming, clients, supervisors, advice. To whom it
speaks: cli, report, command (`-- COMMAND`), agents (--agent-hook). records is what they hand each
other.
"""

from __future__ import annotations

__version__ = "0.2.0"


def main(argv: list[str] | None = None) -> int:
    """Run the check over `argv` (default: sys.argv[1:]) and return its exit status.

    0 clear, 1 live, 2 unknown, 130 Ctrl-C, or what a COMMAND ended with; it never calls sys.exit
    and never raises for a verdict.
    """
    try:  # psutil and the rooms are most of the run: Ctrl-C is heard while they are imported
        from mm_preflight.cli import run

        return run(argv)
    except KeyboardInterrupt:
        return 130
