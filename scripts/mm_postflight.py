#!/usr/bin/env python3
"""After `mm embedding-reset`: is every vector in memtomem's database of the configured model?

A text embedded again by the model that made its vector gives that vector again; by another model it
does not. So stored texts are embedded again, with memtomem's own configuration and embedder, and
compared. Nothing is changed. It finds the Python that `mm` runs under, and runs itself there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import json
import logging
import math
import os
import random
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter, defaultdict, namedtuple
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

OURS, ANOTHERS = 0.98, 0.80  # cosine: from the one up this model's, below the other another's
PATIENCE = 300.0  # seconds for one batch: the model may have to be loaded first
LONGEST = 1_000_000  # characters of a text; memtomem's chunks are a thousand times shorter
NEAR = 300  # so many vectors from before the earliest one found are looked at, too
FEW = 8  # so many lines of a kind are printed, so many texts may fail to be embedded
EXIT = {"one-model": 0, "mixed": 1, "unknown": 2}
STOPPED = "stopped by Ctrl-C"
LOCAL = r"(https?://(localhost|127\.[\d.]+|\[::1\]|0\.0\.0\.0)(:\d+)?(/.*)?)?"
SECRET = re.compile(r"//[^/\s@]*@")  # a user and a password in a URL
RISKY = re.compile(r'["$`“”„]|%.*%|\\$|^$')  # not the same in cmd and in PowerShell, quoted or not
NOTES = {  # what is counted, and how it is said
    "between": "Neither this model's nor clearly another's: {:,} vectors.",
    "not_embedded": "Not embedded, so nothing is known of their vectors: {:,} texts.",
    "older_text": "This model's, of text as an older memtomem put it together: {:,} vectors.",
    "without_vector": "Without a vector, so not found by meaning: {:,} chunks.",
    "without_chunk": "Without a chunk, which does no harm: {:,} vectors.",
    "gone": "Gone from the disk, so no index command mends them: {:,} files.",
    "several_namespaces": "In several namespaces, which --force does not keep apart: {:,} files.",
}
PLACES = """SELECT r.rowid, chunk_id, chunk_offset, source_file,
    coalesce((julianday(created_at) - 2440587.5) * 86400, 0),
    coalesce((julianday(updated_at) - 2440587.5) * 86400, 4e9)
    FROM chunks_vec_rowids r LEFT JOIN chunks c ON c.rowid = r.rowid ORDER BY chunk_id"""
BLOCK = """SELECT vectors, k.rowids, validity FROM chunks_vec_chunks k
    JOIN chunks_vec_vector_chunks00 v ON v._rowid_ = chunk_id WHERE chunk_id = ? AND size = 1024
    AND length(vectors) = 4096 * ? AND length(k.rowids) = 8192 AND length(validity) = 128"""

# Where a vector lies, and what it is chosen by; `created`, `updated`: its chunk's, Unix seconds.
Vector = namedtuple("Vector", "rowid block slot file created updated")


class Unknown(Exception):
    """Why there is no answer; a remedy, if there is one, on a line of its own."""


def find_python(program: str) -> str:
    """The interpreter behind `mm`, or a Python given as it is. Raises Unknown."""
    path = shutil.which(program) or ""
    data = Path(path).read_bytes() if path else b""
    if data[:2] != b"MZ":  # else a Windows launcher, pip's or uv's: it holds the path as text
        data = b"\n".join(data[:4096].splitlines()[:2])  # after #!, or in an '''exec' line
    held = re.findall(
        rb'(?:[A-Za-z]:\\|\\\\|/)[^\0-\x1f"<>|*?]*python(?:[\d.]*\d)?(?:\.exe)?', data
    )
    beside = os.path.join(os.path.dirname(os.path.realpath(path)), "python")  # relocatable
    given = [path] if os.path.basename(path).lower().startswith("python") else []
    for name in [*given, *map(os.fsdecode, held[::-1]), beside]:
        by_env = name.startswith("/usr/bin/env ") and shutil.which(name.split()[-1])
        if python := shutil.which(by_env or name):
            return python
    why = f"{path} does not say which Python runs it" if path else f"there is no program {program}"
    raise Unknown(f"{why}\nName memtomem's mm, or the Python that has memtomem, with --mm PATH.")


def memtomem(name: str) -> Any:
    """A thing of memtomem's, such as "config.Mem2MemConfig". Raises Unknown where it is gone."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(f"memtomem.{module}"), attribute)
    except (ImportError, AttributeError) as error:
        said = f"there is no memtomem.{name} in {sys.executable}: {error}"
        raise Unknown(
            f"{said}\nIf that is not memtomem's Python, name its mm: --mm PATH."
        ) from error


def at_most(total: int, drawn: int) -> int:
    """So many of `total` can be another model's, with 95 % confidence, if none of `drawn` is."""
    others, unseen = 0, 1.0  # `unseen`: the chance that the draw misses that many
    while unseen > 0.05 and others < total:
        unseen *= max(0, total - drawn - others) / (total - others)
        others += 1
    return others - (unseen <= 0.05)


def cosine(stored: Sequence[float], fresh: Sequence[float]) -> float | None:
    """From -1 to 1; -1 if the stored one has no direction, None if the fresh one has none."""
    ours, theirs = math.hypot(*stored), math.hypot(*fresh)
    if not 0 < theirs < math.inf:
        return 1.0 if ours == theirs else None
    dot = sum(map(float.__mul__, stored, map(float, fresh)))
    return dot / (ours * theirs) if 0 < ours < math.inf else -1.0


def plain(text: object, room: int = 0) -> str:
    """Harmless to a terminal. With `room`, the end of it, so many columns wide."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text)[-1000:])
    while 0 < room < (wide := sum(1 + (east_asian_width(c) in "WF") for c in shown)):
        shown = "…" + shown[2:]
    return shown + " " * (room - wide if room else 0)


def is_live(database: str | None) -> str:
    """The verdict of the mm-preflight that lies beside; "unknown" if there is none."""
    command = [sys.executable, str(Path(__file__).with_name("mm_preflight")), "--json"]
    command += ["--db", database] if database else []
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, stdin=subprocess.DEVNULL)
        return str(json.loads(done.stdout)["verdict"])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return "unknown"


class Run:
    """One run. However it ends, what it found until then can be told."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.reason, self.n = options, "", Counter[str]()
        self.model = self.database = self.configured = ""
        self.vectors, self.others, self.seen = list[Vector](), list[Vector](), set[int]()
        self.spaces = defaultdict[str, set[str]](set)  # the namespaces of each file
        self.block: Any = None  # the one read last: its number, floats, rowids, validity

    def prepare(self) -> None:
        """Read memtomem's configuration, and where each vector lies. Raises Unknown."""
        self.config = memtomem("config.Mem2MemConfig")()
        memtomem("config.load_config_d")(self.config)
        load = memtomem("config.load_config_overrides")
        load(self.config, **dict.fromkeys({"migrate"} & set(load.__kwdefaults__ or ()), False))
        wanted = self.config.embedding
        self.model = f"{wanted.provider}/{wanted.model}"
        self.configured = os.path.realpath(os.path.expanduser(self.config.storage.sqlite_path))
        self.database = os.path.realpath(self.options.db or self.configured)
        self.read(Path(self.database))
        names = [wanted.provider, wanted.model, str(wanted.dimension)]
        meta = dict(self.db.execute("SELECT key, value FROM _memtomem_meta").fetchall())
        held = [meta.get(f"embedding_{key}", "?") for key in ("provider", "model", "dimension")]
        # An ONNX model may be named with its owner, or without.
        if len({"/".join(part.rpartition("/")[2] for part in each) for each in (names, held)}) > 1:
            told = "the configuration names {}/{} ({} numbers), the database {}/{} ({})"
            raise Unknown(f"{told.format(*names, *held)}\nSee: mm embedding-reset")
        if not self.vectors:
            raise Unknown(f"there are no vectors: with {self.model}, search is by words alone")
        logging.disable()  # what it says of the configuration was heard; the rest is told here
        self.embedder = memtomem("embedding.factory.create_embedder")(wanted)
        self.runner = asyncio.Runner()

    def read(self, path: Path) -> None:
        """Read where each vector lies. Raises Unknown, and sqlite3.Error."""
        if not path.is_file():
            raise Unknown(f"there is no database {path}")
        # In a folder that it may not write to, SQLite reads a log only if it is in use already.
        log, shared = Path(f"{path}-wal"), Path(f"{path}-shm")
        used = shared.exists() or (log.is_file() and log.stat().st_size)
        still = "" if used or os.access(path.parent, os.W_OK) else "&immutable=1"
        self.db = sqlite3.connect(f"{path.as_uri()}?mode=ro{still}", uri=True, timeout=5)
        self.db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        self.db.execute("BEGIN")  # one state of it, whoever writes meanwhile
        columns = [column[1] for column in self.db.execute("PRAGMA table_info(chunks)")]
        self.context = "retrieval_context" if "retrieval_context" in columns else "''"
        sql = "SELECT sql FROM sqlite_master WHERE name = 'chunks_vec'"
        table = self.db.execute(sql).fetchone() or ("",)
        form = re.search(r"vec0\(\s*embedding float\[(\d+)\]\s*\)", table[0])
        self.dimension = int(form[1]) if form else 0
        places = list(map(Vector._make, self.db.execute(PLACES))) if table[0] else []
        self.vectors = [vector for vector in places if vector.file is not None]
        (chunks,) = self.db.execute("SELECT count(*) FROM chunks").fetchone()
        self.n["without_vector"] = chunks - len(self.vectors)
        self.n["without_chunk"] = len(places) - len(self.vectors)

    def stored(self, batch: Sequence[Vector]) -> dict[int, list[float]]:
        """The vectors themselves, by rowid; each block of 1,024 is read once, while in order."""
        found: dict[int, list[float]] = {}
        for vector in sorted(batch, key=lambda vector: vector.block):
            if not self.block or vector.block != self.block[0]:
                row = self.db.execute(BLOCK, (vector.block, self.dimension)).fetchone() or [b""] * 3
                floats, rowids = memoryview(row[0]).cast("f"), memoryview(row[1]).cast("q")
                self.block = vector.block, floats, rowids, row[2]
            _, floats, rowids, valid = self.block
            slot, start = vector.slot, vector.slot * self.dimension
            there = rowids and rowids[slot] == vector.rowid and valid[slot // 8] >> slot % 8 & 1
            if not there:
                raise Unknown("its vectors do not lie as sqlite-vec 0.1 lays them")
            found[vector.rowid] = floats[start : start + self.dimension].tolist()
        return found

    def texts(self, batch: Sequence[Vector]) -> dict[int, list[str]]:
        """By rowid what memtomem embeds of each chunk, then what older releases embedded."""
        chunk, metadata = memtomem("models.Chunk"), memtomem("models.ChunkMetadata")
        sql = f"SELECT rowid, content, heading_hierarchy, {self.context} FROM chunks"
        sql, found = f"{sql} WHERE rowid IN ({','.join('?' * len(batch))})", {}
        for rowid, content, headings, context in self.db.execute(sql, [v.rowid for v in batch]):
            old = {"source_file": Path(), "heading_hierarchy": tuple(json.loads(headings))}
            new = old | ({"retrieval_context": context} if context else {})
            whole = [chunk(content, metadata(**each)).retrieval_content for each in (new, old)]
            found[rowid] = list(dict.fromkeys(text[:LONGEST] for text in [*whole, content]))
        return found

    def embed(self, texts: list[str]) -> list[Any]:
        """A vector for each text, None for one that the embedder does not take. Raises Unknown."""
        self.n["sent"] += len(texts)
        try:
            asked = asyncio.wait_for(self.embedder.embed_texts(texts), PATIENCE)
            vectors = list(self.runner.run(asked))
        except Exception as error:
            lasting = isinstance(error, TimeoutError) or "Retryable" in type(error).__name__
            if len(texts) > 1 and not lasting:
                return [self.embed([text])[0] for text in texts]
            self.n["refused"] += 1
            if lasting or self.n["refused"] > FEW:
                why = str(error) or f"no answer in {PATIENCE:g} s"
                raise Unknown(f"the embedder gives no vectors: {why}") from error
            return [None]
        sizes = {len(vector) for vector in vectors}
        if len(vectors) != len(texts) or sizes != {self.dimension}:
            told = f"{len(vectors)} vectors of {sizes} numbers for {len(texts)} texts"
            raise Unknown(f"the embedder gave {told}; the database's have {self.dimension}")
        return vectors

    def check(self, todo: Sequence[Vector]) -> None:
        """Embed these again and compare, in batches that take about a second. Raises Unknown."""
        self.consent(len(todo))
        began, size, done = time.monotonic(), 16, 0
        while done < len(todo):
            start, batch = time.monotonic(), todo[done : done + size]
            stored, texts, best = self.stored(batch), self.texts(batch), dict[int, float]()
            for turn in range(3):
                asked = [r for r in texts if len(texts[r]) > turn and best.get(r, -1) < OURS]
                fresh = self.embed([texts[r][turn] for r in asked]) if asked else []
                for rowid, vector in zip(asked, fresh, strict=True):
                    score = cosine(stored[rowid], vector) if vector else None
                    if score is not None and (turn == 0 or score >= OURS):
                        best[rowid] = score
                        self.n["older_text"] += turn > 0
            self.others += [v for v in batch if best.get(v.rowid, 1) < ANOTHERS]
            self.n["between"] += sum(ANOTHERS <= score < OURS for score in best.values())
            self.n["not_embedded"] += len(batch) - len(best)
            self.seen.update(v.rowid for v in batch)
            done, took = done + len(batch), time.monotonic() - start
            size = min(256, size * 2) if took < 1 else max(1, size // 2) if took > 3 else size
            progress(done, len(todo), time.monotonic() - began)

    def consent(self, texts: int) -> None:
        """Ask, before texts leave this machine. Raises Unknown if nobody says yes."""
        name, url = self.config.embedding.provider.lower(), self.config.embedding.base_url
        local = name == "onnx" or ((url or name == "ollama") and re.fullmatch(LOCAL, url))
        if local or self.options.yes or not texts:
            return
        where = plain(SECRET.sub("//", url) or name)
        told = f"{texts:,} texts would go to {where} for {plain(self.model)}"
        told += ", and may cost"
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise Unknown(f"{told}\nIf they may, say so with --yes.")
        print(f"{told}. Send them? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Unknown("not all texts were sent")

    def search(self) -> None:
        """Check all, or a sample; if that finds any, all that may have come with them, too."""
        whole = self.options.all or self.options.sample >= len(self.vectors)
        self.check(self.vectors if whole else random.sample(self.vectors, self.options.sample))
        before = 0
        while len(self.others) > before and not self.matches_nothing():
            # A vector was written between these; a tag that is edited moves `updated` alone.
            since, files = min(v.created for v in self.others), {v.file for v in self.others}
            rest = [v for v in self.vectors if v.rowid not in self.seen]
            near = [v for v in rest if v.updated >= since or v.file in files]
            if not near:  # it may have begun before the earliest one found
                before, near = len(self.others), sorted(rest, key=lambda v: v.updated)[-NEAR:]
            self.check(near)

    def matches_nothing(self) -> bool:
        """Then the whole database is another's, and a sample says so."""
        return len(self.others) == len(self.seen) > FEW

    def commands(self) -> list[list[str]]:
        """What embeds again what was found, namespaces kept: a folder where it is mostly hit."""
        version = "0"
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version("memtomem")
        # Before 0.5 --force resolved namespaces anew.
        moves = [int(part) for part in re.findall(r"\d+", version)[:2]] < [0, 5]
        places = getattr(getattr(self.config, "indexing", None), "memory_dirs", ())
        roots = sorted(os.path.realpath(os.path.expanduser(place)) for place in places)
        hit = {v.file for v in (self.vectors if self.matches_nothing() else self.others)}
        above, total, hits = defaultdict[str, list[str]](list), Counter[str](), Counter[str]()
        names = defaultdict[str, set[str]](set)
        for file in self.spaces:
            for root in [root for root in roots if file.startswith(root + os.sep)][:1]:
                inner = file[len(root) + 1 :].split(os.sep)
                above[file] = [os.sep.join([root, *inner[:depth]]) for depth in range(len(inner))]
            total.update(above[file])
            hits.update(above[file] if file in hit else ())
            for place in (file, *above[file]):
                names[place] |= self.spaces[file]
        chosen = set()
        for file in [file for file in hit if os.path.isfile(file) and len(names[file]) == 1]:
            mostly = (p for p in above[file] if 1 < hits[p] >= total[p] / 2)
            chosen.add(next((p for p in mostly if len(names[p]) == 1 or not moves), file))
        keep = {place: ["--namespace", *names[place]] if moves else [] for place in chosen}
        return [["mm", "index", "--force", *keep[place], place] for place in sorted(chosen)]

    def files(self) -> list[dict[str, Any]]:
        """The files of the vectors that were found; `written`: Unix seconds."""
        for file, name in self.db.execute("SELECT DISTINCT source_file, namespace FROM chunks"):
            self.spaces[file].add(name)
        of_file, written, files = Counter(v.file for v in self.vectors), Counter[str](), []
        for vector in self.others:
            written[vector.file] = max(written[vector.file], int(vector.updated))
        for path, others in sorted(Counter(v.file for v in self.others).items()):
            there, note = os.path.isfile(path), ""
            if there and os.stat(path).st_mtime > written[path] + 2:
                note = "edited"
            if not there or len(self.spaces[path]) > 1:
                note = "several_namespaces" if there else "gone"
            self.n[note] += 1
            about = {"path": path, "chunks": of_file[path], "others": others}
            files.append(about | {"written": written[path], "note": note})
        return files

    def answer(self) -> dict[str, Any]:
        """What --json prints, and what the report for people is made of."""
        files = self.files() if self.others else []
        total, checked = len(self.vectors), len(self.seen)
        untold = self.n["between"] or self.n["not_embedded"]
        drawn = 0 if self.options.all or untold else min(self.options.sample, checked)
        neither = self.reason or untold or not checked
        verdict = "mixed" if files else "unknown" if neither else "one-model"
        answer: dict[str, Any] = {"schema_version": 1, "verdict": verdict, "reason": self.reason}
        answer |= {"model": self.model, "database": self.database, "vectors": total}
        answer |= {"checked": checked, "others": len(self.others), "texts_sent": self.n["sent"]}
        answer |= {"at_most": at_most(total, drawn) if 0 < drawn < total > checked else None}
        answer |= {key: self.n[key] for key in NOTES}
        answer |= {"matches_nothing": self.matches_nothing(), "preflight": self.options.inside}
        configured = self.database == self.configured
        mend = self.commands() if files and configured else []
        return answer | {"configured": configured, "files": files, "mend": mend}

    def tell(self) -> int:
        """Print the answer; the exit status."""
        answer = self.answer()
        text = json.dumps(answer, indent=2) if self.options.json else report(answer)
        aside = answer["verdict"] == "unknown" and not self.options.json
        with contextlib.suppress(OSError):  # whoever reads it may have gone
            print(text, file=sys.stderr if aside else sys.stdout, flush=True)
        return 130 if self.reason == STOPPED else EXIT[answer["verdict"]]


def progress(done: int, total: int, took: float) -> None:
    """On a terminal only: how far it is, and how long it takes if it goes on like this."""
    if sys.stderr.isatty():
        left = took / done * (total - done)
        lasts = f"about {left:.0f} s left" if left < 100 else f"about {left / 60:.0f} min left"
        line = f"  [{'#' * (30 * done // total):<30}] {done:,} of {total:,}, {lasts}"
        print(f"\r{line if done < total else '':<78}\r", end="", file=sys.stderr, flush=True)


def table(files: Sequence[dict[str, Any]], home: str) -> list[str]:
    """The files that were found, the first of them by name."""

    def when(written: int) -> str:
        local, today = datetime.fromtimestamp(written), datetime.now().date()
        return f"{'today' if local.date() == today else local.date()} {local:%H:%M}"

    lines = ["", f"  {'FILE':<40}{'CHUNKS':>12}   WRITTEN"] if files else []
    for each in files[:FEW]:
        hit, note = f"{each['others']:,} of {each['chunks']:,}", each["note"].partition("_")[0]
        name = plain(each["path"].replace(home, f"~{os.sep}", 1), 40)
        lines.append(f"  {name}{hit:>12}   {when(each['written']):<16} {note}".rstrip())
    if rest := files[FEW:]:
        try:
            where = os.path.commonpath([os.path.dirname(each["path"]) for each in rest]) + os.sep
        except ValueError:  # two drives
            where = "several places "
        where = where.replace(home, f"~{os.sep}", 1)[:-1]
        since = when(min(each["written"] for each in rest))
        lines.append(f"  … and {len(rest):,} more, all in {where}, all since {since}")
    return lines


def to_paste(argv: Sequence[str], home: str) -> str:
    """The command as a shell takes it; "" if cmd and PowerShell take none in the same way."""
    if os.name != "nt":
        return shlex.join(argv).replace(f" {home}", " ~/")
    words = [word if re.fullmatch(r"[\w.:\\-]+", word) else f'"{word}"' for word in argv]
    return "" if any(map(RISKY.search, argv)) else " ".join(words)  # neither hands on a ~


def report(a: dict[str, Any]) -> str:
    """The answer for people, at 80 columns."""
    home = os.path.expanduser("~") + os.sep
    of = f"{a['checked']:,} vectors{' checked' * (a['checked'] < a['vectors'])}"
    reason, *remedy = (a["reason"] or "for some vectors it cannot be told").split("\n")[:4]
    gives = f"what {a['model']} gives"
    head = {"one-model": f"one model, all {of} are {gives}", "unknown": f"unknown, {reason}"}
    head["mixed"] = f"mixed, {a['others']:,} of {of} are not {gives}"
    lines = [f"mm-postflight: {head[a['verdict']]}", *remedy, *table(a["files"], home)]
    mend = [to_paste(argv, home) for argv in a["mend"]]
    shown = [f"  {line}" for line in mend if line and line.isprintable()][:FEW]
    if mend:
        lines += ["", "Mend them (stop every mm process first: mm-preflight):", *shown]
        lines += [f"  … and {len(mend) - len(shown)} more: see --json"] * (len(shown) < len(mend))
        lines += ["Then run mm-postflight --all again.", ""]
    elif a["files"] and not a["configured"]:
        lines += ["", "mm works on the configured database: no command is named for another one."]
    lines += [f"It did not come to its end: {reason}."] * bool(a["files"] and a["reason"])
    if a["matches_nothing"]:
        lines += ["Nothing matches. Does the configuration name the model that you want?"]
    elif a["at_most"] is not None:
        share = math.ceil(1000 * (a["at_most"] + 1) / a["vectors"]) / 10
        lines += [f"With 95 % confidence, fewer than {share:g} % of all {a['vectors']:,} vectors "]
        lines[-1] += f"{'beside these ' * bool(a['files'])}are not. --all checks every one."
    notes = [text.format(a[key]) for key, text in NOTES.items() if a[key]]
    page = "https://memtomem.github.io/mm-preflight/reference/postflight/#notes"
    lines += [*notes, *[f"More about that: {page}"] * bool(notes)]
    if a["preflight"] == "live":
        lines += ["An mm process is alive: the answer may not last. Run mm-preflight."]
    wrapped = [[x] if x in shown else textwrap.wrap(plain(x), 80) or [""] for x in lines]
    return "\n".join(line for each in wrapped for line in each).rstrip()


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 one model, 1 mixed, 2 unknown, 130 Ctrl-C."""
    about = "Is every vector in memtomem's database what its configured model gives? Read-only."
    status = "Exit status: 0 all that was checked is, 1 some is not, 2 it could not be told."
    parser = argparse.ArgumentParser("mm-postflight", None, about, status, allow_abbrev=False)
    add = parser.add_argument
    add("--all", action="store_true", help="check every vector")
    add("--sample", type=int, default=300, metavar="N", help="or N of them (300)")
    add("--json", action="store_true", help="print one JSON object")
    add("--db", metavar="PATH", help="in place of the configured database")
    add("--mm", metavar="PROGRAM", default="mm", help="memtomem's mm (on PATH)")
    add("--yes", action="store_true", help="texts may leave this machine, and cost")
    add("--inside", default="", help=argparse.SUPPRESS)  # mm-preflight's verdict
    words = sys.argv[1:] if argv is None else list(argv)
    run = Run(options := parser.parse_args(words))
    for stream in [sys.stdout, sys.stderr]:
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        if options.sample < 1:
            raise Unknown("--sample takes a number from 1")
        if not options.inside:
            python = find_python(options.mm)
            inside = [python, "-P", __file__, "--inside", is_live(options.db), *words]
            if os.name == "nt":
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # that one hears it, and reports
                return subprocess.call(inside)
            os.execv(python, inside)
        run.prepare()
        run.search()
    except KeyboardInterrupt:
        run.reason = STOPPED
    except Exception as error:
        kind = "" if isinstance(error, Unknown) else f"{type(error).__name__}: "
        run.reason = SECRET.sub("//", f"{kind}{error}")
    try:
        return run.tell()
    except Exception as error:  # whatever it is, it is no verdict
        print(f"mm-postflight: internal error, please report it: {error!a}", file=sys.stderr)
        return EXIT["unknown"]


if __name__ == "__main__":
    status = main()
    os._exit(status)  # at once: a thread of memtomem's may hang
