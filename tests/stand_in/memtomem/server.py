"""The stand-in's MCP server: it does not open the database until its first tool call."""

from memtomem import stay


def main() -> None:
    """Serve."""
    stay(database=False)


if __name__ == "__main__":
    main()
