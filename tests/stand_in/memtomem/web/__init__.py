"""The stand-in's web UI."""

from memtomem import stay


def main() -> None:
    """Serve."""
    stay(database=True)
