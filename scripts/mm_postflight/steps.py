"""What one run does under memtomem's Python, step after step."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from mm_postflight import consent, host, preflight
from mm_postflight.asking import Embedder
from mm_postflight.check import Check
from mm_postflight.database import Database
from mm_postflight.probe import probe
from mm_postflight.records import Fault, Findings, Options, Repair, Unknown
from mm_postflight.repair import Repairing, keep_back, require_clear, require_known


def work(found: Findings, options: Options) -> None:
    """Fill `found`. Raises Unknown, sqlite3.Error, and what else may go wrong."""
    if options.probe:
        return probe(found)
    config = host.configuration()
    found.model = f"{config.embedding.provider}/{config.embedding.model}"
    configured = os.path.realpath(os.path.expanduser(config.storage.sqlite_path))
    found.database = os.path.realpath(options.db or configured)
    found.configured = found.database == configured
    path = Path(found.database)
    if not path.is_file():
        raise Unknown(f"there is no database {path}")
    if options.repair:
        found.repair = Repair()
        require_clear(found, options.inside)
    else:
        found.preflight = preflight.ask(options.inside, found.database).verdict

    def open_it() -> Database:
        return Database(path, config.embedding.dimension, host.texts)

    try:
        with contextlib.closing(open_it()) as database:
            embedder, meta = check(found, options, config, database)
        if options.repair:
            Repairing(found, options, embedder, config).run(meta, open_it)
    except Fault:  # nothing that was found with such an embedder holds
        found.scores.clear()
        found.older.clear()
        raise


def check(
    found: Findings, options: Options, config: Any, database: Database
) -> tuple[Embedder, dict[str, str]]:
    """Check what is asked for; the embedder, and what the database said of the embedding."""
    meta = database.meta()
    database.read_places(found)
    nothing = "there are no vectors: search is by words alone"
    if not found.vectors and not (options.repair and found.missing):
        raise Unknown(nothing)
    host.require_same_model(config, meta)
    if found.repair is not None:
        require_known(config, meta)
        if not consent.stays_here(config.embedding):
            keep_back(database, found, found.repair)
    made = host.memtomem("embedding.factory.create_embedder")(config.embedding)
    embedder = Embedder(made, config.embedding.dimension)
    search = Check(database, embedder, found)

    def ask_first(texts: int) -> None:
        consent.may_send(config.embedding, texts, options.send)

    whole = options.all or options.repair
    search.search(whole, options.sample, ask_first)
    return embedder, meta
