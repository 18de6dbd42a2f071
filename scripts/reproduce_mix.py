#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# ///
"""Show, on your own memtomem, what a live mm process does to `mm embedding-reset`.

    python scripts/reproduce_mix.py            # takes one to three minutes

Your data is not touched. Everything happens in a throwaway home, with a handful of made-up notes
and two toy embedding models, `alpha` and `beta`, of one dimension, served on 127.0.0.1. Only
memtomem is real: `mm index`, `mm web`, `mm embedding-reset`, `mm shell` and `mm search`.

Without the preflight:
  1. indexed      index the first half of the notes with alpha, and start `mm web`
  2. reset        set the configuration to beta, `mm embedding-reset --mode apply-current`
  3. reindexed    `mm index --force`
  4. second-half  write the second half while that `mm web` still runs
  5. repaired     stop `mm web`, `mm index --force`
With the preflight in front of the reset:
  1. indexed      as above
  2. refused      the preflight names that `mm web`; the reset is not run
  3. reset        stop `mm web`; the preflight no longer names it; reset
  4. reindexed    `mm index --force`
  5. second-half  start `mm web` again, write the second half

Exit status: 0 this memtomem needs the constraint, 3 it no longer does, 2 it could not be told (the
message says why and what to do), 130 Ctrl-C.

`--json` prints one object. Under one schema_version fields may be added, none renamed or dropped.
  schema_version     1
  memtomem           version of the memtomem that ran, as "0.4.0"; null if there was none
  python, platform   of the interpreter that ran this script: "3.12.1", "Linux"
  notes, dimension   how many notes were written in all; length of a vector
  seed               which made-up words
  seconds            how long it took
  verdict            "needed" (exit 0), "not-needed" (exit 3) or "unknown" (exit 2)
  reason             one sentence for the verdict; what to do, if anything, on lines of its own
  isolated           false if memtomem's lock of `mm web` could not be kept apart from your own
  without_preflight  a list of steps, in order; shorter if it ended early:
      step, label                one of the ids above; the same in words
      alpha, beta, missing       chunks whose vector alpha made, beta made; chunks without a vector
      database_model             what the database itself says its vectors are: "alpha", "beta"
      found_first, found_second  notes of each half found by meaning, among the top 3, without BM25;
                                 found_second is null before the second half is written
  with_preflight     the same; empty if there is no preflight
  preflight          null if there is none, else
      refused            it exited 1 while `mm web` was alive
      named_mm_web       its processes list had that `mm web` in it
      exit_after_stop    its exit status once `mm web` was stopped: 0, or 1 if mm processes of
                         yours are alive (they are left alone, and do not matter here)
"""

import argparse
import contextlib
import dataclasses
import hashlib
import http.server
import json
import math
import os
import platform
import random
import re
import shlex
import shutil
import signal
import site
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

OLD, NEW = "alpha", "beta"
DIMENSION = 256
FLOATS = struct.Struct(f"<{DIMENSION}f")  # how sqlite-vec stores a vector
TOP = 3  # a note counts as found if it is among the first TOP results
EXIT = {"needed": 0, "unknown": 2, "not-needed": 3}

# Seconds. memtomem 0.4.0 takes 3 s for the smallest command on a slow machine.
COMMAND_LIMIT = 120.0
START_LIMIT = 60.0
WATCHER_LIMIT = 30.0  # its watcher waits for 1.5 s of silence before it indexes
TOTAL_LIMIT = 900.0

# What a process needs from the environment to run at all. All else stays out of the throwaway home:
# MEMTOMEM_* above all, but also keys, tokens and proxies.
ENVIRONMENT = re.compile(
    r"PATH|LANG|LC_\w+|TZ|PYTHONPATH|PYTHONUSERBASE|PYENV_\w+|(DY)?LD_\w*LIBRARY_PATH"
    r"|SYSTEMROOT|SYSTEMDRIVE|WINDIR|COMSPEC|PATHEXT"
)


class CannotTell(Exception):
    """Why there is no verdict; a remedy, if there is one, stands on its own line."""


class Interrupted(BaseException):
    """A signal asked to stop; its number is the argument."""


# --- Two embedding models ----------------------------------------------------------------------


def embed(model: str, text: str) -> list[float]:
    """A bag of words: each word is a fixed random direction, another one for each model."""
    total = [0.0] * DIMENSION
    for word in re.findall(r"\w+", text.lower()) or [""]:
        noise = hashlib.shake_256(f"{model} {word}".encode()).digest(DIMENSION)
        total = [t + byte - 127.5 for t, byte in zip(total, noise, strict=True)]
    length = math.hypot(*total)
    # Rounded to what the database can hold, so that a stored vector equals a served one exactly.
    return list(FLOATS.unpack(FLOATS.pack(*(t / length for t in total))))


@contextlib.contextmanager
def embedding_server() -> Iterator[tuple[str, dict[bytes, str]]]:
    """Serve both models as Ollama would. Yields the address, and who made each vector served."""
    made: dict[bytes, str] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            models = [{"name": f"{model}:latest", "model": model} for model in (OLD, NEW)]
            known = self.path == "/api/tags"
            self.answer(200 if known else 404, {"models": models} if known else {"error": "no"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                asked = json.loads(body)
                model = asked["model"].removesuffix(":latest")
                texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
            except (ValueError, KeyError, TypeError, AttributeError):
                return self.answer(400, {"error": "expected a model and an input"})
            if self.path != "/api/embed" or model not in (OLD, NEW):
                return self.answer(404, {"error": f"model {model!r} not found"})
            vectors = [embed(model, text) for text in texts]
            made.update((FLOATS.pack(*vector), model) for vector in vectors)
            return self.answer(200, {"model": model, "embeddings": vectors})

        def answer(self, status: int, content: dict) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", made
        finally:
            server.shutdown()


def make_notes(count: int, seed: int) -> list[str]:
    """Notes of twelve made-up words; no word comes twice, so each note has a meaning of its own."""
    letters, dice = "abcdefghijklmnopqrstuvwxyz", random.Random(seed)
    words: dict[str, None] = {}
    while len(words) < 12 * count:
        words["".join(dice.choices(letters, k=7))] = None
    listed = list(words)
    return [" ".join(listed[i : i + 12]) for i in range(0, len(listed), 12)]


# --- Processes: all that is started here is stopped here ---------------------------------------


class Children:
    """The processes started, each in a session of its own so that it goes with all it started.

    As a context it also turns SIGINT, SIGTERM and SIGHUP into one Interrupted, never between the
    birth of a child and the moment it is known here, and leaves with every child stopped. (A kill
    -9 of this script is out of its hands: then `mm web` stays, in a home that stays too.)
    """

    def __init__(self) -> None:
        self._alive: list[subprocess.Popen] = []
        self._before: dict[int, object] = {}
        self._starting = self._closing = False
        self._asked = 0

    def __enter__(self) -> "Children":
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                if number := getattr(signal, name, None):
                    self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        # At most one Interrupted is ever raised, so one of the two runs to its end.
        try:
            self.stop_all()
        finally:
            self.stop_all()
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _interrupt(self, number: int, _frame: object) -> None:
        if self._closing or self._asked:
            return
        self._asked = number
        if not self._starting:
            raise Interrupted(number)

    def start(self, argv: list[str], **options: object) -> subprocess.Popen:
        self._starting = True
        try:
            process = subprocess.Popen(argv, start_new_session=True, **options)
            self._alive.append(process)
        except OSError as error:
            raise CannotTell(f"{argv[0]} could not be started: {error}") from error
        finally:
            self._starting = False
        if self._asked:
            raise Interrupted(self._asked)
        return process

    def stop(self, process: subprocess.Popen, patience: float) -> None:
        """As Ctrl-C would, then by force if it is still there after `patience` seconds."""
        if os.name == "nt":
            kill = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
            subprocess.run(kill, capture_output=True, timeout=30, check=False)
        else:
            self._signal_group(process, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
            self._signal_group(process, signal.SIGKILL)
        process.wait(10)
        self._alive.remove(process)

    def stop_all(self) -> None:
        self._closing = True
        for process in list(self._alive):
            with contextlib.suppress(subprocess.SubprocessError, OSError, ValueError):
                self.stop(process, patience=3)

    @staticmethod
    def _signal_group(process: subprocess.Popen, number: int) -> None:
        # A group outlives its leader; macOS says PermissionError of one that has only zombies left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


# --- One throwaway home with memtomem in it ----------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Lab:
    mm: str
    home: Path
    embedder: str
    made: dict[bytes, str]
    notes: list[str]
    half: int
    children: Children
    say: Callable[[str], None]
    deadline: float

    @property
    def memories(self) -> Path:
        return self.home / "notes"

    @property
    def database(self) -> Path:
        return self.home / ".memtomem" / "memtomem.db"

    def left(self, limit: float) -> float:
        """Seconds until `limit`, or until all must be over."""
        if (left := self.deadline - time.monotonic()) <= 0:
            raise CannotTell(f"it took longer than {TOTAL_LIMIT:.0f} s in all")
        return min(limit, left)


def environment(home: Path) -> dict[str, str]:
    """The environment of every child: your home and your settings are not in it."""
    kept = {name: value for name, value in os.environ.items() if ENVIRONMENT.fullmatch(name)}
    kept.setdefault("PYTHONUSERBASE", site.getuserbase())  # for a memtomem of `pip install --user`
    places = {
        "HOME": home,
        "USERPROFILE": home,
        "APPDATA": home / "AppData" / "Roaming",
        "LOCALAPPDATA": home / "AppData" / "Local",
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_DATA_HOME": home / ".local" / "share",
        "XDG_STATE_HOME": home / ".local" / "state",
        "XDG_RUNTIME_DIR": home / "run",
        "TMPDIR": home / "tmp",
        "TEMP": home / "tmp",
        "TMP": home / "tmp",
        # memtomem keeps the lock of `mm web` in /tmp/memtomem-<uid>, one for all homes of a user,
        # and lets nothing but its own test suite move it. Without this pair a second `mm web`,
        # yours or ours, is refused while the other is alive. `shares_lock` checks that it worked.
        "_MEMTOMEM_TEST_RUNTIME_DIR": home / "run" / "memtomem",
        "PYTEST_CURRENT_TEST": "reproduce_mix",
    }
    for place in places.values():
        if isinstance(place, Path) and place.name != "memtomem":
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
    fixed = {
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",  # memtomem's own folder may lie in your home
    }
    return kept | {name: str(place) for name, place in places.items()} | fixed


def run(lab: Lab, *argv: str, answer: str = "") -> subprocess.CompletedProcess:
    """Run a command to its end in the throwaway home."""
    process = lab.children.start(
        list(argv),
        cwd=lab.home,
        env=environment(lab.home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    limit = lab.left(COMMAND_LIMIT)
    try:
        out, err = process.communicate(answer, timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise CannotTell(f"`{named(argv)}` did not end within {limit:.0f} s") from error
    lab.children.stop(process, patience=0)
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def mm(lab: Lab, *arguments: str, answer: str = "") -> str:
    """Run `mm` and return what it prints; it must end well."""
    done = run(lab, lab.mm, *arguments, answer=answer)
    if done.returncode != 0:
        said = tail(done.stdout + done.stderr)
        raise CannotTell(f"`{named(done.args)}` ended with {done.returncode}:\n{said}")
    return done.stdout


def named(argv: tuple[str, ...]) -> str:
    """A command as a person would type it."""
    return " ".join([Path(argv[0]).stem, *argv[1:3]])


def tail(text: str, lines: int = 6) -> str:
    """The last lines another program printed, harmless to a terminal."""
    last = [line.strip() for line in text.splitlines() if line.strip()][-lines:]
    return "\n".join("  " + "".join(c if c.isprintable() else "?" for c in line) for line in last)


def memtomem_version(lab: Lab) -> str:
    said = mm(lab, "--version")
    if not (match := re.search(r"\bmemtomem\b\D*(\d[\w.+-]*)", said)):
        raise CannotTell(
            f"{lab.mm} is not memtomem's mm; asked for its version it says:\n{tail(said)}\n"
            "Give the right one with --mm PATH."
        )
    return match[1]


def configure(lab: Lab, model: str) -> None:
    embedding = {"provider": "ollama", "model": model, "dimension": DIMENSION}
    config = {
        "embedding": {**embedding, "base_url": lab.embedder},
        "indexing": {"memory_dirs": [str(lab.memories)], "auto_discover": False},
        "search": {"enable_bm25": False},
        "storage": {"sqlite_path": str(lab.database)},
    }
    lab.database.parent.mkdir(exist_ok=True)
    lab.database.with_name("config.json").write_text(json.dumps(config), encoding="utf-8")


def write_notes(lab: Lab, start: int, stop: int) -> None:
    lab.memories.mkdir(exist_ok=True)
    for number in range(start, stop):
        path = lab.memories / f"note-{number:03}.md"
        path.write_text(lab.notes[number] + "\n", encoding="utf-8")


def http_status(url: str, timeout: float, **options: object) -> tuple[int, str]:
    """Status and body of a request to the loopback, past any proxy; 0 while nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, **options), timeout=timeout) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except OSError:
        return 0, ""


def start_web(lab: Lab) -> tuple[subprocess.Popen, str]:
    """Start `mm web` and wait until it serves; returns it and its address."""
    log = lab.home / "web.log"
    for _ in range(3):  # between choosing a free port and using it another program may take it
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        address = f"http://127.0.0.1:{port}"
        with log.open("wb") as output:
            web = lab.children.start(
                [lab.mm, "web", "--host", "127.0.0.1", "--port", str(port)],
                cwd=lab.home,
                env=environment(lab.home),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        limit = lab.left(START_LIMIT)
        until = time.monotonic() + limit
        while web.poll() is None:
            status, _ = http_status(f"{address}/api/readiness", 5)
            if status == 404:  # before 0.4.0 it serves only once it is ready
                status, _ = http_status(f"{address}/api/health", 5)
            if status == 200:
                return web, address
            if time.monotonic() > until:
                raise CannotTell(
                    f"`mm web` did not serve {address} within {limit:.0f} s; its last words:\n"
                    + tail(log.read_text(encoding="utf-8", errors="replace"))
                )
            time.sleep(0.1)
        lab.children.stop(web, patience=0)
        said = log.read_text(encoding="utf-8", errors="replace")
        if re.search(r"\[web\] extra|No module named '?(fastapi|uvicorn)", said):
            raise CannotTell(
                "this memtomem has no web UI: its web extra is not installed\n"
                'Install it: uv tool install --reinstall "memtomem[web]"'
            )
        if "already running" in said:
            raise CannotTell(
                "an `mm web` of yours is running, and this memtomem allows one per user:\n"
                f"{tail(said)}\nStop it (`mm web stop`, or Ctrl-C where it runs) and try again."
            )
    raise CannotTell(f"`mm web` ended with {web.returncode} instead of serving:\n{tail(said)}")


def shares_lock(web: subprocess.Popen) -> bool:
    """Does memtomem keep this `mm web` in the runtime directory of your own, after all?"""
    if os.name == "nt":
        return False  # its place is asked of the shell, not of the environment: not looked at
    try:
        written = Path(f"/tmp/memtomem-{os.geteuid()}/web.pid").read_text(errors="replace")
    except OSError:
        return False
    return written.split()[:1] == [str(web.pid)]


def index_second_half(lab: Lab, address: str) -> str:
    """Write the second half and let `mm web` index it. Returns its refusal, "" if it did not.

    Its watcher does it by itself; if it does not, the web UI's own call asks for it.
    """
    write_notes(lab, lab.half, len(lab.notes))
    until = time.monotonic() + lab.left(WATCHER_LIMIT)
    while time.monotonic() < until:
        late = list(makers(lab).values())[lab.half :]
        if len(late) == len(lab.notes) - lab.half and all(late):
            return ""
        time.sleep(0.25)
    lab.say("its watcher did not index them all; asking it over HTTP")
    _, session = http_status(f"{address}/api/session", 5)
    token = re.search(r'"csrf\w*":\s*"([^"]+)"', session)
    headers = {"Content-Type": "application/json", "X-Memtomem-CSRF": token[1] if token else ""}
    body = json.dumps({"path": str(lab.memories)}).encode()
    limit = lab.left(COMMAND_LIMIT)
    status, said = http_status(f"{address}/api/index", limit, data=body, headers=headers)
    if status in (409, 503) or (status == 200 and re.search(r'"errors":\s*\[\s*"', said)):
        return f"the old `mm web` refused to index: {tail(said)[:200].strip()}"
    return ""


# --- Measuring ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Row:
    step: str
    label: str
    alpha: int
    beta: int
    missing: int
    database_model: str
    found_first: int
    found_second: int | None


def query(lab: Lab, sql: str) -> list[tuple]:
    """Read the throwaway database as it is, beside whoever has it open."""
    try:
        uri = lab.database.as_uri() + "?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
            return connection.execute(sql).fetchall()
    except sqlite3.Error as error:
        raise CannotTell(
            f"this memtomem's database is not laid out as in 0.1.34 to 0.4.0: {error}"
        ) from error


def makers(lab: Lab) -> dict[str, str | None]:
    """For each indexed note, in order, the model that made its vector; None if it has none.

    No column says who made a vector, but the embedding server knows what it served. The vectors
    are read from the ordinary tables beneath sqlite-vec's virtual one, so no extension is needed.
    """
    rows = query(
        lab,
        f"""
        SELECT source_file, substr(vectors, 1 + chunk_offset * {FLOATS.size}, {FLOATS.size})
        FROM chunks
        LEFT JOIN chunks_vec_rowids AS place ON place.rowid = chunks.rowid
        LEFT JOIN chunks_vec_vector_chunks00 AS store ON store._rowid_ = place.chunk_id
        ORDER BY source_file
        """,
    )
    found = {Path(name).name: lab.made.get(vector or b"") for name, vector in rows}
    if len(found) != len(rows):
        raise CannotTell("this memtomem cuts a note of twelve words into more than one chunk")
    if any(vector and vector not in lab.made for _, vector in rows):
        raise CannotTell("there are vectors in the database that neither alpha nor beta made")
    return found


def found_by_meaning(lab: Lab, written: int) -> list[bool]:
    """For each note: does a search for its first six words have it among the top TOP?

    Asked in one `mm shell`, because to start `mm search` for each note would take minutes.
    """
    asked = [" ".join(note.split()[:6]) for note in lab.notes[:written]]
    said = mm(lab, "shell", answer="".join(f"search {words}\n" for words in asked) + "quit\n")
    answers = said.split("mm> ")[1:-1]
    if len(answers) != len(asked) or not all(" results" in a or "No res" in a for a in answers):
        raise CannotTell(f"`mm shell` does not answer as it did in 0.1.34 to 0.4.0:\n{tail(said)}")
    results = [re.split(r"^ *\[\d+\] ", answer, flags=re.MULTILINE)[1:] for answer in answers]
    found = [
        any(words in " ".join(result.split()) for result in ranked[:TOP])
        for words, ranked in zip(asked, results, strict=True)
    ]
    if written > lab.half:  # worth 3 s more: `mm search` itself, for the last note
        said = mm(lab, "search", asked[-1], "--top-k", str(TOP), "--format", "json")
        if (asked[-1] in said) != found[-1]:
            raise CannotTell("`mm search` and the search of `mm shell` do not agree")
    return found


def measure(lab: Lab, step: str, label: str) -> Row:
    made = list(makers(lab).values())
    model = query(lab, "SELECT value FROM _memtomem_meta WHERE key = 'embedding_model'")
    found = found_by_meaning(lab, len(list(lab.memories.glob("note-*.md"))))
    row = Row(
        step=step,
        label=label,
        alpha=made.count(OLD),
        beta=made.count(NEW),
        missing=made.count(None),
        database_model=model[0][0] if model else "",
        found_first=sum(found[: lab.half]),
        found_second=sum(found[lab.half :]) if len(found) > lab.half else None,
    )
    lab.say(f"{label}: {row.alpha} {OLD}, {row.beta} {NEW}, {row.missing} without a vector")
    return row


# --- The steps ---------------------------------------------------------------------------------


@dataclasses.dataclass
class Findings:
    """What came out so far; whatever ends the run, this much can be reported."""

    memtomem: str | None = None
    isolated: bool = True
    declined: str = ""  # how memtomem itself kept the mixture away, if it did
    without_preflight: list[Row] = dataclasses.field(default_factory=list)
    with_preflight: list[Row] = dataclasses.field(default_factory=list)
    preflight: dict[str, object] | None = None


RESET = ("embedding-reset", "--mode", "apply-current")


def begin(lab: Lab, rows: list[Row]) -> tuple[subprocess.Popen, str]:
    """Index the first half with alpha, start `mm web`, set the configuration to beta."""
    write_notes(lab, 0, lab.half)
    configure(lab, OLD)
    mm(lab, "index", str(lab.memories))
    rows.append(measure(lab, "indexed", f"first half indexed with {OLD}"))
    if rows[0].alpha != lab.half:
        raise CannotTell(f"`mm index` made {rows[0].alpha} vectors of {lab.half} notes")
    web = start_web(lab)
    configure(lab, NEW)
    return web


def without_preflight(lab: Lab, findings: Findings) -> None:
    rows = findings.without_preflight
    web, address = begin(lab, rows)
    if shares_lock(web):
        findings.isolated = False
        lab.say("note: until this is over, memtomem refuses a second `mm web` of yours")

    done = run(lab, lab.mm, *RESET, answer="y\n")
    if done.returncode != 0:
        lab.children.stop(web, patience=10)
        mm(lab, *RESET, answer="y\n")  # works now? Then it was the live process.
        said = tail(done.stderr or done.stdout)
        findings.declined = f"it refuses the reset itself while `mm web` is alive:\n{said}"
        return
    rows.append(measure(lab, "reset", f"reset to {NEW}, old mm web alive"))
    mm(lab, "index", "--force", str(lab.memories))
    rows.append(measure(lab, "reindexed", "mm index --force"))
    findings.declined = index_second_half(lab, address)
    rows.append(measure(lab, "second-half", "second half, old mm web still alive"))
    lab.children.stop(web, patience=10)
    mm(lab, "index", "--force", str(lab.memories))
    rows.append(measure(lab, "repaired", "mm web stopped, mm index --force"))


def with_preflight(lab: Lab, findings: Findings, preflight: list[str]) -> None:
    rows = findings.with_preflight
    web, _ = begin(lab, rows)
    code, pids = ask_preflight(lab, preflight)
    findings.preflight = {
        "refused": code == 1,
        "named_mm_web": web.pid in pids,
        "exit_after_stop": None,
    }
    if code != 1 or web.pid not in pids:
        raise CannotTell(f"the preflight, exit {code}, missed the live `mm web` (pid {web.pid})")
    rows.append(measure(lab, "refused", "preflight refuses: mm web is alive"))

    lab.children.stop(web, patience=10)
    code, pids = ask_preflight(lab, preflight)
    findings.preflight["exit_after_stop"] = code
    if web.pid in pids:
        raise CannotTell(f"the preflight still names `mm web` (pid {web.pid}), which has ended")
    if code == 1:
        lab.say("the preflight now refuses because of mm processes of yours; they do not matter")
    mm(lab, *RESET, answer="y\n")
    rows.append(measure(lab, "reset", f"mm web stopped, reset to {NEW}"))
    mm(lab, "index", "--force", str(lab.memories))
    rows.append(measure(lab, "reindexed", "mm index --force"))
    web, address = start_web(lab)
    index_second_half(lab, address)
    rows.append(measure(lab, "second-half", "second half, mm web started anew"))
    lab.children.stop(web, patience=10)


def ask_preflight(lab: Lab, preflight: list[str]) -> tuple[int, set[int]]:
    """Its exit status, and the pids it names."""
    done = run(lab, *preflight, "--json", "--db", str(lab.database))
    try:
        answer = json.loads(done.stdout)
        pids = {pid for process in answer["processes"] for pid in process["pids"]}
        reason = answer["reason"]
    except (ValueError, KeyError, TypeError) as error:
        said = tail(done.stderr or done.stdout)
        raise CannotTell(f"the preflight did not answer in JSON:\n{said}") from error
    if done.returncode not in (0, 1):
        raise CannotTell(f"the preflight could not tell: {reason}")
    return done.returncode, pids


def find_preflight(given: str | None, mm_path: str) -> list[str]:
    """The command that runs the preflight; [] if none is given and none is found."""
    if given is not None:
        command = shlex.split(given, posix=os.name != "nt")
        program = shutil.which(command[0]) if command else None
        if not program:
            raise CannotTell(f"the preflight {given!r} was not found")
        return [str(Path(program).absolute()), *command[1:]]
    beside = Path(__file__).with_name("mm_preflight").resolve()
    for place in (str(Path(mm_path).parent), str(Path(sys.executable).parent), None):
        if program := shutil.which("mm-preflight", path=place):
            return [str(Path(program).absolute())]
    return [sys.executable, str(beside)] if beside.is_dir() else []


# --- The verdict -------------------------------------------------------------------------------


def judge(findings: Findings) -> tuple[str, str]:
    """Verdict and reason: was there, without the preflight, what it is there to prevent?"""
    for row in findings.with_preflight[1:]:
        if row.alpha and row.database_model != OLD:
            return "unknown", f"{row.alpha} vectors of {OLD} came in behind the preflight"
    late = next((row for row in findings.without_preflight if row.step == "second-half"), None)
    if late and late.alpha and late.database_model == NEW:
        share = f"{late.alpha} of {late.alpha + late.beta} vectors are {OLD}'s"
        return "needed", f"{share} while the database says {NEW}"
    if findings.declined:
        return "not-needed", findings.declined
    if late and late.database_model == NEW:
        before = next(row for row in findings.without_preflight if row.step == "reindexed")
        half = before.alpha + before.beta + before.missing
        if late.beta - before.beta >= half:
            return "not-needed", f"what the old `mm web` indexed after the reset is {NEW}'s"
        return "unknown", "the old `mm web` did not index the second half, and did not say why"
    return "unknown", "the steps did not come to their end"


# --- Reporting ---------------------------------------------------------------------------------


def as_json(findings: Findings, verdict: str, reason: str, **about: object) -> str:
    content = {
        "schema_version": 1,
        "memtomem": findings.memtomem,
        "python": platform.python_version(),
        "platform": platform.system(),
        "dimension": DIMENSION,
        **about,
        "verdict": verdict,
        "reason": reason,
        "isolated": findings.isolated,
        "without_preflight": [dataclasses.asdict(row) for row in findings.without_preflight],
        "with_preflight": [dataclasses.asdict(row) for row in findings.with_preflight],
        "preflight": findings.preflight,
    }
    return json.dumps(content, indent=2)


def as_text(findings: Findings, verdict: str, reason: str, notes: int) -> str:
    """Two tables of 80 columns and the verdict; why there is none goes to stderr."""
    half = notes // 2
    lines = [f"memtomem {findings.memtomem or '(none)'}, {notes} notes, models {OLD} and {NEW}"]
    parts = (
        ("Without the preflight", findings.without_preflight),
        ("With the preflight in front", findings.with_preflight),
    )
    for title, rows in parts:
        if not rows:
            continue
        lines += [
            "",
            f"{title:<35}{'vectors by model':>18}  {'database':<8}{'found by meaning':>17}",
            f"{'':35}{OLD:>6}{NEW:>6}{'none':>6}  {'says':<8}{'first':>8}{'second':>9}",
            "-" * 80,
        ]
        for row in rows:
            first = f"{row.found_first}/{half}"
            second = "-" if row.found_second is None else f"{row.found_second}/{notes - half}"
            lines.append(
                f"{row.label:<35}{row.alpha:>6}{row.beta:>6}{row.missing:>6}"
                f"  {row.database_model:<8}{first:>8}{second:>9}"
            )
    said = {
        "needed": "Stop every mm process before a reset: ",
        "not-needed": "This memtomem no longer needs the constraint: ",
    }
    if verdict in said:
        first, *more = (said[verdict] + reason).split("\n")
        lines += ["", textwrap.fill(first, 80), *more]
    return "\n".join(lines)


# --- Main --------------------------------------------------------------------------------------


def parse(argv: list[str] | None) -> argparse.Namespace:
    def count(text: str) -> int:
        if not 10 <= (number := int(text)) <= 400:
            raise argparse.ArgumentTypeError("from 10 to 400")
        return number

    parser = argparse.ArgumentParser(
        description="Show what a live mm process does to `mm embedding-reset`, on your own "
        "memtomem and without touching your data.",
        epilog="Exit status: 0 this memtomem needs the constraint, 3 it no longer does, "
        "2 it could not be told, 130 Ctrl-C.",
    )
    parser.add_argument("--mm", metavar="PATH", default="mm", help="memtomem's mm (on PATH)")
    parser.add_argument("--preflight", metavar="COMMAND", help="the preflight (mm-preflight)")
    parser.add_argument("--notes", metavar="N", type=count, default=60, help="how many (60)")
    parser.add_argument("--seed", metavar="N", type=int, default=707, help="which words (707)")
    parser.add_argument("--json", action="store_true", help="print the measurements as JSON")
    parser.add_argument("--keep", action="store_true", help="leave the throwaway home, say where")
    return parser.parse_args(argv)


def reproduce(
    options: argparse.Namespace, folder: Path, children: Children, findings: Findings
) -> None:
    """Both halves of the proof, each in a home of its own; fills `findings` as it goes."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    program = shutil.which(options.mm)
    if not program:
        raise CannotTell(
            f"memtomem is missing: there is no program {options.mm!r}\n"
            'Install it: uv tool install "memtomem[web]", or give its mm with --mm PATH.'
        )
    program = str(Path(program).absolute())
    preflight = find_preflight(options.preflight, program)
    notes = make_notes(options.notes, options.seed)
    with embedding_server() as (embedder, made):

        def lab(name: str) -> Lab:
            home = folder / name
            home.mkdir(mode=0o700)
            deadline = began + TOTAL_LIMIT
            half = len(notes) // 2
            return Lab(program, home, embedder, made, notes, half, children, say, deadline)

        first = lab("without")
        findings.memtomem = memtomem_version(first)
        say(f"memtomem {findings.memtomem}, without the preflight")
        without_preflight(first, findings)
        if preflight:
            say("once more, with the preflight in front")
            with_preflight(lab("with"), findings, preflight)
        else:
            say("no mm-preflight found: the half with it is left out (see --preflight)")


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    began = time.monotonic()
    findings = Findings()
    try:
        with Children() as children:
            folder = Path(tempfile.mkdtemp(prefix="reproduce-mix-")).resolve()
            try:
                reproduce(options, folder, children, findings)
            finally:
                children.stop_all()
                if options.keep:
                    print(f"kept: {folder}", file=sys.stderr)
                else:
                    shutil.rmtree(folder, ignore_errors=True)
        verdict, reason = judge(findings)
    except CannotTell as error:
        verdict, reason = "unknown", str(error)
    except Interrupted as signalled:
        return 128 + signalled.args[0]
    except Exception as error:  # whatever it is, it is no verdict
        verdict, reason = "unknown", f"internal error, please report it: {error!r}"
    if options.json:
        seconds = round(time.monotonic() - began, 1)
        about = {"notes": options.notes, "seed": options.seed, "seconds": seconds}
        print(as_json(findings, verdict, reason, **about))
    elif findings.without_preflight:
        print(as_text(findings, verdict, reason, options.notes))
    if verdict == "unknown":
        print(f"reproduce_mix: {reason}", file=sys.stderr)
    return EXIT[verdict]


if __name__ == "__main__":
    sys.exit(main())
