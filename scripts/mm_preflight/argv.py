"""How an argv of any platform is read: names of programs, options of Python and shells. Pure."""

from __future__ import annotations

import re

# memtomem's four programs, and the module that each runs.
PROGRAMS = {"mm": "cli", "memtomem": "cli", "memtomem-server": "server", "memtomem-web": "web"}
PYTHON = re.compile(r"(?i)(?:python|pythonw|pypy|graalpy)[\d.]*(?:-\w+)?_?[a-z]?(?:\.exe)?")
PLAIN = r"[\w.@+-]{1,40}"  # a word that can be shown, and hides no argument
SHELLS = frozenset(
    "sh bash dash ash zsh ksh mksh oksh yash fish csh tcsh nu elvish xonsh pwsh powershell cmd"
    "".split()
)
# Options of shells that take a value; what a shell runs is the first word behind none of them.
SHELL_VALUES = (
    r"(?i)--(init-file|rcfile|init-command)|[-+]\w*o|-(ep|ex\w*|version|windowstyle|w|wd|inputformat"
    r"|outputformat|configurationname|custompipename|settingsfile|workingdirectory)"
)


def basename(path: str) -> str:
    """The last part of a path of any platform: argv may come from Windows or POSIX."""
    return path[max(path.rfind("/"), path.rfind("\\")) + 1 :]


def one_word(name: str) -> str:
    """The first plain word of a process's name, which may be a whole command line; or "?"."""
    match = re.match(PLAIN, name.lstrip("-([ "))
    return match[0] if match else "?"


def is_python(program: str) -> bool:
    """Whether a path names a Python interpreter."""
    return PYTHON.fullmatch(basename(program)) is not None


def is_shell(program: str) -> bool:
    """Whether a path names a shell; a login shell's argv[0] begins with a dash."""
    return basename(program).removeprefix("-").lower().removesuffix(".exe") in SHELLS


def program_of(path: str) -> str:
    """Which of memtomem's four programs a path names, or ''."""
    name = basename(path).lower()
    for ending in (".exe", "-script.py", "-script.pyw"):
        name = name.removesuffix(ending)
    return name if name in PROGRAMS else ""


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


def read_shell_arguments(argv: list[str]) -> tuple[str, str]:
    """What a shell runs: ("c" | "script" | "", its value); "" is a prompt that a person types into.

    A prompt may be told a file to read first (`bash --init-file FILE`, as VS Code starts it). Of
    `cmd /k` and `powershell -noexit`, the value is what runs before the person types. Of a script
    that is read from standard input (`-s`), it is "".
    """
    shell = basename(argv[0]).lower().removesuffix(".exe") if argv else ""
    before, windows = "", shell in ("cmd", "powershell", "pwsh")
    stays = windows and {"-noexit", "/k"} & set(map(str.lower, argv))
    for at, arg in enumerate(argv[1:], 2):
        if windows and re.fullmatch(r"(?i)/[ck]|-(c(o(m(m(a(nd?)?)?)?)?)?|encodedcommand)", arg):
            return "" if stays else "c", " ".join(argv[at:])
        if not windows and re.fullmatch(r"-[A-Za-z]*c[A-Za-z]*", arg):
            return "c", "".join(argv[at : at + 1])
        if not windows and arg.startswith("--command="):
            return "c", arg.partition("=")[2]
        if arg == "-s":
            return "script", ""
        option = re.match("[-/]" if windows else "[-+]", arg)
        if not option and not re.fullmatch(SHELL_VALUES, before):
            return "" if stays else "script", arg
        before = arg
    return "", ""


def library_user(argv: list[str], program: str) -> str:
    """How to call a program that uses memtomem as a library: its name, its script, no arguments."""
    if not any(map(is_python, argv[:1])):  # a title, whose words may be anything
        return program
    option, value, _ = read_python_arguments(argv[1:])
    if option == "m" and re.fullmatch(r"[\w.]{1,40}", value):
        return f"python -m {value}"
    named = option == "script" and re.fullmatch(r"[\w.-]{1,40}\.pyw?", basename(value))
    return f"python {basename(value)}" if named else "python"
