"""--probe: does the configured model answer, with as many numbers as are configured?"""

from __future__ import annotations

from typing import Any

from mm_postflight import host
from mm_postflight.asking import SENTENCES, Embedder
from mm_postflight.progress import Progress
from mm_postflight.records import Findings, Unknown


def probe(found: Findings) -> None:
    """Embed one fixed sentence, and no note. Raises Unknown with what is wrong, and what to do."""
    wanted = host.configuration().embedding
    found.model = f"{wanted.provider}/{wanted.model}"
    if wanted.provider.strip().lower() in ("", "none"):
        told = "the configuration names no model, so there is nothing to ask"
        raise Unknown(f"{told}\nName provider, model and dimension in the configuration.")
    try:
        embedder = host.memtomem("embedding.factory.create_embedder")(wanted)
    except Exception as error:
        raise Unknown(f"memtomem makes no embedder of this configuration: {error}") from error
    downloads = wanted.provider.lower() == "onnx"
    progress = Progress()
    progress.start("asking the model" + ", which may be downloaded first" * downloads)
    found.probe = {"configured": wanted.dimension, "numbers": None}
    numbers = found.probe["numbers"] = _size(embedder, wanted)
    progress.stop()
    if numbers != wanted.dimension:
        told = f"{found.model} answers with {numbers} numbers, and the configuration says "
        remedy = f"Set embedding.dimension to {numbers} before you reset, or name another model."
        raise Unknown(f"{told}{wanted.dimension}\n{remedy}")


def _size(embedder: Any, wanted: Any) -> int:
    """How many numbers a vector of the model has. Raises Unknown."""
    asked = Embedder(embedder, wanted.dimension)
    try:
        return asked.size(SENTENCES[0])
    except Unknown as error:
        raise Unknown(f"{error}\n{_remedy(str(error), wanted)}") from error


def _remedy(told: str, wanted: Any) -> str:
    """What to do about what the embedder said."""
    name, url = wanted.provider.lower(), wanted.base_url or "its usual address"
    if "ollama pull" in told:
        return f"Run: ollama pull {wanted.model}"
    if name == "ollama" and "connect" in told.lower():
        return f"Start it: ollama serve. It is asked at {url}."
    if "authentication" in told or "401" in told or "403" in told:
        return "Put the right key into embedding.api_key."
    return f"Look at embedding.base_url and embedding.model: {wanted.model} is asked at {url}."
