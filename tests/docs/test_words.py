"""How long the site is, and how it speaks. A page that grows is read by nobody."""

import re
from html.parser import HTMLParser

import pytest
from pages import DOCS, PAGES, ROOT, text_of, url_of
from pages_as_markdown import plain

# The most words that a reader of each page sees, code and output counted.
MOST = {
    "index.md": 400,
    "questions.md": 950,
    "guides/embedding-reset.md": 800,
    "guides/stop-mm-processes.md": 960,
    "guides/mixed-vectors.md": 500,
    "guides/make-mm-ask-first.md": 600,
    "guides/old-versions.md": 420,
    "explanation/how-vectors-mix.md": 900,
    "reference/preflight.md": 1100,
    "reference/postflight.md": 1400,
}


class Visible(HTMLParser):
    """The text of a page's article: what is within a drawing, too, and no tooltip."""

    UNSEEN = frozenset({"script", "style", "title", "desc"})
    VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})
    INLINE = frozenset({"a", "abbr", "code", "em", "span", "strong"})

    def __init__(self, html):
        super().__init__()
        self.open, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        classes = (dict(attrs).get("class") or "").split()
        if tag not in self.VOID:
            self.open.append(tag if "headerlink" not in classes else "script")

    def handle_endtag(self, tag):
        if self.open and tag not in self.VOID:
            self.open.pop()
        if tag not in self.INLINE:
            self.text.append(" ")

    def handle_data(self, data):
        if "article" in self.open and not self.UNSEEN & {*self.open}:
            self.text.append(data)


def words_of(html):
    """Whatever stands between two gaps and holds a letter or a digit."""
    text = "".join(Visible(html).text)
    return [word for word in text.split() if re.search(r"\w", word)]


@pytest.fixture(scope="module")
def counts(site):
    return {
        page.relative_to(DOCS).as_posix(): len(
            words_of((site / url_of(page) / "index.html").read_text(encoding="utf-8"))
        )
        for page in PAGES
    }


def test_ten_pages(counts):
    assert counts.keys() == MOST.keys()


@pytest.mark.parametrize("page", MOST)
def test_words_of_a_page(counts, page):
    found, most = counts[page], MOST[page]
    assert found <= most, f"{page} has {found} words, {found - most} too many: shorten something"
    assert found > most / 2, f"{page} has {found} words: lower its limit of {most}"


def test_words_in_all(counts):
    assert sum(counts.values()) <= 8000


def test_readme_is_short():
    assert len(plain((ROOT / "README.md").read_text(encoding="utf-8")).split()) < 450


def words_to_avoid():
    """What CONTRIBUTING's table says is not to be said, each with the line it stands in."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.split("### One word for one thing\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", table, re.M)
    return {each: say for say, avoid in rows[1:] for each in avoid.split(", ")}


PLACES = [ROOT / "README.md", *PAGES, *sorted((ROOT / "includes").glob("*.md")), DOCS / "llms.txt"]


def prose(text):
    """A page in one line, without its code, which is as some program has it."""
    text = re.sub(r"^ *```.*?^ *```$|`[^`]+`", " ` ", text, flags=re.M | re.S)
    return re.sub(r"\s+", " ", text).lower()


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_one_word_for_one_thing(place):
    text = prose(text_of(place))
    for each, say in words_to_avoid().items():
        found = rf"(?<!\w){re.escape(each.lower())}(?!\w)".replace(r"\*", r"\w*")
        found = found.replace("`mm`", "`")
        assert not re.search(found, text), f"{each}: say {say}"


def test_the_table_is_read():
    avoid = words_to_avoid()
    assert avoid["mend*"] == "repair" and len(avoid) > 20
