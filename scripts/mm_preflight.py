#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["psutil>=6"]
# ///
"""Name every live memtomem process, and refuse to go on while there is one.

`mm embedding-reset --mode apply-current` gives a database a new embedding model. A memtomem
process that is alive meanwhile goes on writing the old model's vectors, and nothing marks them.

    $ mm-preflight
    mm-preflight: clear, no live mm process (212 examined)

The file reads from top to bottom: judge (what an argv runs; pure), scan (the process table; the
only room that touches psutil), report (for people and as JSON; pure), hook (for shells), main.
"""

from __future__ import annotations

import sys

broken = None
try:
    import argparse
    import errno
    import os
    import re
    import stat
    import threading
    import time
    import warnings
    from collections import namedtuple  # dataclasses and typing take a tenth of the run to import
    from contextlib import suppress
    from itertools import takewhile

    import psutil
except KeyboardInterrupt:  # these imports are most of the run
    sys.exit(130)
except Exception as error:  # psutil's; scan() says so in words: the verdict is "unknown"
    psutil, broken = None, error

__version__ = "0.1.0"

EXIT_CODES = {
    0: "clear: no live mm process; go on",
    1: "live: refused, at least one mm process is alive",
    2: "unknown: refused, the answer could not be had",
    130: "interrupted with Ctrl-C",
}
BLIND_SPOTS = {
    "other-users-hidden": "Processes of other users are hidden from you; run this with sudo to see "
    "them.",
    "container": "This is a container: processes of its host and of other containers are not seen.",
    "wsl": "This is WSL: processes on the Windows side are not seen.",
}
WINDOWS = os.name == "nt"
LINUX = sys.platform == "linux"
SCAN_SECONDS = 8.0  # for one look; with start-up and printing, the whole stays under 10 s
CLEAR_SECONDS = 2.0  # --wait: MCP clients start a server again about a second after it is killed
READ_LIMIT = 1 << 20  # bytes; a longer script or configuration is not read
CODE_LIMIT = 1 << 16  # characters of `-c` code that are parsed; the parser cannot be interrupted
TROUBLE = (OSError, SystemError, IndexError, ValueError, RuntimeError)  # psutil raises all of them
TROUBLE += (psutil.Error,) if psutil else ()


class Unknown(Exception):
    """The answer cannot be had; the message says why and names the remedy."""


# What an argv runs. `script`: a path whose text tells memtomem's `mm` from another `mm`; `shell`: a
# shell reads that script, so it counts only if it is about to exec Python.
Command = namedtuple("Command", "role name script shell verified", defaults=(None, False, True))

# One live instance: the fields of the JSON, then three for --verbose and people: argv, its age in
# seconds, and whether what started it started this check too. All text has passed visible().
Row = namedtuple(
    "Row",
    "pid pids role command evidence verified user started started_by terminal stop argv age within",
)

# One look at the process table: the fields of the JSON. `processes`, `other_users`: lists of Row.
Result = namedtuple(
    "Result",
    "verdict reason database examined uninspected other_users blind_spots processes",
    defaults=(None, None, 0, 0, (), (), ()),
)


class Lasting(Result):
    """An unknown that waiting does not change."""


# ---- judge: argv -> what it runs. Pure. ---------------------------------------------------------

ENTRY_POINTS = {"mm": "cli", "memtomem": "cli"}
ENTRY_POINTS |= {"memtomem-server": "mcp-server", "memtomem-web": "web"}
ENTRY_POINT = rf"(?i)({'|'.join(ENTRY_POINTS)})(?:\.exe|-script\.pyw?)?"
SUBCOMMAND_ROLES = {name: name for name in ("web", "index", "shell", "embedding-reset")}
SUBCOMMAND_ROLES["ingest"] = "index"
# Only these are ever shown: an unknown word after `mm` may be a secret.
SUBCOMMANDS = frozenset(
    "activity add agent config context embedding-reset gc index ingest init mem memory pinned purge"
    " quality recall reset review schedule search session shell status sync-doctor tags uninstall"
    " upgrade version warmup watchdog web wiki".split()
)
APP_SERVERS = frozenset("uvicorn gunicorn hypercorn daphne granian".split())
RUNNERS = frozenset(
    "coverage trace pdb cprofile profile debugpy pydevd runpy pudb ipdb ipython viztracer scalene"
    " pyinstrument memray kernprof line_profiler hupper jurigged fastmcp".split()
)
RUNNER_VALUES = frozenset(  # options of RUNNERS whose next argument is not what they run
    "-o -s -c -C -f --outfile --sort --source --source-pkgs --include --omit --rcfile"
    " --data-file --context --concurrency --coverdir --file --ignore-module --ignore-dir --listen"
    " --connect --log-to --adapter-access-token --configure-qt --output_file --output --outdir"
    " --include_files --exclude_files --log_func --renderer --setup --prof-mod --reload".split()
)
RUNNER_FLAGS = frozenset(  # options of RUNNERS that are known to have no value
    "-- -a -b -l -p -q -t -v -L --append --branch --builtin --count --line-by-line --parallel-mode"
    " --pylib --quiet --timid --trace --verbose".split()
)
MODULE = r"memtomem(?:\.\w+)*"
APPLICATION = r"memtomem(?:\.\w+)+(?::\w+|\Z)"
PYTHON = r"(?i)(?:python|pythonw|pypy|graalpy)[\d.]*(?:-\w+)?_?[a-z]?(?:\.exe)?"
SHELL = r"(?i)(?:(?:ba|da|a|z|k|fi|c|tc|pw)?sh|powershell|cmd)(?:\.exe)?"
SIEVE = rb"(?i)\A[^\0]*py|memtomem|mm(?:\.exe|-script\.pyw?)?(?:[\0 ]|\Z)"
SCRIPTS = ("mm", "mm.exe", "mm-script.py", "mm-script.pyw")


def basename(path: str) -> str:
    """The last part of a path of any platform: argv may come from Windows or POSIX."""
    return path[max(path.rfind("/"), path.rfind("\\")) + 1 :]


def is_python(program: str) -> bool:
    return re.fullmatch(PYTHON, basename(program)) is not None


def _entry_point(path: str) -> str:
    """The entry point that a path names, or ''."""
    match = re.fullmatch(ENTRY_POINT, basename(path))
    return match[1].lower() if match else ""


def maybe(argv: list[str]) -> bool:
    """The sieve: an argv in which this finds nothing runs no memtomem, and is not read further."""
    return any("memtomem" in word or word.endswith(SCRIPTS) for word in map(str.lower, argv))


def judge(argv: list[str], python: bool = False, windows: bool = False) -> Command | None:
    """What an argv runs, if it is memtomem, read as the operating system and CPython read it.

    `python`: the program is known to be an interpreter, whatever argv[0] says. `windows`: an entry
    point can be the program itself, a launcher that starts Python and waits.
    """
    if not argv:
        return None
    program, args = argv[0], argv[1:]
    title = " ".join(argv).split()
    if python and title and title[0].endswith(":"):  # a server wrote over its argv
        command = _run_runner(title[0][:-1], [word.strip("[]") for word in title])
        if command:
            return command
    if python or is_python(program):
        option, value, rest = read_python_arguments(args)
        runs = {"c": _run_code, "m": _run_module, "script": _run_script}.get(option)
        return runs(value, rest) if runs else None
    if windows and _entry_point(program):
        return _run_entry_point(program, args)
    if re.fullmatch(SHELL, basename(program)) and args and _entry_point(args[0]):
        # A script whose interpreter path is too long for `#!` starts as a shell script.
        return _run_entry_point(args[0], args[1:])._replace(shell=True)
    return None


def read_python_arguments(args: list[str]) -> tuple[str, str, list[str]]:
    """What an interpreter runs: ("c" | "m" | "script" | "", its value, the arguments after it).

    Reads as CPython's Python/getopt.c does. "" is a prompt, standard input, or an option that
    prints and exits or is unknown: then it stops reading and does not guess.
    """
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            arg = next(rest, "-")
        elif arg == "--check-hash-based-pycs":
            next(rest, None)
            continue
        elif arg.startswith("-") and arg != "-":
            match = re.fullmatch("-[bBdEiIOPqRsStuvx]*(?:([cmWX])(.*))?", arg, re.S)
            if not match:
                break
            value = match[1] and (match[2] or next(rest, ""))
            if match[1] in ("c", "m"):
                return match[1], value, list(rest)
            continue
        return ("", "", []) if arg == "-" else ("script", arg, list(rest))
    return "", "", []


def _run_script(path: str, args: list[str]) -> Command | None:
    if _entry_point(path):
        return _run_entry_point(path, args)
    path = re.sub(r"[/\\]__main__\.py$", "", path)
    return _run_runner(re.sub(r"(\.exe|(-script)?\.pyw?)$", "", basename(path), flags=re.I), args)


def _run_module(module: str, args: list[str]) -> Command | None:
    if not re.fullmatch(MODULE, module):
        return _run_runner(module.split(".")[0], args)
    package = module.partition(".")[2].partition(".")[0]
    if package == "cli":
        return _run_cli("mm", args)
    role = {"server": "mcp-server", "web": "web"}.get(package, "cli")
    return Command(role, f"python -m {module[:60]}")


def _run_entry_point(path: str, args: list[str]) -> Command:
    name = _entry_point(path)
    command = Command(ENTRY_POINTS[name], name)
    return (_run_cli(name, args) if command.role == "cli" else command)._replace(script=path)


def _run_cli(program: str, args: list[str]) -> Command:
    words = [arg for arg in args if not arg.startswith("-")]
    if not words or words[0] not in SUBCOMMANDS:
        return Command("cli", program)
    serves = words[0] != "web" or not {"status", "stop"} & set(words)
    role = SUBCOMMAND_ROLES.get(words[0], "cli") if serves else "cli"
    return Command(role, f"{program} {words[0]}")


def _run_runner(runner: str, args: list[str]) -> Command | None:
    """What a known runner is given to run, if it is memtomem."""
    runner = runner.lower().rstrip("0123456789.-")
    if runner in APP_SERVERS:
        for before, arg in zip(["", *args], args, strict=False):
            if before not in ("-n", "--name") and (app := re.match(APPLICATION, arg)):
                return Command("web", f"{runner} {app[0][:60]}")
        return None
    if runner not in RUNNERS or (runner == "coverage" and args[:1] != ["run"]):
        return None
    if runner == "pydevd" and "--file" in args[:-1]:
        at = args.index("--file")
        run = _run_module if "--module" in args[:at] else _run_script
        return run(args[at + 1], args[at + 2 :])
    before = ""
    for at, arg in enumerate(args):
        if arg in ("-m", "--module"):
            return _run_module("".join(args[at + 1 : at + 2]), args[at + 2 :])
        if arg.startswith("-mmemtomem"):
            return _run_module(arg[2:], args[at + 1 :])
        flag = before in {"trace": ("-c", "-s"), "memray": ("-f",)}.get(runner, ())
        skip = arg.isdigit() or arg == "run"  # a value; coverage's and memray's subcommand
        if not (skip or arg.startswith("-") or (before in RUNNER_VALUES and not flag)):
            if _entry_point(arg):
                return _run_entry_point(arg, args[at + 1 :])
            if re.fullmatch(MODULE, arg):
                return _run_module(arg, args[at + 1 :])
            if not before.startswith("-") or before in RUNNER_FLAGS:
                return None  # it runs something else; after another option, it may be a value
        before = arg
    return None


def _run_code(code: str, args: list[str]) -> Command | None:
    """What `-c` code imports or runs, if it is memtomem: parsed, not searched."""
    if "memtomem" not in code:
        return None
    import ast

    try:
        if len(code) > CODE_LIMIT:
            raise ValueError  # too long to parse in a blink
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the code, and go to the terminal
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # It may be for a newer Python than this one. Only its import statements can be read.
        lines = (re.split("[ \t.,]+", line.strip()) for line in re.split("[\n;:]", code))
        if any(line[0] in ("import", "from") and "memtomem" in line for line in lines):
            return Command("cli", "python -c (memtomem)", verified=False)
        return None
    names = (name for node in ast.walk(tree) for name in _modules(ast, node))
    module = next((name for name in names if re.fullmatch(MODULE, name)), None)
    if module is None:
        return None
    command = _run_module(module, args)
    return command._replace(name=re.sub("python -m (.*)", r"python -c (\1)", command.name))


def _modules(ast, node) -> list[str]:
    """The modules that one node of a syntax tree imports or runs."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        return names if node.module == "memtomem" else [node.module]
    if isinstance(node, ast.Call):
        function = getattr(node.func, "attr", getattr(node.func, "id", ""))
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        texts = [str(each.value) for each in values if isinstance(each, ast.Constant)]
        if function in ("__import__", "import_module", "run_module", "_run_module_as_main"):
            return texts
        if function in ("run", "resolve_name"):  # uvicorn.run("memtomem.web.app:app")
            return [
                text.partition(":")[0]
                for text in texts
                if ":" in text and re.match(APPLICATION, text)
            ]
    return []


def library_user(argv: list[str], program: str) -> str:
    """How to call a program that uses memtomem as a library: its name, its script, no arguments."""
    if not any(map(is_python, [program, *argv[:1]])):
        return program
    option, value, _ = read_python_arguments(argv[1:])
    if option == "m" and re.fullmatch(r"[\w.]{1,40}", value):
        return f"python -m {value}"
    named = option == "script" and re.fullmatch(r"[\w.-]{1,40}\.pyw?", basename(value))
    return f"python {basename(value)}" if named else "python"


# ---- scan: the process table. The only room that touches psutil. --------------------------------

LAUNCHERS = frozenset(  # they start a program and wait for it: the child counts, not they
    "uv uvx pipx sudo doas su timeout nohup nice env setsid xargs poetry pdm hatch mise".split()
)
CLIENTS = {  # first word of a process name: the MCP client as people know it
    "antigravity": "Antigravity", "claude": "Claude", "code": "VS Code", "codex": "Codex CLI",
    "cursor": "Cursor", "gemini": "Gemini CLI", "kimi": "Kimi Code", "opencode": "OpenCode",
    "windsurf": "Windsurf",
}  # fmt: skip
INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h

# The database and what SQLite keeps beside it. Of the file, its -wal and its -shm: `paths`, `names`
# (how a path to them can end), `ids` (device and inode). `linked`: it has hard links, so any name
# may lead to it. `owners`: user IDs, the file's and the check's.
Database = namedtuple("Database", "path paths names ids linked owners")

# One process as it was looked at. `argv`, `holds` (has the database open): None is hidden.
Seen = namedtuple("Seen", "process argv command holds")


def sudo_user() -> int | None:
    """The ID of the user who ran this with sudo: the database meant is theirs, not root's."""
    user = os.environ.get("SUDO_UID", "") if not WINDOWS and os.geteuid() == 0 else ""
    return int(user) if user.isdigit() else None


def user_home() -> str:
    """The home folder of the user whose database is meant."""
    user = sudo_user()
    if user is None:
        return os.path.expanduser("~")
    import pwd

    with suppress(KeyError):
        return pwd.getpwuid(user).pw_dir
    raise Unknown("the user who ran sudo has no home folder; give --db PATH")


def database_path() -> str:
    """Where memtomem keeps its database: environment, config.json, config.d/, the default.

    Source: memtomem 0.4.0, config.py (env_var_owning, load_config_d, load_config_overrides).
    Raises Unknown for a configuration that cannot be read: memtomem would fall back to its
    defaults there, and reset to a model that nobody chose.
    """
    home = os.path.join(user_home(), ".memtomem")
    setting = "memtomem_storage__sqlite_path"  # of several spellings, memtomem takes the last
    if spellings := [value for name, value in os.environ.items() if name.lower() == setting]:
        return spellings[-1]
    path, folder, names = os.path.join(home, "memtomem.db"), os.path.join(home, "config.d"), []
    with suppress(FileNotFoundError, NotADirectoryError):
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    for source in [*(os.path.join(folder, name) for name in names), f"{home}/config.json"]:
        try:
            text = read_bounded(source)
            import json

            path = json.loads(text).get("storage", {}).get("sqlite_path", path)
            if not isinstance(path, str):
                raise ValueError("sqlite_path is not text")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            why = f"{source} cannot be read ({error})"
            raise Unknown(f"{why}; mend it, or give --db PATH") from None
    return path


def find_database(option: str | None) -> Database:
    """The database of --db or of the configuration. Raises Unknown if it cannot be looked at."""
    try:
        path = database_path() if option is None else option
        if path[:1] == "~" and path[1:2] in ("", "/", "\\"):
            path = user_home() + path[1:]
        path = os.path.abspath(os.path.expanduser(path))
        paths = [os.path.realpath(path) + suffix for suffix in ("", "-wal", "-shm")]
        found = []
        for each in paths:
            with suppress(FileNotFoundError):
                found.append(os.stat(each))
    except (OSError, ValueError, TypeError) as error:
        raise Unknown(f"the database cannot be looked at ({error}); give --db PATH") from None
    if (option is not None and not found) or not all(stat.S_ISREG(each.st_mode) for each in found):
        raise Unknown(f"{path} is not a database file; give --db the path of memtomem's database")
    owner = found[0].st_uid if found and os.path.exists(path) else sudo_user()
    return Database(
        path,
        frozenset(paths),
        tuple("/" + os.path.basename(each) + gone for each in paths for gone in ("", " (deleted)")),
        frozenset((each.st_dev, each.st_ino) for each in found),
        any(each.st_nlink > 1 for each in found),
        frozenset() if WINDOWS else frozenset({os.getuid(), owner} - {None}),
    )


def read_bounded(path: str, trusted: frozenset[int] | None = None) -> bytes:
    """A small regular file's content; OSError for anything else.

    With user IDs in `trusted`, also for what another user could swap, or a folder or link to it.
    """
    real = os.path.realpath(path)
    for end in (os.path.abspath(path), real) if trusted and not WINDOWS else ():
        steps = [end]
        while steps[-1] != os.path.dirname(steps[-1]):
            steps.append(os.path.dirname(steps[-1]))
        for info in map(os.lstat, steps):
            open_to_all = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_IWOTH
            if info.st_uid not in trusted or (open_to_all and not info.st_mode & stat.S_ISVTX):
                raise PermissionError("another user can change it")
    if not stat.S_ISREG(os.stat(real).st_mode):  # before the open: opening a device may act on it
        raise OSError("not a regular file")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    with open(real, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode) or info.st_size > READ_LIMIT:
            raise OSError("not a regular file of at most 1 MiB")
        return file.read(READ_LIMIT)


def scan(option: str | None) -> Result:
    """One pass over the process table. Raises Unknown if the table cannot be trusted."""
    if psutil is None:
        missing = broken is None or isinstance(broken, ModuleNotFoundError)
        why = "psutil is missing" if missing else f"psutil cannot be imported: {broken}"
        raise Unknown(f"{why}; install it: {sys.executable} -m pip install psutil")
    database = find_database(option)
    if LINUX:
        _require_own_table()
    known, first = set(), []
    for _ in range(5):  # each pass looks at what started during the one before
        fresh = sorted(set(psutil.pids()) - known)
        if not fresh:
            break
        known.update(fresh)
        looks = (look_at(pid, database) for pid in fresh if pid != os.getpid())
        first += [each for each in looks if each]
    if os.getpid() not in known:
        raise Unknown("the check is not in the process table that it reads; mount /proc")

    doubts = [each for each in first if hides(each) and _is_own_python(each, database)]
    seen = [each for each in first if each not in doubts]
    for _ in range(5):  # in the midst of an exec, or of its end, a process hides for a moment
        if doubts:
            time.sleep(0.02)
        again = [look_at(each.process.pid, database) for each in doubts]
        seen += [each for each in again if each and not hides(each)]
        doubts = [each for each in again if each and hides(each)]
    partly = [each for each in seen if hides(each) and each.argv != []]  # not: kernel threads
    hidden = (LINUX and 1 not in known) or any(each.argv is None for each in partly)
    seen = [each for each in seen + doubts if each.command or each.holds]

    counted, others = _rows(seen, database)
    spots = ["other-users-hidden"] if hidden else []
    if LINUX and "microsoft" in os.uname().release.lower():
        spots.append("wsl")
    elif LINUX and os.stat("/proc/self/ns/pid").st_ino != INITIAL_PID_NAMESPACE:
        spots.append("container")
    verdict, reason = "live" if counted else "unknown" if doubts else "clear", None
    if verdict == "unknown":
        name = visible(safe(doubts[0].process.name, "?"), 32)
        reason = f"process {doubts[0].process.pid} ({name}) hides what it does and may be Python; "
        reason += "end it, or run this as its user"
    path = visible(database.path)
    return Result(verdict, reason, path, len(known), len(partly), others, spots, counted)


def _require_own_table() -> None:
    """On Linux /proc may be empty, or another PID namespace's, where this PID is someone else."""
    try:
        with open(f"{psutil.PROCFS_PATH}/self/status", "rb") as file:
            fields = dict(line.split(b":", 1) for line in file if b":" in line)
    except OSError:
        raise Unknown("/proc is not mounted or cannot be read; mount it") from None
    if fields.get(b"NSpid", fields.get(b"Pid", b"")).split() != [str(os.getpid()).encode()]:
        raise Unknown("/proc shows another PID namespace; mount this one's own /proc")


def sieve(pid: int) -> bool:
    """Whether a command line could be memtomem's, or is hidden: then it is read in full.

    On Linux, for speed: psutil reads a second file of each process, to tell it from a later one of
    the same PID. Python counts by its name alone, because its script may be a link to mm.
    """
    try:
        with open(f"{psutil.PROCFS_PATH}/{pid}/cmdline", "rb", buffering=0) as file:
            raw = file.read()
    except OSError:
        return True
    return not raw or re.search(SIEVE, raw) is not None


def look_at(pid: int, database: Database) -> Seen | None:
    """One process; None if it is gone, a zombie, or has plainly nothing to do with memtomem."""
    if LINUX and not sieve(pid) and holds_database(pid, database) is False:
        return None
    try:
        process = psutil.Process(pid)
        try:
            argv = process.cmdline()
        except psutil.NoSuchProcess:
            raise
        except TROUBLE:
            argv = None
        if argv and not maybe(argv) and is_python(argv[0]):  # its script may be a link to mm
            option, value, rest = read_python_arguments(argv[1:])
            path = os.path.join(safe(process.cwd, ""), value) if option == "script" else ""
            if os.path.islink(path):
                argv = [argv[0], os.path.realpath(path), *rest]
        command = identify(process, argv, database) if argv and maybe(argv) else None
        seen = Seen(process, argv, command, holds_database(pid, database))
        return seen if seen.command or seen.holds or hides(seen) else None
    except psutil.NoSuchProcess:
        return None


def hides(seen: Seen) -> bool:
    """Whether one of the two kinds of evidence could not be had."""
    return not seen.argv or seen.holds is None


def safe(call, default):
    """What a call returns, or `default` where psutil or the system cannot tell."""
    try:
        return call()
    except TROUBLE:
        return default


def identify(process: psutil.Process, argv: list[str], database: Database) -> Command | None:
    """What a process runs, if it is memtomem; where a script runs, its text must say so."""
    python = any(is_python(safe(name, "")) for name in (process.name, process.exe))
    command = judge(argv, python, WINDOWS)
    if command is None or command.script is None:
        return command
    try:
        path = process.exe() if WINDOWS and command.script == argv[0] else command.script
        for view in ("ns/mnt", "root") if LINUX else ():
            pair = [f"/proc/{each}/{view}" for each in (process.pid, "self")]
            if not safe(lambda pair=pair: os.path.samefile(*pair), True):
                raise OSError  # the path is another mount namespace's
        path = os.path.join(process.cwd(), path)
        if os.path.isdir(path):
            path = os.path.join(path, "__main__.py")
        text = read_bounded(path, database.owners | {0})
    except TROUBLE:
        return None if command.shell else command._replace(verified=False)
    text, trampoline = re.subn(rb"\A#![^\n]*\n'''exec'[^\n]*\n", b"", text)
    if command.shell and not trampoline:
        return None  # a shell script that happens to be called mm
    if re.search(rb"\bmemtomem\b", re.sub(rb"#![^\n]*", b"", text)):  # `#!` may name a folder
        return command
    # Other programs are called mm; none is known by the other names.
    other = text and _entry_point(command.script) == "mm"
    return None if other else command._replace(verified=False)


def holds_database(pid: int, database: Database) -> bool | None:
    """Whether a process has the database, its -wal or its -shm open; None if that is hidden.

    On Linux it reads /proc itself: psutil's open_files() also stats every file and reads its
    position, which doubles the time of the whole and can hang on a dead network file system.
    """
    if not LINUX and sys.platform != "darwin":
        return False  # on Windows, open_files() can hang
    folder = f"{psutil.PROCFS_PATH}/{pid}/fd/"
    try:
        files = [] if LINUX else psutil.Process(pid).open_files()
        links = os.listdir(folder) if LINUX else [file.path for file in files]
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        return False
    except TROUBLE:
        return None
    holds, names, linked = False, database.names, database.linked or not LINUX
    for link in links:
        try:
            path = os.readlink(folder + link) if LINUX else link
            if path.endswith(names) or (linked and path[0] == "/"):
                if path.endswith(" (deleted)") and path[:-10] in database.paths:
                    return True
                info = os.stat(folder + link if LINUX else link)
                if (info.st_dev, info.st_ino) in database.ids:
                    return True
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESRCH, errno.ENAMETOOLONG):  # not: closed
                holds = None
    return holds


def _is_own_python(seen: Seen, database: Database) -> bool:
    """Whether a process that hides something is the user's own and could be Python."""
    process = seen.process
    if LINUX and seen.argv == []:
        try:
            os.readlink(f"{psutil.PROCFS_PATH}/{process.pid}/exe")
        except FileNotFoundError:
            return False  # a kernel thread
        except OSError:
            pass
    try:
        if not _belongs_to(process, database.owners):
            return False
    except TROUBLE:  # on Windows, services of the system do not name their user
        folder = f"{psutil.PROCFS_PATH}/{process.pid}"
        owner = safe(lambda: os.stat(folder).st_uid, None) if LINUX else None
        if WINDOWS or owner not in (None, *database.owners):
            return False
    names = [safe(process.name, ""), safe(process.exe, ""), *(seen.argv or [])[:1]]
    return any(map(is_python, names)) or not any(names)  # of one without a name, nothing is known


def _belongs_to(process: psutil.Process, owners: frozenset[int]) -> bool:
    """Whether a process is of one of these users; on Windows, of the one who runs the check."""
    if WINDOWS:
        user = process.username()
        system = 0 in owners and user.upper() == "NT AUTHORITY\\SYSTEM"
        return system or user == psutil.Process().username()
    return bool(owners & set(process.uids()))


def _chain(process: psutil.Process, chains: dict[int, list]) -> list[psutil.Process]:
    """The ancestors of a process, nearest first, as far as they can be had."""
    if process.pid not in chains:
        parent = safe(process.parent, None)
        chains[process.pid] = [parent, *_chain(parent, chains)] if parent else []
    return chains[process.pid]


def _rows(seen: list[Seen], database: Database) -> tuple[list[Row], list[Row]]:
    """One row for each instance of memtomem: those that count, and other users' that do not."""
    counted, others, hits, groups, chains = [], [], {}, {}, {}
    for each in seen:  # the second look
        dead = safe(each.process.status, "") in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        if not dead and safe(each.process.is_running, True):
            hits[each.process.pid] = each
    here = _chain(psutil.Process(), chains) if hits else []
    for parent in here:  # the reset that called this check, the nearest one only, is not meant
        command = hits[parent.pid].command if parent.pid in hits else None
        if command and command.script and command.role == "embedding-reset":
            del hits[parent.pid]
            if not WINDOWS:  # there, a launcher of the same name stands above it
                break
    for pid, each in hits.items():
        head = pid
        for parent in _chain(each.process, chains):
            above = hits.get(parent.pid)
            if above and _same_instance(above, each):
                head = parent.pid
            elif not _is_launcher(parent):
                break
        groups.setdefault(head, []).append(pid)
    owners, here_pids = database.owners | {0}, {parent.pid for parent in here}
    for head, pids in groups.items():
        # On Windows, the first of a chain is a launcher and the last is Python.
        last = max(pids, key=lambda pid: (hits[pid].command is not None, len(chains[pid])))
        each = hits[last if WINDOWS else head]
        held = any(hits[pid].holds for pid in pids)
        ours = any(safe(lambda p=pid: _belongs_to(hits[p].process, owners), True) for pid in pids)
        row = _row(each, chains[head], pids, held, here_pids)
        (counted if ours or held else others).append(row)
    return counted, others


def _same_instance(above: Seen, each: Seen) -> bool:
    """Whether a process is a worker of its parent, or what a launcher on Windows started."""
    if each.command:
        return bool(above.command) and above.command.name == each.command.name
    spawned = any("multiprocessing" in arg for arg in each.argv or [])
    exe = safe(above.process.exe, "")
    return (spawned or each.argv == above.argv) and exe == safe(each.process.exe, None)


def _row(each: Seen, parents: list, pids: list[int], held: bool, here: set[int]) -> Row:
    """One instance: its process, the parents of its topmost process, all its PIDs."""
    process, argv = each.process, each.argv or []
    command = each.command or Command("database", library_user(argv, safe(process.name, "?")))
    launchers = [parent.pid for parent in takewhile(_is_launcher, parents)]
    starter, client = _started_by(parents)
    terminal = visible(safe(getattr(process, "terminal", str), None) or "") or None
    user, mine = (safe(each.username, None) for each in (process, psutil.Process()))
    started = safe(process.create_time, None)
    unit = _stop_unit(process.pid) if LINUX else ""
    stop = stop_advice(command, process.pid, terminal, starter, client, unit)
    if LINUX and safe(process.status, "") == psutil.STATUS_STOPPED:
        stop += f"; it is suspended: wake it first (fg, or kill -CONT {process.pid})"
    if user and user != mine:
        ask = "" if not WINDOWS and os.geteuid() == 0 else ": ask them, or use sudo"
        stop += f" (it belongs to {visible(user, 40)}{ask})"
    return Row(
        process.pid,
        [*reversed(launchers), *sorted(pids)],
        command.role,
        visible(command.name, 70),
        ["command-line"] * bool(each.command) + ["database-open"] * held,
        command.verified,
        user and visible(user, 40),
        started and time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(started)),
        starter,
        terminal,
        stop,
        [visible(arg, CODE_LIMIT) for arg in argv],
        started and max(0.0, time.time() - started),
        client and starter["pid"] in here,
    )


def _started_by(parents: list) -> tuple[dict | None, bool]:
    """The ancestor that answers for a process, as in the JSON, and whether it is an MCP client."""
    first = None
    for at, parent in enumerate(parents):
        if client := _client(parent):
            while at + 1 < len(parents) and _client(parents[at + 1]) == client:
                at += 1  # an application's helper is quit with the application
            return {"pid": parents[at].pid, "name": client}, True
        name = safe(parent.name, "")
        if parent.pid <= 1 or name in ("init", "systemd", "launchd"):
            break
        if not _is_launcher(parent):
            first = first or {"pid": parent.pid, "name": visible(name, 32)}
            options = (arg.startswith("-") for arg in safe(parent.cmdline, [])[1:])
            if re.fullmatch(SHELL, name) and all(options):
                break  # a prompt: a person typed it, and what is above does not matter
    return first, False


def _client(process: psutil.Process) -> str | None:
    argv = safe(process.cmdline, [])
    name = safe(process.name, "") or basename("".join(argv[:1]))
    if re.match("node|bun|deno|python", name):  # the script says who it is
        name = basename(next((arg for arg in argv[1:] if not arg.startswith("-")), ""))
    return CLIENTS.get(re.match("[a-z]*", name.lower())[0])


def _is_launcher(process: psutil.Process) -> bool:
    argv = safe(process.cmdline, [])
    program = basename(argv[0]).lower().removesuffix(".exe") if argv else ""
    command = re.fullmatch(SHELL, program) and any(re.fullmatch("-[a-z]*c|/c", arg) for arg in argv)
    return program in LAUNCHERS or bool(command)


def _stop_unit(pid: int) -> str:
    """The command that stops the container or the systemd service of a process, or ''."""
    paths = [f"/proc/{each}/cgroup" for each in (pid, "self")]
    groups, own = safe(lambda: [*map(read_bounded, paths)], (b"", b""))
    if groups == own:
        return ""
    groups = groups.decode("ascii", "replace")
    if match := re.search(r"(docker|libpod)[-/]([0-9a-f]{12})[0-9a-f]{52}", groups):
        return f"{'podman' if match[1] == 'libpod' else 'docker'} stop {match[2]}"
    match = re.search(r"/([\w@.:-]+\.service)$", groups, re.M)
    # A login, a scheduler or a desktop runs other things too.
    if match and not re.match(r"(ssh|cron|at)d?\b|dbus|docker|containerd|gdm|app-|org\.", match[1]):
        return f"{'systemctl --user' if '/user@' in groups else 'sudo systemctl'} stop {match[1]}"
    return ""


# ---- report: for people and as JSON. Pure. ------------------------------------------------------


def visible(text: str, limit: int = 1000) -> str:
    """Text of another process, safe for a terminal: what is not printable is escaped."""
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def stop_advice(
    command: Command, pid: int, terminal: str | None, starter: dict | None, client: bool, unit: str
) -> str:
    """What to do about one live process, in words a person can follow.

    `starter` answers for it; `client`: that is an MCP client. `unit`: the command that stops its
    service or container.
    """
    place = (terminal or "").removeprefix("/dev/")
    kill = f"taskkill /PID {pid} /F" if WINDOWS else f"kill {pid}"
    by_hand = f"Ctrl-C in {place}, or {kill}" if place else kill
    name, role = command.name, command.role
    daemon = name in ("mm web", "memtomem web")
    app = starter and not re.fullmatch(SHELL, starter["name"])
    quit_app = f"quit {starter['name']} (pid {starter['pid']})" if app else ""
    cases = (
        ("ipykernel" in name, "shut down this notebook's kernel, in Jupyter or in your editor"),
        (
            app and role == "mcp-server",
            f"{quit_app}; it starts the server again if you only kill it",
        ),
        (client and role == "index", f"{quit_app}; it indexes after each edit"),
        (client, f"{quit_app}, which started it"),
        (unit, f"{unit}   (if you only kill it, it may be started again)"),
        (daemon, f"mm web stop   (memtomem before 0.2.2: {by_hand.split(',')[0]})"),
        (place and role == "shell", f"type quit in {place}"),
        (place and name.startswith("sqlite"), f"type .quit in {place}"),
        (role in ("index", "cli", "embedding-reset"), f"let it finish, or {by_hand}"),
    )
    return next((advice for case, advice in cases if case), by_hand)


def as_json(result: Result, verbose: bool) -> str:
    """The one object of --json, ASCII; shape and meaning on the reference page."""
    import json

    fields = Row._fields[: Row._fields.index("stop") + 1 + verbose]  # argv stands behind it
    shown = {
        name: [dict(zip(fields, row, strict=False)) for row in getattr(result, name)]
        for name in ("other_users", "processes")
    }
    return json.dumps({"schema_version": 1, **result._asdict(), **shown}, indent=2)


def as_text(result: Result, verbose: bool) -> str:
    """The report for people: at most 80 columns, but for long paths and --verbose."""
    if result.verdict == "unknown":
        cause, _, remedy = (result.reason or "").partition("; ")
        lines = wrap(f"mm-preflight: unknown, refused: {cause}") + wrap(remedy, "  ")
    elif result.verdict == "clear":
        part = f", {result.uninspected} of them only in part" if result.uninspected else ""
        lines = [f"mm-preflight: clear, no live mm process ({result.examined} examined{part})"]
    else:
        one = len(result.processes) == 1
        noun = "1 mm process is" if one else f"{len(result.processes)} mm processes are"
        lines = [f"mm-preflight: refused, {noun} alive", "", *_table(result.processes, verbose), ""]
        lines += wrap(
            f"While {'it' if one else 'one of these'} runs, `mm embedding-reset` leaves vectors of "
            "two models in one database, and nothing tells them apart afterwards."
        )
        lines.append(f"Stop {'it' if one else 'them'}, then run this again.")
        for name in sorted({row.started_by["name"] for row in result.processes if row.within}):
            lines += wrap(
                f"{name} started this check too: from inside it, it can never come clear. Quit "
                f"{name}, and run mm-preflight from a plain terminal."
            )
    if result.other_users:
        lines += ["", "Of other users, and not counted:", *_table(result.other_users, verbose)]
    for spot in result.blind_spots:
        lines += wrap(f"note: {BLIND_SPOTS[spot]}")
    if verbose and result.database:
        lines += ["", f"database: {result.database}"]
    return "\n".join(lines)


def _table(rows: list[Row], verbose: bool) -> list[str]:
    width = max(len(_what(row)) for row in rows)
    lines = [f"  {'PID':<8} {'WHAT':<{width}}  SINCE       STARTED BY"]
    for row in rows:
        lines.append(_line(row, width))
        lines += wrap(f"stop it: {row.stop}", " " * 11)
        if not row.verified:
            lines += wrap(
                "not verified: what it runs could not be read, so it may be another program",
                " " * 11,
            )
        if verbose:
            lines.append(f"{'':11}evidence: {', '.join(row.evidence)}")
            lines.append(f"{'':11}argv: {' '.join(arg[:200] for arg in row.argv)}")
    return lines


def _what(row: Row) -> str:
    if row.role == "mcp-server":
        return "MCP server"
    text = f"{row.command}, database open" if row.role == "database" else row.command
    return visible(text, 32)


def _line(row: Row, width: int) -> str:
    starter, place = row.started_by, (row.terminal or "").removeprefix("/dev/")
    by = f"{starter['name']} ({starter['pid']})" if starter else "-"
    if place:
        by = f"{starter['name']}, in {place}" if starter else f"in {place}"
    return f"  {row.pid:<8} {_what(row):<{width}}  {_since(row.age):<10}  {by}"[:80].rstrip()


def _since(age: float | None) -> str:
    for seconds, unit in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s")):
        if age is not None and (age >= 2 * seconds or unit == "s"):
            return f"{age / seconds:.0f} {unit} ago"
    return "?"


def wrap(text: str, indent: str = "") -> list[str]:
    """Lines of at most 80 columns."""
    from textwrap import TextWrapper

    whole = {"break_long_words": False, "break_on_hyphens": False}
    return TextWrapper(80, indent, indent, **whole).wrap(text)


# ---- hook: the shell function that asks before a reset. -----------------------------------------

# Each is printed for `mm` and for `memtomem`. An alias of that name would go past the function.
POSIX_HOOK = """\
unalias {name} 2>/dev/null || :
function {name} {{
  local arg= command= reset=
  for arg in "$@"; do
    case "$command|$arg" in
      *"|-h" | *"|--help") reset=; break ;;
      "|-"*) ;;
      "|"*) command=$arg ;;
      "embedding-reset|apply-current" | "embedding-reset|--mode=apply-current") reset=1 ;;
    esac
  done
  if [ -n "$reset" ]; then
    if ! command -v mm-preflight >/dev/null 2>&1; then
      printf '%s\\n' "{missing}" "  {remedy}" >&2
      return 2
    fi
    command mm-preflight || return "$?"
  fi
  command {name} "$@"
}}
"""
FISH_HOOK = """\
function {name} --wraps {name} --description 'memtomem; asks mm-preflight before a reset'
    set -l command
    set -l reset
    for arg in $argv
        if contains -- "$arg" -h --help
            set reset
            break
        else if test -z "$command"
            string match -q -- '-*' "$arg"; or set command "$arg"
        else if test "$command" = embedding-reset
            contains -- "$arg" apply-current --mode=apply-current; and set reset 1
        end
    end
    if test -n "$reset"
        if not command -sq mm-preflight
            printf '%s\\n' "{missing}" "  {remedy}" >&2
            return 2
        end
        command mm-preflight; or return $status
    end
    command {name} $argv
end
"""
POWERSHELL_HOOK = """\
Remove-Item Alias:{name} -Force -ErrorAction Ignore
function {name} {{
    $command = $null; $reset = $false
    foreach ($arg in $args) {{
        if ($arg -cin '-h', '--help') {{ $reset = $false; break }}
        elseif ($null -eq $command) {{ if ("$arg" -notlike '-*') {{ $command = "$arg" }} }}
        elseif ($command -ceq 'embedding-reset' -and
            $arg -cin 'apply-current', '--mode=apply-current') {{ $reset = $true }}
    }}
    if ($reset) {{
        $check = Get-Command mm-preflight -CommandType Application -ErrorAction Ignore
        if (-not $check) {{
            [Console]::Error.WriteLine("{missing}`n  {remedy}")
            $global:LASTEXITCODE = 2; return
        }}
        & @($check)[0]
        if ($LASTEXITCODE -ne 0) {{ return }}
    }}
    $program = @(Get-Command {name} -CommandType Application -ErrorAction Stop)[0]
    if ($MyInvocation.ExpectingInput) {{ $input | & $program @args }} else {{ & $program @args }}
}}
"""
HOOKS = {"bash": POSIX_HOOK, "zsh": POSIX_HOOK, "fish": FISH_HOOK, "powershell": POWERSHELL_HOOK}


def hook(shell: str) -> str:
    """The functions for a shell's start-up file: they ask mm-preflight before vectors are dropped.

    Only `embedding-reset` with `apply-current` is checked; all else goes through as it is given.
    """
    missing = "mm-preflight: unknown, refused: mm-preflight is not on PATH"
    remedy = "install it again, or take its hook out of your shell's start-up file"
    names = ("mm", "memtomem")
    return "".join(HOOKS[shell].format(name=n, missing=missing, remedy=remedy) for n in names)


# ---- main: options, --wait, exit status. --------------------------------------------------------


def check(option: str | None = None) -> Result:
    """Look once, for at most SCAN_SECONDS, whatever the process table holds. Never raises."""
    results = []  # from a thread: a read of the table can hang, and a thread can be left behind

    def look() -> None:
        try:
            results.append(scan(option))
        except Unknown as error:
            results.append(Lasting("unknown", visible(str(error))))
        except BaseException as error:  # whatever it was, it is not a verdict
            reason = visible(f"internal error: {type(error).__name__}: {error}; report it")
            results.append(Result("unknown", reason))

    thread = threading.Thread(target=look, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # a limit on threads or memory
        return Result("unknown", f"{error}; end something, and run this again")
    end = time.monotonic() + SCAN_SECONDS
    while not results and thread.is_alive() and time.monotonic() < end:
        thread.join(0.1)  # in steps: on Windows, a longer wait does not hear Ctrl-C
    late = f"the process table could not be read in {SCAN_SECONDS:g} s; run this again"
    return results[0] if results else Result("unknown", late)


def wait(option: str | None, seconds: float, quiet: bool = False) -> Result:
    """Look again until clear for CLEAR_SECONDS in a row, or until `seconds` are over."""
    end = time.monotonic() + seconds
    clear_since = shown = None
    dumb = WINDOWS or os.environ.get("TERM") == "dumb"  # a Windows console may be
    live = not (quiet or dumb) and sys.stderr is not None and sys.stderr.isatty()
    while True:
        result = check(option)
        if isinstance(result, Lasting):
            return result
        now = time.monotonic()
        clear_since = (clear_since or now) if result.verdict == "clear" else None
        done = now - clear_since >= CLEAR_SECONDS if clear_since else now >= end
        if live:
            back = f"\x1b[{shown}F\x1b[J" if shown else ""
            if shown is None and result.verdict == "live":
                back = as_text(result, False) + "\n\n"  # once: how to stop each
            rows = [] if done else _waiting(result)
            write(sys.stderr, back + "".join(f"{row}\n" for row in rows))
            shown = len(rows)
        if done:
            return result
        time.sleep(min(0.5, max(0.0, end - now)) if clear_since is None else 0.25)


def _waiting(result: Result) -> list[str]:
    """What is still being waited for, in lines that fit the terminal."""
    columns, rows = safe(lambda: os.get_terminal_size(sys.stderr.fileno()), (0, 0))
    width = max((len(_what(row)) for row in result.processes), default=0)
    lines = [f"waiting for{_line(row, width)}" for row in result.processes]
    if result.verdict == "clear":
        lines = [f"nothing is alive; looking on for {CLEAR_SECONDS:g} s"]
    elif result.verdict == "unknown":
        lines = [f"unknown: {result.reason}"]
    room = max(1, (rows or 24) - 3)
    if len(lines) > room:
        lines[room:] = [f"... and {len(lines) - room} more"]
    # A line that wraps would not be wiped; in ASCII each character is one column wide.
    lines = [line.encode("ascii", "backslashreplace").decode() for line in lines]
    return [line[: (columns or 80) - 1] for line in lines]


def write(stream, text: str) -> None:
    """Print to a stream of any encoding. Raises OSError if it does not arrive."""
    if stream is None:  # closed by who started this; the exit status still answers
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # for the flush at exit
        raise


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise Unknown(f"{message}; see mm-preflight --help")


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) <= 86400:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 86400")


def _parser() -> _Parser:
    codes = "\n".join(f"  {code:>3}  {text}" for code, text in EXIT_CODES.items())
    parser = _Parser(
        "mm-preflight",
        description="Name every live memtomem process, and refuse to go on while there is one.",
        epilog=f"exit status:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object")
    add("--quiet", action="store_true", help="no report: the exit status answers")
    add("--verbose", action="store_true", help="add evidence and full arguments")
    add("--wait", type=_seconds, metavar="SECONDS", help="look until clear")
    add("--db", metavar="PATH", help="the database, if not the configured one")
    add("--hook", choices=HOOKS, metavar="SHELL", help=f"print a hook: {', '.join(HOOKS)}")
    add("--version", action="version", version=f"mm-preflight {__version__}")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the check and return its exit status (EXIT_CODES); never raises for a verdict."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        try:
            options = _parser().parse_args(argv)
            if options.hook:
                write(sys.stdout, hook(options.hook))
                return 0
            if options.wait is None:
                result = check(options.db)
            else:
                result = wait(options.db, options.wait, options.quiet)
        except Unknown as error:  # a usage error
            options = argparse.Namespace(json="--json" in argv, quiet=False, verbose=False)
            result = Result("unknown", visible(str(error)))
        if options.json:
            write(sys.stdout, as_json(result, options.verbose) + "\n")
        if result.verdict == "unknown" or not (options.json or options.quiet):
            clear = result.verdict == "clear"
            write(sys.stdout if clear else sys.stderr, as_text(result, options.verbose) + "\n")
        return ("clear", "live", "unknown").index(result.verdict)
    except KeyboardInterrupt:
        return 130
    except SystemExit as stop:  # --help and --version
        return stop.code or 0
    except Exception as error:  # what was asked for could not be printed, or worse
        with suppress(Exception):
            name = type(error).__name__
            write(sys.stderr, f"mm-preflight: unknown, refused: internal error: {name}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
