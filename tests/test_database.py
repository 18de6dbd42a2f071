"""Which file is memtomem's database: as the real memtomem finds it, over a table."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from mm_preflight import files
from mm_preflight.database import database_path, find_database, plain, sudo_user
from mm_preflight.records import Unknown
from real import real
from support import not_on_windows

__all__ = ["real"]  # the fixture

DEFAULT = "~/.memtomem/memtomem.db"


def storage(path: object, **more: object) -> str:
    return json.dumps({"storage": {"sqlite_path": path, **more}})


# (environment, {file below ~/.memtomem: text or bytes}); a tuple of pairs keeps the order.
TAKEN: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "nothing": ({}, {}),
    "field": ({"MEMTOMEM_STORAGE__SQLITE_PATH": "/a.db"}, {}),
    "field-home": ({"MEMTOMEM_STORAGE__SQLITE_PATH": "~/a.db"}, {}),
    "field-lower-case": ({"memtomem_storage__sqlite_path": "/a.db"}, {}),
    "field-twice": (
        {"MEMTOMEM_STORAGE__SQLITE_PATH": "/a.db", "memtomem_storage__sqlite_path": "/b.db"},
        {},
    ),
    "section": ({"MEMTOMEM_STORAGE": '{"sqlite_path": "/a.db"}'}, {}),
    "section-lower-case": ({"memtomem_storage": '{"sqlite_path": "/a.db"}'}, {}),
    "section-key-upper-case": ({"MEMTOMEM_STORAGE": '{"SQLITE_PATH": "/a.db"}'}, {}),
    "section-key-twice": ({"MEMTOMEM_STORAGE": '{"sqlite_path": "/a", "SQLITE_PATH": "/b"}'}, {}),
    "section-twice": (
        {"MEMTOMEM_STORAGE": '{"sqlite_path": "/a.db"}', "memtomem_storage": "{}"},
        {},
    ),
    "section-null": ({"MEMTOMEM_STORAGE": "null"}, {"config.json": storage("/c.db")}),
    "section-empty": ({"MEMTOMEM_STORAGE": "{}"}, {"config.json": storage("/c.db")}),
    "section-other": (
        {"MEMTOMEM_STORAGE": '{"backend": "sqlite"}'},
        {"config.json": storage("/c.db")},
    ),
    "section-before-config": (
        {"MEMTOMEM_STORAGE": '{"sqlite_path": "/a.db"}'},
        {"config.json": storage("/c.db"), "config.d/1.json": storage("/d.db")},
    ),
    "field-before-section": (
        {
            "MEMTOMEM_STORAGE": '{"sqlite_path": "/a.db"}',
            "MEMTOMEM_STORAGE__SQLITE_PATH": "/b.db",
        },
        {"config.json": storage("/c.db")},
    ),
    "other-section": ({"MEMTOMEM_EMBEDDING": '{"model": "x"}'}, {"config.json": storage("/c.db")}),
    "config": ({}, {"config.json": storage("/c.db")}),
    "config-home": ({}, {"config.json": storage("~/c.db")}),
    "config-key-upper-case": ({}, {"config.json": json.dumps({"storage": {"SQLITE_PATH": "/c"}})}),
    "config-twice": (
        {},
        {"config.json": '{"storage": {"sqlite_path": "/a", "sqlite_path": "/b"}}'},
    ),
    "config-nan": ({}, {"config.json": '{"x": NaN, "storage": {"sqlite_path": "/c.db"}}'}),
    "config-not-ascii": ({}, {"config.json": storage("/ä/日本.db")}),
    "config-other-keys": ({}, {"config.json": storage("/c.db", unknown=5)}),
    "config-without-storage": ({}, {"config.json": '{"search": {}}'}),
    "fragment": ({}, {"config.d/1.json": storage("/d.db")}),
    "fragments": (
        {},
        {"config.d/1.json": storage("/1.db"), "config.d/2.json": storage("/2.db")},
    ),
    "fragment-of-another-ending": ({}, {"config.d/1.json.bak": storage("/d.db")}),
    "config-before-fragment": (
        {},
        {"config.json": storage("/c.db"), "config.d/1.json": storage("/d.db")},
    ),
    "config-of-another-section-before-fragment": (
        {},
        {"config.json": '{"search": {}}', "config.d/1.json": storage("/d.db")},
    ),
}
# memtomem warns and goes on with its defaults, or does not start: the answer is unknown.
NOT_TAKEN: dict[str, tuple[dict[str, str], dict[str, str | bytes]]] = {
    "bom": ({}, {"config.json": "\ufeff" + storage("/c.db")}),
    "utf-16": ({}, {"config.json": storage("/c.db").encode("utf-16")}),
    "latin-1": ({}, {"config.json": '{"storage": {"sqlite_path": "/ä"}}'.encode("latin-1")}),
    "no-json": ({}, {"config.json": "storage: /c.db"}),
    "empty": ({}, {"config.json": ""}),
    "null": ({}, {"config.json": "null"}),
    "list": ({}, {"config.json": "[]"}),
    "storage-list": ({}, {"config.json": '{"storage": []}'}),
    "path-number": ({}, {"config.json": storage(5)}),
    "path-null": ({}, {"config.json": storage(None)}),
    "other-setting-number": ({}, {"config.json": storage("/c.db", backend=5)}),
    "fragment-bom": ({}, {"config.d/1.json": "\ufeff" + storage("/d.db")}),
    "fragment-no-json": ({}, {"config.d/1.json": "{"}),
    "section-empty-text": ({"MEMTOMEM_STORAGE": ""}, {}),
    "section-no-json": ({"MEMTOMEM_STORAGE": "{"}, {}),
    "section-list": ({"MEMTOMEM_STORAGE": "[]"}, {}),
    "section-path-number": ({"MEMTOMEM_STORAGE": '{"sqlite_path": 5}'}, {}),
}

# Asks memtomem for every row at once, because importing it takes longer than all the rows.
ASK = """
import json, os, sys
from memtomem.config import Mem2MemConfig, load_config_d, load_config_overrides
base = dict(os.environ)
answers = {}
for name, home, env in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(base)
    os.environ.update({"HOME": home, "USERPROFILE": home})
    for variable, value in env.items():
        os.environ[variable] = value
    try:
        config = Mem2MemConfig()
        load_config_d(config, quiet=True)
        load_config_overrides(config, migrate=False)
        answers[name] = str(config.storage.sqlite_path)
    except Exception as error:
        answers[name] = None
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """A home folder for each row."""
    homes = {}
    for name, (_, texts) in (TAKEN | NOT_TAKEN).items():
        homes[name] = tmp_path_factory.mktemp("home")
        for file, text in texts.items():
            path = homes[name] / ".memtomem" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return homes


@pytest.fixture(scope="module")
def answers(real, homes):
    """What the real memtomem says to each row: a path, or None if it does not start."""
    asked = [(name, str(homes[name]), env) for name, (env, _) in (TAKEN | NOT_TAKEN).items()]
    env = {name: value for name, value in os.environ.items() if "memtomem" not in name.lower()}
    done = subprocess.run(
        [real.python, "-c", ASK], input=json.dumps(asked), env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def configured(homes, monkeypatch):
    """Give this process the environment of a row."""

    def configured(name: str, env: dict[str, str]) -> None:
        for variable in list(os.environ):
            if variable.lower().startswith("memtomem_"):
                monkeypatch.delenv(variable)
        monkeypatch.setenv("HOME", str(homes[name]))
        monkeypatch.setenv("USERPROFILE", str(homes[name]))
        monkeypatch.delenv("SUDO_UID", raising=False)
        for variable, value in env.items():
            monkeypatch.setenv(variable, value)

    return configured


@pytest.mark.parametrize("name", TAKEN)
def test_database_is_where_memtomem_has_it(name, configured, answers):
    configured(name, TAKEN[name][0])
    found, expected = (Path(os.path.expanduser(path)) for path in (database_path(), answers[name]))
    assert found == expected


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_what_memtomem_does_not_take_is_unknown(name, configured, answers):
    """It does not start, or goes on as if the setting were not there."""
    configured(name, NOT_TAKEN[name][0])
    assert answers[name] is None or Path(answers[name]) == Path(DEFAULT)
    with pytest.raises(Unknown, match="--db"):
        database_path()


@pytest.mark.parametrize(
    "command, expected",
    [("/usr/bin/mm-preflight", True), ("/bin/bash", False), ("/usr/bin/su", False), ("", True)],
)
def test_sudo_means_its_caller_but_not_in_a_root_shell(monkeypatch, command, expected):
    """`sudo -i` gives root's home, and memtomem goes by the home."""
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_COMMAND", command)
    assert (sudo_user() == 65534) is expected


@pytest.mark.parametrize(
    "path, expected",
    [
        (r"\\?\C:\a\memtomem.db", r"C:\a\memtomem.db"),
        (r"\\?\unc\host\a\memtomem.db", r"\\host\a\memtomem.db"),
        (r"\\?\Volume{1-2}\memtomem.db", r"\\?\Volume{1-2}\memtomem.db"),
        (r"\\host\a\memtomem.db", r"\\host\a\memtomem.db"),
        ("/home/ana/memtomem.db", "/home/ana/memtomem.db"),
    ],
)
def test_prefix_of_long_paths(path, expected):
    assert plain(path) == expected


@not_on_windows("follows a link another way")
def test_database_behind_a_link_and_two_dots(tmp_path):
    """The system follows the link first, and goes up from where that leads."""
    (tmp_path / "far" / "below").mkdir(parents=True)
    (tmp_path / "far" / "x.db").touch()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "below")
    found = find_database(str(tmp_path / "link" / ".." / "x.db"))
    assert str(tmp_path / "far" / "x.db") in found.paths
    assert found.ids


@pytest.mark.parametrize(
    "content, taken",
    [
        (b"", True),  # as SQLite makes one
        (b"SQLite format 3\0" + b"\0" * 84, True),
        (b"SQLite format 3", False),
        (b"root:x:0:0:root:/root:/bin/bash\n", False),
        (b"\xef\xbb\xbfSQLite format 3\0", False),
    ],
    ids=["empty", "sqlite", "cut", "text", "bom"],
)
def test_any_file_is_not_a_database(tmp_path, content, taken):
    """https://www.sqlite.org/fileformat.html#magic_header_string"""
    path = tmp_path / "x.db"
    path.write_bytes(content)
    if taken:
        assert find_database(str(path)).path == str(path)
    else:
        with pytest.raises(Unknown, match="is not a database file"):
            find_database(str(path))


@not_on_windows("keeps the folder of a process")
def test_folder_that_was_deleted(tmp_path, monkeypatch):
    """A path from the root needs none: it is no reason to answer nothing."""
    (tmp_path / "x.db").touch()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert find_database(str(tmp_path / "x.db")).path == str(tmp_path / "x.db")
    with pytest.raises(Unknown, match="cannot be looked at"):
        find_database("x.db")


def test_home_that_does_not_answer_is_named(tmp_path, monkeypatch):
    """Before the folder of its configuration is listed, it is told what is touched."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    told, listed = [""], []
    monkeypatch.setattr(files._Watch, "note", staticmethod(lambda who, path: told.append(path)))
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(told[-1]) or [])
    find_database(None)
    assert [os.path.basename(each) for each in listed] == ["config.d"]
