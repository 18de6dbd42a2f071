"""What a shell (sh, bash, zsh) is told to run, where every word of it stands there as it is. Pure.

Read as those three read it alike, and so does fish, where it reads such a text at all. Whatever
would need more (an expansion, a substitution, a group, a keyword, a text that does not end) is not
read: the answer is then None.
"""

from __future__ import annotations

import re

from mm_preflight.records import NamedTuple


class Command(NamedTuple):
    """One command of a text."""

    words: list[str]
    written: list[str]  # the files that its output goes to
    doubtful: list[str]  # words that a file's name may take the place of, and be an option: `-*`


PIECE = re.compile(
    r"""
      (?P<blank>[ \t]+)
    | (?P<joined>\\\n)
    | (?P<end>\n|;|&&|\|\|?)
    | (?P<to_stream>[12]?>&[12](?=[ \t\n;&|]|\Z))
    | (?P<heredoc><<(?P<tabs>-?)[ \t]*(?P<quote>['"]?)(?P<mark>\w+)(?P=quote)(?=[ \t\n;&|>]))
    | (?P<from>(?:<<<|<(?![<>&(])))
    | (?P<to>(?:[12]|&)?>[>|]?(?![>&(|]))
    | (?P<single>'(?:[^']*[^'\\])?')  # fish reads \' as a quote within it
    | (?P<double>")
    | (?P<escaped>\\[^\n])
    | (?P<plain>(?:[\w./:=@%+,~^\#*?\[\]-]|[^\x00-\x7f])+)
    """,
    re.VERBOSE,
)
# Within double quotes; a dollar sign before a blank is one.
QUOTED = re.compile(r'[^"\\$`]+|\\[\s\S]|\$(?=[ \t\n"])')
ESCAPED = re.compile(r'\\([\\"$`])|\\\n')
# As Claude Code passes texts of many lines: "$(cat <<'EOF' …)".
CAT = re.compile(r"""\$\(cat <<-?[ \t]*(?P<quote>['"]?)(?P<mark>\w+)(?P=quote)[ \t]*\n""")
CLOSE = re.compile(r"[ \t\n]*\)")
GLOB = re.compile(r"[*?\[]")
EXPANDS = re.compile(r"[\\$`]")  # in a heredoc whose mark is not quoted


class NotLiteral(Exception):
    """The text is not, or not certainly, one whose words stand there as they are."""


def commands(text: str) -> list[Command] | None:
    """The commands of a text, or None where it is not certain what they are."""
    try:
        return _Reader(text).read()
    except NotLiteral:
        return None


class _Reader:
    """One pass over a text, from piece to piece."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.found: list[Command] = []
        self.command = Command([], [], [])
        self.word: str | None = None  # the word that is being read; None between words
        self.is_glob = False  # whether files' names may take its place
        self.place = ""  # what the next word is: "" an argument, "from" or "to" a file
        self.heredocs: list[re.Match[str]] = []  # whose texts begin on the next line

    def read(self) -> list[Command]:
        while self.at < len(self.text):
            if self.text[self.at] == "#" and self.word is None:  # a comment
                self.at = self._line_end()
            elif piece := PIECE.match(self.text, self.at):
                self.at = piece.end()
                self._take(str(piece.lastgroup), piece)
            else:
                raise NotLiteral
        self._end_command()
        if self.heredocs:
            raise NotLiteral
        return self.found

    def _take(self, kind: str, piece: re.Match[str]) -> None:
        if kind == "double":
            self._read_double()
        elif kind == "plain":
            self.is_glob = self.is_glob or bool(GLOB.search(piece[0]))
            self._add(piece[0])
        elif kind in ("single", "escaped"):
            self._add(piece[0][1:].removesuffix("'" * (kind == "single")), piece[0])
        elif kind != "joined":
            self._separate(kind, piece)

    def _separate(self, kind: str, piece: re.Match[str]) -> None:
        self._end_word()
        if kind in ("from", "to", "heredoc") and self.place:
            raise NotLiteral
        if kind in ("from", "to"):
            self.place = kind
        elif kind == "heredoc":
            self.heredocs.append(piece)
        elif kind == "end":
            self._end_command()
            if piece[0] == "\n":
                self._skip_heredocs()

    def _read_double(self) -> None:
        start, parts = self.at, []
        while not self.text.startswith('"', self.at):
            if piece := QUOTED.match(self.text, self.at):
                parts.append(ESCAPED.sub(lambda found: found[1] or "", piece[0]))
                self.at = piece.end()
            elif piece := CAT.match(self.text, self.at):
                self.at = piece.end()
                parts.append(self._heredoc(piece))
                if not (close := CLOSE.match(self.text, self.at)):
                    raise NotLiteral
                self.at = close.end()
            else:
                raise NotLiteral
        self._add("".join(parts), self.text[start : self.at])
        self.at += 1

    def _add(self, text: str, raw: str = "") -> None:
        if self.heredocs and "\n" in raw:
            raise NotLiteral  # shells differ in where the heredoc's text begins
        self.word = (self.word or "") + text

    def _end_word(self) -> None:
        if self.word is None:
            return
        if self.is_glob and self.place:
            raise NotLiteral  # a file that is not known by its name
        if self.is_glob and self.word[0] in "*?[-":
            self.command.doubtful.append(self.word)
        if self.place != "from":
            (self.command.written if self.place else self.command.words).append(self.word)
        self.word, self.place, self.is_glob = None, "", False

    def _end_command(self) -> None:
        self._end_word()
        if self.place or (self.command.written and not self.command.words):
            raise NotLiteral
        if self.command.words:
            self.found.append(self.command)
        self.command = Command([], [], [])

    def _skip_heredocs(self) -> None:
        for heredoc in self.heredocs:
            self._heredoc(heredoc)
        self.heredocs = []

    def _heredoc(self, heredoc: re.Match[str]) -> str:
        """The text of a heredoc that begins here: up to the first line that is its mark."""
        lines: list[str] = []
        while self.at < len(self.text):
            end = self._line_end()
            line, self.at = self.text[self.at : end], min(end + 1, len(self.text))
            if (line.lstrip("\t") if "<<-" in heredoc[0] else line) == heredoc["mark"]:
                text = "\n".join(lines)
                if not heredoc["quote"] and EXPANDS.search(text):
                    raise NotLiteral
                return text
            lines.append(line)
        raise NotLiteral

    def _line_end(self) -> int:
        end = self.text.find("\n", self.at)
        return len(self.text) if end < 0 else end
