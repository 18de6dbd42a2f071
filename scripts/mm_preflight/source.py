"""Which modules of memtomem a Python text imports: parsed, not searched. Pure."""

from __future__ import annotations

import re

from mm_preflight.records import TYPE_CHECKING

if TYPE_CHECKING:
    import ast

CODE_LIMIT = 1 << 16  # characters of Python that are parsed; the parser cannot be interrupted
MODULE = r"memtomem(?:\.\w+)*"


def imports(source: str | bytes) -> tuple[list[str], bool]:
    """The modules of memtomem that Python text imports or runs, and whether all of it was read."""
    named = b"memtomem" in source if isinstance(source, bytes) else "memtomem" in source
    if not named:
        return [], len(source) > 0
    import ast  # it takes 2 ms to import, and few texts name memtomem
    import warnings

    try:
        if len(source) > CODE_LIMIT:
            raise ValueError  # too long to parse in a blink
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the text, and go to the terminal
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # It may be for a newer Python than this one. Only its import statements can be read.
        text = source if isinstance(source, str) else source.decode("latin-1")
        lines = (re.split("[ \t.,]+", line.strip()) for line in re.split("[\r\n;:]", text))
        found = any(line[0] in ("import", "from") and "memtomem" in line for line in lines)
        return ["memtomem"] * found, False
    names = (name for node in ast.walk(tree) for name in _modules(node))
    return [name for name in names if re.fullmatch(MODULE, name)], True


def _modules(node: ast.AST) -> list[str]:
    """The modules that one node of a syntax tree imports or runs."""
    import ast

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
            served = (text.partition(":") for text in texts)
            return [module for module, colon, _ in served if colon and "." in module]
    return []


def chief(modules: list[str]) -> str:
    """Of several modules of memtomem's, the one that says what the whole is."""
    for part in ("cli", "server", "web"):
        for module in modules:
            if module.partition(".")[2].partition(".")[0] == part:
                return module
    return modules[0]
