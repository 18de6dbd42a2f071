"""Walk a page: run its console blocks in the page's own order, and compare what they print.

    python walk.py PAGE HOME

Run it where no other process is seen, with memtomem's `mm` and `mm-preflight` on PATH: test_walk.py
does. It prints one JSON object: how many commands were run, where page and program differ, which
model made the vectors that are there in the end, and the chunks of each namespace.

A comment `<!-- walk: … -->` above a block sets the scene for it; SCENES says how. A block that is
no console block is run only if its scene says so. What a person types at a question is read from
the page: the word behind `[y/N]:`.
"""

import contextlib
import json
import os
import re
import select
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

from pages import FENCE, text_of
from reproduce_mix import embedding_server, make_notes

with contextlib.suppress(ImportError):  # Windows has none of them, and walks no page
    import fcntl
    import pty
    import termios

ITEM = re.compile(rf"<!-- walk: (?P<scene>[^>]+?) -->|{FENCE.pattern}", FENCE.flags)
ANSWER = re.compile(r"(\[[yY]/[nN]\]:?)[ ]?(\w*)$", re.M)
SECONDS = 120  # how long a scene is waited for, and any one block

# What differs from run to run, and what a page leaves out. Nothing else may differ.
RULES = [
    # memtomem's log records, as rich prints them: a date or a gap, the level, and what is below.
    (r"^(\[[\d/]+ [\d:]+\]| {19}) (INFO|WARNING) .*\n( {20,}.*\n)*", ""),
    (r"^note: This is a container: [^.]*\.\n?", ""),
    (r"\b\d+ examined(, \d+ of them only in part)?", "N examined"),
    (r"\d+ (s|min|h|days) ago", "AGE"),
    (r"(today|\d{4}-\d\d-\d\d) \d\d:\d\d", "WHEN"),
    (r"\.before-repair-[\d-]+(\s+\d+)?", ".before-repair-WHEN"),
    (r"ttys\d+|pts/\d+", "TERMINAL"),
    (r"^  \d+ {2,}|(?<=pid[ =])\d+|(?<=kill )\d+|(?<=\()\d+(?=\))", "PID "),
    (r"\(\d+ms\)", "(TIME)"),
    (r"\s+", " "),
]


def steps(text):
    """(scene or None, language, body) of each block of a page, in order."""
    scene = None
    for item in ITEM.finditer(text):
        if item["scene"]:
            scene = item["scene"]
        else:
            body = re.sub(rf"^{item['indent']}", "", item["body"], flags=re.M)
            yield scene, item["language"], body
            scene = None


def commands(body):
    """(command, what the page shows below it) for each `$` line of a console block."""
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body, re.M)


def normal(text, home):
    text = text.replace(str(home), "~")
    for pattern, instead in RULES:
        text = re.sub(pattern, instead, text, flags=re.M)
    return text.strip()


def agree(shown, printed, home):
    """Is this what the page shows? `…` there is anything; what is typed is not printed."""
    parts = map(re.escape, normal(ANSWER.sub(r"\1", shown), home).split("…"))
    return re.fullmatch(".*?".join(parts), normal(printed, home), re.S) is not None


class Stage:
    """A home with a real memtomem in it, and whoever else is alive there."""

    def __init__(self, home, embedder, made):
        self.home, self.embedder, self.made = home, embedder, made
        self.client = self.terminal = None
        self.at_terminal = False  # the next block is typed there, because its program asks a person
        self.loaded = ""  # what the start-up file of the person's shell has
        self.notes, self.written = make_notes(120, 707), 0
        home.joinpath("agents").mkdir(parents=True)
        home.joinpath("notes").mkdir()
        home.joinpath(".memtomem").mkdir()

    def run(self, command, answers=""):
        """Status and output of a command, stderr as it comes among stdout."""
        if self.at_terminal:
            self.at_terminal = False
            return self.type(command, answers)
        done = subprocess.run(
            ["bash", "-c", self.loaded + command], cwd=self.home, input=answers,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
        )  # fmt: skip
        return done.returncode, done.stdout

    def type(self, command, answers):
        """The same at a terminal, without the line there that tells how far it is."""
        master, slave = pty.openpty()
        silent = termios.tcgetattr(slave)
        silent[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, silent)
        os.write(master, answers.encode())
        streams = {"stdin": slave, "stdout": slave, "stderr": slave, "start_new_session": True}
        with subprocess.Popen(["bash", "-c", command], cwd=self.home, **streams) as typed:
            os.close(slave)
            printed = b""
            with contextlib.suppress(OSError):  # EIO: whoever had it open has ended
                while select.select([master], [], [], SECONDS)[0]:
                    printed += os.read(master, 65536)
            typed.kill()  # if it waits for another answer, say
        os.close(master)
        return typed.wait(), re.sub(r"\r[^\r\n]*\r", "", printed.decode().replace("\r\n", "\n"))

    def must(self, command):
        status, printed = self.run(command)
        assert status == 0, f"{command}: {printed}"

    def until(self, true, what):
        end = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < end, f"waited in vain: {what}"
            time.sleep(0.1)

    # --- what a scene is made of

    def configure(self, **embedding):
        path = self.home / ".memtomem" / "config.json"
        config = json.loads(path.read_text()) if path.is_file() else {
            "embedding": {"base_url": self.embedder},
            "indexing": {"memory_dirs": [str(self.home / "notes")], "auto_discover": False},
        }  # fmt: skip
        config["embedding"] |= embedding
        path.write_text(json.dumps(config))

    def write(self, count):
        for note in self.notes[self.written : self.written + count]:
            self.written += 1
            (self.home / "notes" / f"note-{self.written:03}.md").write_text(note + "\n")

    def shell(self, name, **options):
        """A shell under another name, as whoever starts a program: it runs its arguments."""
        link = self.home / "programs" / name
        if not link.is_symlink():
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(shutil.which("bash"))
            (link.parent / "run").write_text('"$@"\nexit\n')
        return {"executable": str(link), "cwd": link.parent, "stderr": subprocess.DEVNULL} | options

    def start_web(self):
        """`mm web`, typed at the prompt of a zsh in a terminal, and ready to serve."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.terminal, slave = pty.openpty()
        take = {"preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
        out = {"stdin": slave, "stdout": subprocess.DEVNULL, "start_new_session": True}
        subprocess.Popen(["zsh"], **self.shell("zsh", **out, **take))
        os.write(self.terminal, f"mm web --port {port}\n".encode())

        def ready():
            with contextlib.suppress(OSError):
                ask = f"http://127.0.0.1:{port}/api/readiness"
                return urllib.request.urlopen(ask, timeout=5).status == 200

        self.until(ready, "mm web")

    def start_client(self):
        """Cursor, as far as it matters: a program of that name that started an MCP server."""
        argv = ["Cursor", "run", "memtomem-server"]
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        self.client = subprocess.Popen(argv, **self.shell("Cursor", **pipe))
        self.until(lambda: '"mcp-server"' in self.run("mm-preflight --json")[1], "the MCP server")

    # --- what is there in the end, read beside whoever has the database open

    def query(self, sql):
        place = (self.home / ".memtomem" / "memtomem.db").as_uri() + "?mode=ro"
        with contextlib.closing(sqlite3.connect(place, uri=True, timeout=10)) as database:
            return database.execute(sql).fetchall()

    def models(self):
        """How many chunks have a vector of each model, or none."""
        rows = self.query(
            """
            SELECT substr(vectors, 1 + chunk_offset * 1024, 1024) FROM chunks
            LEFT JOIN chunks_vec_rowids AS place ON place.rowid = chunks.rowid
            LEFT JOIN chunks_vec_vector_chunks00 AS store ON store._rowid_ = place.chunk_id
            """
        )
        return Counter(self.made.get(vector or b"", "none") for (vector,) in rows)

    def namespaces(self):
        return dict(self.query("SELECT namespace, count(*) FROM chunks GROUP BY 1"))


def machine(stage, _body):
    """60 notes and one of an agent's, indexed with alpha; `mm web` and a client's server alive."""
    stage.configure(provider="ollama", model="alpha", dimension=256)
    stage.write(60)
    (stage.home / "agents" / "bob.md").write_text("what bob alone has to remember\n")
    stage.must("mm index ~/notes && mm index --namespace agent-runtime:bob ~/agents")
    stage.start_web()
    stage.start_client()


def quit_client(stage, _body):
    stage.client.stdin.close()
    stage.client.wait(SECONDS)


def merge(stage, body):
    stage.configure(**json.loads(body)["embedding"])


def at_a_terminal(stage, _body):
    stage.at_terminal = True


def backup(stage, body):
    """Kept as shown; and on a database elsewhere it keeps both files, and brings both back."""
    home, other = stage.home / "elsewhere", stage.home / "elsewhere" / "my.sqlite"
    settings = home / ".memtomem" / "config.json"
    settings.parent.mkdir(parents=True)
    script = home / "backup.py"
    script.write_text(body.replace("~/.memtomem/memtomem.db", str(other)))
    for what, more in (("before", ""), ("after", " restore")):
        settings.write_text(what)
        with contextlib.closing(sqlite3.connect(other)) as database:
            database.executescript(f"DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT '{what}' w;")
        stage.must(f"HOME={home} python3 {script}{more}")
    assert settings.read_text() == "before"
    with contextlib.closing(sqlite3.connect(other)) as database:
        assert database.execute("SELECT w FROM t").fetchall() == [("before",)]
    (stage.home / "backup.py").write_text(body)


def changed(stage, _body):
    """All is the new model's now, and a second backup stops before it writes."""
    assert stage.models() == {"beta": 61}
    status, printed = stage.run("python3 backup.py")
    assert status and "FileExistsError" in printed


def mixed(stage, _body):
    """The mistake: a reset beside an old `mm web`, which then indexed thirty notes of sixty."""
    reset = "mm embedding-reset --mode apply-current --yes && mm index --force ~/notes"
    stage.configure(provider="ollama", model="alpha", dimension=256)
    stage.write(30)
    stage.must(reset)
    stage.start_web()
    stage.configure(model="beta")
    stage.must(reset)
    stage.write(30)
    halves = {"alpha": 30, "beta": 30}
    stage.until(lambda: stage.models() == halves, f"30 vectors of each, not {stage.models()}")


def reconfigured(stage, _body):
    """A new model in the configuration, and an old `mm web` alive."""
    stage.configure(provider="ollama", model="alpha", dimension=256)
    stage.write(3)
    stage.must("mm index ~/notes")
    stage.start_web()
    stage.configure(model="beta")


def hooked(stage, _body):
    """The same, with the line in the start-up file of bash, and OpenCode's folder there."""
    reconfigured(stage, "")
    (stage.home / ".config" / "opencode" / "plugins").mkdir(parents=True)
    stage.loaded = 'eval "$(mm-preflight --hook bash)"\n'


SCENES = {
    "a person's machine: 60 notes, one of an agent's, mm web and an MCP server alive": machine,
    "quit the client": quit_client,
    "merge this into config.json": merge,
    "at a terminal": at_a_terminal,
    "save this as backup.py": backup,
    "all is beta's": changed,
    "the mistake": mixed,
    "mm web alive, a new model configured, and the line for bash loaded": hooked,
}


def walk(text, stage):
    """Run all blocks of a page. Returns how many commands were run, and what differs."""
    count, differ = 0, []
    for scene, language, body in steps(text):
        if scene:
            SCENES[scene](stage, body)
        if language != "console":
            continue
        shown = commands(body)
        script = "\n".join(f"{command}\nprintf '\\0%s\\0' $?" for command, _ in shown)
        answers = "".join(f"{word}\n" for _, word in ANSWER.findall(body))
        _, printed = stage.run(script, answers)
        results = re.findall(r"([^\0]*)\0(\d+)\0", printed)
        assert len(results) == len(shown), printed
        for (command, wanted), (output, status) in zip(shown, results, strict=True):
            count += 1
            right = agree(wanted, output, stage.home) if wanted else status == "0"
            if not right:
                printed = re.sub(*RULES[0], output, flags=re.M)
                differ.append({"command": command, "shown": wanted, "printed": printed})
    return count, differ


def main(page, home):
    home = Path(home)
    with embedding_server() as (address, made):
        stage = Stage(home, address, made)
        count, differ = walk(text_of(Path(page)), stage)
    report = {"commands": count, "differ": differ, "models": stage.models()}
    print(json.dumps(report | {"namespaces": stage.namespaces()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
