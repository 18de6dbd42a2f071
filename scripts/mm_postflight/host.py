"""memtomem's own names, under its own Python: configuration, embedder, how a text is made."""

from __future__ import annotations

import json
import logging
import os
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

from mm_postflight.records import Unknown

REPAIRED = ("0.3.14", "0.4.0", "0.5.0", "0.6.12")  # the releases that the tests repair


def memtomem(name: str) -> Any:
    """A thing of memtomem's, such as "config.Mem2MemConfig". Raises Unknown where it is gone."""
    try:
        return pkgutil.resolve_name(f"memtomem.{name}")
    except (ImportError, AttributeError) as error:
        why = f"there is no memtomem.{name} in {sys.executable}: {error}\n"
        raise Unknown(why + "If that is not memtomem's Python, name its mm: --mm PATH.") from error


def configuration() -> Any:
    """The configuration, as `mm` reads it. Raises Unknown where mm would take its defaults."""
    folder = Path(os.path.expanduser("~/.memtomem"))
    parts = sorted((folder / "config.d").glob("*.json"))
    for path in [*parts, folder / "config.json"]:
        if path.exists():
            _require_object(path)
    config = memtomem("config.Mem2MemConfig")()
    memtomem("config.load_config_d")(config)
    load = memtomem("config.load_config_overrides")
    load(config, **dict.fromkeys({"migrate"} & set(load.__kwdefaults__ or ()), False))
    logging.disable()  # what it says of the configuration was heard; the rest is told here
    return config


def _require_object(path: Path) -> None:
    """Raise Unknown if it is no JSON object in UTF-8 without a byte order mark."""
    try:
        read = json.loads(path.read_bytes().decode())
        why = "" if isinstance(read, dict) else "it is not a JSON object"
    except (OSError, ValueError, RecursionError) as error:
        why = str(error)
    if why:
        told = f"the configuration {path} cannot be read: {why}"
        raise Unknown(f"{told}\nmemtomem works without it now. Put it right, and run this again.")


def require_same_model(config: Any, meta: dict[str, str]) -> None:
    """Raise Unknown if configuration and database name different models."""
    wanted = config.embedding
    names = [wanted.provider, wanted.model, str(wanted.dimension)]
    held = [meta.get(f"embedding_{key}", "?") for key in ("provider", "model", "dimension")]
    # An ONNX model may be named with its owner, or without, in any case.
    bare = [re.sub(".*/", "", "\n".join(each)).lower() for each in (names, held)]
    if names == held or (names[0].lower() == "onnx" and bare[0] == bare[1]):
        return
    told = "the configuration names {}/{} ({} numbers), the database {}/{} ({})"
    if names[0].lower() == "none":
        told = "the configuration names no model, the database {3}/{4} ({5} numbers)"
        remedy = "Put that model back into the configuration, or the one that you want."
    else:
        remedy = "See: mm embedding-reset"
    raise Unknown(f"{told.format(*names, *held)}\n{remedy}")


def texts(row: dict[str, Any]) -> list[str]:
    """What memtomem embeds of a row of `chunks`, then what older releases embedded of it."""
    chunk, metadata = memtomem("models.Chunk"), memtomem("models.ChunkMetadata")
    try:
        headings = tuple(json.loads(row["heading_hierarchy"]))
    except (ValueError, TypeError, RecursionError):  # memtomem takes it as none
        headings = ()
    old = {"source_file": Path(), "heading_hierarchy": headings}
    context = row.get("retrieval_context")  # 0.4.0 has no such column
    new = old | ({"retrieval_context": context} if context else {})
    whole = [chunk(row["content"], metadata(**about)).retrieval_content for about in (new, old)]
    return list(dict.fromkeys([*whole, row["content"]]))


def is_held(text: str) -> bool:
    """Whether memtomem's redaction guard finds a secret in a text."""
    return bool(memtomem("privacy.scan")(text))


def version() -> str:
    """Which release of memtomem this is; "" if it does not say so."""
    return str(getattr(sys.modules.get("memtomem"), "__version__", ""))


def why_not_repaired(config: Any, meta: dict[str, str]) -> str:
    """Why --repair may not write into a database with these meta rows; "" if it may."""
    if version() not in REPAIRED:
        known = ", ".join(REPAIRED)
        return f"this is memtomem {version()}, and --repair was tried on {known}"
    schema = str(memtomem("storage.sqlite_schema.SCHEMA_VERSION"))
    if meta.get("schema_version") != schema:
        held = meta.get("schema_version", "none")
        return f"the database's schema version is {held}, and this memtomem's is {schema}"
    policy = memtomem("config.embedding_policy_fingerprint")(config.embedding)
    if meta.get("embedding_policy_fingerprint") != policy:
        held = meta.get("embedding_policy_fingerprint", "none")
        return (
            f"the database was embedded by the policy {held}, and the configuration says {policy}"
        )
    return ""
