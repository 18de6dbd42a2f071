"""The rule: whose a vector is, what is checked next, how sure a sample is. No process, no file."""

from __future__ import annotations

import math
import random

import pytest
from mm_postflight import decide
from mm_postflight.records import Findings, Vector

from postflight import home

assert home  # it puts the scripts on the path


def exact(total: int, drawn: int) -> int:
    """The bound by its definition, in whole numbers."""
    draws = math.comb(total, drawn)
    missed = (k for k in range(total, -1, -1) if 20 * math.comb(total - k, drawn) > draws)
    return next(missed)


@pytest.mark.parametrize("total", [1, 2, 17, 299, 300, 301, 1000, 2500])
@pytest.mark.parametrize("drawn", [1, 5, 29, 299, 300])
def test_the_bound_is_exact(total, drawn):
    if drawn <= total:
        assert decide.at_most(total, drawn) - exact(total, drawn) in (0, 1)  # 1: 5 % to a hair


@pytest.mark.parametrize(("drawn", "share"), [(29, 0.1), (59, 0.05), (299, 0.01)])
def test_the_bound_of_a_large_database(drawn, share):
    assert decide.at_most(1_000_000, drawn) == pytest.approx(1_000_000 * share, rel=0.02)


def test_cosine():
    assert decide.cosine([3.0, 4.0], [6, 8]) == pytest.approx(1)
    assert decide.cosine([1.0, 0.0], [0.0, 2.0]) == 0
    assert decide.cosine([1.0, 1.0], [-1.0, -1.0]) == pytest.approx(-1)
    assert decide.cosine([3e38, 4e38], [1e-38, 1e-38]) == pytest.approx(0.98995, abs=1e-4)
    for nowhere in ([0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]):
        assert decide.cosine(nowhere, [1.0, 0.0]) == -1
        assert decide.cosine([1.0, 0.0], nowhere) is None
    assert decide.cosine([0.0, 0.0], [0.0, 0.0]) == 1


@pytest.mark.parametrize(
    ("same", "total", "told"),
    [(8, 8, True), (7, 7, False), (8, 26, True), (8, 27, False), (90, 300, True), (89, 300, False)],
)
def test_an_exact_embedder_is_one_that_gives_three_tenths_again(same, total, told):
    assert decide.is_exact([0.9999] * same + [0.9998] * (total - same)) == told


@pytest.mark.parametrize(
    ("score", "by_exact", "otherwise"),
    [
        (1.0, "ours", "ours"),
        (0.999, "ours", "ours"),
        (0.9989, "relatives", "ours"),
        (0.98, "relatives", "ours"),
        (0.979, "relatives", "between"),
        (0.80, "relatives", "between"),
        (0.799, "others", "others"),
        (-1.0, "others", "others"),
        (None, "not_embedded", "not_embedded"),
    ],
)
def test_whose_a_vector_is(score, by_exact, otherwise):
    assert (decide.kind(score, True), decide.kind(score, False)) == (by_exact, otherwise)


def test_how_far_apart_answers_are():
    assert decide.apart([]) == decide.apart([[1.0, 0.0]]) == decide.apart([[1.0, 0.0], None]) == 1
    assert decide.apart([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) == 0


@pytest.mark.parametrize(
    ("middle", "words"), [(0.96, "about 1 more"), (0.93, "about 2 more"), (0.85, "6 to 20")]
)
def test_how_much_it_matters(middle, words):
    assert decide.harm(middle).startswith(words)


TOTAL = 1500  # vectors, four to a file, written one a second


def times(dice: random.Random, tagged: float) -> list[Vector]:
    """Of this share, `updated` was moved since: tags were edited, or they were embedded again."""
    moved = [TOTAL + dice.randrange(TOTAL) if dice.random() < tagged else n for n in range(TOTAL)]
    return [Vector(n, n // 1024, f"f{n // 4}", n, moved[n]) for n in range(TOTAL)]


def others(dice: random.Random, share: float, layout: str) -> set[int]:
    """Whom an old process made: all, or every third, from some moment on; or anything anywhere."""
    count, step = round(TOTAL * share), 3 if layout == "every third" else 1
    if layout == "anywhere":
        return set(dice.sample(range(TOTAL), count))
    first = dice.randrange(TOTAL - step * count)
    return set(range(first, first + step * count, step))


def search(vectors: list[Vector], made: set[int]) -> set[int]:
    """What is found where who made a vector is known, and nothing is embedded."""
    found, before = Findings(vectors=vectors), 0
    todo = random.sample(vectors, 300)
    while todo:
        found.scores |= {each.rowid: 0.1 if each.rowid in made else 1.0 for each in todo}
        todo, before = decide.next_draw(found, before)
    return {vector.rowid for vector in decide.wrong(found)}


@pytest.mark.parametrize("layout", ["in a row", "every third", "anywhere"])
@pytest.mark.parametrize("tagged", [0.05, 0.5])
@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.03, 0.1])
def test_the_confidence_holds(layout, tagged, share):
    """Over 60 draws more vectors are missed than it says in at most one of twenty."""
    dice, wrong, hits, complete, draws = random.Random(707), 0, 0, 0, 60
    random.seed(707)
    vectors, bound = times(dice, tagged), decide.at_most(TOTAL, 300)
    for _ in range(draws):
        made = others(dice, share, layout)
        found = search(vectors, made)
        assert found <= made
        wrong += len(made) - len(found) > bound
        hits += bool(found)
        complete += bool(found) and found == made
    assert wrong <= draws / 20 + 2 * math.sqrt(draws / 20 * 0.95)  # the draws are themselves a draw
    assert (hits > 0) == (share > 0)
    if layout != "anywhere":  # one process, one time: found once is found all
        assert complete == hits


def test_a_database_that_matches_nothing_is_not_searched_further():
    vectors = times(random.Random(1), 0)
    found = Findings(vectors=vectors, scores={n: 0.1 for n in range(300)})
    assert decide.matches_nothing(found) and decide.next_draw(found, 0) == ([], 0)
    found.scores[0] = 1.0
    assert not decide.matches_nothing(found)
