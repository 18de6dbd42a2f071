"""What --json prints, and what the report for people is made of. Pure but for the files' state."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from mm_postflight import decide
from mm_postflight.files import files
from mm_postflight.records import STOPPED, Findings


def verdict(found: Findings, told: Counter[str]) -> str:
    """one-model, mixed or unknown."""
    if found.probe is not None:
        return "unknown" if found.reason else "one-model"
    if found.repair is not None:
        if found.reason:
            return "unknown"
        return "mixed" if found.repair.left or found.repair.declined else "one-model"
    if told["others"] or told["relatives"]:
        return "mixed"
    unsure = found.reason or told["between"] or told["not_embedded"] or not found.scores
    return "unknown" if unsure else "one-model"


def answer(found: Findings, sample: int) -> dict[str, Any]:
    """One object, whatever happened."""
    told = Counter(decide.kinds(found).values())
    listed = files(found)
    ends = verdict(found, told)
    total, checked = len(found.vectors), len(found.scores)
    bound = None
    unsure = found.reason or found.repair or told["between"] or told["not_embedded"]
    if 0 < checked < total and not unsure:
        bound = decide.at_most(total, min(sample, checked))
    near = [s for s in found.scores.values() if decide.kind(s, found.exact) == "relatives" and s]
    names = ("others", "relatives", "between", "not_embedded")
    return {
        "schema_version": 2,
        "verdict": ends,
        "reason": found.reason or _why(found, told, ends),
        "stopped": found.reason == STOPPED,
        "model": found.model,
        "database": found.database,
        "configured": found.configured,
        "vectors": total,
        "checked": checked,
        **{name: told[name] for name in names},
        "older_text": len(found.older),
        "without_vector": len(found.missing),
        "without_chunk": found.without_chunk,
        "gone": sum(each["note"] == "gone" for each in listed),
        "texts_sent": found.texts_sent,
        "at_most": bound,
        "exact": found.exact,
        "steady": found.least >= decide.STEADY,
        "relatives_median": round(decide.median(near), 4) if near else None,
        "matches_nothing": decide.matches_nothing(found),
        "preflight": found.preflight,
        "files": listed,
        "repair": asdict(found.repair) if found.repair else None,
        "probe": found.probe,
    }


def _why(found: Findings, told: Counter[str], ends: str) -> str:
    """The reason of an unknown that nothing else gave one for."""
    if ends != "unknown":
        return ""
    if told["not_embedded"] and found.said:
        why, _ = found.said.most_common(1)[0]
        return f"{told['not_embedded']:,} texts were not embedded: {why}"
    if told["between"]:
        return f"{told['between']:,} vectors are neither this model's nor clearly another's"
    return "nothing was checked"
