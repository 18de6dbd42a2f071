"""The site in a real browser: nothing broken, nothing fetched from elsewhere, nothing out of reach.

No browser, no pass: these tests fail where none is found.
"""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files

import pytest
from pages import PAGES, fences, url_of
from playwright.sync_api import Error, sync_playwright

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# What a reader may type, or paste from a terminal, and where it must lead.
HOW, DO, ASK = "guides/stop-mm-processes/", "guides/embedding-reset/", "questions/"
REPAIR, FIRST, OLD = "guides/mixed-vectors/", "guides/make-mm-ask-first/", "guides/old-versions/"
PRE, POST, MIX = "reference/preflight/", "reference/postflight/", "explanation/how-vectors-mix/"
QUERIES = {
    "stop memtomem-server": HOW,
    "refused": ASK,
    "exit code": PRE,
    "mixed vectors": REPAIR,
    "mm-postflight": POST,
    "mm index --force": ASK,
    # a worried person's words
    "official": ASK,
    "affected": ASK,
    "bge-m3": ASK,
    "openai": ASK,
    "onnx": ASK,
    "dimension": ASK,
    "price": ASK,
    "undo": ASK,
    "rollback": DO,
    "roll back": DO,
    "707": ASK,
    "docker": HOW,
    "windows": ASK,
    "macos": ASK,
    "wsl": HOW,
    "vs code": HOW,
    "vscode": HOW,
    "cursor": HOW,
    "codex": HOW,
    "orphan": HOW,
    "systemd": HOW,
    "hangs": HOW,
    "sshfs": HOW,
    "unkillable": HOW,
    "namespace": OLD,
    "backup": DO,
    "upgrade": OLD,
    "mm init": ASK,
    "web ui": MIX,
    "mem_do": MIX,
    "micromamba": FIRST,
    "nushell": FIRST,
    "xonsh": FIRST,
    "completion": FIRST,
    "opencode": FIRST,
    "search finds nothing after reset": ASK,
    "lost my embeddings": REPAIR,
    "search got worse": REPAIR,
    "my notes are gone": ASK,
    "how long for 5,000 notes": ASK,
    "undo it": ASK,
    "mac": ASK,
    "command not found": "",
    "license": "",
    # what a terminal said
    "mixed, 30 of 60 vectors are not what ollama/beta gives": ASK,
    "mm-preflight: refused, 1 mm process is alive": HOW,
    "mm-preflight: unknown, refused: psutil is missing": PRE,
    "Stored embedding model differs from configured": ASK,
    "Embedding configuration differs from stored vectors": ASK,
    "indexing is disabled": ASK,
    "BM25-only — dense retrieval will return nothing": ASK,
    "blocked by redaction guard": ASK,
    "embedding.model: not settable at runtime": ASK,
    "Guidance only: this command does not change embedding settings": ASK,
    "This database has schema version 3": ASK,
    "Unexpected UTF-8 BOM": ASK,
    "Reset vector index now?": ASK,
    "storage_locked": ASK,
    "database is locked": ASK,
    "Model 'beta' not found in Ollama": ASK,
    "Cannot connect to Ollama": ASK,
    "Dense search unavailable": ASK,
    "Embedding dimension mismatch during upsert": ASK,
    "none/ (0d)": ASK,
    "Embedding mismatch detected — indexing blocked": ASK,
    "FileExistsError": DO,
    "redaction_blocked": ASK,
    "embedding_dim_mismatch": ASK,
}
# The very sentences that people wrote: their answer comes first.
SENTENCES = {
    "search got worse since I changed the model": REPAIR,
    "which folders do I embed again": ASK,
    "it refuses and I have no Cursor": ASK,
    "my agent did it": ASK,
    "on a Mac?": ASK,
    "does Docker count": ASK,
    "I use mm init": ASK,
}
# What a worried person asks, which links lead from the start page to the answer, and the answer.
QUESTIONS = {
    "search got worse since I changed the model": (
        ["I already changed it"],
        "embeds your stored texts again",
    ),
    "which folders do I embed again": (
        ["Questions and messages", "Which folders do I embed again?"],
        "The memory_dirs of mm status --json",
    ),
    "it refuses and I have no Cursor": (
        ["Questions and messages", "It refuses, and I have no Cursor"],
        "is whoever started that process",
    ),
    "my notes are gone": (
        ["Questions and messages", "My notes are gone"],
        "never a note or its text",
    ),
    "how long for 5,000 notes": (
        ["Questions and messages", "How long does it take, and what does it cost?"],
        "5,000 notes",
    ),
    "undo it": (["I want to change the model", "Roll back"], "To go back"),
    "on a Mac?": (
        ["Questions and messages", "Does it work on macOS and Windows?"],
        "macOS was not run",
    ),
    "my agent did it": (["Questions and messages", "My agent did it"], "see if vectors are mixed"),
    "does Docker count": (["It refuses", "Docker and other containers"], "Yes, Docker counts"),
    "I use mm init": (["Questions and messages", "I use mm init"], "Answer n"),
    "Is this official?": (["Questions and messages", "Is this official?"], "No."),
    "Am I affected?": (["Questions and messages", "Am I affected?"], "You are affected if"),
    "Did I lose notes?": (["I already changed it"], "You have lost no note"),
    "What do I do now?": (["I already changed it", "Repair"], "mm-preflight --wait 60"),
    "Is all of it right again?": (
        ["I already changed it", "3. Check once more"],
        "This is the proof",
    ),
    "I killed it, and it came back": (
        ["It refuses", "It is still named"],
        "Something started it again",
    ),
    "mm doctor sees nothing. Is that enough?": (
        ["It refuses", "Why not mm doctor or mm upgrade?"],
        "Both see only what has registered itself",
    ),
    "I use OpenAI": (["Questions and messages", "What about bge-m3, OpenAI and ONNX?"], "mixes"),
    "I have 0.4.0": (["memtomem 0.4.0 and earlier"], "Upgrade memtomem first"),
    "May I reset in the web UI?": (["How vectors mix", "The web UI"], "30 of 30 vectors of alpha"),
    "It says that indexing is disabled": (
        ["Questions and messages", "indexing is disabled"],
        "After it, do not reset again",
    ),
}
# The words between where the reader stands and the end of the answer; null if it is not there.
READ = """answer => {
  const place = location.hash && document.getElementById(location.hash.slice(1));
  const from = (place || document.querySelector("article h1")).textContent;
  const text = document.querySelector("article").textContent;
  const read = text.slice(text.indexOf(from)).replace(/\\s+/g, " ");
  const end = read.indexOf(answer);
  return end < 0 ? null : read.slice(0, end + answer.length).split(" ").length;
}"""
# System fonts of different width. Those that a machine lacks become its default.
FONTS = ("sans-serif", "serif", "monospace", "DejaVu Sans", "Liberation Sans", "Verdana")
# What is wrong with text in a page's drawings: cut off, or over other text or the edge of a box.
DRAWN = """font => {
  document.body.style.setProperty("--md-text-font-family", font);
  const faults = [], widths = [];
  const meet = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width
    && a.y < b.y + b.height && b.y < a.y + a.height;
  const holds = (a, b) => a.x <= b.x && a.y <= b.y
    && b.x + b.width <= a.x + a.width && b.y + b.height <= a.y + a.height;
  for (const svg of document.querySelectorAll("figure.drawing svg")) {
    const texts = [...svg.querySelectorAll("text")].map(text => [text.textContent, text.getBBox()]);
    const boxes = [...svg.querySelectorAll("rect")].map(rect => rect.getBBox());
    texts.forEach(([words, box], number) => {
      widths.push(box.width);
      if (!holds(svg.viewBox.baseVal, box)) faults.push(`${font}: cut off: ${words}`);
      for (const [other, its] of texts.slice(number + 1))
        if (meet(box, its)) faults.push(`${font}: ${words} lies over ${other}`);
      for (const its of boxes)
        if (meet(box, its) && !holds(its, box)) faults.push(`${font}: ${words} leaves its box`);
    });
  }
  return {faults, widths};
}"""
# What a screen does not show without scrolling sideways: code, and cells of tables.
CUT = """() =>
  [...document.querySelectorAll("pre > code, .md-typeset table, .md-typeset__scrollwrap")]
  .filter(box => box.offsetParent && box.scrollWidth > box.clientWidth + 1)
  .map(box => `cut at the right: ${box.textContent.trim().slice(0, 60)}`)"""
# Opens the tab that the button is in, as a reader must, presses it, and tells what it copied.
COPY = """async button => {
  const block = button.closest(".tabbed-block");
  if (block) {
    const tab = [...block.parentNode.children].indexOf(block);
    block.closest(".tabbed-set").querySelectorAll(":scope > input")[tab].checked = true;
  }
  await navigator.clipboard.writeText("");
  button.click();
  for (let tries = 0; tries < 50; tries++) {
    const copied = await navigator.clipboard.readText();
    if (copied) return copied.trim();
    await new Promise(later => setTimeout(later, 20));
  }
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site, tmp_path_factory):
    """The site, served from a folder of another name than its own: it works from any path."""
    root = tmp_path_factory.mktemp("www")
    shutil.copytree(site, root / "any" / "path")
    shutil.copytree(site, root / "mm-preflight")  # 404.html knows its own place only
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/any/path/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    path = os.environ.get("MM_DOCS_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    which = {"executable_path": path} if path else {"channel": "chrome"}
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(**which, args=["--no-sandbox"] if root else [])
        except Error as error:
            # On a developer's machine the report says so; CI must not pass without a browser.
            missing = pytest.fail if os.environ.get("CI") else pytest.skip
            missing(
                "pages NOT looked at in a browser: install Chromium or Chrome, "
                f"or name one in MM_DOCS_BROWSER\n{error}"
            )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def desktop(browser, address):
    """One page for the tests of search, tabs and copy buttons."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.grant_permissions(
        ["clipboard-read", "clipboard-write"], origin=address.split("/any")[0]
    )
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page(browser, address, scheme, width):
    faults, pages, origin = [], {}, address.split("/any")[0]
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.on(
        "console",
        lambda message: message.type in {"error", "warning"} and faults.append(message.text),
    )
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda asked: asked.url.startswith((origin, "data:", "blob:")) or faults.append(asked.url),
    )
    page.on(
        "response",
        lambda answer: answer.status < 400 or faults.append(f"{answer.status} {answer.url}"),
    )
    page.add_init_script(AXE)
    for place in [*map(url_of, PAGES), "../../mm-preflight/404.html"]:
        page.goto(address + place, wait_until="load")
        assert (
            page.evaluate("document.body.dataset.mdColorScheme")
            == {"light": "default", "dark": "slate"}[scheme]
        )
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            faults.append(f"scrolls sideways: {wide} px")
        faults += page.evaluate(CUT)
        for fault in page.evaluate("axe.run().then(found => found.violations)"):
            faults += [
                f"{fault['id']}: {node['html'][:200]} {node['failureSummary']}"
                for node in fault["nodes"]
            ]
        pages[place or "index"], faults[:] = faults[:], []
    context.close()
    assert not [f"{page}: {fault}" for page, found in pages.items() for fault in found]


@pytest.mark.parametrize("query, wanted", (QUERIES | SENTENCES).items(), ids=QUERIES | SENTENCES)
def test_search_finds(desktop, address, query, wanted):
    desktop.goto(address)
    desktop.focus(".md-search__input")
    desktop.locator(".md-search-result__meta", has_text="Type to start searching").wait_for()
    desktop.fill(".md-search__input", query)
    desktop.press(".md-search__input", "End")  # Material listens to keys
    results = desktop.locator(".md-search-result__item > a")
    results.first.wait_for()
    found = [
        link.get_attribute("href").removeprefix(address).split("?")[0] for link in results.all()
    ]
    assert wanted in found[: 1 if query in SENTENCES else 3]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: url_of(page) or "index")
def test_nothing_is_cut_at_any_width(desktop, address, page):
    size = desktop.viewport_size
    desktop.goto(address + url_of(page))
    cut = {}
    for width in range(360, 1500, 60):
        desktop.set_viewport_size({"width": width, "height": 900})
        cut[width] = desktop.evaluate(CUT)
    desktop.set_viewport_size(size)
    assert not {width: found for width, found in cut.items() if found}


@pytest.mark.parametrize("question", QUESTIONS)
def test_two_clicks_and_150_words_answer(desktop, address, question):
    links, answer = QUESTIONS[question]
    assert len(links) <= 2
    desktop.goto(address)
    for link in links:
        desktop.get_by_role("link", name=link, exact=True).first.click()
        desktop.wait_for_load_state()
    words = desktop.evaluate(READ, answer)
    assert words is not None and words <= 150


DRAWINGS = [page for page in PAGES if 'class="drawing"' in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", DRAWINGS, ids=url_of)
def test_drawings_fit_in_any_font(desktop, address, page):
    desktop.goto(address + url_of(page))
    seen = {font: desktop.evaluate(DRAWN, font) for font in FONTS}
    assert not [fault for font in seen.values() for fault in font["faults"]]
    assert len({tuple(font["widths"]) for font in seen.values()}) > 1, "all fonts are the same"
    assert all(font["widths"] for font in seen.values())


def test_a_tab_opens(desktop, address):
    desktop.goto(address + FIRST)
    for tab, shows in {"fish": "config.fish", "zsh": ".zshrc"}.items():
        desktop.locator(".tabbed-labels > label", has_text=tab).click()
        assert desktop.locator(".tabbed-block code", has_text=shows).first.is_visible()
    desktop.goto(address)
    desktop.locator(".tabbed-labels > label", has_text="pipx").click()
    assert desktop.locator(".tabbed-block code", has_text="pipx install .").is_visible()


def test_what_is_pasted_by_mouse_is_searched(desktop, address):
    desktop.goto(address)
    desktop.locator(".md-search__input").click()
    desktop.locator(".md-search-result__meta", has_text="Type to start searching").wait_for()
    desktop.evaluate("""() => {  // as a menu's Paste does: text comes, and no key
      const box = document.querySelector(".md-search__input");
      box.value = "storage_locked";
      box.dispatchEvent(new InputEvent("input", {bubbles: true, inputType: "insertFromPaste"}));
    }""")
    desktop.locator(".md-search-result__item > a").first.wait_for()


FIRST_SCREEN = """selector => {
  const box = document.querySelector(selector).getBoundingClientRect();
  return box.bottom <= innerHeight && box.width > 0;
}"""


@pytest.mark.parametrize("width, height", [(1280, 800), (390, 844)])
@pytest.mark.parametrize("place", ["", DO])
def test_the_first_command_is_on_the_first_screen(browser, address, place, width, height):
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.goto(address + place, wait_until="load")
    assert page.evaluate(FIRST_SCREEN, "article .language-console .gp + *, article .gp")
    context.close()


SIZES = """() => [...document.querySelectorAll("article > p, .admonition p, article td")]
  .filter(box => box.offsetParent).map(box => getComputedStyle(box).fontSize)"""
CARDS = """() => new Set([...document.querySelectorAll(".doors li")]
  .map(card => Math.round(card.getBoundingClientRect().top))).size"""


@pytest.mark.parametrize("width", [390, 1280])
def test_what_matters_is_as_large_as_the_rest(browser, address, width):
    """The red box and the tables of the guide."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(address + DO, wait_until="load")
    assert {*page.evaluate(SIZES)} == {"16px"}
    context.close()


def test_the_doors_stand_in_one_row_or_in_three(browser, address):
    context = browser.new_context()
    page = context.new_page()
    for place in ("", "../../mm-preflight/404.html"):
        page.goto(address + place, wait_until="load")
        for width in range(360, 1500, 60):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(CARDS) in (1, 3), width
    context.close()


REPORT = """() => {
  const report = document.querySelector("code.report");
  const rows = [...report.children].filter(line => line.textContent.trim());
  const left = text => {
    const row = rows.find(line => line.textContent.includes(text));
    const node = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
    while (node.nextNode()) {
      const at = node.currentNode.data.indexOf(text);
      if (at < 0) continue;
      const range = document.createRange();
      range.setStart(node.currentNode, at);
      range.setEnd(node.currentNode, at + text.length);
      return Math.round(range.getBoundingClientRect().left);
    }
  };
  return ["WHAT", "mm web", "STARTED BY", "zsh", "stop it:"].map(left);
}"""


def test_a_refusal_keeps_its_columns_on_a_phone(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(address + HOW, wait_until="load")
    what, web, by, zsh, stop = page.evaluate(REPORT)
    assert what == web == stop < by == zsh
    context.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: url_of(page) or "index")
def test_copy_buttons_copy_commands_alone(desktop, address, page):
    desktop.goto(address + url_of(page), wait_until="networkidle")
    wanted = []
    for language, body in fences(page):
        if language == "console":
            body = "".join(line[2:] + "\n" for line in body.splitlines() if line.startswith("$ "))
        wanted.append(body.strip())
    buttons = desktop.locator("button.md-code__button[data-md-type=copy]")
    assert buttons.count() == len(wanted)
    assert [button.evaluate(COPY) for button in buttons.all()] == wanted
