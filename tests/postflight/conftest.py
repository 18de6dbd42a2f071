"""Homes that are made once; a test that changes one has a copy of its own."""

from __future__ import annotations

import pytest
from real import VERSION, given

from postflight.home import Home, give, program, serving

NAMES = [f"old/n{number:02}.md" for number in range(10)] + [f"new/n{n:02}.md" for n in range(6)]


@pytest.fixture(scope="session")
def embedder():
    with serving() as about:
        yield about


@pytest.fixture(scope="session")
def script(tmp_path_factory):
    return program(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="session")
def indexed(embedder, script, tmp_path_factory):
    """By version and if mixed: 16 notes; in a mixed one, another model made the vectors of new/."""
    made: dict[tuple[str, bool], Home] = {}

    def prepare(version: str, mixed: bool) -> Home:
        folder = tmp_path_factory.mktemp("home") / "home"
        home = Home(folder.resolve(), given(version), embedder.url, script)
        embedder.answer, embedder.raw = give, None
        home.configure()
        home.write(NAMES)
        home.mm("index", home.notes / "old")
        if mixed:
            embedder.answer = lambda _, texts: give("alpha", texts)
        home.mm("index", home.notes / "new")
        embedder.answer = give
        assert home.query("SELECT count(*) FROM chunks_vec_rowids") == [(len(NAMES),)]
        return home

    def get(version: str = VERSION, mixed: bool = False) -> Home:
        if (version, mixed) not in made:
            made[version, mixed] = prepare(version, mixed)
        embedder.answer, embedder.raw = give, None
        embedder.sent.clear()
        return made[version, mixed]

    return get


@pytest.fixture
def clean(indexed, tmp_path) -> Home:
    return indexed().copy(tmp_path / "home")


@pytest.fixture
def mixed(indexed, tmp_path) -> Home:
    return indexed(mixed=True).copy(tmp_path / "mixed")
