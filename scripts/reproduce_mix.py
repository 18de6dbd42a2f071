#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# ///
"""Show, on your own memtomem, what a live mm process does to `mm embedding-reset`.

    python scripts/reproduce_mix.py            # takes one to three minutes

Your data is not touched. Everything happens in a throwaway home, with a handful of made-up notes
and two toy embedding models, `alpha` and `beta`, of one dimension, served on 127.0.0.1. Only
memtomem is real: `mm index`, `mm web`, `mm embedding-reset`, `mm shell` and `mm search`. The steps:

  indexed      index the first half of the notes with alpha; start `mm web`; configure beta
  refused      once more, with the preflight: it names that `mm web`, which is stopped
  reset        `mm embedding-reset --mode apply-current`
  reindexed    `mm index --force`
  second-half  write the second half while that `mm web` still runs; after `refused`, a new one
  repaired     stop `mm web`, `mm index --force`

A note is found if it is among the first three results for its first six words, by meaning alone.
`--search default` is memtomem's own way, by words and by meaning at once; `--synonyms` asks with
words of the same meaning that stand in no note.

Exit status: 0 this memtomem needs the constraint, 3 it no longer does, 2 it could not be told (the
message says why and what to do), 130 Ctrl-C.
`--json` prints one object; under one schema_version fields may be added, none renamed or dropped:
  schema_version, memtomem, python, platform   versions (null: no memtomem), operating system
  notes, seed, dimension, seconds              of both halves; of their words; of a vector; in all
  search, questions                            meaning or default; words or synonyms
  verdict, reason   needed (exit 0), not-needed (3) or unknown (2); a sentence, then what to do
  isolated          false: memtomem's lock of `mm web` could not be kept apart from your own
  without_preflight, with_preflight            the steps: step, label (the same in words), and
    alpha, beta, missing        chunks with a vector of alpha's, of beta's, with none
    database_model              whose vectors they are, says the database
    found_first, found_second   notes of each half that are found
  preflight: refused, named_mm_web, exit_after_stop (1 for other mm processes of yours: no matter)
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shlex
import shutil
import signal
import site
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toy_embedder import DIMENSION, NEW, OLD, Made, embed, embedding_server, make_notes, synonym

__all__ = ["embed", "embedding_server", "make_notes"]  # for the tests
TOP = 3  # a note counts as found if it is among the first TOP results
EXIT = {"needed": 0, "unknown": 2, "not-needed": 3}
RESET = ("embedding-reset", "--mode", "apply-current")
BESIDE = "mm_preflight"  # the preflight in a checkout lies beside this script
KNOWN = "memtomem 0.1.34 to 0.6.12"  # whose database, shell and web UI this script was run on
NEEDED = "\nStop every mm process before a reset:\n"
NOT_NEEDED = "\nThis memtomem no longer needs the constraint:\n"
HEAD = f"""  vectors by model  database  notes found
{"":35}{OLD:>6}{NEW:>6}{"none":>6}  {"says":<8}{"first":>8}{"second":>9}
{"-" * 80}"""

# Seconds. The smallest command takes 3 on a slow machine, the watcher waits for 1.5 of silence.
COMMAND_LIMIT, START_LIMIT, WATCHER_LIMIT, TOTAL_LIMIT = 120.0, 60.0, 30.0, 900.0
BEGAN = time.monotonic()
REMOVE = "import shutil, sys, time; [time.sleep(1) or shutil.rmtree(sys.argv[1], 1) for _ in '123']"
# All that a child gets of your environment: no MEMTOMEM_*, no key, token, proxy or XDG folder.
KEPT = re.compile(
    r"PATH|LANG|LC_\w+|TZ|PYTHONPATH|PYTHONUSERBASE|PYENV_\w+|(DY)?LD_\w*LIBRARY_PATH"
    r"|SYSTEMROOT|SYSTEMDRIVE|WINDIR|COMSPEC|PATHEXT"
)
World = tuple[str, Made, str, str]  # the embedder, what it made, how is searched, and with what
Json = dict[str, Any]  # the report, or a step of it


class CannotTell(Exception):
    """Why there is no verdict; a remedy, if there is one, stands on its own line."""


def environment(home: Path) -> dict[str, str]:
    """The environment of every child: your home and your settings are not in it."""
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    kept.setdefault("PYTHONUSERBASE", site.getuserbase())  # for a memtomem of `pip install --user`
    kept |= dict.fromkeys("HOME USERPROFILE APPDATA LOCALAPPDATA".split(), str(home))
    kept |= dict.fromkeys("TMPDIR TEMP TMP".split(), str(home / "tmp"))
    # memtomem keeps the lock of `mm web` in /tmp/memtomem-<uid>, one for all homes of a user, and
    # lets nothing but its own test suite move it. Without this pair a second `mm web`, yours or
    # ours, is refused while the other is alive. `prove` checks that it worked.
    kept |= {"_MEMTOMEM_TEST_RUNTIME_DIR": str(home / "runtime"), "PYTEST_CURRENT_TEST": "mix"}
    # No proxy, and nothing is written into memtomem's own folder, which may lie in your home.
    return kept | {"NO_PROXY": "127.0.0.1", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def tail(text: str, lines: int = 6) -> str:
    """The last lines another program printed, harmless to a terminal."""
    last = [line.strip() for line in text.splitlines() if line.strip()][-lines:]
    return "\n".join("  " + "".join(c if c.isprintable() else "?" for c in line) for line in last)


def within(seconds: float) -> Iterator[None]:
    """At once, and then every quarter of a second, until the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
        time.sleep(0.25)


class Lab(contextlib.ExitStack):
    """A throwaway home with memtomem in it. When it closes, its `mm web` is stopped."""

    web: subprocess.Popen[Any]

    def __init__(self, mm: str, home: Path, notes: list[str], world: World) -> None:
        super().__init__()
        self.mm, self.home, self.notes, self.half = mm, home, notes, len(notes) // 2
        self.embedder, self.made, self.search, self.questions = world
        self.memories, self.database = home / "notes", home / ".memtomem" / "memtomem.db"
        for folder in (self.memories, self.database.parent, home / "tmp"):
            folder.mkdir(mode=0o700, parents=True)
        self.options: Json = {"cwd": home, "env": environment(home)}

    def run(self, *argv: str, answer: str = "", check: bool = True) -> tuple[int, str, str]:
        """Run a command to its end; its exit status, and what it printed to stdout and stderr."""
        command = " ".join([Path(argv[0]).stem, *argv[1:3]])
        limit = max(0, min(COMMAND_LIMIT, BEGAN + TOTAL_LIMIT - time.monotonic()))
        options = {**self.options, "capture_output": True, "timeout": limit}
        try:
            done = subprocess.run(argv, input=answer.encode(), **options)
        except subprocess.TimeoutExpired:
            limits = f"{limit:.0f} s, or all of it than {TOTAL_LIMIT:.0f} s"
            raise CannotTell(f"`{command}` took longer than {limits}") from None
        out, err = (each.decode(errors="replace") for each in (done.stdout, done.stderr))
        if check and done.returncode != 0:
            raise CannotTell(f"`{command}` ended with {done.returncode}:\n{tail(out + err)}")
        return done.returncode, out, err

    def configure(self, model: str) -> None:
        embedding = {"provider": "ollama", "model": model, "dimension": DIMENSION}
        config = {
            "embedding": {**embedding, "base_url": self.embedder},
            "indexing": {"memory_dirs": [str(self.memories)], "auto_discover": False},
            "search": {"enable_bm25": False} if self.search == "meaning" else {},
            "storage": {"sqlite_path": str(self.database)},
        }
        self.database.with_name("config.json").write_text(json.dumps(config), encoding="utf-8")

    def write_notes(self, first: int, end: int) -> None:
        for number in range(first, end):
            (self.memories / f"note-{number:03}.md").write_text(self.notes[number] + "\n", "utf-8")

    def start_web(self) -> None:
        """Start `mm web` and wait until it serves."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        argv = [self.mm, "web", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.home / "web.log").open("w+b") as log:
            streams: Json = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.web = subprocess.Popen(argv, **streams, **self.options)
        self.callback(self.stop_web)
        ended = None
        for _ in within(START_LIMIT):
            if (ended := self.web.poll()) is not None:
                break
            status, _ = self.ask_web("/api/readiness")
            if status == 404:  # before 0.4.0 it serves only once it is ready
                status, _ = self.ask_web("/api/health")
            if status == 200:
                return
        how = "did not serve in time" if ended is None else f"ended with {ended}"
        said = tail((self.home / "web.log").read_text("utf-8", "replace"))
        remedy = "\nStop it (`mm web stop`) and try again." if "already running" in said else ""
        raise CannotTell(f"`mm web` {how}:\n{said}{remedy}")

    def stop_web(self) -> None:
        """As Ctrl-C would, then by force."""
        self.web.send_signal(signal.SIGINT if os.name != "nt" else signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.web.wait(10)
        self.web.kill()
        self.web.wait()

    def ask_web(self, path: str, timeout: float = 5, **request: Any) -> tuple[int, str]:
        """Status and body of a request to `mm web`; 0 while nobody answers."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection), contextlib.suppress(OSError, HTTPException):
            connection.request("POST" if request else "GET", path, **request)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        return 0, ""

    def index_second_half(self) -> str:
        """Write the second half; `mm web` indexes it, or is asked to. Returns its refusal or ""."""
        self.write_notes(self.half, len(self.notes))
        for _ in within(WATCHER_LIMIT):
            if len(made := self.makers()[0]) == len(self.notes) and all(made[self.half :]):
                return ""
        token = re.search(r'"csrf\w*":\s*"([^"]+)"', self.ask_web("/api/session")[1])
        headers = {"Content-Type": "application/json", "X-Memtomem-CSRF": token[1] if token else ""}
        body = json.dumps({"path": str(self.memories)})
        status, said = self.ask_web("/api/index", COMMAND_LIMIT, body=body, headers=headers)
        error = re.search(r'"errors":\s*\[\s*"((?:[^"\\]|\\.)+)', said)
        if status in (409, 503) or (status == 200 and error):
            return f"the old `mm web` refused to index: {tail(error[1] if error else said).strip()}"
        return ""

    def makers(self) -> tuple[list[str | None], str]:
        """Who made the vector of each indexed note, in order; and whom the database names.

        No column says who made a vector, but the embedding server knows what it served. The vectors
        are read from the ordinary tables beneath sqlite-vec's virtual one: no extension is needed.
        """
        size = 4 * DIMENSION
        sql = f"""SELECT source_file, substr(vectors, 1 + chunk_offset * {size}, {size}),
                (SELECT value FROM _memtomem_meta WHERE key = 'embedding_model')
            FROM chunks
            LEFT JOIN chunks_vec_rowids AS place ON place.rowid = chunks.rowid
            LEFT JOIN chunks_vec_vector_chunks00 AS store ON store._rowid_ = place.chunk_id
            ORDER BY source_file"""
        try:  # as it is, beside whoever has it open
            uri = self.database.as_uri() + "?mode=ro"
            with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
                rows = connection.execute(sql).fetchall()
        except sqlite3.Error as error:
            raise CannotTell(f"the database is not laid out as in {KNOWN}: {error}") from error
        if len({name for name, *_ in rows}) != len(rows):
            raise CannotTell("this memtomem cuts a note of twelve words into more than one chunk")
        if any(vector and vector not in self.made for _, vector, _ in rows):
            raise CannotTell("there are vectors in the database that neither alpha nor beta made")
        made = [self.made.get(vector or b"") for _, vector, _ in rows]
        return made, (rows and rows[0][2]) or ""

    def found(self, written: int) -> list[bool]:
        """For each note: does a search for its first six words have it among the top TOP?

        Asked in one `mm shell`, because to start `mm search` for each note would take minutes.
        """
        wanted = [" ".join(note.split()[:6]) for note in self.notes[:written]]
        other = synonym if self.questions == "synonyms" else str
        asked = [" ".join(map(other, words.split())) for words in wanted]
        typed = "".join(f"search {words}\n" for words in asked)
        _, said, _ = self.run(self.mm, "shell", answer=f"{typed}quit\n")
        answers = said.split("mm> ")[1:-1]
        if len(answers) != len(asked) or not all(re.search(" results|No res", a) for a in answers):
            raise CannotTell(f"`mm shell` does not answer as that of {KNOWN}:\n{tail(said)}")
        ranked = [re.split(r"^ *\[\d+\] ", answer, flags=re.MULTILINE) for answer in answers]
        found = [
            any(words in " ".join(result.split()) for result in results[1 : 1 + TOP])
            for words, results in zip(wanted, ranked, strict=True)
        ]
        if written > self.half:  # worth 2 s more: `mm search` itself, for the last note
            command = ("search", asked[-1], "--top-k", str(TOP), "--format", "json")
            if (wanted[-1] in self.run(self.mm, *command)[1]) != found[-1]:
                raise CannotTell("`mm search` and the search of `mm shell` do not agree")
        return found

    def measure(self, step: str, label: str) -> None:
        """Add a row to the report, and print it as a line of 80 columns."""
        who, model = self.makers()
        found = self.found(len(list(self.memories.glob("note-*.md"))))
        first, late = sum(found[: self.half]), sum(found[self.half :])
        row: Json = {"step": step, "label": label, "alpha": who.count(OLD), "beta": who.count(NEW)}
        row |= {"missing": who.count(None), "database_model": model, "found_first": first}
        self.rows.append(row | {"found_second": late if len(found) > self.half else None})
        counts = "{label:<35}{alpha:>6}{beta:>6}{missing:>6}  {database_model:<8}".format(**row)
        of = f"{late}/{len(found) - self.half}" if len(found) > self.half else "-"
        print(f"{counts}{f'{first}/{self.half}':>8}{of:>9}", flush=True)

    def prove(self, report: Json, preflight: list[str]) -> str:
        """All the steps. Returns how memtomem itself kept the mixture away, "" if it did not."""
        self.rows = report["with_preflight" if preflight else "without_preflight"]
        self.write_notes(0, self.half)
        self.configure(OLD)
        self.run(self.mm, "index", str(self.memories))
        self.measure("indexed", f"first half indexed with {OLD}")
        if (made := self.rows[0]["alpha"]) != self.half:
            raise CannotTell(f"`mm index` made {made} vectors of {self.half} notes")
        self.start_web()
        self.configure(NEW)
        # Did memtomem keep this `mm web` in the runtime directory of your own, after all?
        lock = Path(f"/tmp/memtomem-{getattr(os, 'geteuid', str)()}/web.pid")  # Windows: not seen
        if lock.is_file() and lock.read_text("utf-8", "replace").startswith(f"{self.web.pid}\n"):
            report["isolated"] = False
        if preflight:
            self.stop_when_refused(report, preflight)
        status, out, err = self.run(self.mm, *RESET, answer="y\n", check=False)
        if status != 0:
            self.stop_web()
            self.run(self.mm, *RESET, answer="y\n")  # works now? Then it was the live process.
            return f"it refuses the reset itself while `mm web` is alive:\n{tail(err or out)}"
        stopped, alive = ("mm web stopped, ", "") if preflight else ("", ", old mm web alive")
        self.measure("reset", f"{stopped}reset to {NEW}{alive}")
        self.run(self.mm, "index", "--force", str(self.memories))
        self.measure("reindexed", "mm index --force")
        if preflight:
            self.start_web()
        refusal = self.index_second_half()
        which = "mm web started anew" if preflight else "old mm web still alive"
        self.measure("second-half", f"second half, {which}")
        self.stop_web()
        if not preflight:
            self.run(self.mm, "index", "--force", str(self.memories))
            self.measure("repaired", "mm web stopped, mm index --force")
        return refusal

    def stop_when_refused(self, report: Json, preflight: list[str]) -> None:
        """Ask the preflight, stop the `mm web` that it names, and ask again."""
        code, named = self.ask_preflight(preflight)
        report["preflight"] = {"refused": code == 1, "named_mm_web": named, "exit_after_stop": None}
        if code != 1 or not named:
            raise CannotTell(f"the preflight, exit {code}, missed the live `mm web`")
        self.measure("refused", "preflight refuses: mm web is alive")
        self.stop_web()
        report["preflight"]["exit_after_stop"], named = self.ask_preflight(preflight)
        if named:
            raise CannotTell("the preflight still names `mm web`, which has ended")

    def ask_preflight(self, preflight: list[str]) -> tuple[int, bool]:
        """Its exit status, and if it names the `mm web` of this lab."""
        status, out, err = self.run(*preflight, "--json", "--db", str(self.database), check=False)
        if status not in (0, 1) or not out.startswith("{"):
            raise CannotTell(f"the preflight could not tell, exit {status}:\n{tail(err or out)}")
        return status, any(self.web.pid in each["pids"] for each in json.loads(out)["processes"])


def find_preflight(given: str | None) -> list[str]:
    """The command that runs the preflight; [] if none is given and none is found."""
    beside = Path(__file__).with_name(BESIDE)
    works = beside.exists() and find_spec("psutil")
    here = [sys.executable, str(beside)] if works else ["mm-preflight"]
    command = shlex.split(given, posix=os.name != "nt") if given else here
    program = shutil.which(command[0])
    if given and not program:
        raise CannotTell(f"the preflight {given!r} was not found")
    return [os.path.abspath(program), *command[1:]] if program else []


def judge(report: Json, refusal: str) -> tuple[str, str]:
    """Verdict and reason: was there, without the preflight, what it is there to prevent?"""
    for row in report["with_preflight"][1:]:
        if row["alpha"] and row["database_model"] != OLD:
            return "unknown", f"{row['alpha']} vectors of {OLD} came in behind the preflight"
    steps = {row["step"]: row for row in report["without_preflight"]}
    late = steps.get("second-half", {"database_model": None})
    if late["database_model"] == NEW and late["alpha"]:
        share = f"{late['alpha']} of {late['alpha'] + late['beta']} vectors are {OLD}'s"
        return "needed", f"{share} while the database says {NEW}"
    if refusal:
        return "not-needed", refusal
    if late["database_model"] != NEW:
        return "unknown", "the steps did not come to their end"
    if late["beta"] - steps["reindexed"]["beta"] >= report["notes"] // 2:
        return "not-needed", f"what the old `mm web` indexed after the reset is {NEW}'s"
    return "unknown", "the old `mm web` did not index the second half, and did not say why"


def reproduce(options: argparse.Namespace, folder: Path, report: Json) -> str:
    """Both halves of the proof, each in a home of its own; fills the report as it goes."""
    if not (program := shutil.which(options.mm)):
        remedy = 'Install it: uv tool install "memtomem[web]", or give its mm with --mm PATH.'
        raise CannotTell(f"memtomem is missing: there is no program {options.mm!r}\n{remedy}")
    preflight, notes = find_preflight(options.preflight), make_notes(options.notes, options.seed)
    with embedding_server() as server:
        world: World = (*server, options.search, report["questions"])
        with Lab(mm := os.path.abspath(program), folder / "without", notes, world) as lab:
            said = lab.run(mm, "--version")[1]
            if not (match := re.search(r"\bmemtomem\b\D*(\d[\w.+-]*)", said)):
                raise CannotTell(f"{mm} is not memtomem's mm (see --mm). It says:\n{tail(said)}")
            report["memtomem"] = match[1]
            print(f"memtomem {match[1]}, {len(notes)} notes, models {OLD} and {NEW}\n")
            print(f"{'Without the preflight':<35}{HEAD}", flush=True)
            refusal = lab.prove(report, [])
        if not preflight:
            print("\nNo mm-preflight found: the half with it is left out (see --preflight).")
            return refusal
        print(f"\n{'With the preflight in front':<35}{HEAD}")
        with Lab(mm, folder / "with", notes, world) as lab:
            lab.prove(report, preflight)
    return refusal


def work(options: argparse.Namespace, folder: Path) -> int:
    """Prove, judge and report; what was measured is reported, whatever ends it."""
    report: Json = {"schema_version": 1, "memtomem": None, "python": platform.python_version()}
    report |= {"platform": platform.system(), "dimension": DIMENSION, "notes": options.notes}
    report |= {"seed": options.seed, "seconds": 0, "verdict": "unknown", "reason": ""}
    report |= {"search": options.search, "questions": "synonyms" if options.synonyms else "words"}
    report |= {"isolated": True, "without_preflight": [], "with_preflight": [], "preflight": None}
    try:
        with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
            refusal = reproduce(options, folder, report)
        report["verdict"], report["reason"] = judge(report, refusal)
    except CannotTell as error:
        report["reason"] = str(error)
    except KeyboardInterrupt:  # a console of Windows tells this process, too
        return 130
    except Exception as error:  # whatever it is, it is no verdict
        report["reason"] = f"internal error, please report it: {error!r}"
    report["seconds"] = round(time.monotonic() - BEGAN, 1)
    if options.json:
        print(json.dumps(report, indent=2))
    quiet = options.json or report["verdict"] == "unknown"
    means = {"needed": NEEDED, "not-needed": NOT_NEEDED}.get(report["verdict"], "reproduce_mix: ")
    print(means + report["reason"], file=sys.stderr if quiet else sys.stdout)
    return EXIT[report["verdict"]]


def end_with_parent(folder: Path) -> None:
    """Nobody writes to stdin: it ends when the process ends that started this one, however."""
    sys.stdin.read()
    if os.name == "nt":  # where nothing is removed that is in use: by one that outlives the rest
        subprocess.run(["cmd", "/c", "start", "/b", sys.executable, "-c", REMOVE, str(folder)])
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(os.getpid())], capture_output=True)
    while folder.exists():  # again, as long as `mm web` writes
        shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    add = parser.add_argument
    add("--mm", metavar="PATH", default="mm", help="memtomem's mm (on PATH)")
    add("--preflight", metavar="COMMAND", help="the preflight (mm-preflight)")
    add("--notes", metavar="N", type=int, choices=range(10, 401), default=60, help="how many (60)")
    add("--seed", metavar="N", type=int, default=707, help="which words (707)")
    add("--search", choices=["meaning", "default"], default="meaning", help="how (meaning)")
    add("--synonyms", action="store_true", help="ask with words that stand in no note")
    add("--json", action="store_true", help="print the measurements as JSON")
    add("--keep", action="store_true", help="leave the throwaway home, say where")
    add("--worker", action="store_true", help=argparse.SUPPRESS)  # see main
    return parser.parse_args(argv)


def main() -> int:
    """Let another process do the work: it ends, with all it started, however this one ends."""
    options = parse()
    if options.worker:
        folder = Path(tempfile.mkdtemp(prefix="reproduce-mix-")).resolve()
        threading.Thread(target=end_with_parent, args=(folder,), daemon=True).start()
        status = work(options, folder)
        if options.keep:
            print(f"kept: {folder}", file=sys.stderr)
        for _ in range(0 if options.keep else 50):  # on Windows, what ends has it open for a moment
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.1 * folder.exists())
        return status
    command = [sys.executable, *sys.argv, "--worker"]
    apart: Json = {"stdin": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen(command, **apart) as worker, contextlib.suppress(KeyboardInterrupt):
        return worker.wait() if worker.wait() >= 0 else EXIT["unknown"]
    return 130


if __name__ == "__main__":
    sys.exit(main())
