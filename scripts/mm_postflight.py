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
import json
import logging
import math
import os
import pkgutil
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
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

OURS, ANOTHERS = 0.98, 0.80  # cosine: from the one up this model's, below the other another's
FINE = ["ours", "older_text", "older_text"]  # a vector of its text as it is embedded now, or was
BATCH = 32  # texts that are embedded together at least: few enough for a slow machine
PATIENCE = 300.0  # seconds for a batch: the model may have to be loaded first
NEAR = 300  # so many vectors from before the earliest one found are looked at, too
FEW = 8  # so many lines of a kind are printed, so many texts in a row may fail to be embedded
EXIT = {"one-model": 0, "mixed": 1, "unknown": 2}
STOPPED = "stopped by Ctrl-C"
SECRET = re.compile(r"(?<=//)[^/\s]*@|(?<=[\w/])\?[^\s'\"]+|(?<=Bearer )[^'\"]+")  # in a URL
LOCAL = r"https?://(localhost|127\.[\d.]+|\[::1\]|0\.0\.0\.0)(:\d+)?(/.*)?"
PYTHON = rb'(?:/usr/bin/env (?:-S )?|(?=/|\w:\\|\\\\))([^\0-\x1f"<>|*?]*python(?:\.?\d)*(?:\.exe)?)'
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
PLACES = """SELECT r.rowid, chunk_id, chunk_offset, source_file, 0 + coalesce(strftime('%s',
    created_at), 0), 0 + coalesce(strftime('%s', updated_at), 4000000000)
    FROM chunks_vec_rowids r LEFT JOIN chunks c ON c.rowid = r.rowid"""
BLOCK = """SELECT vectors, k.rowids, validity FROM chunks_vec_chunks k
    JOIN chunks_vec_vector_chunks00 v ON v._rowid_ = chunk_id WHERE chunk_id = ? AND size = 1024
    AND length(vectors) = 4096 * ? AND length(k.rowids) = 8192 AND length(validity) = 128"""

# Where a vector lies, and what it is chosen by; `created`, `updated`: its chunk's, Unix seconds.
Vector = namedtuple("Vector", "rowid block slot file created updated")


class Unknown(Exception):
    """Why there is no answer; a remedy, if there is one, on a line of its own."""


def find_python(program: str) -> str:
    """The interpreter behind `mm`, or a Python given as it is. Raises Unknown."""
    why = f"there is no program {program}"
    if path := shutil.which(program):
        why = f"{path} does not say which Python runs it"
        data = Path(path).read_bytes()
        if data[:2] != b"MZ":  # else a Windows launcher, pip's or uv's: it holds the path as text
            data = b"\n".join(data[:4096].splitlines()[:2])  # after #!, or in an '''exec' line
        beside = os.path.join(os.path.dirname(os.path.realpath(path)), "python")  # relocatable
        named = re.findall(PYTHON, b"\n".join([os.fsencode(beside), data, os.fsencode(path)]))
        for name in reversed(named):
            if python := shutil.which(os.fsdecode(name)):
                return python
    raise Unknown(f"{why}\nName memtomem's mm, or the Python that has memtomem, with --mm PATH.")


def go_inside(options: argparse.Namespace, words: list[str]) -> int:
    """Run this file under memtomem's Python, told what mm-preflight says. Raises Unknown."""
    python, database = find_python(options.mm), ["--db", options.db] if options.db else []
    look = [sys.executable, str(Path(__file__).with_name("mm_preflight")), "--json", *database]
    verdict = None
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        told = subprocess.run(look, capture_output=True, stdin=subprocess.DEVNULL, timeout=20)
        verdict = re.search(r'"verdict": "(\w+)"', told.stdout.decode(errors="replace"))
    inside = [python, "-P", __file__, "--inside", verdict[1] if verdict else "unknown", *words]
    if os.name == "nt":
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # that one hears it, and reports
        return subprocess.call(inside)
    # Ctrl-C waits until `main` can hear it: Python's own start would end in 1, as "mixed" does.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.execv(python, inside)


def memtomem(name: str) -> Any:
    """A thing of memtomem's, such as "config.Mem2MemConfig". Raises Unknown where it is gone."""
    try:
        return pkgutil.resolve_name(f"memtomem.{name}")
    except (ImportError, AttributeError) as error:
        why = f"there is no memtomem.{name} in {sys.executable}: {error}\n"
        raise Unknown(why + "If that is not memtomem's Python, name its mm: --mm PATH.") from error


def at_most(total: int, drawn: int) -> int:
    """So many of `total` can be another model's, with 95 % confidence, if none of `drawn` is."""
    others, unseen = 0, 1.0  # `unseen`: the chance that the draw misses that many
    while unseen > 0.05:
        unseen *= (total - drawn - others) / (total - others)
        others += 1
    return others - 1


def cosine(stored: list[float], fresh: list[float]) -> float | None:
    """From -1 to 1; -1 if the stored one has no direction, None if the fresh one has none."""
    ours, theirs = math.hypot(*stored), math.hypot(*fresh)
    if not 0 < theirs < math.inf:
        return 1.0 if ours == theirs == 0 else None
    if not 0 < ours < math.inf:
        return -1.0
    return sum(a / ours * (b / theirs) for a, b in zip(stored, fresh, strict=True))


class Run:
    """One run. However it ends, what it found until then can be told."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.told: dict[str, Any] = {"schema_version": 1, "verdict": "", "reason": "", "model": ""}
        self.told |= {"database": "", "configured": True, "preflight": options.inside}
        self.options, self.n, self.vectors = options, Counter[str](), list[Vector]()
        self.kinds, self.others = dict[Vector, str](), list[Vector]()  # of those that were checked

    def prepare(self) -> None:
        """Read memtomem's configuration, and where each vector lies. Raises Unknown."""
        if os.name != "nt":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self.config = memtomem("config.Mem2MemConfig")()
        memtomem("config.load_config_d")(self.config)
        load = memtomem("config.load_config_overrides")
        load(self.config, **dict.fromkeys({"migrate"} & set(load.__kwdefaults__ or ()), False))
        wanted = self.config.embedding
        names = [wanted.provider, wanted.model, str(wanted.dimension)]
        self.told["model"], self.dimension = "/".join(names[:2]), wanted.dimension
        configured = os.path.realpath(os.path.expanduser(self.config.storage.sqlite_path))
        database = os.path.realpath(self.options.db or configured)
        self.told |= {"database": database, "configured": database == configured}
        self.read(Path(database))
        if not self.vectors:
            raise Unknown("there are no vectors: search is by words alone")
        meta = dict(self.db.execute("SELECT key, value FROM _memtomem_meta"))
        held = [meta.get(f"embedding_{key}", "?") for key in ("provider", "model", "dimension")]
        # An ONNX model may be named with its owner, or without, in any case.
        bare = [re.sub(".*/", "", "\n".join(each)).lower() for each in (names, held)]
        if names != held and (names[0].lower() != "onnx" or bare[0] != bare[1]):
            told = "the configuration names {}/{} ({} numbers), the database {}/{} ({})"
            raise Unknown(f"{told.format(*names, *held)}\nSee: mm embedding-reset")
        logging.disable()  # what it says of the configuration was heard; the rest is told here
        self.embedder = memtomem("embedding.factory.create_embedder")(wanted)
        self.runner = asyncio.Runner()

    def read(self, path: Path) -> None:
        """Read where each vector lies. Raises Unknown, and sqlite3.Error."""
        if not path.is_file():
            raise Unknown(f"there is no database {path}")
        # In a folder that it may not write to, SQLite reads a log only if it is in use already.
        logged = os.path.exists(f"{path}-wal") or os.path.exists(f"{path}-shm")
        still = "" if logged or os.access(path.parent, os.W_OK) else "&immutable=1"
        self.db = sqlite3.connect(f"{path.as_uri()}?mode=ro{still}", uri=True)
        self.db.row_factory = sqlite3.Row
        self.db.execute("BEGIN")  # one state of it, whoever writes meanwhile
        there = self.db.execute("SELECT 1 FROM sqlite_master WHERE name = 'chunks_vec'").fetchone()
        places = list(map(Vector._make, self.db.execute(PLACES))) if there else []
        self.vectors = [vector for vector in places if vector.file is not None]
        (chunks,) = self.db.execute("SELECT count(*) FROM chunks").fetchone()
        self.n["without_vector"] = chunks - len(self.vectors)
        self.n["without_chunk"] = len(places) - len(self.vectors)

    def stored(self, todo: list[Vector]) -> Iterator[tuple[Vector, list[Any]]]:
        """Each vector with its numbers; one block of 1,024 is in memory. Raises Unknown."""
        for block, vectors in groupby(sorted(todo, key=lambda v: v.block), lambda v: v.block):
            row = self.db.execute(BLOCK, (block, self.dimension)).fetchone() or (b"", b"", b"")
            floats, rowids = memoryview(row[0]).cast("f"), memoryview(row[1]).cast("q")
            slots = {r: slot for slot, r in enumerate(rowids) if row[2][slot // 8] >> slot % 8 & 1}
            for vector in vectors:
                if slots.get(vector.rowid) != vector.slot:
                    raise Unknown("its vectors do not lie as sqlite-vec 0.1 lays them")
                start = vector.slot * self.dimension
                yield vector, floats[start : start + self.dimension].tolist()

    def texts(self, vector: Vector) -> list[str]:
        """What memtomem embeds of its chunk, then what older releases embedded. Raises Unknown."""
        chunk, metadata = memtomem("models.Chunk"), memtomem("models.ChunkMetadata")
        (row,) = self.db.execute("SELECT * FROM chunks WHERE rowid = ?", [vector.rowid])
        headings = tuple(json.loads(row["heading_hierarchy"]))
        old = {"source_file": Path(), "heading_hierarchy": headings}
        context = dict(row).get("retrieval_context")  # 0.4.0 has no such column
        new = old | ({"retrieval_context": context} if context else {})
        whole = [chunk(row["content"], metadata(**about)).retrieval_content for about in (new, old)]
        return list(dict.fromkeys([*whole, row["content"]]))

    def embed(self, texts: list[str]) -> list[Any]:
        """A vector for each text, None for one that the embedder does not take. Raises Unknown."""
        self.n["texts_sent"] += len(texts)
        try:
            asked = asyncio.wait_for(self.embedder.embed_texts(texts), PATIENCE)
            vectors = list(self.runner.run(asked))
        except Exception as error:
            lasting = isinstance(error, TimeoutError) or "Retryable" in type(error).__name__
            if len(texts) > 1 and not lasting:
                return [vector for text in texts for vector in self.embed([text])]
            self.n["refused"] += 1
            if lasting or self.n["refused"] > FEW:
                why = str(error) or f"no answer in {PATIENCE:g} s"
                raise Unknown(f"the embedder gives no vectors: {why}") from error
            return [None]
        if (sizes := [len(vector) for vector in vectors]) != [self.dimension] * len(texts):
            told = f"{len(sizes)} vectors of {set(sizes)} numbers for {len(texts)} texts"
            raise Unknown(f"the embedder gave {told}; the database's have {self.dimension}")
        self.n["refused"] = 0
        return vectors

    def check(self, todo: list[Vector]) -> None:
        """Embed these again, in batches, and compare; on a terminal, with a bar. Raises Unknown."""
        self.consent(len(todo))
        began, source, done, size = time.monotonic(), self.stored(todo), 0, BATCH
        while batch := dict(islice(source, size)):
            texts, kinds = {v: self.texts(v) for v in batch}, dict.fromkeys(batch, "not_embedded")
            for turn, fine in enumerate(FINE):
                doubted = [v for v in batch if not turn or kinds[v] in ("others", "between")]
                asked = [v for v in doubted if texts[v][turn:]]
                fresh = self.embed([texts[v][turn] for v in asked]) if asked else []
                for vector, numbers in zip(asked, fresh, strict=True):
                    score = cosine(batch[vector], numbers) if numbers else None
                    if score is not None and score >= OURS:
                        kinds[vector] = fine
                    elif score is not None and (turn == 0 or score >= ANOTHERS):
                        kinds[vector] = "between" if score >= ANOTHERS else "others"
            self.kinds |= kinds
            self.others += [vector for vector in batch if kinds[vector] == "others"]
            done += len(batch)
            pace = done / max(time.monotonic() - began, 0.001)  # texts in a second
            size, left = min(8 * BATCH, max(BATCH, int(pace))), (len(todo) - done) / pace
            lasts = f"about {left:.0f} s left" if left < 100 else f"about {left / 60:.0f} min left"
            bar = f"  [{'#' * (30 * done // len(todo)):<30}] {done:,} of {len(todo):,}, {lasts}"
            if os.isatty(2):
                shown = bar if done < len(todo) else ""
                print(f"\r{shown:<78}\r", end="", file=sys.stderr, flush=True)

    def consent(self, texts: int) -> None:
        """Ask, before texts leave this machine. Raises Unknown if nobody says yes."""
        name, url = self.config.embedding.provider.lower(), self.config.embedding.base_url
        local = re.fullmatch(LOCAL, url or {"ollama": "http://localhost"}.get(name, ""))
        if local:  # whatever proxy is set
            os.environ |= dict.fromkeys(("NO_PROXY", "no_proxy"), "*")
        if local or name == "onnx" or self.options.yes:
            return
        where = f"{SECRET.sub('', url) or name} for {self.told['model']}"
        told = plain(f"{texts:,} texts or more would go to {where}, and may cost")
        if not (os.isatty(0) and os.isatty(2)):
            raise Unknown(f"{told}\nIf they may, say so with --yes.")
        print(f"{told}. Send them? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Unknown("not all texts were sent")

    def search(self) -> None:
        """Check all, or a sample; if that finds any, all that may have come with them, too."""
        whole, before = self.options.all or self.options.sample >= len(self.vectors), 0
        todo = self.vectors if whole else random.sample(self.vectors, self.options.sample)
        while todo:
            self.check(todo)
            if not self.others or self.matches_nothing():
                return
            # A vector was written between these; a tag that is edited moves `updated` alone.
            since, files = min(v.created for v in self.others), {v.file for v in self.others}
            rest = [v for v in self.vectors if v not in self.kinds]
            todo = [v for v in rest if v.updated >= since or v.file in files]
            if not todo and len(self.others) > before:  # there may be some from before that
                before, todo = len(self.others), sorted(rest, key=lambda v: v.updated)[-NEAR:]

    def matches_nothing(self) -> bool:
        """Then the whole database is another's, and a sample says so."""
        return len(self.others) == len(self.kinds) > FEW

    def files(self) -> list[dict[str, Any]]:
        """The files of the vectors that were found; `written`: Unix seconds."""
        self.spaces = defaultdict[str, set[str]](set)  # the namespaces of each file
        for file, name in self.db.execute("SELECT DISTINCT source_file, namespace FROM chunks"):
            self.spaces[file].add(name)
        chunks, others = (Counter(v.file for v in each) for each in (self.vectors, self.others))
        written = {v.file: v.updated for v in sorted(self.others, key=lambda v: v.updated)}
        files = []
        for path, last in sorted(written.items()):
            note = "several_namespaces" if len(self.spaces[path]) > 1 else ""
            if not os.path.isfile(path):
                note = "gone"
            elif not note and os.path.getmtime(path) > last + 2:
                note = "edited"
            about = {"path": path, "chunks": chunks[path], "others": others[path]}
            files.append(about | {"written": last, "note": note})
        return files

    def mend(self) -> list[list[str]]:
        """What embeds again what was found, namespaces kept: a folder where it is mostly hit."""
        hit = {v.file for v in (self.vectors if self.matches_nothing() else self.others)}
        left = {file for file in hit if os.path.isfile(file) and len(self.spaces[file]) == 1}
        inside, commands = {file: {file} for file in left}, []  # by each place that may be named
        mm = re.sub(r"python[\d.]*(?=(\.exe)?$)", "mm", self.options.mm)  # the one beside a Python
        places = map(os.path.expanduser, self.config.indexing.memory_dirs)
        roots = tuple(os.path.realpath(place) + os.sep for place in places)  # never "/" itself
        for file in self.spaces:
            for end in [at for at, sign in enumerate(file) if sign == os.sep]:
                if file[: end + 1].startswith(roots):
                    inside.setdefault(file[:end], set()).add(file)
        version = getattr(sys.modules.get("memtomem"), "__version__", "")
        moves = re.match(r"0\.[0-4]\b", version)  # there --force resolved namespaces anew
        for place, files in sorted(inside.items()):  # a folder before what is in it
            names = {name for file in files for name in self.spaces[file]} if moves else set()
            mostly = place in files or 1 < len(files & hit) >= len(files) / 2
            if left and mostly and left & files and len(names) < 2:
                left -= files
                keep = ["--namespace", *names] if moves else []
                commands.append([mm, "index", "--force", *keep, place])
        return commands

    def answer(self) -> dict[str, Any]:
        """What --json prints, and what the report for people is made of."""
        if os.isatty(2):  # there may be a bar
            print(f"\r{'':<78}\r", end="", file=sys.stderr, flush=True)
        files = self.files() if self.others else []
        n = self.n + Counter(self.kinds.values()) + Counter(each["note"] for each in files)
        total, checked = len(self.vectors), len(self.kinds)
        untold = self.told["reason"] or n["between"] or n["not_embedded"] or not checked
        verdict = "mixed" if files else "unknown" if untold else "one-model"
        bound = at_most(total, self.options.sample) if checked < total and not untold else None
        return (
            self.told
            | {"verdict": verdict, "vectors": total, "checked": checked, "at_most": bound}
            | {key: n[key] for key in ("others", "texts_sent", *NOTES)}
            | {"matches_nothing": self.matches_nothing(), "files": files}
            | {"mend": self.mend() if files and self.told["configured"] else []}
        )


def plain(text: str) -> str:
    """Harmless to a terminal: what cannot be printed is escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def table(files: list[dict[str, Any]], home: str) -> list[str]:
    """The first of the files, in columns, and what the rest have in common."""
    tilde = re.compile(rf"^{re.escape(home[:-1])}(?=[/\\])")
    lines, today = ["", f"  {'FILE':<40}{'CHUNKS':>12}   WRITTEN"], time.strftime("%Y-%m-%d")
    times = [time.strftime("%Y-%m-%d %H:%M", time.localtime(each["written"])) for each in files]
    times = [written.replace(today, "today") for written in times]
    for each, written in zip(files[:FEW], times, strict=False):
        name = plain(tilde.sub("~", each["path"]))[-41:]
        while (wide := sum(1 + (east_asian_width(c) in "WF") for c in name)) > 40:
            name = "…" + name[2:]
        hit = f"{each['others']:,} of {each['chunks']:,}"
        note = each["note"][-6:]  # gone, edited, or spaces, for which there is room
        lines.append(f"  {name}{hit:>{52 - wide}}   {written:<16} {note}".rstrip())
    if rest := [each["path"] for each in files[FEW:]]:  # in order, so the ends are the farthest
        shared = {*Path(rest[0]).parents} & {*Path(rest[-1]).parents}
        where = max(map(str, shared), key=len, default="several places")
        where = tilde.sub("~", f"{where}{os.sep}")[:-1]
        lines.append(f"  … and {len(rest):,} more, all in {where}, all since {min(times[FEW:])}")
    return lines


def to_paste(argv: list[str], home: str) -> str:
    """The command as a shell takes it; "" if cmd and PowerShell take none in the same way."""
    if os.name != "nt":
        line = shlex.join(argv)  # in quotes, a ~ is a name like any other
        return line if "'" in line else line.replace(f" {home}", " ~/")
    words = [word if re.fullmatch(r"[\w.:\\-]+", word) else f'"{word}"' for word in argv]
    return "" if any(map(RISKY.search, argv)) else " ".join(words)  # neither hands on a ~


def report(a: dict[str, Any]) -> str:
    """The answer for people, at 80 columns; a command may be longer."""
    home = os.path.join(os.path.expanduser("~"), "")
    reason, *remedy = (a["reason"] or "for some vectors it cannot be told").split("\n")[:4]
    of = f"{a['checked']:,} vectors{' checked' * (a['checked'] < a['vectors'])}"
    gives = f"what {a['model']} gives"
    head = {"one-model": f"one model, all {of} are {gives}", "unknown": f"unknown, {reason}"}
    head["mixed"] = f"mixed, {a['others']:,} of {of} are not {gives}"
    lines = [f"mm-postflight: {head[a['verdict']]}", *remedy]
    lines += table(a["files"], home) if a["files"] else []
    mend = [to_paste(argv, home) for argv in a["mend"]]
    shown = [f"  {line}" for line in mend if line and line.isprintable()][:FEW]
    if mend:
        lines += ["", "Mend them (stop every mm process first: mm-preflight):", *shown]
        lines += [f"  … and {len(mend) - len(shown)} more: see --json"] * (len(shown) < len(mend))
        lines += ["Then run mm-postflight --all again.", ""]
    elif a["files"]:
        other = "mm works on the configured database: no command is named for another one."
        lines += ["", "How to mend these is for you to choose." if a["configured"] else other]
    share = math.ceil(1000 * ((a["at_most"] or 0) + 1) / (a["vectors"] or 1)) / 10
    bound = f"With 95 % confidence, fewer than {share:g} % of all {a['vectors']:,} vectors "
    bound += f"{'beside these ' * bool(a['files'])}are not. --all checks every one."
    nothing = "Nothing matches. Does the configuration name the model that you want?"
    alive = "An mm process is alive: the answer may not last. Run mm-preflight."
    told = [text.format(a[key]) for key, text in NOTES.items() if a[key]]
    page = "https://memtomem.github.io/mm-preflight/reference/postflight/#notes"
    said = [
        (a["files"] and a["reason"], f"It did not come to its end: {reason}."),
        (a["matches_nothing"], nothing),
        (a["at_most"] is not None and not a["matches_nothing"], bound),
        *((True, re.sub(r"(: 1 \w+)s", r"\1", note)) for note in told),
        (told, f"More about that: {page}"),
        (a["preflight"] == "live", alive),
    ]
    lines += [sentence for holds, sentence in said if holds]
    wrap = textwrap.TextWrapper(80, break_on_hyphens=False).wrap
    wrapped = ([x] if x in shown else wrap(plain(x)) or [""] for x in lines)
    return "\n".join(line for each in wrapped for line in each).rstrip()


def main(argv: list[str] | None = None) -> int:
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
    words = sys.argv[1:] if argv is None else argv
    run = Run(options := parser.parse_args(words))
    if options.sample < 1:
        parser.error("--sample takes a number from 1")
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None is one that was closed before
        stream.reconfigure(errors="backslashreplace")
    try:
        if not options.inside:
            return go_inside(options, words)
        run.prepare()
        run.search()
    except KeyboardInterrupt:
        run.told["reason"] = STOPPED
    except Exception as error:
        kind = "" if isinstance(error, Unknown) else f"{type(error).__name__}: "
        run.told["reason"] = SECRET.sub("", f"{kind}{error}")[:2000]
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the answer is soon there
        answer = run.answer()
        text = json.dumps(answer, indent=2) if options.json else report(answer)
        aside = answer["verdict"] == "unknown" and not options.json
        with contextlib.suppress(OSError):  # whoever reads it may have gone
            print(text, file=sys.stderr if aside else sys.stdout, flush=True)
        return 130 if answer["reason"] == STOPPED else EXIT[answer["verdict"]]
    except Exception as error:  # whatever it is, it is no verdict
        print(f"mm-postflight: internal error, please report it: {error!a}", file=sys.stderr)
        return EXIT["unknown"]


if __name__ == "__main__":
    os._exit(main())  # at once: a thread of memtomem's may hang
