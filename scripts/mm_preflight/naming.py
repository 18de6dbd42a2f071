"""What to call a program of another's: one plain word of it, and never an argument. Pure.

A process's name and argv are text that anyone may set, and what stands in them may be a secret.
"""

from __future__ import annotations

import re

from mm_preflight.argv import (
    PLAIN,
    basename,
    is_python,
    is_shell,
    one_word,
    read_python_arguments,
    read_shell_arguments,
)
from mm_preflight.records import Ancestor

INTERPRETER = re.compile(r"(node|nodejs|bun|deno|ruby|perl|php)[\d.]*(\.exe)?")  # and Python
# Options of these that take the next word as their value.
WITH_VALUE = frozenset(
    "--require --import --loader --experimental-loader --conditions --env-file --title".split()
)
# Of any other, the next word may be the value, and a secret: unless it is joined to it by a `=`,
# or is one of the many that take none; or the word is a script by its ending.
WITHOUT_VALUE = re.compile(r"--((no|enable|expose|preserve)-[\w-]+)?|--[\w-]+=.*", re.S)
ENDING = re.compile(r"(?s).*\.([cm]?[jt]s|[jt]sx|rb|pl|php)")
# Where a program or a script lies, and no title, address or assignment.
PROGRAM = re.compile(r"([A-Za-z]:)?([/\\][\w.@+-]+)+|[\w.@+-]+")
SCRIPT = re.compile(r"(?!.* [-/\\]|[^/\\]* |.*\.\w+ )([A-Za-z]:)?[\w.@+~()/\\ -]+")
MANY_IN_ONE = frozenset({"busybox", "toybox"})  # what they do is their first argument
OF_A_THREAD = frozenset({"mainthread", "node-mainthread"})  # what newer Node.js calls itself


def package_of(path: str) -> str:
    """The npm package, with its scope, that a script lies in; or ""."""
    _, found, inside = f"/{path}".replace("\\", "/").rpartition("/node_modules/")
    words = inside.split("/")
    if not found or words[0].startswith(".") or len(words) < 2:
        return ""
    return "/".join(words[:2]) if words[0].startswith("@") else words[0]


def script_path(each: Ancestor) -> str:
    """The path of the script that an interpreter runs, or the module; "" if it runs none."""
    program = basename(each.argv[0]) if each.argv else each.name
    if is_python(program):
        option, script, _ = read_python_arguments(each.argv[1:])
        return "" if option == "c" else script
    if INTERPRETER.fullmatch(program.lower()):
        runs = program.lower().startswith(("bun", "deno")) and each.argv[1:2] == ["run"]
        return _script_behind(each.argv[1 + runs :])
    return ""


def _script_behind(args: list[str]) -> str:
    """The script in the arguments of an interpreter such as node; "" if it may be none."""
    rest, doubtful = iter(args), False
    for arg in rest:
        if arg in WITH_VALUE:
            next(rest, None)
            doubtful = False
        elif arg.startswith("--"):
            doubtful = not WITHOUT_VALUE.fullmatch(arg)
        elif arg.startswith("-") or (doubtful and not (ENDING.fullmatch(arg) or package_of(arg))):
            return ""
        else:
            return arg
    return ""


def _program(each: Ancestor) -> str:
    """The program's own name, for which argv[0] is asked where only a thread's is told.

    A title may stand in argv[0], and behind a `/` of a title any argument.
    """
    path = "".join(each.argv[:1])
    renamed = each.name.lower() in OF_A_THREAD and PROGRAM.fullmatch(path)
    return basename(path) if renamed else each.name


def script_of(each: Ancestor) -> str:
    """The program that an ancestor is, in small letters: of an interpreter, what that runs.

    A script in an npm package is called by the package: its own name may be index.js.
    """
    path = script_path(each)
    if basename("".join(each.argv[:1])) in MANY_IN_ONE:
        path = "".join(each.argv[1:2])
    # What is no plain path may be code or an address, and those may hold a secret.
    path = path.replace("\\", "/").rstrip("/") if SCRIPT.fullmatch(path) else ""
    script = basename(package_of(path) or path.removesuffix("/__main__.py"))
    program = script if re.fullmatch(PLAIN, script) else _program(each)
    return program.lower().removesuffix(".exe")


def display_name(each: Ancestor) -> str:
    """The one word to call an ancestor by; of an interpreter, its script's says more."""
    name = each.name.lower()
    scripted = INTERPRETER.fullmatch(name) or name.startswith("python") or name in MANY_IN_ONE
    # A program may have given itself a name; then the script still tells that of its file.
    told = scripted or script_path(each) or name in OF_A_THREAD
    return one_word(script_of(each) if told else each.name)


def shell_argv(name: str, argv: list[str]) -> list[str]:
    """The argv as the shell that this is reads it, also one that is a Python's script; or []."""
    if is_shell(argv[0] if argv else name):
        return argv or [name]
    if argv and is_python(argv[0]):
        option, script, rest = read_python_arguments(argv[1:])
        if option in ("script", "m") and is_shell(script):
            return [script, *rest]
    return []


def is_of_shell(each: Ancestor) -> bool:
    return bool(shell_argv(each.name, each.argv))


def runs_script(each: Ancestor) -> str:
    """The file name of the script that an ancestor runs, if it is a shell that runs one; or ""."""
    argv = shell_argv(each.name, each.argv)
    kind, script = read_shell_arguments(argv) if argv else ("", "")
    return basename(script) if kind == "script" else ""


def runs_command(each: Ancestor) -> bool:
    """Whether it is a shell that was given a command with -c: it merely waits for that."""
    argv = shell_argv(each.name, each.argv)
    return bool(argv) and read_shell_arguments(argv)[0] == "c"
