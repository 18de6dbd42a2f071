"""Asking the embedder: a batch that fails is halved, and an answer that cannot be right is told."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections import Counter
from collections.abc import Sequence
from numbers import Real
from typing import Any, TypeAlias

from mm_postflight.decide import AT_FAULT, SAME, apart
from mm_postflight.records import FEW, Fault, Unknown

PATIENCE = 300.0  # seconds for a batch: the model may have to be loaded first
SENTENCES = (
    "The harbour was quiet, and the gulls slept on the roofs.",
    "An invoice of 41 pages must be paid before Tuesday.",
    "for (int i = 0; i < n; i++) { total += prices[i]; }",
)
Answer: TypeAlias = "array[float] | None"


class Refused(Exception):
    """Why there came no vectors for these texts."""


class Broken(Refused):
    """The connection broke: the next one may hold."""


def require_steady(least: float) -> None:
    """Raise Fault if two answers to one text are as far apart as those to two texts."""
    if least < AT_FAULT:
        told = f"the embedder is at fault: one text got two vectors (cosine {least:.2f}); another "
        raise Fault(f"{told}model may answer now, or the results of a batch in another order")


class Embedder:
    """memtomem's embedder, asked with care. `sent`: how many texts of the database went to it."""

    def __init__(self, embedder: Any, dimension: int) -> None:
        self.embedder, self.dimension = embedder, dimension
        self.runner, self.sent = asyncio.Runner(), 0
        self.said = Counter[str]()  # why single texts were not embedded
        self.failed = 0  # single texts in a row
        self.silent = 0  # asked in a row, without any answer
        self.proven: Answer = None  # the first sentence's
        self.least = 1.0  # the smallest cosine between two answers to a sentence

    def prove(self) -> float:
        """Ask for what cannot be mistaken, before any note is sent: together, and one by one.

        The smallest cosine between two answers to one text. Raises Unknown, and Fault.
        """
        try:
            together = self._ask(SENTENCES)
            alone = [self._ask([each])[0] for each in SENTENCES]
        except Refused as why:
            raise Unknown(f"the embedder gives no vectors: {why}") from why
        for answer in [*together, *alone]:
            if answer is None or not any(answer):
                told = self.said.most_common(1)[0][0] if self.said else "vectors of zeros"
                raise Fault(f"the embedder is at fault: it gave {told}")
        if apart(together) >= SAME:  # nearly: some are not exact
            raise Fault("the embedder is at fault: it gave one vector for different texts")
        least = min(map(apart, zip(together, alone, strict=True)))
        require_steady(least)
        self.least, self.proven = least, together[0]
        return least

    def size(self, sentence: str) -> int:
        """How many numbers a vector has. Raises Unknown."""
        try:
            try:
                answer = self._call([sentence])
            except Broken:
                answer = self._call([sentence])
            if isinstance(answer, list) and len(answer) == 1 and hasattr(answer[0], "__len__"):
                self.dimension = len(answer[0])
            (vector,) = self._numbers(answer, 1)
        except Refused as why:
            raise Unknown(f"the embedder gives no vectors: {why}") from why
        if vector is None or not any(vector):
            told = self.said.most_common(1)[0][0] if self.said else "a vector of zeros"
            raise Fault(f"the embedder is at fault: it gave {told}")
        return len(vector)

    def ask(self, texts: Sequence[str]) -> list[Answer]:
        """A vector for each text, None for one that it does not take. Raises Unknown, and Fault."""
        self.sent += sum(text not in SENTENCES for text in texts)
        answers = self._halve(list(texts))
        if texts[0] == SENTENCES[0]:  # asked beside the others: does the same model answer still?
            self.least = min(self.least, apart((answers[0], self.proven)))
        return answers

    def _halve(self, texts: list[str]) -> list[Answer]:
        try:
            answers = self._ask(texts)
            self.failed = 0
            return answers
        except Refused as why:
            if len(texts) > 1:
                half = len(texts) // 2
                return self._halve(texts[:half]) + self._halve(texts[half:])
            self.failed += 1
            self.said[str(why)] += 1
            if self.failed >= FEW:
                raise Unknown(f"the embedder gives no vectors any more: {why}") from why
            return [None]

    def _ask(self, texts: Sequence[str]) -> list[Answer]:
        """Once; and once more if the connection broke. Raises Refused, Unknown, and Fault."""
        try:
            answer = self._call(texts)
        except Broken:
            answer = self._call(texts)
        self.silent = 0
        answers = self._numbers(answer, len(texts))
        if alike := _alike(texts, answers):
            self._require_apart(alike)
        return answers

    def _require_apart(self, alike: list[str]) -> None:
        """Raise Fault unless a sentence around them makes a difference.

        It does where a model knows no letter of them, or cuts them to what they have in common.
        """
        fixed = SENTENCES[1]
        asked = [alike[0], fixed, *(f"{fixed} {text} {fixed}" for text in alike[:3])]
        one, *others = self._numbers(self._call(asked), len(asked))
        if one in others:
            told = f"{len(alike)} different texts got one and the same vector"
            raise Fault(f"the embedder is at fault: {told}")

    def _call(self, texts: Sequence[str]) -> Any:
        """What the embedder returned. Raises Refused, and Unknown."""
        try:
            asked = asyncio.wait_for(self.embedder.embed_texts(list(texts)), PATIENCE)
            return self.runner.run(asked)
        except Exception as error:
            names = _causes(error)
            if "ConnectError" in names or getattr(error.__cause__, "status_code", 0) == 429:
                raise Unknown(f"the embedder gives no vectors: {error}") from error
            if names & {"TimeoutError", "TimeoutException"}:
                self.silent += 1
                if self.silent > 2:
                    raise Unknown(f"the embedder gives no vectors: {_told(error)}") from error
            if "TransportError" in names and not names & {"TimeoutException"}:
                raise Broken(_told(error)) from error
            raise Refused(_told(error)) from error

    def _numbers(self, answer: Any, count: int) -> list[Answer]:
        """The answer as float32, as it would be stored. Raises Refused, and Fault."""
        if not isinstance(answer, list | tuple) or len(answer) != count:
            size = f"{len(answer)} vectors" if isinstance(answer, list | tuple) else "no list"
            raise Refused(f"it gave {size} for {count} texts")
        for vector in answer:
            if not hasattr(vector, "__len__") or isinstance(vector, str | dict):
                raise Refused(f"it gave {type(vector).__name__} where a vector should be")
            strange = [each.__name__ for each in set(map(type, vector)) if not _is_number(each)]
            if strange:
                raise Refused(f"it gave vectors of {strange[0]}, not of numbers")
            if len(vector) != self.dimension:
                told = f"the embedder gives {len(vector)} numbers for a text"
                raise Fault(f"{told}, and {self.dimension} are configured")
        return [self._finite(vector) for vector in answer]

    def _finite(self, vector: Any) -> Answer:
        try:
            numbers = array("f", vector)
        except OverflowError:
            numbers = array("f", [math.inf])
        if math.isfinite(math.hypot(*numbers)):
            return numbers
        self.said["numbers that are not finite (NaN, or infinite)"] += 1
        return None


def _alike(texts: Sequence[str], answers: list[Answer]) -> list[str]:
    """More than two different texts that got one vector, if there are."""
    got: dict[bytes, dict[str, None]] = {}
    for text, answer in zip(texts, answers, strict=True):
        if answer is not None:
            got.setdefault(answer.tobytes(), {})[text] = None
    return next((list(each) for each in got.values() if len(each) > 2), [])


def _is_number(kind: type) -> bool:
    return issubclass(kind, Real) and not issubclass(kind, bool)


def _causes(error: BaseException | None) -> set[str]:
    """The names of all classes of an error and of what caused it."""
    names = set[str]()
    while error is not None:
        names |= {each.__name__ for each in type(error).__mro__}
        error = error.__cause__
    return names


def _told(error: Exception) -> str:
    """What an error says, in words where it says nothing that a person can use."""
    text, cause = str(error).strip(), error.__cause__ or error
    if isinstance(error, TimeoutError):
        return f"no answer in {PATIENCE:g} s"
    if type(error).__name__ == "JSONDecodeError" or isinstance(error, UnicodeDecodeError):
        return "its answer is not JSON; another program may answer at that address"
    if isinstance(error, KeyError | TypeError | AttributeError | IndexError):
        return f"its answer is not what this protocol has ({type(error).__name__}: {text})"
    if not text or text.endswith(":"):
        return f"{text} {type(cause).__name__}".strip()
    return text
