"""What the check prints, for people and as JSON. Pure."""

from __future__ import annotations

import errno
import os
import re

from mm_preflight.records import BLIND_SPOTS, Any, Result, Row


def visible(text: str, limit: int = 1000) -> str:
    """Text of another process, safe for a terminal: what is not printable is escaped."""
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def silence(who: str, mount: str) -> str:
    """Why the answer cannot be had where a file system does not answer, and the way out."""
    cause = f"{who} needs a file on {visible(mount)}, which does not answer"
    if mount == "/" or mount.startswith("/proc/") or not re.fullmatch(r"/[\w.@:/-]*", mount):
        return f"{cause}; run this again when it does"
    return (
        f"{cause}; bring it back, or run: sudo umount -l -f {mount}   (a kill does nothing to a "
        "process that waits for it)"
    )


FIELDS = Row._fields[: Row._fields.index("stop") + 1]  # of a row, in the JSON
FIELDS_OF_VERBOSE = ("argv", "registered")


def as_json(result: Result, verbose: bool) -> str:
    """The one object of --json, ASCII; shape and meaning on the reference page."""
    import json

    names = [*FIELDS, *(FIELDS_OF_VERBOSE if verbose else ())]
    if result.after:
        names.append("during_command")
    shown = {
        name: [{each: getattr(row, each) for each in names} for row in getattr(result, name)]
        for name in ("other_users", "processes")
    }
    fields = {"schema_version": 1, **result._asdict(), **shown}
    del fields["again"], fields["after"]
    return json.dumps(fields, indent=2)


def as_text(result: Result, verbose: bool) -> str:
    """The report for people: at most 80 columns, but for long paths and --verbose."""
    if result.verdict == "unknown":
        cause, _, remedy = (result.reason or "").partition("; ")
        head = "unknown after COMMAND ran" if result.after else "unknown, refused"
        lines = wrap(f"mm-preflight: {head}: {cause}") + wrap(remedy, "  ")
    elif result.verdict == "clear":
        hidden = f", {result.uninspected} of them not in full" if result.uninspected else ""
        head = "still clear" if result.after else "clear"
        lines = [f"mm-preflight: {head}, no live mm process ({result.examined} examined{hidden})"]
    else:
        one = len(result.processes) == 1
        noun = "1 mm process is" if one else f"{len(result.processes)} mm processes are"
        head = "no longer clear" if result.after else "refused"
        lines = [f"mm-preflight: {head}, {noun} alive", "", *_table(result.processes, verbose), ""]
        lines += wrap(
            f"{'It' if one else 'Each'} keeps the model that it started with: after "
            "`mm embedding-reset` it goes on writing vectors of that model, and memtomem cannot "
            "tell them apart."
        )
        lines.append(f"Stop {'it' if one else 'them'}, then run this again.")
        clients = [row.started_by for row in result.processes if row.within]
        for name in sorted({each["name"] for each in clients if each}):
            lines += wrap(
                f"{name} started this check too: from inside it, the check never says clear. Quit "
                f"{name}, and run mm-preflight from a plain terminal."
            )
    if result.other_users:
        lines += ["", "Of other users, and not counted:", *_table(result.other_users, verbose)]
    for spot in result.blind_spots if not result.after else []:  # they stand above
        lines += wrap(f"note: {BLIND_SPOTS[spot]}")
    if verbose and result.database:
        lines += ["", f"database: {result.database}"]
    return "\n".join(lines)


def _table(rows: list[Row], verbose: bool) -> list[str]:
    width = max(len(_what(row)) for row in rows)
    lines = [f"  {'PID':<8} {'WHAT':<{width}}  SINCE       STARTED BY"]
    for row in rows:
        lines.append(_line(row, width))
        if row.during_command is not None:
            when = "while" if row.during_command else "before"
            lines.append(f"{'':11}started {_since(row.age)}, {when} COMMAND ran")
        lines += wrap(f"stop it: {row.stop}", " " * 11)
        if not row.verified:
            lines += wrap(
                "not verified: what it runs could not be read, so it may be another program",
                " " * 11,
            )
        if verbose:
            lines.append(f"{'':11}evidence: {', '.join(row.evidence)}")
            if row.registered:
                lines.append(f"{'':11}registered: {row.registered}")
            lines.append(f"{'':11}argv: {' '.join(arg[:200] for arg in row.argv)}")
    return lines


def _what(row: Row) -> str:
    if row.role == "mcp-server":
        return "MCP server"
    text = f"{row.command}, database open" if row.role == "database" else row.command
    return visible(text, 32)


def _line(row: Row, width: int) -> str:
    starter, place = row.started_by, (row.terminal or "").removeprefix("/dev/")
    by = f"{starter['name']} ({starter['pid']})" if starter else "-"
    if place:
        by = f"{starter['name']}, in {place}" if starter else f"in {place}"
    return f"  {row.pid:<8} {_what(row):<{width}}  {_since(row.age):<10}  {by}"[:80].rstrip()


def _since(age: float | None) -> str:
    for seconds, unit in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s")):
        if age is not None and (age >= 2 * seconds or unit == "s"):
            return f"{age / seconds:.0f} {unit} ago"
    return "?"


def wrap(text: str, indent: str = "") -> list[str]:
    """Lines of at most 80 columns."""
    from textwrap import TextWrapper

    wrapper = TextWrapper(80, indent, indent, break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(text)


def waiting(result: Result, size: tuple[int, int], clear_seconds: float) -> list[str]:
    """What is still being waited for, in lines that fit a terminal of (columns, rows)."""
    columns, rows = size
    width = max((len(_what(row)) for row in result.processes), default=0)
    lines = [f"waiting for{_line(row, width)}" for row in result.processes]
    if result.verdict == "clear":
        lines = [f"nothing is alive; looking again for {clear_seconds:g} s, to be sure"]
    elif result.verdict == "unknown":
        lines = [f"unknown: {result.reason}"]
    room = max(1, (rows or 24) - 3)
    if len(lines) > room:
        lines[room:] = [f"... and {len(lines) - room} more"]
    # A line that wraps would not be wiped; in ASCII each character is one column wide.
    lines = [line.encode("ascii", "backslashreplace").decode() for line in lines]
    return [line[: (columns or 80) - 1] for line in lines]


def write(stream: Any, text: str) -> None:
    """Print to a stream of any encoding. Raises OSError if it does not arrive."""
    if stream is None:  # closed by who started this; the exit status still answers
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # for the flush at exit
        if error.errno == errno.EINVAL:  # as Windows calls a pipe that nobody reads
            raise BrokenPipeError from None
        raise
