"""What a shell's command or script repeats, in the shells of every platform. Pure."""

from __future__ import annotations

import re

TEXT_READ = 1 << 14  # bytes of a script or command in which a loop is looked for
# A loop: its keyword in a place of a command, and all up to its end.
LOOP = (
    r"(?ims)(?:^(?:[ \t]*+@)?|[;&|{(]|\b(?:do|then|else)\b)[ \t]*"
    r"(?:(?:while|until|for|foreach|repeat|select)\b|do[ \t]*\{).*?(?:\bdone\b|\bend\b|^\}|\Z)"
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
    """What a shell's command or script repeats."""
    text = re.sub(r"(?im)^[ \t]*(#|@?rem\b|::).*", "", text[:TEXT_READ])
    loops = [match[0] for match in re.finditer(LOOP, text)]
    # In a batch file, what stands from a label down to a goto that leads back there.
    labels = {m[1].lower(): m.start() for m in re.finditer(r"(?m)^[ \t]*:[ \t]*([\w.-]+)", text)}
    jumps = re.finditer(r"(?i)\bgoto\b[ \t:]*([\w.-]+)", text)
    spans = [(labels.get(m[1].lower(), m.end()), m.end()) for m in jumps]
    back = [(start, end) for start, end in spans if start < end]
    if back:
        loops.append(text[min(back)[0] : back[-1][1]])
    return "\n".join(loops)


def repeats(loops: str, program: str) -> bool:
    """Whether a loop is about a program: it is named there, or comes in from outside.

    `program`: its file name; "" where that is not known.
    """
    name = re.sub(r"(?i)\.exe\Z", "", program)
    named = rf"(?i:(?<![\w.-]){re.escape(name)}(\.exe)?(?![\w.-]))" if name else r"\Z."
    return re.search(rf'{named}|"\$@"|\$\*|\$1|%\*|%~?1', loops) is not None
