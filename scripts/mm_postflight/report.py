"""The answer for people, at 80 columns. Pure but for the home folder and the time zone."""

from __future__ import annotations

import math
import os
import re
import textwrap
import time
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

from mm_preflight.report import visible

from mm_postflight.decide import harm
from mm_postflight.records import FEW

PAGE = "https://memtomem.github.io/mm-preflight/reference/postflight/#notes"
NAME = 28  # columns for a file's name
NOTES = {  # what is counted, and how it is said
    "not_embedded": "Not embedded, so nothing is known of their vectors: {:,} texts.",
    "older_text": "This model's, of text as an older memtomem put it together: {:,} vectors.",
    "without_vector": "Without a vector, so not found by meaning: {:,} chunks.",
    "without_chunk": "Without a chunk, which does no harm: {:,} vectors.",
    "gone": "Gone from the disk: {:,} files.",
}
WHOSE = {
    "others": "another's: another model made these {:,}. Search by meaning does not find them.",
    "relatives": "relative's: a relative of this model made these {:,}: it is quantised, "
    "fine-tuned, or has another prefix or length (median cosine {:.2f}). Where vectors were this "
    "near, {}.",
    "between": "unclear: these {:,} are neither this model's nor clearly another's.",
}


def report(a: dict[str, Any]) -> str:
    """The whole text."""
    lines = [*head(a)]
    lines += table(a["files"]) if a["files"] else []
    lines += whose(a) if a["files"] else []
    lines += remedy(a)
    lines += [sentence for holds, sentence in said(a) if holds]
    wrapped = ([x] if x.startswith(("  ", "Database: ")) else wrap(x) for x in lines)
    return "\n".join(line for each in wrapped for line in each).rstrip()


def wrap(text: str) -> list[str]:
    """Lines of at most 80 columns; a longer word, such as a path, is not broken."""
    wrapper = textwrap.TextWrapper(80, break_on_hyphens=False, break_long_words=False)
    lines = []
    for line in text.split("\n"):
        wide = "".join(c + "\0" * (east_asian_width(c) in "WF") for c in line)  # two columns
        lines += [each.replace("\0", "") for each in wrapper.wrap(wide)] or [""]
    return lines


def head(a: dict[str, Any]) -> list[str]:
    """The first line, and what to do where there is no answer."""
    if a["probe"] is not None and a["verdict"] == "one-model":
        told = f"{a['model']} answers with {a['probe']['numbers']} numbers, as configured"
        return [f"mm-postflight: {visible(told)}"]
    reason, *more = [visible(line) for line in str(a["reason"]).split("\n")[:4]]
    gives = f"what {a['model']} gives"
    part = " checked" * (a["checked"] < a["vectors"])
    of = f"{a['checked']:,} vectors{part}"
    wrong = a["others"] + a["relatives"]
    told = f"one model, all {of} are {gives}"
    if a["verdict"] == "unknown":
        told = f"unknown, {reason}"
        more += so_far(a, f"{wrong:,} of {of} are not {gives}." if wrong else "")
    elif a["verdict"] == "mixed":
        told = f"mixed, {wrong:,} of {of} are not {gives}"
        if not wrong:
            told = "not all is repaired" if a["repair"] else "some vectors may be another's"
        more = [f"It did not come to its end: {reason}."] * bool(reason)
    lines = [f"mm-postflight: {visible(told)}", *more]
    return lines + [f"Database: {visible(a['database'], 5000)}"] * (not a["configured"])


def so_far(a: dict[str, Any], wrong: str) -> list[str]:
    """What a check had found that gives no verdict, or a repair before it was refused."""
    if not a["checked"]:
        return []
    since = "Until then: " if a["checked"] < a["vectors"] else ""
    none = f"{a['checked']:,} vectors were checked; none of them is another model's."
    return [since + (wrong or none)]


def table(files: list[dict[str, Any]]) -> list[str]:
    """The first of the files, in columns, and what the rest have in common."""
    lines = ["", f"  {'FILE':<{NAME}}{'CHUNKS':>12}  {'WHOSE':<10}  WRITTEN"]
    today = time.strftime("%Y-%m-%d")
    times = [time.strftime("%Y-%m-%d %H:%M", time.localtime(each["written"])) for each in files]
    times = [written.replace(today, "today") for written in times]
    for each, written in zip(files[:FEW], times, strict=False):
        name = visible(_from_home(each["path"]), 5000)[-NAME - 1 :]
        while (wide := sum(1 + (east_asian_width(c) in "WF") for c in name)) > NAME:
            name = "…" + name[2:]
        made = next(kind for kind in WHOSE if each[kind])
        hit = f"{sum(each[kind] for kind in WHOSE):,} of {each['chunks']:,}"
        word = WHOSE[made].partition(":")[0]
        line = f"  {name}{hit:>{NAME + 12 - wide}}  {word:<10}  {written:<16} {each['note']}"
        lines.append(line.rstrip())
    if rest := [each["path"] for each in files[FEW:]]:  # in order, so the ends are the farthest
        shared = {*Path(rest[0]).parents} & {*Path(rest[-1]).parents}
        where = max(map(str, shared), key=len, default="several places")
        where = visible(_from_home(f"{where}{os.sep}")[:-1])
        lines.append(f"  … and {len(rest):,} more, all in {where}, all since {min(times[FEW:])}")
    return lines


def _from_home(path: str) -> str:
    home = os.path.join(os.path.expanduser("~"), "")[:-1]
    return re.sub(rf"^{re.escape(home)}(?=[/\\])", "~", path)


def whose(a: dict[str, Any]) -> list[str]:
    """What the third column means, and how much it matters."""
    middle = a["relatives_median"] or 0.0
    lines = [""]
    for kind, text in WHOSE.items():
        if a[kind]:
            lines.append(text.format(a[kind], middle, harm(middle)))
    return lines


def remedy(a: dict[str, Any]) -> list[str]:
    """What to do next, on a line of its own; or what was done."""
    if a["repair"] is not None:
        return repaired(a["repair"])
    if not a["files"]:
        return []
    own = "" if a["configured"] else " Give it the same --db."
    return ["", f"To repair them, stop every mm process (mm-preflight names them), then:{own}",
            "  mm-postflight --repair", ""]  # fmt: skip


def repaired(r: dict[str, Any]) -> list[str]:
    """What --repair did, and what is left."""
    counts = {
        "written": "Made anew: {:,} vectors.",
        "changed": "Changed by another program meanwhile, so left alone: {:,} vectors.",
        "gone": "Not sent off this machine, because their file is gone: {:,} texts.",
        "held": "Not sent off this machine, because memtomem's redaction guard would hold them: "
        "{:,} texts.",
        "left": "Left as they are: {:,}. Run mm-postflight --repair again, or mm index --force.",
    }
    lines = [singular(text.format(r[name])) for name, text in counts.items() if r[name]]
    lines += ["Nothing was written, because the answer was no."] * r["declined"]
    if r["backup"]:
        lines += ["The database as it was before:", f"  {visible(r['backup'], 5000)}"]
    after = r["preflight_after"]
    if r["written"] and after not in ("", "clear"):
        lines.append(f"After the repair mm-preflight says {after}: check again later.")
    return ["", *lines, ""] if lines else []


def singular(text: str) -> str:
    """One is not many."""
    return re.sub(r"(: 1 \w+)s\b", r"\1", text)


def said(a: dict[str, Any]) -> list[tuple[object, str]]:
    """Further sentences, each with whether it holds."""
    share = math.ceil(1000 * ((a["at_most"] or 0) + 1) / (a["vectors"] or 1)) / 10
    bound = f"With 95 % confidence, fewer than {share:g} % of all {a['vectors']:,} vectors "
    bound += f"{'beside these ' * bool(a['files'])}are not. --all checks every one."
    nothing = "Nothing matches. Does the configuration name the model that you want?"
    alive = "An mm process is alive: the answer may not last. Run mm-preflight."
    steady = "This embedder is not steady: the same text got different vectors. The best counted."
    told = [text.format(a[key]) for key, text in NOTES.items() if a[key]]
    return [
        (a["matches_nothing"], nothing),
        (a["at_most"] is not None and not a["matches_nothing"], bound),
        (not a["steady"] and a["checked"], steady),
        *((True, singular(note)) for note in told),
        (told, f"More about that: {PAGE}"),
        (a["preflight"] == "live" and not a["repair"], alive),
    ]
