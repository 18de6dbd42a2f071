"""Two toy embedding models of one dimension, served on the loopback as Ollama serves real ones.

Each remembers which vectors it made, so a test can tell who made one that it finds in a database.
"""

import contextlib
import hashlib
import http.server
import json
import random
import re
import threading
from array import array
from collections.abc import Iterator
from typing import Any

OLD, NEW, DIMENSION = "alpha", "beta", 256
Made = dict[bytes, str]  # vectors, each with the model that made it


def synonym(word: str) -> str:
    """Another word of the same meaning. To search by words it is a stranger."""
    return word[::-1]


def embed(model: str, text: str, dimension: int = DIMENSION) -> "array[float]":
    """A bag of words: each word is a fixed random direction, another one for each model.

    A word and its synonym have the same direction.
    """
    total = [0.0] * dimension
    for word in re.findall(r"\w+", text.lower()) or [""]:
        word = min(word, synonym(word))
        noise = hashlib.shake_256(f"{model} {word}".encode()).digest(dimension)
        total = [t + byte - 127.5 for t, byte in zip(total, noise, strict=True)]
    length = sum(t * t for t in total) ** 0.5
    # As sqlite-vec stores it, so that a stored vector equals a served one exactly.
    return array("f", [t / length for t in total])


class Ollama(http.server.BaseHTTPRequestHandler):
    """Answers as Ollama would, and remembers who made each vector."""

    models: dict[str, int]  # name: dimension
    made: Made

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model, known = asked["model"], self.path == "/api/embed" and asked["model"] in self.models
        vectors = [embed(model, each, self.models[model]) for each in asked["input"] if known]
        self.made.update((vector.tobytes(), model) for vector in vectors)
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"embeddings": [list(each) for each in vectors]}).encode())

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def embedding_server(port: int = 0, **models: int) -> Iterator[tuple[str, Made]]:
    """Serve models (name=dimension) on the loopback. Yields the address, and who made what."""
    about: dict[str, Any] = {"models": models or {OLD: DIMENSION, NEW: DIMENSION}, "made": {}}
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), type("", (Ollama,), about)) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", about["made"]
        finally:
            server.shutdown()


def make_notes(count: int, seed: int) -> list[str]:
    """Notes of twelve made-up words; no word comes twice, so each note has a meaning of its own."""
    letters, dice = "abcdefghijklmnopqrstuvwxyz", random.Random(seed)
    words = list(dict.fromkeys("".join(dice.choices(letters, k=7)) for _ in range(13 * count)))
    return [" ".join(words[i : i + 12]) for i in range(0, 12 * count, 12)]
