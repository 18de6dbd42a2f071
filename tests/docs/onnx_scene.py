"""An ONNX model is changed beside an old `mm web`, which then indexes new notes.

    python onnx_scene.py HOME OLD NEW

Prints a JSON object: whose the vectors of the new notes are, how many of these notes are stored,
and what the database says. Run as test_onnx.py does: isolated, stand_in_fastembed on PYTHONPATH.
"""

import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE), str(HERE.parents[1] / "scripts")]
from fastembed import NAMES, vector  # noqa: E402 - the stand-in, which PYTHONPATH names
from walk import Stage  # noqa: E402

NEW_NOTES = """
    SELECT content, substr(vectors, 1 + chunk_offset * 1536, 1536) FROM chunks
    LEFT JOIN chunks_vec_rowids AS place ON place.rowid = chunks.rowid
    LEFT JOIN chunks_vec_vector_chunks00 AS store ON store._rowid_ = place.chunk_id
    WHERE source_file > '{}'
"""


def main(home, old, new):
    stage = Stage(Path(home), "", {})
    stage.configure(provider="onnx", model=old, dimension=384)
    stage.write(2)
    stage.must("mm index ~/notes")
    stage.start_web()
    stage.configure(model=new)
    stage.must("mm embedding-reset --mode apply-current --yes")
    stage.write(2)
    after = NEW_NOTES.format(stage.home / "notes" / "note-002.md")
    end = time.monotonic() + 10  # its watcher waits for 1.5 s of silence
    while len(rows := stage.query(after)) < 2 and time.monotonic() < end:
        time.sleep(0.2)
    whose = [name for text, held in rows for name in NAMES if vector(name, text).tobytes() == held]
    [(says,)] = stage.query("SELECT value FROM _memtomem_meta WHERE key = 'embedding_model'")
    print(json.dumps({"whose": whose, "stored": len(rows), "says": says}))


if __name__ == "__main__":
    main(*sys.argv[1:])
