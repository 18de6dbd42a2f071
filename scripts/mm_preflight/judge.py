"""What an argv was told to run, and whether that is memtomem or imports it. Pure.

One question about Python, asked of a script (its text), a module (-m) and code (-c); a runner such
as uvicorn or coverage is asked what it was given. Nothing is searched for a word: Python is parsed.
"""

from __future__ import annotations

import re
from contextlib import suppress

from mm_preflight.argv import (
    PROGRAMS,
    basename,
    is_python,
    is_shell,
    program_of,
    read_python_arguments,
)
from mm_preflight.records import Command, Files
from mm_preflight.runners import (
    APP_SERVERS,
    DOTTED,
    Given,
    application,
    given,
    is_dotted,
    is_likely,
)
from mm_preflight.source import MODULE, chief, imports

ROLES = {"web": "web", "serve": "mcp-server", "index": "index", "ingest": "index"}
ROLES |= {"shell": "shell", "embedding-reset": "embedding-reset"}
# Only these are ever shown: an unknown word after `mm` may be a secret.
SUBCOMMANDS = frozenset(
    "activity add agent config context doctor embedding-reset gc index ingest init mem memory"
    " pinned purge quality recall reset review schedule search serve session shell status"
    " sync-doctor tags uninstall upgrade version warmup watchdog web wiki".split()
)
PATH_MAX = 4096  # characters; a longer word names no file


def judge(argv: list[str], files: Files, python: bool, launchers: bool) -> Command | None:
    """What an argv runs, if it is memtomem, read as the operating system and CPython read it.

    `python`: the program is known to be an interpreter, whatever argv[0] says. `launchers`: a
    program can be a launcher with its script inside, which starts Python and waits.
    """
    if not argv:
        return None
    program, args = argv[0], argv[1:]
    if python or is_python(program):
        title = " ".join(argv).split()
        if title and title[0].endswith(":"):  # a server wrote over its argv
            # Any of its words may be a name that a person chose: what is served has two parts.
            words = [word.strip("[]") for word in title[2:]]
            served = [word for word in words if application(word)[1]]
            return _runner(title[0][:-1], served, files)
        option, value, rest = read_python_arguments(args)
        runs = {"c": _code, "m": _module, "script": _script}.get(option)
        return runs(value, rest, files) if runs else None
    if launchers and program_of(program):
        return _imported(program, args, files)
    if is_shell(program) and args and program_of(args[0]):
        # A script whose interpreter path is too long for `#!` starts as a shell script: just now
        # this shell is about to exec Python.
        try:
            return _script(args[0], args[1:], files) if b"'''exec'" in files.read(args[0]) else None
        except OSError:
            return None
    return None


# ---- the three things that a Python is told to run ----------------------------------------------


def _script(path: str, args: list[str], files: Files) -> Command | None:
    if command := _imported(path, args, files) or _unverified(path, args, files):
        return command
    name = basename(re.sub(r"[/\\]__main__\.py$", "", path))
    return _runner(re.sub(r"(\.exe|(-script)?\.pyw?)$", "", name, flags=re.I), args, files)


def _module(module: str, args: list[str], files: Files) -> Command | None:
    if re.fullmatch(MODULE, module):
        return _command(module, f"python -m {module[:60]}", args, "cli")
    local = module.replace(".", "/") if re.fullmatch(DOTTED, module) else ""
    files_of = ("{}.py", "{}/__main__.py", "{}/__init__.py")
    for path in (each.format(local) for each in files_of if local):
        if command := _imported(path, args, files):  # in its folder, where `-m` looks first
            return command._replace(name=f"python -m {module[:60]}")
    return _runner(module.partition(".")[0], args, files)


def _code(code: str, args: list[str], files: Files) -> Command | None:
    modules, parsed = imports(code)
    if not modules:
        return None
    module = chief(modules)
    command = _command(module, f"python -c ({module[:60]})", args, "library")
    return command._replace(verified=parsed)


def _imported(path: str, args: list[str], files: Files) -> Command | None:
    """What a script's text imports of memtomem, or which of memtomem's own files it is."""
    program, name = program_of(path), basename(path)
    plain = re.fullmatch(r"[\w.-]{1,40}", name)
    label = program or (f"python {name}" if plain else "python")
    try:
        if len(path) > PATH_MAX:
            return None
        if module := _own_module(path, files):
            return _command(module, label, args, "cli")
        modules, parsed = imports(files.read(path))
    except OSError:
        return None
    if not modules:
        return None
    command = _command(chief(modules), label, args, "library", program or (plain and name) or "mm")
    return command._replace(verified=parsed and files.trusted(path))


def _own_module(path: str, files: Files) -> str:
    """The module of memtomem's own package that a path leads to, or ''."""
    parts = re.split(r"[/\\]", re.sub(r"\.pyw?$", "", path))
    at = len(parts) - 1 - parts[::-1].index("memtomem") if "memtomem" in parts[:-1] else 0
    package = path[: len("/".join(parts[: at + 1]))]
    if package.endswith("memtomem"):
        with suppress(OSError):  # else a folder of that name is no package
            files.read(f"{package}/__init__.py")
            return ".".join(parts[at:]).removesuffix(".__main__")
    return ""


def _unverified(path: str, args: list[str], files: Files) -> Command | None:
    """One of memtomem's programs by its name alone, where its text proves nothing."""
    if not (program := program_of(path)):
        return None
    try:
        if imports(files.read(path))[1] and files.trusted(path):
            return None  # it was read to its end, and is another program
    except OSError:
        pass
    return _command(f"memtomem.{PROGRAMS[program]}", program, args, "cli")._replace(verified=False)


def _command(module: str, label: str, args: list[str], role: str, cli: str = "") -> Command:
    """The role and name of a module of memtomem's; `cli`: how its command line is called."""
    package = module.partition(".")[2]
    if package.partition(".")[0] == "cli":
        program = cli or (label if label in PROGRAMS else "mm")
        return _command_line(program, args)
    if package == "server":
        return Command("mcp-server", label)
    return Command("web" if package.partition(".")[0] == "web" else role, label)


def _command_line(program: str, args: list[str]) -> Command:
    words = [arg for arg in args if not arg.startswith("-")]
    if not words or words[0] not in SUBCOMMANDS:
        return Command("cli", program, cli=True)
    asks = words[0] == "web" and {"status", "stop"} & set(words)
    return Command("cli" if asks else ROLES.get(words[0], "cli"), f"{program} {words[0]}", cli=True)


# ---- runners ------------------------------------------------------------------------------------


def _runner(runner: str, args: list[str], files: Files) -> Command | None:
    """What a known runner is given to run, if that is memtomem."""
    for each in given(runner, args):
        if each.kind == "module":
            return _module(each.word, each.rest, files)
        command = _given(each, files)
        if command and (each.kind == "word" or is_likely(each, command.verified, SUBCOMMANDS)):
            return command
    return None


def _given(each: Given, files: Files) -> Command | None:
    """What a runner's word names: `module:application`, a module, or a file."""
    target, attribute = application(each.word)
    served = each.runner in APP_SERVERS
    if served and each.kind == "perhaps" and not attribute and "memtomem.web" not in each.word:
        return None
    if is_dotted(target) and (served or attribute):
        if not (command := _module(target, each.rest, files)):
            return None
        name = f"{each.runner} {target[:60]}" + (f":{attribute[:40]}" if attribute else "")
        role = "web" if served and re.fullmatch(MODULE, target) else command.role
        return Command(role, name, command.verified)
    command = None if served else _script(target, each.rest, files)
    # A folder may bear the name of memtomem's command line, but nobody runs that without a word.
    named = command and (command.verified or command.name not in PROGRAMS or not command.cli)
    return command if named else None
