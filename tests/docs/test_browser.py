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
QUERIES = {
    "stop memtomem-server": "guides/stop-mm-processes/",
    "refused": "guides/messages/",
    "exit code": "reference/preflight/",
    "mixed vectors": "guides/mixed-vectors/",
    "mm-postflight": "reference/postflight/",
    "mm index --force": "guides/messages/",
    # a worried person's words
    "official": "questions/",
    "affected": "questions/",
    "bge-m3": "questions/",
    "openai": "questions/",
    "onnx": "questions/",
    "dimension": "questions/",
    "price": "questions/",
    "recover": "questions/",
    "707": "questions/",
    "docker": "guides/stop-mm-processes/",
    "windows": "questions/",
    "macos": "questions/",
    "wsl": "guides/stop-mm-processes/",
    "vs code": "guides/stop-mm-processes/",
    "cursor": "guides/stop-mm-processes/",
    "orphan": "guides/stop-mm-processes/",
    "namespace": "guides/old-versions/",
    "backup": "guides/roll-back/",
    "upgrade": "guides/old-versions/",
    "mm init": "reference/doors/",
    "web ui": "reference/doors/",
    "mem_do": "reference/doors/",
    # what a terminal said
    "mixed, 30 of 60 vectors are not what ollama/beta gives": "guides/messages/",
    "mm-preflight: refused, 1 mm process is alive": "guides/stop-mm-processes/",
    "mm-preflight: unknown, refused: psutil is missing": "guides/messages/",
    "Stored embedding model differs from configured": "guides/messages/",
    "Embedding configuration differs from stored vectors": "guides/messages/",
    "indexing is disabled": "guides/messages/",
    "BM25-only — dense retrieval will return nothing": "guides/messages/",
    "partial dense coverage — some chunks BM25-only": "guides/messages/",
    "embedding.model: not settable at runtime": "guides/messages/",
    "Guidance only: this command does not change embedding settings": "guides/messages/",
    "it starts the server again if you only kill it": "guides/messages/",
    "This database has schema version 3": "guides/messages/",
    "Unexpected UTF-8 BOM": "guides/messages/",
    "Reset vector index now?": "guides/messages/",
}
# What a worried person asks, which links lead from the start page to the answer, and the answer.
QUESTIONS = {
    "Is this official?": ([], "unofficial until memtomem takes them over"),
    "Am I affected?": (["Questions", "Am I affected?"], "You are affected if you reset"),
    "I reset beside mm web. Did I lose notes?": (["I already did it"], "You lose only time"),
    "What do I do now?": (["I already did it", "The way back"], "mm-preflight --wait 60"),
    "Which of my vectors are wrong?": (["I already did it"], "are not what ollama/beta gives"),
    "Is all of it right again?": (["I already did it", "3. Check again"], "This is the proof"),
    "mm-postflight cannot tell": (["I already did it", "The full way"], "embed everything again"),
    "Can I see which vectors are wrong?": (
        ["Questions", "Can I see which vectors are wrong?"],
        "embeds the texts again",
    ),
    "What is alive?": (["It refuses"], "names each live mm process"),
    "I killed it, and it came back. Why?": (
        ["It refuses", "It is still named"],
        "Something started it again",
    ),
    "How do I quit Cursor on a Mac?": (["It refuses", "Cursor"], "press Cmd-Q"),
    "mm doctor sees nothing. Is that enough?": (
        ["It refuses", "Why not mm doctor or mm upgrade?"],
        "neither replaces the check",
    ),
    "What does it cost?": (
        ["Questions", "What does it cost, and how long does it take?"],
        "embedding all your notes once more",
    ),
    "My new model has another dimension": (
        ["Questions", "The new model has another dimension. Am I safe?"],
        "From mixing, yes",
    ),
    "I use OpenAI": (["Questions", "What about OpenAI?"], "is charged"),
    "Can I go back?": (["Roll back"], "To go back"),
    "I have 0.4.0": (["0.4.0 and earlier"], "Upgrade memtomem first"),
    "May my agent do it for me?": (["Questions", "May my agent do it for me?"], "cannot be safe"),
    "May I reset in the web UI?": (
        ["Doors to a reset", "The web UI"],
        "Do not reset in the web UI",
    ),
    "It says that indexing is disabled": (
        ["Messages", "Embedding configuration differs from stored vectors; indexing is disabled"],
        "the reset has not happened",
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
# What a phone does not show without scrolling sideways: code, and cells of tables.
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
        if width < 400:
            faults += page.evaluate(CUT)
        for fault in page.evaluate("axe.run().then(found => found.violations)"):
            faults += [
                f"{fault['id']}: {node['html'][:200]} {node['failureSummary']}"
                for node in fault["nodes"]
            ]
        pages[place or "index"], faults[:] = faults[:], []
    context.close()
    assert not [f"{page}: {fault}" for page, found in pages.items() for fault in found]


@pytest.mark.parametrize("query, wanted", QUERIES.items(), ids=QUERIES)
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
    assert wanted in found[:3]


@pytest.mark.parametrize("question", QUESTIONS)
def test_two_clicks_and_300_words_answer(desktop, address, question):
    links, answer = QUESTIONS[question]
    assert len(links) <= 2
    desktop.goto(address)
    for link in links:
        desktop.get_by_role("link", name=link, exact=True).first.click()
        desktop.wait_for_load_state()
    words = desktop.evaluate(READ, answer)
    assert words is not None and words <= 300


DRAWINGS = [page for page in PAGES if 'class="drawing"' in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", DRAWINGS, ids=url_of)
def test_drawings_fit_in_any_font(desktop, address, page):
    desktop.goto(address + url_of(page))
    seen = {font: desktop.evaluate(DRAWN, font) for font in FONTS}
    assert not [fault for font in seen.values() for fault in font["faults"]]
    assert len({tuple(font["widths"]) for font in seen.values()}) > 1, "all fonts are the same"
    assert all(font["widths"] for font in seen.values())


def test_a_tab_opens_and_its_namesakes_follow(desktop, address):
    desktop.goto(address + "guides/roll-back/")
    tabs = desktop.locator(".tabbed-set").first
    tabs.get_by_text("PowerShell", exact=True).click()
    assert tabs.get_by_text("Copy-Item").first.is_visible()

    desktop.goto(address + "guides/make-mm-ask-first/")
    first, second = (desktop.locator(".tabbed-set").nth(number) for number in (0, 1))
    first.get_by_text("PowerShell", exact=True).click()
    assert second.get_by_text("Get-Command").is_visible()


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
