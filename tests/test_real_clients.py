"""Real MCP clients with the real memtomem: named right, and gone once the advice was followed.

Each way of starting one is tried in a world of its own, several at a time, because most of the time
is waiting: until the client is up, and until it is sure that nothing comes back.
"""

import contextlib
import json
import re
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from clients import World, clients, open_terminal, real, server_of, world_with
from support import linux, until

__all__ = ["clients", "real"]  # the fixtures

pytestmark = [linux, pytest.mark.slow]

GONE = 16.0  # seconds; a server that its client starts by uvx was seen after 14 to 20
AT_A_TIME = 3
UP = 240.0  # how long a client and its server are waited for: a machine may be busy with others
ENDS = 60.0  # and the server's end, which it hears of once it is up itself

# ---- how each is started: the terminal in which a person sits, if there is one -------------------


def in_terminal(line: str):
    """Typed at a prompt, as a person does."""

    def start(world: World):
        terminal = open_terminal(world)
        terminal.types(line)
        return terminal

    return start


def in_background(world: World, sessions: int = 1):
    for number in range(sessions):
        done = world.run("claude", "--bg", f"say hello {number}", limit=120)
        assert done.returncode == 0, done.stderr


def from_reserve(world: World):
    """The second session takes over a process that was held ready, whose argv names no session."""
    in_background(world, sessions=2)
    until(lambda: len(world.rows()) == 2, "two servers", UP)
    first, second = sorted(world.rows(), key=lambda row: "claude stop ID" in row["stop"])
    assert "claude stop ID" in second["stop"]
    follow(world, None, first["stop"])


def after_quit(world: World):
    terminal = in_terminal("codex")(world)
    server_of(world, UP)
    leave(terminal, "/quit")


def after_closing(world: World):
    terminal = in_terminal("codex")(world)
    server_of(world, UP)
    terminal.close()


ASK = "import urllib.request as u; u.urlopen('http://127.0.0.1:4096/mcp', timeout=5).read()"


def as_a_server(world: World):
    """opencode serve, that nobody sees; it starts its MCP servers for the first who asks."""
    world.shell("setsid nohup opencode serve --port 4096 > /dev/null 2>&1 < /dev/null &")

    def asked() -> list[dict]:
        world.run(sys.executable, "-c", ASK)
        return world.rows()

    until(asked, "a server of opencode serve", UP)


CODEX = r"codex app-server daemon stop   \(Codex CLI runs it in the background, without a window\)"
KILL = r"or kill \d+: then its session goes on without memtomem"
# Each way: how it is started; the advice in full; what a person types to quit, if that is told.
WAYS = {
    "claude": (
        in_terminal("claude"),
        r"quit Claude Code \(pid \d+\); it may start the server again if you only kill it",
        "/exit",
    ),
    # A newer one takes the first session, too, from its reserve.
    "claude --bg": (
        in_background,
        r"claude stop ([0-9a-f]{8}|ID)   \(.*Claude Code runs .*\)",
        None,
    ),
    "claude --bg, a second": (
        from_reserve,
        r"claude stop ID   \(claude agents --json tells the ID of pid \d+; Claude Code runs .*\)",
        None,
    ),
    "codex": (in_terminal("codex"), CODEX, None),
    "codex after /quit": (after_quit, CODEX, None),
    "codex after its terminal": (after_closing, CODEX, None),
    "codex --no-daemon": (
        in_terminal("codex --no-daemon"),
        rf"quit Codex CLI \(pid \d+\), {KILL}",
        "/quit",
    ),
    "opencode": (in_terminal("opencode"), rf"quit OpenCode \(pid \d+\), {KILL}", "/exit"),
    "opencode serve": (
        as_a_server,
        r"kill \d+ \d+   \(the first is OpenCode \(pid \d+\), which runs without a window\)",
        None,
    ),
    "gemini": (in_terminal("gemini"), rf"quit Gemini CLI \(pid \d+\), {KILL}", "/quit"),
}

# ---- what a person does --------------------------------------------------------------------------


def leave(terminal, word: str) -> None:
    """Type what leaves the client until the prompt is back: one that still starts may not hear."""
    for _ in range(8):
        terminal.types(word)
        with contextlib.suppress(pytest.fail.Exception):
            until(terminal.at_prompt, "the prompt", 8)
            return
        terminal.press("Enter")  # the first may have been for the list of commands
    pytest.fail(f"it does not quit; there is\n{terminal.screen()}")


def follow(world: World, terminal, stop: str, word: str | None = None) -> None:
    """What a person does who reads the advice."""
    if stop.startswith("quit "):
        leave(terminal, word)
        return
    command, _, note = stop.partition("   ")
    if "ID" in command:
        pid = int(re.search(r"tells the ID of pid (\d+)", note)[1])
        agents = json.loads(world.run("claude", "agents", "--json").stdout)
        [found] = [each["id"] for each in agents if each.get("pid") == pid]
        command = command.replace("ID", found)
    done = world.shell(command)
    assert done.returncode == 0, (command, done.stdout, done.stderr)


def stays_gone(world: World) -> bool:
    """Whether it ends, and nothing comes back."""
    until(lambda: not world.rows(), "the end of the server", ENDS)
    end = time.monotonic() + GONE
    while time.monotonic() < end:
        if world.rows():
            return False
        time.sleep(0.5)
    return True


def advised(clients, real, way: str) -> tuple[str, bool]:
    """The advice for a client that was started this way, and whether it held."""
    start, _, word = WAYS[way]
    with world_with(clients, real) as world:
        terminal = start(world)
        stop = server_of(world, UP)["stop"]
        follow(world, terminal, stop, word)
        return stop, stays_gone(world)


def killed(clients, real, way: str) -> tuple[str, bool]:
    """The same by the other way out that the advice names: the server alone is killed."""
    with world_with(clients, real) as world:
        terminal = WAYS[way][0](world)
        stop = server_of(world, UP)["stop"]
        time.sleep(3)  # the person works on
        assert world.shell(re.search(r"or (kill \d+):", stop)[1]).returncode == 0
        held = stays_gone(world)
        terminal.types("hello")
        time.sleep(5)
        return stop, held and not world.rows()


# ---- tests ---------------------------------------------------------------------------------------

KILLED = [way for way in WAYS if KILL in WAYS[way][1]]


@pytest.fixture(scope="module")
def tried(request, clients, real) -> dict[str, Future]:
    """What was seen of each test's way; all that are wanted begin at once."""
    wanted = [
        (item.originalname, item.callspec.params["way"])
        for item in request.session.items
        if getattr(item, "callspec", None) and item.path == request.path
    ]
    how = {"test_advice_holds": advised, "test_killed_alone": killed}
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {each: pool.submit(how[each[0]], clients, real, each[1]) for each in wanted}


@pytest.mark.parametrize("way", WAYS)
def test_advice_holds(tried, way):
    """Named right, and gone once the advice was followed, and gone still when GONE is over."""
    stop, held = tried["test_advice_holds", way].result()
    assert re.fullmatch(WAYS[way][1], stop), stop
    assert held


@pytest.mark.parametrize("way", KILLED)
def test_killed_alone(tried, way):
    """No other server is started in its place, not even for the next thing that is said."""
    _, held = tried["test_killed_alone", way].result()
    assert held
