"""What an embedder may do, and what is made of it. memtomem's class is the test's here."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re

import pytest
import reproduce_mix
from mm_postflight import asking
from mm_postflight.asking import SENTENCES, Embedder
from mm_postflight.records import Fault, Unknown

from postflight.home import give

DIMENSION = 64
TEXTS = [f"note {number}" for number in range(12)]


def right(texts: list[str]) -> list[list[float]]:
    return give("beta", texts)[1]


class Stub:
    """An embedder that answers with what `answer` makes of the texts; `asked` has them."""

    def __init__(self, answer) -> None:
        self.answer, self.asked = answer, []

    async def embed_texts(self, texts):
        self.asked.append(list(texts))
        return self.answer(texts)


def embedder(answer) -> Embedder:
    return Embedder(Stub(answer), DIMENSION)


class RetryableEmbeddingError(Exception):
    """As memtomem's."""


def failing(cause: str, text: str = "Ollama embedding transport failed: "):
    """An error with the cause that httpx has, whose classes have these names, the last one it."""
    kind: type[Exception] = Exception
    for name in cause.split():
        kind = type(name, (kind,), {})
    error = RetryableEmbeddingError(text)
    error.__cause__ = kind()
    return error


def raising(error: Exception):
    def answer(texts):
        raise error

    return answer


def test_one_that_works():
    one = embedder(right)
    assert one.prove() == pytest.approx(1)
    answers = one.ask(TEXTS)
    assert [list(each) for each in answers] == [pytest.approx(v, abs=1e-6) for v in right(TEXTS)]
    assert one.sent == len(TEXTS)  # the fixed sentences are no text of the database


NUMBERS = itertools.count()
NAN = [math.nan] * DIMENSION
FAULTS = {
    "one vector for all": lambda texts: [right(["x"])[0]] * len(texts),
    "zeros": lambda texts: [[0.0] * DIMENSION] * len(texts),
    "NaN": lambda texts: [NAN] * len(texts),
    "infinite": lambda texts: [[math.inf] * DIMENSION] * len(texts),
    "too large for float32": lambda texts: [[1e300] * DIMENSION] * len(texts),
    "backwards": lambda texts: right(texts)[::-1],
    "shifted": lambda texts: right(texts[1:] + texts[:1]),
    "sorted": lambda texts: sorted(right(texts), reverse=True),
    "random": lambda texts: right([f"{next(NUMBERS)}" for _ in texts]),
    "another dimension": lambda texts: [each[:-1] for each in right(texts)],
}
REFUSED = {
    "booleans": (lambda texts: [[True, False] * 32] * len(texts), "vectors of bool"),
    "text": (lambda texts: [["x"] * DIMENSION for _ in texts], "vectors of str"),
    "null": (lambda texts: [[None] * DIMENSION for _ in texts], "vectors of NoneType"),
    "null for a vector": (lambda texts: [None for _ in texts], "NoneType where a vector"),
    "a string for a vector": (lambda texts: ["x" * DIMENSION for _ in texts], "str where"),
    "an object": (lambda texts: {"error": "x"}, "no list for"),
    "nothing": (lambda texts: None, "no list for"),
    "too few": (lambda texts: right(texts)[:-1], "vectors for"),
    "too many": (lambda texts: right(texts) * 2, "vectors for"),
    "lists in lists": (lambda texts: [[[1.0]] * DIMENSION for _ in texts], "vectors of list"),
    "no JSON": (lambda texts: json.loads("<html>"), "its answer is not JSON; another program"),
    "no key": (lambda texts: {}["data"], "not what this protocol has (KeyError: 'data')"),
    "an error": (raising(ValueError("model 'beta' not found")), "model 'beta' not found"),
    "an empty error": (raising(failing("HTTPStatusError")), "failed: HTTPStatusError"),
    "no words at all": (raising(RuntimeError()), "no vectors: RuntimeError"),
    "a connection that breaks": (
        raising(failing("TransportError ReadError")),
        "transport failed: ReadError",
    ),
    "nobody there": (raising(failing("TransportError ConnectError", "Cannot connect")), "Cannot"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_faulty_one_is_found_before_any_note_is_sent(what):
    one = embedder(FAULTS[what])
    with pytest.raises(Fault):
        one.prove()
    assert one.sent == 0


@pytest.mark.parametrize("what", REFUSED)
def test_one_that_gives_no_vectors_is_told_in_words(what):
    answer, words = REFUSED[what]
    one = embedder(answer)
    with pytest.raises(Unknown, match="the embedder gives no vectors: ") as caught:
        one.prove()
    assert words in str(caught.value)
    assert one.sent == 0


def test_one_text_that_fails_leaves_the_rest():
    """Batches are halved down to it."""

    def answer(texts):
        if TEXTS[5] in texts:
            raise failing("RateLimitError", "Ollama returned transient HTTP 500")
        return right(texts)

    one = embedder(answer)
    answers = one.ask(TEXTS)
    assert [number for number, each in enumerate(answers) if each is None] == [5]
    assert one.said == {"Ollama returned transient HTTP 500": 1}


def test_many_texts_that_fail_here_and_there_leave_the_rest():
    odd = TEXTS[1::2]
    one = embedder(lambda texts: [] if set(texts) & set(odd) else right(texts))
    assert [each is None for each in one.ask(TEXTS * 3)] == [False, True] * 18


def test_one_that_breaks_off_for_good_is_given_up():
    one = embedder(raising(ValueError("HTTP 500")))
    with pytest.raises(Unknown, match="gives no vectors any more: HTTP 500"):
        one.ask(TEXTS)
    assert len(one.embedder.asked) < 20


def test_a_connection_that_breaks_once_is_asked_again():
    broken = []

    def answer(texts):
        if not broken:
            broken.append(1)
            raise failing("TransportError RemoteProtocolError")
        return right(texts)

    one = embedder(answer)
    assert None not in one.ask(TEXTS)
    assert one.embedder.asked == [TEXTS, TEXTS]


def test_a_single_text_with_no_numbers_is_not_embedded():
    one = embedder(lambda texts: [NAN if text == TEXTS[3] else right([text])[0] for text in texts])
    assert [each is None for each in one.ask(TEXTS)].index(True) == 3
    assert one.said == {"numbers that are not finite (NaN, or infinite)": 1}


def test_texts_that_all_get_one_vector_later():
    one = embedder(right)
    one.prove()
    one.embedder.answer = lambda texts: [right(["x"])[0]] * len(texts)
    with pytest.raises(Fault, match="12 different texts got one and the same vector"):
        one.ask(TEXTS)
    one.embedder.answer = right
    assert one.ask(["the same"] * 3)


def test_one_vector_for_all_but_for_noise():
    """What is nearly one vector is one."""
    one = embedder(
        lambda texts: [[x + 1e-4 * n for x in right(["x"])[0]] for n in range(len(texts))]
    )
    with pytest.raises(Fault, match="one vector for different texts"):
        one.prove()


def test_another_model_that_answers_later():
    """The first sentence is asked beside other texts, and its answer is compared."""
    one = embedder(right)
    one.prove()
    one.ask([SENTENCES[0], *TEXTS])
    assert one.least == pytest.approx(1)
    one.embedder.answer = lambda texts: give("alpha", texts)[1]
    one.ask([SENTENCES[0], *TEXTS])
    assert one.least < 0.9


def test_some_texts_that_get_one_vector_beside_others():
    one = embedder(lambda texts: right(["x" if len(t) > 75 else t for t in texts]))
    one.prove()
    with pytest.raises(Fault, match="5 different texts got one and the same vector"):
        one.ask([*TEXTS, *(f"{number} {'long ' * 20}" for number in range(5))])


def test_texts_that_a_model_cuts_to_what_they_have_in_common():
    for cut in (lambda t: t[:80], lambda t: t[-80:]):
        one = embedder(lambda texts, cut=cut: right(list(map(cut, texts))))
        one.prove()
        assert len(one.ask([f"{'long ' * 20}{n}{' long' * 20}" for n in range(5)])) == 5


def test_texts_that_a_model_cannot_tell_apart():
    """Of signs that it does not know, it gives one vector: that is no fault."""
    one = embedder(lambda texts: right([re.sub(r"[^ -~]+", "unknown", t) for t in texts]))
    one.prove()
    assert len(one.ask(["👍", "🎉", "✅", "☎"])) == 4


def test_one_that_hangs(monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE", 0.05)

    class Hangs:
        async def embed_texts(self, texts):
            await asyncio.sleep(60)

    one = Embedder(Hangs(), DIMENSION)
    with pytest.raises(Unknown, match=r"the embedder gives no vectors: no answer in 0.05 s"):
        one.prove()
    with pytest.raises(Unknown, match="no answer"):
        one.ask(TEXTS)


def test_a_limit_on_requests_is_not_answered_with_more_of_them():
    error = failing("RateLimitError", "OpenAI API rate limit exceeded after retries.")
    error.__cause__.status_code = 429
    one = embedder(raising(error))
    with pytest.raises(Unknown, match="rate limit exceeded"):
        one.ask(TEXTS)
    assert len(one.embedder.asked) == 1


def test_how_many_numbers_a_model_gives():
    assert embedder(right).size(SENTENCES[0]) == DIMENSION
    assert embedder(lambda texts: [[1.0] * 7]).size(SENTENCES[0]) == 7
    with pytest.raises(Unknown, match="vectors of bool"):
        embedder(lambda texts: [[True]]).size(SENTENCES[0])
    with pytest.raises(Fault, match="zeros"):
        embedder(lambda texts: [[0.0, 0.0]]).size(SENTENCES[0])


def test_numbers_of_other_kinds():
    """Whole numbers are numbers, and so is what calls itself real."""
    one = embedder(lambda texts: [[int(100 * each) for each in v] for v in right(texts)])
    assert one.prove() > 0.99
    assert reproduce_mix.DIMENSION
