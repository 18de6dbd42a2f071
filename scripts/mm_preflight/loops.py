"""What a shell's command or script repeats, in the shells of every platform. Pure."""

from __future__ import annotations

import re

TEXT_READ = 1 << 14  # bytes of a script or command in which a loop is looked for
# A loop: its keyword in a place of a command, and all up to its end.
LOOP = (
    r"(?ims)(?:^(?:[ \t]*+@)?|[;&|{(]|\b(?:do|then|else)\b)[ \t]*"
    r"(?:(?:while|until|for|foreach|repeat|select)\b|do[ \t]*\{).*?(?:\bdone\b|\bend\b|^\}|\Z)"
)
# What stands before a command, also before one that is a loop's condition.
PLACE = r"(?:^|[;&|!]|\b(?:do|then|else|while|until|if|exec|eval|command|nohup|sudo|time)\b)[ \t@]*"
# A variable that is given a value, in any shell: NAME=…, $NAME = …, set NAME …, for NAME in ….
ASSIGNED = (
    r"(?im)(?:^|[;&|({]|\b(?:do|then|else|export|local|readonly|typeset|declare)\b)"
    r"[ \t]*(?:-\w+[ \t]+)?\$?(\w++)[ \t]*=[ \t]*"
    r"""(\([^)]{0,999}\)|"[^"\n]*"|'[^'\n]*'|[^\s;&|]*)"""
    r"|\bset[ \t]+(?:[-/]\w+[ \t]+)*\"?(\w++)[ \t=]+([^\n;]*)"
    r"|\b(?:for|foreach)[ \t]+\(?\$?(\w++)[ \t]+in\b([^\n;]*)"
)
VALUE_READ = 200  # characters of a variable's value
VARIABLE = r"(?:\$(?:\{(\w++)[^}\n]{0,99}\}|(\w++))|%(\w++)%|!(\w++)!)"
# A command that only a variable names, which has its value from outside. In PowerShell, what an
# operator follows is none.
OUTSIDE = rf'{PLACE}"?{VARIABLE}"?(?=[;&|)}}\s]|\Z)(?![ \t]*[-+*/]?=)'
COMMAND = rf"(?im)(?:{PLACE}|[({{][ \t]*)(?=([\w.-]++)(?![ \t]*[=(]))"
FUNCTION = (
    r"(?ims)(?:^|[;&|])[ \t]*(?:function[ \t]+([\w.-]++)[ \t]*(?:\([^()\n]*\))?"
    r"|([\w.-]++)[ \t]*\([ \t]*\))\s*(\{[^\n]*?[;\s]\}|.*?(?:^\}|^end\b|\Z))"
)
# A script that runs itself again.
ITSELF = (
    rf"(?im){PLACE}(?:(?:call|source|\.|[\w/]*sh)[ \t]+)?"
    r'"?(?:\$\{?(?:0|BASH_SOURCE|PSCommandPath)\b|%(?:~f)?0)'
)
BATCH = r'(?i)[\s"@]*+(?:call\s++)?+"?+(.*?\.(?:bat|cmd))(?![\w.])'  # the file of a command


def batch_file(command: str) -> str:
    """The batch file that a command of cmd's runs, or ""."""
    match = re.match(BATCH, command)
    return match[1] if match else ""


def as_text(script: bytes) -> str:
    """The text of a script, whatever wrote it: PowerShell 5.1 writes UTF-16."""
    script = script[:TEXT_READ].removeprefix(b"\xef\xbb\xbf")
    wide = script.startswith((b"\xff\xfe", b"\xfe\xff"))
    return script.decode("utf-16" if wide else "latin-1", "replace")


def loops_of(text: str) -> str:
    """What a shell's command or script repeats, with the functions that it calls there."""
    text = with_values(re.sub(r"(?im)^[ \t]*(#|@?rem\b|::).*", "", text[:TEXT_READ]))
    loops = [match[0] for match in re.finditer(LOOP, text)]
    # In a batch file, what stands from a label down to a goto that leads back there.
    labels = {m[1].lower(): m.start() for m in re.finditer(r"(?m)^[ \t]*:[ \t]*([\w.-]+)", text)}
    jumps = re.finditer(r"(?i)\bgoto\b[ \t:]*([\w.-]+)", text)
    spans = [(labels.get(m[1].lower(), m.end()), m.end()) for m in jumps]
    back = [(start, end) for start, end in spans if start < end]
    if back:
        loops.append(text[min(back)[0] : back[-1][1]])
    loops += [text[: match.end()] for match in list(re.finditer(ITSELF, text))[-1:]]
    functions = {(m[1] or m[2]).lower(): m[3] for m in re.finditer(FUNCTION, text)}
    loops += [body for name, body in functions.items() if name in called(body)]
    for each in loops:  # it grows
        loops += [functions.pop(name) for name in called(each) if name in functions]
    return "\n".join(loops)


def called(text: str) -> set[str]:
    """The words of a text that are commands, in small letters."""
    return {match[1].lower() for match in re.finditer(COMMAND, text)}


def with_values(text: str) -> str:
    """The text with its own variables' values in their places: one may name the program."""
    values: dict[str, str] = {}

    def value(match: re.Match[str]) -> str:
        return values.get("".join(filter(None, match.groups())), match[0])

    for match in re.finditer(ASSIGNED, text):
        name, told = filter(lambda each: each is not None, match.groups())
        values[name] = re.sub(VARIABLE, value, told).strip("\"'() \t")[:VALUE_READ]
    return re.sub(VARIABLE, value, text)[:TEXT_READ]


def repeats(loops: str, program: str) -> bool:
    """Whether a loop is about a program: it is named there, or comes in from outside.

    `program`: its file name; "" where that is not known.
    """
    name = re.sub(r"(?i)\.exe\Z", "", program)
    named = rf"(?i:(?<![\w.-]){re.escape(name)}(\.exe)?(?![\w.-]))" if name else r"\Z."
    outside = rf'"\$@"|\$\*|\$1|%\*|%~?1|{OUTSIDE}'
    return re.search(rf"(?m){named}|{outside}", loops) is not None
