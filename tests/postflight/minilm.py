"""A real embedding model and its relatives, served as Ollama serves models: numpy, no GPU.

    $ python minilm.py FILE        # writes its port to FILE, and serves until its stdin closes

all-MiniLM-L6-v2 and a fine-tune of it come from the package index as plain weights. A model's name
says what is done to them: "float32", "float16", "q4_0", "q5_0", "q8_0" (as llama.cpp quantises, in
blocks of 32), "vnni" and "avx2" (int8 activations, whose scale is the whole batch's, with weights
per channel and per tensor), "way-30" (30 % of the way to the fine-tune), "finetune", "noise-5"
(5 % of the spread of each matrix), "cut-128" (tokens), "prefix-query: ".
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import io
import json
import struct
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

TOKENS, HEADS, LAYERS = 256, 12, 6


def packaged(module: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def tensors(data: bytes) -> dict[str, np.ndarray]:
    """What a safetensors file holds: a length, a table in JSON, and the numbers."""
    (size,) = struct.unpack_from("<Q", data)
    table = json.loads(data[8 : 8 + size])
    return {
        name.removeprefix("bert."): np.frombuffer(
            data, np.float32, offset=8 + size + about["data_offsets"][0],
            count=(about["data_offsets"][1] - about["data_offsets"][0]) // 4,
        ).reshape(about["shape"])
        for name, about in table.items()
        if name != "__metadata__" and about["dtype"] == "F32"
    }  # fmt: skip


@functools.cache
def files() -> dict[str, bytes]:
    """The base model's files, which its package holds as one archive."""
    held = zipfile.ZipFile(packaged("all_minilm_l6_v2") / "model.zip")
    return {Path(name).name: held.read(name) for name in held.namelist()}


@functools.cache
def base() -> dict[str, np.ndarray]:
    return tensors(files()["model.safetensors"])


@functools.cache
def finetune() -> dict[str, np.ndarray]:
    folder = packaged("sre_embedding_model") / "model_weights"
    return tensors((folder / "model.safetensors").read_bytes())


def blocks(values: np.ndarray, bits: int) -> np.ndarray:
    """As llama.cpp's q4_0, q5_0 and q8_0: 32 numbers share one scale."""
    flat = values.reshape(-1, 32)
    if bits == 8:
        scale = np.abs(flat).max(1, keepdims=True) / 127
    else:
        far = np.take_along_axis(flat, np.abs(flat).argmax(1)[:, None], 1)
        scale = far / -(1 << (bits - 1))
    scale = scale.astype(np.float16).astype(np.float32)
    scale[scale == 0] = 1
    low, high = (-127, 127) if bits == 8 else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return (np.clip(np.round(flat / scale), low, high) * scale).reshape(values.shape)


@functools.lru_cache(2)  # one is 90 MB
def weights(name: str) -> dict[str, np.ndarray]:
    kind, _, much = name.partition("-")
    if kind in ("q4_0", "q5_0", "q8_0"):
        return each_matrix(lambda matrix: blocks(matrix, int(kind[1])))
    if kind == "float16":
        return {n: w.astype(np.float16).astype(np.float32) for n, w in base().items()}
    if kind == "noise":
        dice = np.random.default_rng(707)
        part = float(much) / 100
        return each_matrix(lambda m: m + part * m.std() * dice.standard_normal(m.shape))
    if kind in ("way", "finetune"):
        part = float(much or 100) / 100
        return {
            n: (1 - part) * w + part * finetune()[n] for n, w in base().items() if n in finetune()
        }
    if kind == "vnni":
        return each_matrix(lambda m: int8(m, np.abs(m).max(1, keepdims=True)))
    if kind == "avx2":
        return each_matrix(lambda m: int8(m, np.abs(m).max()))
    return base()


def each_matrix(change) -> dict[str, np.ndarray]:
    return {
        name: change(value).astype(np.float32) if value.ndim == 2 and "dense" in name + "dense" * (
            "query" in name or "key" in name or "value" in name or "word_emb" in name
        ) else value
        for name, value in base().items()
    }  # fmt: skip


def int8(values: np.ndarray, largest: np.ndarray) -> np.ndarray:
    scale = np.maximum(largest, 1e-9) / 127
    return np.round(values / scale) * scale


def dynamic(values: np.ndarray) -> np.ndarray:
    """Eight bits for what lies between the least and the greatest of the whole batch."""
    low, high = min(values.min(), 0), max(values.max(), 0)
    scale = (high - low) / 255 or 1.0
    return np.round((values - low) / scale) * scale + low


@functools.cache
def tokenizer() -> Tokenizer:
    made = Tokenizer.from_str(files()["tokenizer.json"].decode())
    made.no_padding()
    return made


def norm(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
    return x * w[f"{name}.LayerNorm.weight"] + w[f"{name}.LayerNorm.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    """With the error function of Abramowitz and Stegun 7.1.26, which is near enough."""
    z = np.abs(x) / np.sqrt(2)
    t = 1 / (1 + 0.3275911 * z)
    poly = ((((1.061405429 * t - 1.453152027) * t) + 1.421413741) * t - 0.284496736) * t
    erf = np.sign(x) * (1 - (poly + 0.254829592) * t * np.exp(-z * z))
    return 0.5 * x * (1 + erf)


KNOWN: dict[tuple[str, str], list[float]] = {}


def once(name: str, texts: list[str]) -> list[list[float]]:
    """As `embed`, each text once; a batch changes 1e-7 at most, but for "vnni" and "avx2"."""
    if name in ("vnni", "avx2"):
        return batch(name, tuple(texts))
    new = [text for text in dict.fromkeys(texts) if (name, text) not in KNOWN]
    for text, vector in zip(new, embed(name, new) if new else [], strict=True):
        KNOWN[name, text] = vector
    return [KNOWN[name, text] for text in texts]


@functools.cache
def batch(name: str, texts: tuple[str, ...]) -> list[list[float]]:
    return embed(name, list(texts))


def embed(name: str, texts: list[str]) -> list[list[float]]:
    """Mean of the last layer over the tokens, as the model's card says, of length one."""
    kind, _, much = name.partition("-")
    w, act = weights(name), (dynamic if kind in ("vnni", "avx2") else lambda x: x)
    tokenizer().enable_truncation(int(much) if kind == "cut" else TOKENS)
    texts = [much + text for text in texts] if kind == "prefix" else texts
    ids = [each.ids for each in tokenizer().encode_batch(texts)]
    longest = max(map(len, ids))
    mask = np.array([[1.0] * len(each) + [0.0] * (longest - len(each)) for each in ids], np.float32)
    table = np.array([each + [0] * (longest - len(each)) for each in ids])
    x = w["embeddings.word_embeddings.weight"][table]
    x = x + w["embeddings.position_embeddings.weight"][:longest]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], w, "embeddings")
    for layer in range(LAYERS):
        x = transform(x, w, f"encoder.layer.{layer}", mask, act)
    pooled = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    return (pooled / np.linalg.norm(pooled, axis=1, keepdims=True)).tolist()


def transform(x, w, at, mask, act):
    """One layer: attention, then two matrices, each added to what went in."""

    def dense(values, name):
        return act(values) @ w[f"{at}.{name}.weight"].T + w[f"{at}.{name}.bias"]

    count, length, width = x.shape
    shape = (count, length, HEADS, width // HEADS)
    query, key, value = (
        dense(x, f"attention.self.{name}").reshape(shape).transpose(0, 2, 1, 3)
        for name in ("query", "key", "value")
    )
    scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(width // HEADS)
    scores = scores + (mask[:, None, None, :] - 1) * 1e9
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    scores /= scores.sum(-1, keepdims=True)
    mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(count, length, width)
    x = norm(x + dense(mixed, "attention.output.dense"), w, f"{at}.attention.output")
    wide = gelu(dense(x, "intermediate.dense"))
    return norm(x + dense(wide, "output.dense"), w, f"{at}.output")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"embeddings": once(asked["model"], asked["input"])}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Path(sys.argv[1]).write_text(str(server.server_port))
        io.TextIOWrapper(sys.stdin.buffer).read()


if __name__ == "__main__":
    main()
