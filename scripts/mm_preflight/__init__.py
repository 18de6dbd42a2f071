"""Name every live memtomem process, and refuse to go on while there is one.

`mm embedding-reset --mode apply-current` gives a database a new embedding model. A memtomem
process that is alive meanwhile goes on writing the old model's vectors, and nothing marks them.

    $ mm-preflight
    mm-preflight: clear, no live mm process (212 examined)

One room for each concern: judge (what an argv runs), database (which file), table (the process
table through psutil), linux and windows (what only they have), instances (processes that belong
together), tree (who is above them), origin (who of these started them; by naming, clients,
supervisors and loops), advice (how to stop them), linux_state (what no kill ends), report (for
people and as JSON), look (one look, --wait), command (`-- COMMAND`), agents (--agent-hook), cli
(options and exit status). judge, origin, advice, report and agents are pure.
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
