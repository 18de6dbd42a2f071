"""What an argv runs: a table, and properties that hold for every argv.

Rows are command lines as a process table shows them; a string is split as a POSIX shell would.
"""

import shlex
from itertools import chain

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mm_preflight import judge as room
from mm_preflight import runners
from mm_preflight.argv import is_python, read_python_arguments, read_shell_arguments
from mm_preflight.records import Files


def unreadable(path: str) -> bytes:
    raise OSError(path)


NO_FILES = Files(unreadable, lambda path: True)


def judge(argv, files=NO_FILES, python=False, windows=False):
    """Of an argv alone, unless its files can be read."""
    return room.judge(argv, files, python, windows)


CLI_CODE = "from memtomem.cli import cli; cli()"
WEB, SERVER, CLI = ("web", "mm web"), ("mcp-server", "memtomem-server"), ("cli", "mm")
MODULE = ("mcp-server", "python -m memtomem.server")
TRAMPOLINE = "/home/ana/.cache/uv/archive-v0/pjJ4FaNNPz5LHBUw/bin"
FRAMEWORK = (
    "/opt/homebrew/Cellar/python@3.12/3.12.4/Frameworks/Python.framework/Versions/3.12"
    "/Resources/Python.app/Contents/MacOS/Python"
)


def rows(table: dict) -> list:
    """Parameters with ids; a string is split into an argv."""
    return [
        pytest.param(*([row] if isinstance(row, (str, list)) else row), id=name)
        for name, row in table.items()
    ]


def split(argv: str | list[str]) -> list[str]:
    return shlex.split(argv) if isinstance(argv, str) else argv


ALIVE = {
    # Entry points, run by an interpreter as its script.
    "mm-web": ("/venv/bin/python /venv/bin/mm web --port 18080", WEB),
    "mm-alone": ("/venv/bin/python /venv/bin/mm", CLI),
    "mm-shell": ("/venv/bin/python /venv/bin/mm shell", ("shell", "mm shell")),
    "mm-index": ("/venv/bin/python3 /venv/bin/mm index --force notes", ("index", "mm index")),
    "mm-index-plugin": ("python3 /venv/bin/mm index --flush", ("index", "mm index")),
    "mm-ingest": ("python /venv/bin/mm ingest mail", ("index", "mm ingest")),
    "mm-search": ("python /venv/bin/mm search words", ("cli", "mm search")),
    "mm-init": ("python /venv/bin/mm init", ("cli", "mm init")),
    "mm-reset": (
        "python /venv/bin/mm embedding-reset --mode apply-current",
        ("embedding-reset", "mm embedding-reset"),
    ),
    "mm-serve": ("python /venv/bin/mm serve", ("mcp-server", "mm serve")),
    "memtomem-serve": ("python /venv/bin/memtomem serve", ("mcp-server", "memtomem serve")),
    "mm-doctor": ("python /venv/bin/mm doctor", ("cli", "mm doctor")),
    "mm-web-stop": ("python /venv/bin/mm web stop", ("cli", "mm web")),
    "mm-web-status": ("python /venv/bin/mm web status", ("cli", "mm web")),
    "mm-unknown-word": ("python /venv/bin/mm sk-secret", CLI),
    "memtomem-web": ("python /venv/bin/memtomem web", ("web", "memtomem web")),
    "memtomem-server": ("/venv/bin/python /venv/bin/memtomem-server", SERVER),
    "server-http": ("python /venv/bin/memtomem-server --transport http", SERVER),
    "memtomem-web-program": (
        "/venv/bin/python /venv/bin/memtomem-web",
        ("web", "memtomem-web"),
    ),
    "relative": ("python ./mm web", WEB),
    "bare": ("python mm web", WEB),
    "folder-with-spaces": (["/my venv/bin/python", "/my venv/bin/mm", "web"], WEB),
    "pipx": ("/home/ana/.local/pipx/venvs/m/bin/python -E /home/ana/.local/bin/mm web", WEB),
    "uvx-child": (f"{TRAMPOLINE}/python {TRAMPOLINE}/memtomem-server", SERVER),
    "uv-run-child": ("/tmp/.tmpaJ/bin/python /tmp/.tmpaJ/bin/mm shell", ("shell", "mm shell")),
    # Interpreters.
    "python3.12": ("/usr/bin/python3.12 /usr/bin/mm web", WEB),
    "python-debug": ("python3.12-dbg /venv/bin/mm web", WEB),
    "python-d": ("python3.12d /venv/bin/mm web", WEB),
    "free-threaded": ("python3.13t /venv/bin/mm web", WEB),
    "macos-intel": ("python3.11-intel64 /venv/bin/mm web", WEB),
    "pypy": ("/opt/pypy/bin/pypy3.10 /venv/bin/mm web", WEB),
    "macos-framework": (f"{FRAMEWORK} /Users/ana/venv/bin/mm web", WEB),
    "macos-framework-module": (f"{FRAMEWORK} -m memtomem.server", MODULE),
    # Modules.
    "m": ("python -m memtomem.server", MODULE),
    "m-joined": ("python -mmemtomem.server", MODULE),
    "m-clustered": ("python -Im memtomem.server", MODULE),
    "m-clustered-joined": ("python -uImmemtomem.server", MODULE),
    "m-package": ("python -m memtomem", ("cli", "python -m memtomem")),
    "m-cli": ("python -m memtomem.cli web", WEB),
    "m-cli-nested": ("python -m memtomem.cli.main index", ("index", "mm index")),
    "m-web": ("python -m memtomem.web", ("web", "python -m memtomem.web")),
    "m-web-app": ("python -m memtomem.web.app", ("web", "python -m memtomem.web.app")),
    "m-other": ("python -m memtomem.tools.x", ("cli", "python -m memtomem.tools.x")),
    # Interpreter options with and without values.
    "X-separate": ("python -X dev -m memtomem.server", MODULE),
    "X-joined": ("python -Xdev -m memtomem.server", MODULE),
    "X-takes-c": ("python -X -c -m memtomem.server", MODULE),
    "W-separate": ("python -W ignore /venv/bin/mm web", WEB),
    "W-joined-cluster": ("python -uWignore /venv/bin/mm web", WEB),
    "pycs": ("python --check-hash-based-pycs never -m memtomem.server", MODULE),
    "dashes": ("python -u -- /venv/bin/mm web", WEB),
    "dashes-then-dashed-script": ("python -- -x/mm web", WEB),
    # Code.
    "c-daemon": (["python", "-c", CLI_CODE, "web", "--_internal-foreground"], WEB),
    "c-joined": (["python", f"-c{CLI_CODE}", "index"], ("index", "mm index")),
    "c-clustered": (["python", "-Ic", CLI_CODE, "shell"], ("shell", "mm shell")),
    "c-import": (["python", "-c", "import memtomem"], ("library", "python -c (memtomem)")),
    "c-import-as": (
        ["python", "-c", "import os, memtomem.web as w"],
        ("web", "python -c (memtomem.web)"),
    ),
    "c-from": (
        ["python", "-c", "from memtomem import server; server.main()"],
        ("mcp-server", "python -c (memtomem.server)"),
    ),
    "c-in-function": (
        ["python", "-c", "def f():\n  import memtomem.server\nf()"],
        ("mcp-server", "python -c (memtomem.server)"),
    ),
    "c-import-module": (
        ["python", "-c", "import importlib as i; i.import_module('memtomem.web')"],
        ("web", "python -c (memtomem.web)"),
    ),
    "c-dunder-import": (
        ["python", "-c", "__import__('memtomem')"],
        ("library", "python -c (memtomem)"),
    ),
    "c-runpy": (
        ["python", "-c", "import runpy; runpy.run_module('memtomem.server')"],
        ("mcp-server", "python -c (memtomem.server)"),
    ),
    "c-uvicorn-run": (
        ["python", "-c", "import uvicorn; uvicorn.run('memtomem.web.app:app')"],
        ("web", "python -c (memtomem.web.app)"),
    ),
    "c-newer-syntax": (
        ["python", "-c", "import memtomem\nsyntax of the year 2040"],
        ("library", "python -c (memtomem)"),
    ),
    # Runners.
    "uvicorn": ("/venv/bin/python /venv/bin/uvicorn memtomem.web.app:app --port 1",
                ("web", "uvicorn memtomem.web.app:app")),
    "uvicorn-options-first": ("python /venv/bin/uvicorn --reload memtomem.web.app:app",
                              ("web", "uvicorn memtomem.web.app:app")),
    "uvicorn-module": ("python -m uvicorn memtomem.web.app:app",
                       ("web", "uvicorn memtomem.web.app:app")),
    "gunicorn": (
        "python /venv/bin/gunicorn -k uvicorn.workers.UvicornWorker memtomem.web.app:app",
        ("web", "gunicorn memtomem.web.app:app"),
    ),
    "gunicorn-factory": (
        ["python", "/venv/bin/gunicorn", "memtomem.web.app:create_app()"],
        ("web", "gunicorn memtomem.web.app:create_app"),
    ),
    "hypercorn": ("python -m hypercorn memtomem.web.app:app",
                  ("web", "hypercorn memtomem.web.app:app")),
    "coverage-script": ("python /venv/bin/coverage run /venv/bin/mm web", WEB),
    "coverage-flag-bare-script": ("python /venv/bin/coverage run -p mm web", WEB),
    "trace-count": ("python -m trace -c /venv/bin/memtomem-server", SERVER),
    "memray-force": ("python /venv/bin/memray run -f /venv/bin/memtomem-server", SERVER),
    "pydevd": ("python /ide/pydevd.py --client 127.0.0.1 --port 5 --file /venv/bin/mm web", WEB),
    "pydevd-module": ("python /ide/pydevd.py --module --file memtomem.server", MODULE),
    "gunicorn-default": (
        "python /venv/bin/gunicorn memtomem.web.app",
        ("web", "gunicorn memtomem.web.app"),
    ),
    "upper-case": ("python /venv/bin/Memtomem-Server", SERVER),
    "kernprof": ("python /venv/bin/kernprof -l memtomem-server", SERVER),
    "viztracer": ("python -m viztracer --tracer_entries 100 -- /venv/bin/mm web", WEB),
    "coverage-value-is-a-script": ("python -m coverage run --omit setup.py /venv/bin/mm web", WEB),
    "gunicorn-value-has-a-colon": (
        "python -m gunicorn -b unix:web --log-level x --reload memtomem.web.app:app",
        ("web", "gunicorn memtomem.web.app:app"),
    ),
    "coverage-bare-script": ("python /venv/bin/coverage run --branch mm web", WEB),
    "coverage-module": ("python -m coverage run -m memtomem.server", MODULE),
    "coverage-3.12": ("python /venv/bin/coverage-3.12 run -m memtomem.server", MODULE),
    "coverage-options": ("python -m coverage run --source x -p -m memtomem.server", MODULE),
    "pdb-script": ("python -m pdb /venv/bin/mm web", WEB),
    "pdb-module": ("python -m pdb -m memtomem.server", MODULE),
    "pdb-commands": ("python -m pdb -c continue /venv/bin/mm web", WEB),
    "trace": ("python -m trace --trace /venv/bin/mm index", ("index", "mm index")),
    "cprofile": ("python -m cProfile -o out.prof /venv/bin/mm index", ("index", "mm index")),
    "cprofile-module": ("python -m cProfile -m memtomem.server", MODULE),
    "debugpy": ("python -m debugpy --listen 5678 -m memtomem.server", MODULE),
    "debugpy-vs-code": (
        "python /x/debugpy/__main__.py --connect 1:1 --configure-qt none -m memtomem.server",
        MODULE,
    ),
    "runner-of-runner": ("python -m coverage run -m uvicorn memtomem.web.app:app",
                         ("web", "uvicorn memtomem.web.app:app")),
}  # fmt: skip

ALIVE_ON_WINDOWS = {
    "launcher": ([r"C:\venv\Scripts\mm.exe", "web"], WEB),
    "launcher-bare": (["mm", "web"], WEB),
    "launcher-server": ([r"C:\venv\Scripts\memtomem-server.exe"], SERVER),
    "launcher-case": ([r"C:\VENV\SCRIPTS\MM.EXE", "shell"], ("shell", "mm shell")),
    "redirector": ([r"C:\venv\Scripts\python.exe", r"C:\venv\Scripts\mm.exe", "web"], WEB),
    "base-python": ([r"C:\Python312\python.exe", r"C:\venv\Scripts\mm.exe", "web"], WEB),
    "spaces": ([r"C:\Program Files\Python312\python.exe", r"C:\a b\mm.exe", "web"], WEB),
    "pythonw": ([r"C:\Python312\pythonw.exe", "-m", "memtomem.server"], MODULE),
    "python-debug": ([r"C:\Python312\python_d.exe", "-m", "memtomem.server"], MODULE),
    "upper-case": ([r"C:\PYTHON312\PYTHON.EXE", r"C:\V\SCRIPTS\MEMTOMEM-SERVER.EXE"], SERVER),
    "setuptools-script": ([r"C:\venv\Scripts\python.exe", r"C:\venv\Scripts\mm-script.py"], CLI),
    "forward-slashes": (["C:/venv/Scripts/python.exe", "C:/venv/Scripts/mm.exe", "web"], WEB),
    "no-exe": ([r"C:\venv\Scripts\python", r"C:\venv\Scripts\mm", "web"], WEB),
    "uvicorn": (
        [r"C:\v\Scripts\python.exe", r"C:\v\Scripts\uvicorn.exe", "memtomem.web.app:app"],
        ("web", "uvicorn memtomem.web.app:app"),
    ),
}

INNOCENT = {
    "coverage-pytest-folder": "python -m coverage run --branch /venv/bin/pytest packages/memtomem",
    "coverage-bare-pytest": "python -m coverage run -p pytest packages/memtomem",
    "coverage-report-named": "python -m coverage report -m memtomem.server",
    "empty": [],
    "empty-strings": ["", "", ""],
    "kernel-thread": ["kworker/0:1-mm_percpu_wq"],
    "python-prompt": "python",
    "python-stdin": "python - memtomem",
    "python-option-then-stdin": "python -u - -m memtomem.server",
    "python-help": "python --help -m memtomem.server",
    "python-version": "python -V -m memtomem.server",
    "python-unknown-option": "python --unknown -m memtomem.server",
    "python-unknown-letter": "python -y -m memtomem.server",
    "python-c-without-code": "python -c",
    "python-m-without-module": "python -m",
    "module-is-an-argument": "python app.py -m memtomem.server",
    "module-of-another-module": "python -m http.server -m memtomem.server",
    "X-value": "python -X memtomem.server app.py",
    "W-value": "python -W memtomem app.py",
    "pycs-value": "python --check-hash-based-pycs /venv/bin/mm app.py",
    "stm": "python /venv/bin/memtomem-stm serve",
    "stm-module": "python -m memtomem_stm",
    "mms": "python /venv/bin/mms",
    "module-prefix": "python -m memtomemory",
    "module-suffix": "python -m not_memtomem.server",
    "module-submodule-name": "python -m tools.memtomem",
    "script-prefix": "python /venv/bin/mm2",
    "script-py": "python mm.py",
    "script-in-memtomem": "python /home/ana/memtomem/run.py",
    "python-in-memtomem": "/home/ana/memtomem/.venv/bin/python app.py",
    "kernel-compiled-mm": "/usr/local/bin/mm web",
    "renamed-sleep": "memtomem-server 300",
    "editor": "vim mm.py /venv/bin/mm",
    "editor-in-python": "python /usr/bin/idle /venv/bin/mm",
    "pager": "less /home/ana/.memtomem/memtomem.log",
    "tail": "tail -f /home/ana/.memtomem/memtomem.db.log",
    "grep": "grep -r memtomem-server /etc",
    "pgrep": "pgrep -af memtomem",
    "man": "man mm",
    "pip-install": "python -m pip install memtomem",
    "pip-script": "python /venv/bin/pip install memtomem[web]",
    "pipx-install": "python /usr/bin/pipx install memtomem",
    "uv-upgrade": "uv tool upgrade memtomem",
    "uvx-parent": "uv tool uvx --from memtomem==0.4.0 memtomem-server",
    "uvx-isolated-parent": [
        "uvx",
        "--isolated",
        "--from",
        "memtomem[all]==0.4.0",
        "memtomem-server",
    ],
    "uv-run-parent": "uv run mm web",
    "sudo-parent": "sudo mm web",
    "timeout-parent": "timeout 10 mm web",
    "docker": "docker run -it memtomem/memtomem memtomem-server",
    "ssh": "ssh host memtomem-server",
    "tmux": "tmux new -s mm 'mm web'",
    "watch": "watch mm web status",
    "shell-c": ["sh", "-c", "mm index; exit"],
    "shell-c-mm": ["bash", "-c", "mm"],
    "shell-c-argument": ["bash", "-c", "sleep 9", "mm"],
    "shell-other-script": "bash /home/ana/start.sh mm web",
    "pytest": "python -m pytest memtomem/tests/test_server.py",
    "pytest-script": "python /venv/bin/pytest -k memtomem-server",
    "c-comment": ["python", "-c", "# import memtomem\npass"],
    "c-string": ["python", "-c", "print('import memtomem')"],
    "c-name": ["python", "-c", "memtomem = 1"],
    "c-stm": ["python", "-c", "import memtomem_stm"],
    "c-attribute": ["python", "-c", "import x; x.memtomem.server()"],
    "c-relative": ["python", "-c", "from .memtomem import x"],
    "c-unparsable": ["python", "-c", "memtomem ("],
    "c-of-the-shell": ["sh", "-c", "import memtomem"],
    "c-argument": ["python", "-c", "pass", "import memtomem"],
    "c-process-search": ["python", "-c", "import os; os.system('pgrep memtomem-server')"],
    "multiprocessing-child": [
        "python",
        "-c",
        "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)",
        "--multiprocessing-fork",
    ],
    "uvicorn-other": "python /venv/bin/uvicorn app:app --reload-dir memtomem",
    "uvicorn-stm": "python /venv/bin/uvicorn memtomem_stm.app:app",
    "coverage-other": "python -m coverage run app.py mm",
    "coverage-report": "python -m coverage report -m",
    "coverage-flag-other": "python -m coverage run --branch slow.py memtomem-server",
    "coverage-append-other": "python -m coverage run -a slow.py --service memtomem-server",
    "coverage-append-argument": "python -m coverage run -a slow.py /venv/bin/mm",
    "pydevd-other": "python /ide/pydevd.py --client 1 --file slow.py memtomem-server",
    "debugpy-other": "python -m debugpy --wait-for-client slow.py memtomem-server",
    "kernprof-other": "python /venv/bin/kernprof -lv slow.py /venv/bin/mm",
    "uvicorn-factory": "python -m uvicorn --factory a:b --port 1 --log-config memtomem.web.json",
    "uvicorn-socket": "python -m uvicorn --no-access-log a:b --header x:memtomem.web.app",
    "coverage-source": "python -m coverage run --source memtomem app.py",
    "pdb-other": "python -m pdb app.py memtomem.server",
    "trace-option-value": "python -m trace --ignore-module memtomem.server app.py",
    "jupyter": "python -m ipykernel_launcher -f /run/kernel.json",
    "mypy": "python -m mypy memtomem",
    "ipython-other": "python /venv/bin/ipython",
    "perl": "perl /usr/bin/mm",
    "node": "node /srv/memtomem-server",
}
# Text that a person chose, read as what runs: gunicorn's -n, a title, a profile's or a log's name.
NAMED = {
    "title": ["gunicorn: master [memtomem]"],
    "title-worker": ["gunicorn: worker [memtomem.web]"],
    "title-of-another": ["gunicorn: master [memtomem-server]"],
    "name": "python /venv/bin/gunicorn -n memtomem app:app",
    "name-dotted": "python /venv/bin/gunicorn -n memtomem.web app:app",
    "log": "python /venv/bin/uvicorn --log-config memtomem.web app:app",
    "celery": ["celery: worker [memtomem.cli]"],
}
SERVED = {"title": ["gunicorn: master [memtomem.web.app:app]"]}


@pytest.mark.parametrize("argv", rows(NAMED))
def test_text_that_a_person_chose_runs_nothing(argv):
    assert judge(split(argv), python=True) is None


@pytest.mark.parametrize("argv", rows(SERVED))
def test_title_that_says_what_is_served(argv):
    assert judge(argv, python=True)[:2] == ("web", "gunicorn memtomem.web.app:app")


INNOCENT_ON_WINDOWS = {
    "explorer": [r"C:\Windows\explorer.exe", r"C:\venv\Scripts\mm.exe"],
    "other-mm": [r"C:\Tools\mmc.exe"],
    "stm": [r"C:\venv\Scripts\memtomem-stm.exe"],
    "uv": [r"C:\Users\ana\.local\bin\uv.exe", "run", "mm", "web"],
    "cmd": ["cmd.exe", "/c", "mm web"],
}


@pytest.mark.parametrize("argv, expected", rows(ALIVE))
def test_alive(argv, expected):
    found = judge(split(argv))
    assert found and found[:2] == expected


def test_each_runner_can_be_found():
    """As it stands in IN_PROCESS; with a capital, or with what counts as a version, it is not."""
    for name in sorted(runners.IN_PROCESS):
        found = [each.runner for each in runners.given(name, ["app.py"])]
        assert found == [name], f"write {name} in lower case, with no number at its end"


@pytest.mark.parametrize("argv, expected", rows(ALIVE_ON_WINDOWS))
def test_alive_on_windows(argv, expected):
    """A launcher of memtomem's has its script inside; another program of that name has none."""
    if is_python(argv[0]):
        assert judge(argv, windows=True)[:2] == expected
    else:
        target = PROGRAM_MODULES[expected[1].partition(" ")[0]]
        assert judge(argv, reading({argv[0]: pip_script(target)}), windows=True)[:2] == expected
        assert judge(argv, windows=True) is None


@pytest.mark.parametrize(
    "text, is_one",
    [
        ("gunicorn: master [app:app]", True),
        ("gunicorn:", True),
        ("gunicorn", False),
        ("sshd: ana@pts/0", False),
        ("nginx: worker process", False),
        ("", False),
    ],
)
def test_title_of_a_runner(text, is_one):
    assert runners.is_title(text) is is_one


@pytest.mark.parametrize("argv", rows(INNOCENT))
def test_innocent(argv):
    assert judge(split(argv)) is None


@pytest.mark.parametrize("argv", rows(INNOCENT_ON_WINDOWS))
def test_innocent_on_windows(argv):
    assert judge(argv, windows=True) is None


def test_renamed_interpreter_is_read_like_python():
    """`exec -a` changes argv[0] alone; the scan knows the program by its file."""
    assert judge(["postgres", "-m", "memtomem.server"]) is None
    assert judge(["postgres", "-m", "memtomem.server"], python=True)[:2] == MODULE


# What a script's text says, whatever its name. {path: text}; relative to the process's folder.
IMPORTS = {
    "renamed": ("python /bin/memory web", {"/bin/memory": "cli"}, ("web", "memory web")),
    "copied-server": (
        "python /bin/brain.py",
        {"/bin/brain.py": "server"},
        ("mcp-server", "python brain.py"),
    ),
    "trampoline": ("python /bin/mm serve", {"/bin/mm": "exec"}, ("mcp-server", "mm serve")),
    "shell-before-exec": ("/bin/sh /bin/mm web", {"/bin/mm": "exec"}, WEB),
    "library": ("python app.py", {"app.py": "import memtomem"}, ("library", "python app.py")),
    "library-late": (
        "python app.py",
        {"app.py": "def f():\n    from memtomem.storage import x\n"},
        ("library", "python app.py"),
    ),
    "serves": (
        "python run.py",
        {"run.py": "import uvicorn\nuvicorn.run('memtomem.web.app:app')"},
        ("web", "python run.py"),
    ),
    "strange-name": (
        ["python", "/x/sk-secret key"],
        {"/x/sk-secret key": "import memtomem"},
        ("library", "python"),
    ),
    "package-file": (
        "python /lib/site-packages/memtomem/server/__main__.py",
        {"/lib/site-packages/memtomem/__init__.py": "", "/other": ""},
        ("mcp-server", "python __main__.py"),
    ),
    "package-file-on-windows": (
        [r"C:\py\python.exe", r"C:\v\Lib\site-packages\memtomem\web\app.py"],
        {r"C:\v\Lib\site-packages\memtomem/__init__.py": ""},
        ("web", "python app.py"),
    ),
    "module-of-its-folder": (
        "python -m tools.brain",
        {"tools/brain.py": "import memtomem"},
        ("library", "python -m tools.brain"),
    ),
    "package-of-its-folder": (
        "python -m brain",
        {"brain/__main__.py": "from memtomem.server import main"},
        ("mcp-server", "python -m brain"),
    ),
    "package-of-its-folder-by-its-init": (
        "python -m brain",
        {"brain/__main__.py": "pass", "brain/__init__.py": "import memtomem"},
        ("library", "python -m brain"),
    ),
    "application-of-its-folder": (
        "python /bin/uvicorn --port 1 app:app",
        {"/bin/uvicorn": "from uvicorn import main", "app.py": "import memtomem.web"},
        ("web", "uvicorn app:app"),
    ),
    "mcp-run": (
        "python /bin/mcp run brain.py:mcp",
        {"/bin/mcp": "import mcp", "brain.py": "import memtomem"},
        ("library", "python brain.py"),
    ),
    "coverage": (
        "python /bin/coverage run -p mm web",
        {"mm": "cli", "/bin/coverage": "import coverage"},
        WEB,
    ),
    "debugpy": (
        "python -m debugpy --listen 5 --wait-for-client app.py",
        {"app.py": "import memtomem"},
        ("library", "python app.py"),
    ),
}
OTHER = "print('memtomem')  # import memtomem"
ACQUITTED = {
    "another-mm": ("python /bin/mm web", {"/bin/mm": "import mail"}),
    "another-mm-that-mentions": ("python /memtomem/mm web", {"/memtomem/mm": OTHER}),
    "another-server": ("python /bin/memtomem-server", {"/bin/memtomem-server": OTHER}),
    "mentions": ("python app.py", {"app.py": OTHER}),
    "stm": ("python app.py", {"app.py": "import memtomem_stm"}),
    "relative-import": ("python app.py", {"app.py": "from .memtomem import x"}),
    "name-in-text": ("python app.py", {"app.py": "x = '''\nimport memtomem\n'''"}),
    "folder-called-memtomem": ("python /home/memtomem/run.py", {"/home/memtomem/run.py": "pass"}),
    "shell-mm": ("sh /bin/mm web", {"/bin/mm": "# import memtomem\nexec mail"}),
    "shell-mm-unread": ("sh /bin/mm web", {}),
    "option-value": ("python -m pdb -c /bin/mm app.py", {"app.py": "pass"}),
    "source-option": (
        "python /bin/coverage run --source memtomem app.py",
        {"app.py": "pass", "/bin/coverage": "import coverage"},
    ),
    "pytest-on-a-folder": ("python -m coverage run -m pytest memtomem", {}),
    "gunicorn-name": ("python /bin/gunicorn -n memtomem.web.app other:app", {}),
    "reload-folder": ("python -m uvicorn --reload-dir memtomem app:app", {"app.py": "pass"}),
    "own-trace": ("python trace.py memtomem.md", {"trace.py": "pass"}),
    "viztracer-file": ("python -m viztracer memtomem.json", {}),
    "gunicorn-configuration": ("python -m gunicorn -c memtomem.conf x:y", {}),
    "docker-image": ("python a.py", {"a.py": "c.run('memtomem:latest')"}),
    "runner-argument": ("python -m pdb app.py /bin/mm web", {"app.py": "pass", "/bin/mm": "cli"}),
}
PROGRAM_MODULES = {"mm": "memtomem.cli:cli", "memtomem-server": "memtomem.server:main"}
TEXTS = {
    "cli": "from memtomem.cli import cli\ncli()",
    "exec": "#!/bin/sh\n'''exec' /x/python \"$0\" \"$@\"\n' '''\nfrom memtomem.cli import cli",
    "server": "from memtomem.server import main\nmain()",
}


def pip_script(target: str) -> str:
    module, _, function = target.partition(":")
    return f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n"


def reading(texts: dict[str, str], trusted: bool = True) -> Files:
    """Files that hold these texts, and no others."""

    def read(path: str) -> bytes:
        if path not in texts:
            raise OSError(path)
        return TEXTS.get(texts[path], texts[path]).encode()

    return Files(read, lambda path: trusted)


@pytest.mark.parametrize("argv, texts, expected", rows(IMPORTS))
def test_imports(argv, texts, expected):
    found = judge(split(argv), reading(texts))
    assert (found[:2], found.verified) == (expected, True)


@pytest.mark.parametrize("argv, texts", rows(ACQUITTED))
def test_acquitted(argv, texts):
    assert judge(split(argv), reading(texts)) is None


@pytest.mark.parametrize(
    "texts, trusted, expected",
    [
        ({}, True, False),
        ({"/bin/mm": "cli"}, True, True),
        ({"/bin/mm": "cli"}, False, False),
        ({"/bin/mm": "pass"}, True, None),
        ({"/bin/mm": "pass"}, False, False),
        ({"/bin/mm": ""}, True, False),
        ({"/bin/mm": "memtomem ("}, True, False),
        ({"/bin/mm": "import memtomem\n("}, True, False),
    ],
    ids=[
        "unread",
        "read",
        "read-from-others",
        "other",
        "other-from-others",
        "empty",
        "no-python",
        "newer-python",
    ],
)
def test_name_counts_unverified_where_the_text_proves_nothing(texts, trusted, expected):
    found = judge(["python", "/bin/mm", "web"], reading(texts, trusted))
    assert (found and found.verified) is expected


@pytest.mark.parametrize(
    "argv, expected",
    [
        ("bash", ("", "")),
        ("-zsh", ("", "")),
        ("bash -i -l", ("", "")),
        ("bash --init-file /x/vscode.sh", ("", "")),
        ("bash --rcfile /x/rc -i", ("", "")),
        ("fish --init-command source", ("", "")),
        ("bash run.sh -c x", ("script", "run.sh")),
        ("sh -x run.sh", ("script", "run.sh")),
        ("bash -C run.sh", ("script", "run.sh")),
        ("bash -ce 'mm web'", ("c", "mm web")),
        ("bash -Eeuc 'mm web'", ("c", "mm web")),
        ("fish '--command=mm web'", ("c", "mm web")),
        ("bash --login run.sh", ("script", "run.sh")),
        ("bash -euo pipefail run.sh", ("script", "run.sh")),
        ("bash -s", ("script", "")),
        ("powershell -ExecutionPolicy Bypass -File x.ps1", ("script", "x.ps1")),
        ("bash run.sh /k", ("script", "run.sh")),
        ("bash -o pipefail run.sh", ("script", "run.sh")),
        ("/bin/sh /x/run.sh", ("script", "/x/run.sh")),
        ("sh -c 'mm web' sh for", ("c", "mm web")),
        ("bash -lc 'mm web'", ("c", "mm web")),
        ("cmd.exe /c mm web", ("c", "mm web")),
        ("cmd.exe /C mm web", ("c", "mm web")),
        ("cmd.exe /d /s /c mm web", ("c", "mm web")),
        ("cmd.exe /k mm web", ("", "mm web")),
        ("cmd.exe", ("", "")),
        ("powershell -noexit -command x", ("", "x")),
        ("powershell -Comm mm web", ("c", "mm web")),
        ("powershell 'while(1){mm web}'", ("script", "while(1){mm web}")),
        ("pwsh -NoLogo", ("", "")),
        ("pwsh -Command mm web", ("c", "mm web")),
    ],
)
def test_shell_arguments(argv, expected):
    assert read_shell_arguments(shlex.split(argv)) == expected


@pytest.mark.parametrize(
    "code", ["import memtomem\n(", "import memtomem\n" + "x = 1\n" * 20_000], ids=["syntax", "long"]
)
def test_code_that_cannot_be_parsed_counts_unverified(code):
    found = judge(["python", "-c", code])
    assert found[:3] == ("library", "python -c (memtomem)", False)


@pytest.mark.parametrize(
    "args, expected",
    [
        ("", ("", "", [])),
        ("-", ("", "", [])),
        ("-u x a b", ("script", "x", ["a", "b"])),
        ("-- x -u", ("script", "x", ["-u"])),
        ("-- -", ("", "", [])),
        ("-bBdEiIOPqRsStuvx x", ("script", "x", [])),
        ("-cx a", ("c", "x", ["a"])),
        ("-c x -m", ("c", "x", ["-m"])),
        ("-uc x", ("c", "x", [])),
        ("-m x -c", ("m", "x", ["-c"])),
        ("-W", ("", "", [])),
        ("-WX -X W x", ("script", "x", [])),
        ("--check-hash-based-pycs", ("", "", [])),
        ("--check-hash-based-pycs x y", ("script", "y", [])),
        ("--check-hash-based-pycs=x y", ("", "", [])),
        ("--version x", ("", "", [])),
        ("-h x", ("", "", [])),
        ("-? x", ("", "", [])),
    ],
)
def test_python_arguments(args, expected):
    assert read_python_arguments(args.split()) == expected


FLAGS = st.text("bBdEiIOPqRsStuvx", min_size=1, max_size=4)
VALUE = st.text(st.characters(exclude_characters="\0"), max_size=8)
OPTION = st.one_of(
    FLAGS.map(lambda flags: [f"-{flags}"]),
    st.builds(lambda option, value: [f"-{option}", value], st.sampled_from("XW"), VALUE),
    st.builds(
        lambda flags, option, value: [f"-{flags}{option}{value}"],
        FLAGS | st.just(""),
        st.sampled_from("XW"),
        VALUE.filter(bool),
    ),
    VALUE.map(lambda value: ["--check-hash-based-pycs", value]),
)
PYTHON_ROWS = [argv for argv, _ in ALIVE.values() if "python" in split(argv)[0].lower()]
PYTHON_ROWS += [argv for argv in INNOCENT.values() if split(argv)[:1] == ["python"]]


@given(st.sampled_from(PYTHON_ROWS), st.lists(OPTION, max_size=4))
def test_options_in_front_change_nothing(argv, options):
    """CPython takes options of any number, kind and spelling before what it runs."""
    program, *rest = split(argv)
    assert judge([program, *chain.from_iterable(options), *rest]) == judge([program, *rest])


WORD = st.sampled_from(
    [
        *chain.from_iterable(split(row[0]) for row in ALIVE.values()),
        "-c",
        "-m",
        "-X",
        "--",
        "-",
        "run",
        "mm",
    ]
)


@given(st.lists(st.text() | WORD), st.booleans(), st.booleans())
@example(["python", "-c", "import memtomem\0"], False, False)
@example(["python", "-c", "import memtomem # \udcff"], False, False)
@example(["python", "-c", "memtomem" + "-" * 60_000 + "1"], False, False)
@example(["python", "-c", "memtomem" + "(" * 60_000], False, False)
@example(["python", "-c", "memtomem" + ".a" * 30_000], False, False)
@example(["python", "-m", "memtomem." + "a" * 100_000], False, False)
def test_no_argv_crashes(argv, python, windows):
    """Any process may have any argv."""
    found = judge(argv, python=python, windows=windows)
    assert found is None or (found.role and len(found.name) < 200)


@given(st.text())
def test_no_code_crashes(code):
    judge(["python", "-c", f"memtomem{code}"])
    judge(["python", "-c", f"{code}\nimport memtomem"])
