"""Real MCP clients in the tests: installed from npm, kept between runs, and kept apart.

    MM_TEST_CLIENTS=newest   test the newest release of each client, not the pinned one

Nothing of them is among the package's own dependencies. Each runs in namespaces of its own: it sees
no process of the machine's and no network but loopback, where a model stub answers (model_stub.py),
and it has a home, dummy keys, and an otherwise empty environment. Linux only.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from real import CACHE, NotToBeHad, ask, only_one, real
from support import SCRIPT, Environment, until

__all__ = ["clients", "real", "world_of_clients"]  # the fixtures

PACKAGES = {
    "claude": ("@anthropic-ai/claude-code", "2.1.197"),
    "codex": ("@openai/codex", "0.171.0"),
    "opencode": ("opencode-ai", "1.18.33"),
    "gemini": ("@google/gemini-cli", "0.61.0"),
}
NEWEST = os.environ.get("MM_TEST_CLIENTS") == "newest"
INSTALL_LIMIT = 900.0  # seconds; together they are 1 GB
KEY = "sk-ant-dummy-0123456789abcdefghijklmnopqrstuvwxyz"  # of nobody
SYSTEM = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
STUB = Path(__file__).parent / "model_stub.py"
MODEL = "stub-model"
TERMINALS = itertools.count(1)


@pytest.fixture(scope="session")
def clients() -> Clients:
    """The four clients. In CI a test is never skipped for want of them."""
    try:
        return install_clients()
    except NotToBeHad as why:
        if os.environ.get("CI"):
            pytest.fail(f"the MCP clients cannot be had: {why}")
        pytest.skip(f"NOT run with real MCP clients, because they cannot be had here: {why}")


class Clients(NamedTuple):
    """Where npm put their programs, and which releases they are."""

    bin: Path
    versions: dict[str, str]


def install_clients() -> Clients:
    """The pinned clients, or the newest, installed if they are not there yet."""
    if sys.platform != "linux":
        raise NotToBeHad("they are tested on Linux")
    if not shutil.which("npm"):
        raise NotToBeHad("npm is not installed")
    wanted = {name: pinned for name, pinned in PACKAGES.values()}
    if NEWEST:
        wanted = {name: ask(["npm", "view", name, "version"]).strip() for name in wanted}
    short = "-".join(f"{name.rpartition('/')[2]}-{version}" for name, version in wanted.items())
    folder = CACHE / f"clients-{short}"
    with only_one(folder.with_suffix(".lock")):
        if not (folder / "complete").is_file():
            install(folder, wanted)
    versions = {name: wanted[package] for name, (package, _) in PACKAGES.items()}
    return Clients(folder / "node_modules" / ".bin", versions)


def install(folder: Path, wanted: dict[str, str]) -> None:
    """Install with npm, as this machine configures it. The stamp is written last."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"name": "clients", "private": true}')
    npm = ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error"]
    # Their own install scripts put the program for this machine in its place; of what else they
    # bring, nothing need be built. npm 11 and later may not run them, so they are run here.
    exact = [f"{name}@{version}" for name, version in wanted.items()]
    ask([*npm, "--ignore-scripts", *exact], INSTALL_LIMIT)
    for name in wanted:
        package = folder / "node_modules" / name
        script = json.loads((package / "package.json").read_text()).get("scripts", {})
        if words := script.get("postinstall", "").split():
            ask(["env", "-C", package, *words], INSTALL_LIMIT)
    (folder / "complete").touch()


# ---- where they run -----------------------------------------------------------------------------

# The first process of the namespaces: it gives memtomem and Claude Code folders of their own in
# place of those that are one per user, and stays, with the stub below it.
FIRST = """
apart() { mkdir -p -m 700 "/tmp/$2" "$1/$2" && mount --bind "$1/$2" "/tmp/$2" || exit 3; }
apart "$1/run" "memtomem-$0"
apart "$1/run" "cc-daemon-$0"
"$2" "$3" "$1/model" & wait
"""


class World:
    """Namespaces with a home, a model stub and terminals. What a test starts ends with it."""

    def __init__(self, home: Path, real: Environment, programs: list[Path]) -> None:
        """`programs`: folders of programs, before those of the machine."""
        self.home, self.real = home, real
        self.folder = home / "work"
        for each in ("run", "model", "work", ".memtomem"):
            (home / each).mkdir(mode=0o700)
        self.env = {
            "PATH": os.pathsep.join([*map(str, programs), str(real.bin), SYSTEM]),
            "HOME": str(home),
            "SHELL": "/bin/bash",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "USER": "ana",
        }
        self.prefix: list[str] = []
        self.first: subprocess.Popen[str] | None = None
        self.port = 0

    def begin(self) -> None:
        """Make the namespaces, as root or as an ordinary user, who stays the same user inside."""
        plain = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        for more in ([], ["--user", "--map-current-user", "--keep-caps"]):
            argv = [*plain, *more, "sh", "-c", FIRST, str(os.getuid()), str(self.home)]
            self.first = subprocess.Popen(
                [*argv, sys.executable, str(STUB)],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert self.first.stdout
            said = self.first.stdout.readline().split()
            if said[:1] == ["ready"]:
                self.port = int(said[1])
                [inside] = psutil.Process(self.first.pid).children()
                enter = ["nsenter", "--target", str(inside.pid), "--mount", "--pid", "--net"]
                self.prefix = [*enter, *(["--user", "--preserve-credentials"] if more else [])]
                return
            self.first.wait(10)
        assert self.first and self.first.stderr
        raise NotToBeHad(f"no namespaces: {self.first.stderr.read()}")

    def end(self) -> None:
        if self.first:
            self.first.kill()  # --kill-child: and with its child, all of the namespace
            self.first.wait(10)
            for stream in (self.first.stdout, self.first.stderr):
                if stream:
                    stream.close()

    # ---- what is run in it ----

    def argv(self, *words: object) -> list[str]:
        """What to put before a command, so that it runs there, in the folder of the work."""
        names = [f"{name}={value}" for name, value in self.env.items()]
        there = ["env", "-i", "-C", str(self.folder), *names]
        return [*self.prefix, *there, *map(str, words)]

    def run(self, *words: object, limit: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
        )

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """A command as a person would paste it."""
        return self.run("bash", "-c", line)

    def check(self) -> dict:
        """What mm-preflight says there."""
        done = self.run(sys.executable, SCRIPT, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def rows(self) -> list[dict]:
        return self.check()["processes"]

    def says(self, *steps: dict) -> None:
        """What the model says next; see model_stub.py."""
        (self.home / "model" / "steps.json").write_text(json.dumps(steps))

    def requests(self) -> list[dict]:
        """What the model was asked so far."""
        file = self.home / "model" / "requests.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def tree(self) -> str:
        """The process table there, for the message of a test that fails."""
        return self.run("ps", "-eo", "pid,ppid,stat,tty,args", "--forest").stdout


class Terminal:
    """A terminal (tmux) with one program in it, as a person has it before them."""

    def __init__(self, world: World, *words: object) -> None:
        self.world, self.name = world, f"t{next(TERMINALS)}"
        new = ["new-session", "-d", "-s", self.name, "-x", "150", "-y", "50"]
        done = self.tmux(*new, "-c", str(world.folder), *map(str, words))
        assert done.returncode == 0, done.stderr

    def tmux(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.world.run("tmux", "-S", self.world.home / "tmux", "-f", "/dev/null", *words)

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", self.name).stdout

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: Enter, Down, C-c."""
        self.tmux("send-keys", "-t", self.name, *keys)

    def types(self, text: str) -> None:
        """A line, as a person types it: a client takes what comes at once for a paste."""
        for letter in text:
            self.tmux("send-keys", "-t", self.name, "-l", letter)
        time.sleep(0.5)  # some clients complete a command first
        self.press("Enter")

    def is_open(self) -> bool:
        return self.tmux("has-session", "-t", self.name).returncode == 0

    def close(self) -> None:
        """As closing the window does."""
        self.tmux("kill-session", "-t", self.name)

    def at_prompt(self) -> bool:
        """Whether the shell is what the person has before them, and no program runs in it."""
        shown = self.tmux("display-message", "-p", "-t", self.name, "#{pane_current_command}")
        return shown.stdout.strip() == "bash"


def open_terminal(world: World) -> Terminal:
    """A terminal with a prompt in it."""
    terminal = Terminal(world, "bash", "--norc")
    until(terminal.at_prompt, "a prompt")
    return terminal


# ---- how each is set up -------------------------------------------------------------------------


def server_argv(world: World) -> list[str]:
    return [world.real.program("memtomem-server")]


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))


def set_up_claude(world: World) -> None:
    command, *args = server_argv(world)
    write_json(
        world.home / ".claude.json",
        {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
            "mcpServers": {"memtomem": {"type": "stdio", "command": command, "args": args}},
            "projects": {str(world.folder): {"hasTrustDialogAccepted": True}},
        },
    )
    world.env |= {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{world.port}",
        "ANTHROPIC_API_KEY": KEY,
        "DISABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "IS_SANDBOX": "1",  # it does not run as root otherwise
    }


def set_up_codex(world: World) -> None:
    command, *args = server_argv(world)
    text = f"""
model = "{MODEL}"
model_provider = "stub"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.stub]
name = "stub"
base_url = "http://127.0.0.1:{world.port}/v1"
wire_api = "responses"
env_key = "STUB_KEY"
[mcp_servers.memtomem]
command = {json.dumps(command)}
args = {json.dumps(args)}
[projects.{json.dumps(str(world.folder))}]
trust_level = "trusted"
"""
    (world.home / ".codex").mkdir()
    (world.home / ".codex" / "config.toml").write_text(text)
    world.env |= {"STUB_KEY": KEY}


def set_up_opencode(world: World) -> None:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "stub",
        "options": {"baseURL": f"http://127.0.0.1:{world.port}/v1", "apiKey": KEY},
        "models": {MODEL: {"name": MODEL}},
    }
    write_json(
        world.home / ".config" / "opencode" / "opencode.json",
        {
            "autoupdate": False,
            "model": f"stub/{MODEL}",
            "provider": {"stub": provider},
            "mcp": {"memtomem": {"type": "local", "command": server_argv(world), "enabled": True}},
        },
    )
    world.env |= {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}


def set_up_gemini(world: World) -> None:
    command, *args = server_argv(world)
    write_json(
        world.home / ".gemini" / "settings.json",
        {
            "security": {
                "auth": {"selectedType": "gemini-api-key"},
                "folderTrust": {"enabled": False},
            },
            "mcpServers": {"memtomem": {"command": command, "args": args}},
            "privacy": {"usageStatisticsEnabled": False},
            "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
        },
    )
    world.env |= {
        "GEMINI_API_KEY": KEY,
        "GOOGLE_GEMINI_BASE_URL": f"http://127.0.0.1:{world.port}",
    }


SET_UP: dict[str, Callable[[World], None]] = {
    "claude": set_up_claude,
    "codex": set_up_codex,
    "opencode": set_up_opencode,
    "gemini": set_up_gemini,
}


@contextlib.contextmanager
def new_world(real: Environment, *programs: Path) -> Iterator[World]:
    """A world in which nothing runs but the model stub."""
    # Short, because the path of a socket may have but 107 bytes; not below pytest's own.
    with tempfile.TemporaryDirectory(prefix="mm-", dir="/tmp", ignore_cleanup_errors=True) as home:
        world = World(Path(home), real, list(programs))
        try:
            world.begin()
            yield world
        finally:
            world.end()


@contextlib.contextmanager
def world_with(clients: Clients, real: Environment) -> Iterator[World]:
    """A world in which all four clients are set up, with memtomem as their MCP server."""
    node = Path(shutil.which("node") or "/usr/bin/node").parent
    with new_world(real, clients.bin, node) as world:
        for set_up in SET_UP.values():
            set_up(world)
        yield world


@pytest.fixture
def world_of_clients(clients: Clients, real: Environment) -> Iterator[World]:
    with world_with(clients, real) as world:
        yield world


def server_of(world: World, limit: float = 60) -> dict:
    """The one live MCP server, once there is one."""

    def row() -> dict | None:
        rows = world.rows()
        return rows[0] if len(rows) == 1 and rows[0]["role"] == "mcp-server" else None

    return until(row, f"one MCP server; there is\n{world.tree()}", limit)
