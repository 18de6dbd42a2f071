"""fastembed as far as memtomem 0.6.12 uses it, with other weights: the real ones are downloaded.

Each word is a fixed random direction, another one for each model. All models have 384 numbers.
"""

import hashlib
import re
from array import array
from types import SimpleNamespace

NAMES = ("sentence-transformers/all-MiniLM-L6-v2", "BAAI/bge-small-en-v1.5")


def vector(model, text):
    total = [0.0] * 384
    for word in re.findall(r"\w+", text.lower()) or [""]:
        noise = hashlib.shake_256(f"{model} {word}".encode()).digest(384)
        total = [t + byte - 127.5 for t, byte in zip(total, noise, strict=True)]
    length = sum(t * t for t in total) ** 0.5
    return array("f", [t / length for t in total])


class TextEmbedding:
    added = ()

    @classmethod
    def list_supported_models(cls):
        return [{"model": name} for name in (*NAMES, *cls.added)]

    @classmethod
    def add_custom_model(cls, model, **_):
        cls.added += (model,)

    def __init__(self, model_name, enable_cpu_mem_arena=False, **_):
        self.name = model_name
        arena = SimpleNamespace(enable_cpu_mem_arena=enable_cpu_mem_arena)
        self.model = SimpleNamespace(
            tokenizer=SimpleNamespace(
                truncation={"max_length": 256},
                enable_truncation=lambda **_: None,
                encode=lambda _: SimpleNamespace(overflowing=()),
            ),
            model=SimpleNamespace(get_session_options=lambda: arena),
        )

    def embed(self, texts, **_):
        return (vector(self.name, text) for text in texts)

    query_embed = passage_embed = embed
