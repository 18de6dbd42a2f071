"""--probe: is the new model there, before the old vectors are deleted?"""

from __future__ import annotations

import pytest
from mm_postflight.asking import SENTENCES

from postflight.home import DIMENSION, give, vector_of


@pytest.mark.parametrize("provider", ["ollama", "openai"])
def test_it_answers(clean, embedder, provider):
    clean.configure(provider=provider)
    status, out, err = clean.postflight("--probe")
    assert (status, err) == (0, "")
    assert out == f"mm-postflight: {provider}/beta answers with 64 numbers, as configured\n"
    assert embedder.sent == [[SENTENCES[0]]]  # no note


def test_whatever_the_database_holds(clean, embedder):
    """The new model is configured, the old one's vectors are still there; or nothing is."""
    clean.configure(model="gamma")
    assert clean.ask("--probe")["exit"] == 0
    clean.database.unlink()
    answer = clean.ask("--probe")
    assert (answer["exit"], answer["verdict"]) == (0, "one-model")
    assert answer["probe"] == {"configured": DIMENSION, "numbers": DIMENSION}
    assert not clean.database.exists() and vector_of


def test_a_provider_anywhere_is_asked_without_a_question(clean):
    clean.configure(provider="openai", base_url="http://models.example:9")
    answer = clean.ask("--probe")
    assert answer["exit"] == 2
    assert "would go to" not in answer["text"]


WRONG = {
    "not pulled": ({}, (404, None), "Run: ollama pull beta"),
    "another dimension": (
        {"dimension": 32},
        None,
        "ollama/beta answers with 64 numbers, and the configuration says 32",
    ),
    "a wrong key": (
        {"provider": "openai"},
        (401, None),
        "Put the right key into embedding.api_key.",
    ),
    "nobody there": ({"base_url": "http://127.0.0.1:9"}, None, "Start it: ollama serve."),
    "no model": (
        {"provider": "none", "model": "", "dimension": 0},
        None,
        "the configuration names no model, so there is nothing to ask",
    ),
    "nonsense": ({}, (200, [[True] * 64]), "it gave vectors of bool, not of numbers"),
    "zeros": ({}, (200, [[0.0] * 64]), "the embedder is at fault: it gave a vector of zeros"),
    "another provider": ({"provider": "acme"}, None, "acme"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_and_what_to_do(clean, embedder, what):
    about, told, words = WRONG[what]
    clean.configure(**about)
    embedder.answer = (lambda model, texts: told) if told else give
    answer = clean.ask("--probe")
    assert (answer["exit"], answer["verdict"]) == (2, "unknown")
    assert words in " ".join(answer["text"].split()), answer
    assert len(answer["reason"].splitlines()) == 2 or what == "another provider"
