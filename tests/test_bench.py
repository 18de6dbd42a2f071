"""The benchmark measures the ways to ask, and not where it prints itself."""

import sys

import bench_preflight
from support import not_on_windows

SAYS = """
import os, sys, time
null = os.stat(os.devnull)
streams = [os.path.samestat(os.fstat(stream), null) for stream in range(3)]
with open(sys.argv[1] + ".new", "w") as file:
    print(*streams, file=file)
os.rename(file.name, sys.argv[1])
time.sleep(99)
"""


@not_on_windows("has no benchmark")
def test_what_sleeps_beside_the_check_has_no_file_open(tmp_path):
    """What CI prints to is a file, which would be one more to read in each of 3,000 processes."""
    told = tmp_path / "told"
    waits = f"for n in $(seq 2000); do [ -e {told} ] && break; sleep 0.01; done"
    child = [sys.executable, "-c", SAYS, str(told)]
    bench_preflight.measure({"waits": ["sh", "-c", waits]}, [child], 1)
    assert told.read_text() == "True True True\n"
