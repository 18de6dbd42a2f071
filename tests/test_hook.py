"""The hook, in real shells, with stand-ins for `mm` and `mm-preflight` on PATH.

Each test is a script for one shell; what it prints is compared. `MM` and the arguments in brackets
come from the stand-in `mm`, which exits with 7 and copies its standard input. The stand-in
`mm-preflight` takes no argument and exits with VERDICT; test_hook_real.py has the real one.
"""

import os
import shutil
import subprocess
import sys

import pytest
from mm_preflight.cli import hook as hook_text
from support import SCRIPT, WINDOWS, is_wine, powershell_parses, write_program

MM = """#!/bin/sh
printf '%s' "${0##*/}"; for arg; do printf ' [%s]' "$arg"; done
echo "${MEMTOMEM_STORAGE__SQLITE_PATH:+ in $MEMTOMEM_STORAGE__SQLITE_PATH}"
[ -t 0 ] && echo terminal
[ "${STDIN:-}" ] && cat
exit 7
"""
CHECK = """#!/bin/sh
echo checked
[ $# = 0 ] && exit "${VERDICT:-0}"
"""
UV = """#!/bin/sh
echo uv
shift; exec "$@"
"""
LOAD = {
    "bash": 'eval "$(cat "$HOOK")"\n',
    "zsh": 'eval "$(cat "$HOOK")"\n',
    "fish": "cat $HOOK | source\n",
}
START = {
    "bash": ["bash", "--norc", "--noprofile"],
    "zsh": ["zsh", "-f"],
    "fish": ["fish", "--no-config"],
}
RESET = "mm embedding-reset --mode apply-current"


@pytest.fixture(params=LOAD)
def shell(request, tmp_path):
    """Run a script in a shell that has loaded the hook: exit status and what it printed."""
    name = request.param
    if WINDOWS:
        pytest.skip(f"{name} is no shell of Windows': in WSL, it is Linux's")
    if not shutil.which(name):
        # The job of CI that has the shells must not pass without them.
        (pytest.fail if os.environ.get("CI") and sys.platform == "linux" else pytest.skip)(
            f"{name} is not installed"
        )
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "other").mkdir()
    texts = {"mm": MM, "memtomem": MM, "micromamba": MM, "uv": UV, "mm-preflight": CHECK}
    for program, text in (texts | {"../other/mm": MM.replace("MM=", "")}).items():
        (programs / program).write_text(text)
        (programs / program).chmod(0o755)
    hook = tmp_path / "hook"
    hook.write_text(hook_text(name))

    def run(script, before="", load=LOAD[name], stdin="", options=(), **env):
        # From a file, which a shell reads line by line: an alias holds from the next line on.
        (tmp_path / "script").write_text(before + load + script + "\n")
        done = subprocess.run(
            [*START[name], *options, tmp_path / "script"],
            env={
                "PATH": f"{programs}:/usr/bin:/bin",
                "HOOK": str(hook),
                "HOME": str(tmp_path),
                "BIN": str(programs),
                **env,
            },
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.returncode, done.stdout, done.stderr

    run.name, run.folder = name, tmp_path
    return run


def test_printed_by_the_program(shell):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--hook", shell.name], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, hook_text(shell.name), "")


@pytest.mark.parametrize("verdict", ["1", "2", "130"])
@pytest.mark.parametrize(
    "command",
    [
        RESET,
        "mm embedding-reset --mode=apply-current",
        "mm embedding-reset --verbose --mode apply-current --yes",
        "mm --quiet embedding-reset --mode apply-current",
        "mm embedding-reset --mode status --mode apply-current",
        "memtomem embedding-reset --mode apply-current",
        # Two words on the line are enough. To ask once too often does no harm.
        "mm embedding-reset --mode apply-current --help",
        "mm embedding-reset -h --mode apply-current",
        "mm search embedding-reset apply-current",
    ],
)
def test_refused_reset_never_starts(shell, command, verdict):
    assert shell(command, VERDICT=verdict) == (int(verdict), "", "checked\n")


def test_clear_reset_runs(shell):
    printed = "mm [embedding-reset] [--mode] [apply-current]\n"
    assert shell(RESET) == (7, printed, "checked\n")


@pytest.mark.parametrize(
    "command",
    [
        "mm",
        "mm web --port 18080",
        "mm embedding-reset",
        "mm embedding-reset --mode status",
        "mm embedding-reset --mode revert-to-stored",
        "mm embedding-reset --help",
        "mm search --mode=apply-current",
        "mm index apply-current",
        "memtomem shell",
    ],
)
def test_all_else_goes_through_unchecked(shell, command):
    program, *args = command.split()
    printed = " ".join([program, *(f"[{arg}]" for arg in args)]) + "\n"
    assert shell(command, VERDICT="1") == (7, printed, "")


def test_arguments_stay_as_given(shell):
    command = "mm add 'a  b' '' '*' 'x\"y' '$HOME' '--' '-n' '\\t'"
    printed = 'mm [add] [a  b] [] [*] [x"y] [$HOME] [--] [-n] [\\t]\n'
    assert shell(command) == (7, printed, "")


def test_standard_input_reaches_the_program(shell):
    status, out, _ = shell(RESET, stdin="y\n", STDIN="1")
    assert (status, out.splitlines()[-1]) == (7, "y")


def test_the_terminal_reaches_the_program(shell, tmp_path):
    """On a terminal, `mm` has that terminal for its standard input."""
    script = shutil.which("script")
    if not script or sys.platform != "linux":
        pytest.skip("needs util-linux's script to make a terminal")
    hook, programs = tmp_path / "hook", tmp_path / "bin"
    file = tmp_path / "commands"
    file.write_text(f"{LOAD[shell.name]}mm web\n")
    command = " ".join([*START[shell.name], str(file)])
    done = subprocess.run(
        [script, "-qec", command, "/dev/null"],
        env={"PATH": f"{programs}:/usr/bin:/bin", "HOOK": str(hook), "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "terminal" in done.stdout


def test_past_it_with_command(shell):
    assert shell(f"command {RESET}", VERDICT="1")[:2] == (
        7,
        "mm [embedding-reset] [--mode] [apply-current]\n",
    )


def test_without_the_check_the_reset_is_refused(shell):
    drop = "command rm -f $BIN/mm-preflight\n"
    status, out, err = shell(drop + RESET)
    assert (status, out) == (2, "")
    assert "mm-preflight is not on PATH" in err
    assert "install it again" in err
    assert shell(drop + "mm web") == (7, "mm [web]\n", "")


def test_loaded_twice(shell):
    assert shell(RESET, load=LOAD[shell.name] * 2, VERDICT="1") == (1, "", "checked\n")


ALIASES = "shopt -s expand_aliases"  # which bash has only where a person types
WORK = "MEMTOMEM_STORAGE__SQLITE_PATH=work.db"
# What mm is before the hook is loaded: in bash and zsh; in fish; what runs `mm web` then; and
# whether bash and zsh ask before a reset (fish always does: there, an alias is a function).
OWN = {
    "alias-variable": (f"alias mm='{WORK} mm'", None, "mm [web] in work.db", True),
    "alias-path": ("alias mm=$HOME/other/mm", None, "mm [web]", True),
    "alias-late-path": ("alias mm='$HOME/other/mm'", None, "mm [web]", True),
    "alias-tilde": ("alias mm='~/other/mm'", None, "mm [web]", True),
    "alias-runner": ("alias mm='uv run mm'", None, "uv\nmm [web]", True),
    "alias-all": (
        f"alias mm='A=\"x y\" {WORK} uv run mm'",
        f"alias mm='A=\"x y\" {WORK} uv run mm'",
        "uv\nmm [web] in work.db",
        True,
    ),
    "alias-memtomem": ("alias mm=memtomem", None, "memtomem [web]", True),
    "alias-other-program": ("alias mm=micromamba", None, "micromamba [web]", False),
    "function-variable": (
        f'mm() {{ {WORK} command mm "$@"; }}',
        f"function mm; {WORK} command mm $argv; end",
        "mm [web] in work.db",
        True,
    ),
    "function-other-program": (
        'function mm { micromamba "$@"; }',
        "function mm; micromamba $argv; end",
        "micromamba [web]",
        True,
    ),
    "function-and-alias": (
        f"mm() {{ {WORK} command mm \"$@\"; }}\nalias mm='A=1 mm'",
        f"function mm; {WORK} command mm $argv; end",
        "mm [web] in work.db",
        True,
    ),
    "nothing": ("true", None, "mm [web]", True),
}


def own(shell, name):
    """What a start-up file has above the hook's line, and whether a reset is asked for then."""
    posix, fish, printed, asked = OWN[name]
    if shell.name == "fish":
        return f"{fish or posix}\n", printed, True
    return f"{ALIASES * (shell.name == 'bash')}\n{posix}\n", printed, asked


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("name", OWN)
def test_what_mm_was_stays_what_it_was(shell, name, times):
    """The same program, with the same database, loaded once or twice."""
    before, printed, _ = own(shell, name)
    if (shell.name, name) != ("fish", "alias-variable"):  # fish refuses that, for it calls itself
        assert shell("mm web", before, load="") == (7, f"{printed}\n", "")
    assert shell("mm web", before, load=LOAD[shell.name] * times) == (7, f"{printed}\n", "")


@pytest.mark.parametrize("verdict", ["0", "1", "2"])
@pytest.mark.parametrize("name", OWN)
def test_a_reset_of_ones_own_mm(shell, name, verdict):
    """It is asked for, and changes no other database."""
    before, printed, asked = own(shell, name)
    status, out, err = shell(RESET, before, VERDICT=verdict)
    ran = printed.replace("[web]", "[embedding-reset] [--mode] [apply-current]") + "\n"
    if not asked:
        assert (status, out, err) == (7, ran, "")
    elif verdict == "0":  # by an alias of fish for memtomem, that asks too
        assert (status, out, {*err.splitlines()}) == (7, ran, {"checked"})
    else:
        assert (status, out, err) == (int(verdict), "", "checked\n")


@pytest.mark.parametrize("name", ["function", "program"])
@pytest.mark.parametrize("again", [0, 1, 2])
def test_a_reset_is_followed_by_a_check(shell, name, again):
    """What started meanwhile is named then, and the exit status says it."""
    programs = shell.folder / "bin"
    first = f'[ -e "$HOME/ran" ] && exit {again}; touch "$HOME/ran"\n'
    (programs / "mm-preflight").write_text(f'#!/bin/sh\necho "checked $#"\n{first}')
    (programs / "mm").write_text("#!/bin/sh\necho ran\n")
    before = "mm() { echo ran; }\n" if name == "function" else ""
    if before and shell.name == "fish":
        before = "function mm; echo ran; end\n"
    said = "the reset had run before this check; once it says clear, reset again"
    err = "checked 0\nchecked 0\n" + f"mm-preflight: {said}\n" * bool(again)
    assert shell(RESET, before) == (again, "ran\n", err)


@pytest.mark.parametrize(
    "alias, said",
    [
        ("cd / && mm", True),
        ('"$HOME/other/mm"', True),
        ("unknown-runner mm", True),
        ("command mm", True),
        ("mm --verbose", False),
        ("uv run mm", False),
        ("micromamba", False),
        ("micromamba run -n x y", False),
        ("it's", False),
    ],
)
def test_an_alias_that_goes_past_is_named_once_where_a_person_types(shell, alias, said):
    if shell.name == "fish":
        pytest.skip("in fish an alias is a function, and none goes past")
    quoted = alias.replace("'", "'\\''")
    before = f"{ALIASES * (shell.name == 'bash')}\nalias mm='{quoted}'\n"
    assert shell("alias mm", before)[2] == ""
    err = shell("alias mm", before, options=["-i"])[2]
    line = "mm-preflight: your alias mm may go past the check; run mm-preflight before you reset\n"
    assert (line in err) == said, err
    assert err.count("mm-preflight:") == said, err


def test_an_abbreviation_that_goes_past_is_named(shell):
    if shell.name != "fish":
        pytest.skip("only fish has abbreviations")
    script = "abbr --show"
    for expansion, said in [("uv run mm", True), ("micromamba", False)]:
        err = shell(script, f"abbr -a mm '{expansion}'\n", options=["-i"])[2]
        assert err.count("your abbreviation mm may go past the check") == said


@pytest.mark.parametrize("blank, said", [("sudo ", True), ("sudo\t", True), ("sudo", False)])
def test_an_alias_that_another_runs(shell, blank, said):
    """Behind an alias that ends in a blank, an alias is put in, too: sudo would run the hook."""
    if shell.name == "fish":
        pytest.skip("in fish an alias is a function")
    (shell.folder / "bin" / "sudo").write_text('#!/bin/sh\necho sudo\n"$@"\n')
    (shell.folder / "bin" / "sudo").chmod(0o755)
    before = f"{ALIASES * (shell.name == 'bash')}\nalias sudo='{blank}' mm='uv run mm'\n"
    assert shell("sudo mm web", before) == shell("sudo mm web", before, load="")
    err = shell("true", before, options=["-i"])[2]
    assert err.count("your alias mm may go past the check") == said


COMPLETED = """autoload -Uz compinit; compinit -u -D
_mm() { compadd web; }; compdef _mm mm
alias mm='uv run mm'
"""


def test_what_is_put_in_front_is_completed(shell):
    """As what stands behind it is."""
    if shell.name != "zsh":
        pytest.skip("only zsh completes what an alias leads to")
    assert shell("print $_comps[__mm_preflight]", COMPLETED) == (0, "_precommand\n", "")


NOT_COPIED = {
    "bash": "shopt -s extglob\nmm() { echo own; case x in @(y|z));; esac; }\nshopt -u extglob\n",
    # as before zsh 5.8
    "zsh": "mm() { echo own; }\nfunctions() { echo bad option: -c >&2; return 1; }\n",
}


@pytest.mark.parametrize("times", [1, 2])
def test_a_function_that_cannot_be_copied_is_left_alone(shell, times):
    if shell.name not in NOT_COPIED:
        pytest.skip("fish copies each")
    before, load = NOT_COPIED[shell.name], LOAD[shell.name] * times
    assert shell("mm web", before, load=load) == (0, "own\n", "")
    err = shell("mm web", before, load=load, options=["-i"])[2]
    assert err.count("your function mm may go past the check") == times


def test_the_aliases_of_a_function_are_those_it_was_written_with(shell):
    """It is copied as it is, and not read again."""
    if shell.name == "fish":
        pytest.skip("fish has no such aliases")
    before = f"{ALIASES * (shell.name == 'bash')}\nmm() {{ echo once; }}\nalias echo='echo twice'\n"
    assert shell("mm web", before) == (0, "once\n", "")
    if shell.name == "bash":  # aliases are as they were
        assert shell("shopt expand_aliases", before)[1].split() == ["expand_aliases", "on"]
        assert shell("shopt expand_aliases", "mm() { :; }\n")[1].split()[1] == "off"


def test_a_function_that_calls_itself(shell):
    """It is its own second call, not the program's."""
    before = f"""mm() {{
      if [ "$1" = twice ]; then shift; mm "$@"; mm "$@"; else {WORK} command mm "$@"; fi
    }}\n"""
    if shell.name == "fish":
        before = f"""function mm
          if test $argv[1] = twice; mm $argv[2..]; mm $argv[2..]; else; {WORK} command mm $argv; end
        end\n"""
    assert shell("mm twice web", before) == (7, "mm [web] in work.db\n" * 2, "")
    status, out, _ = shell(RESET.replace("mm", "mm twice", 1), before)
    reset = "mm [embedding-reset] [--mode] [apply-current] in work.db\n"
    assert (status, out) == (7, reset * 2)
    assert shell(RESET.replace("mm", "mm twice", 1), before, VERDICT="1")[:2] == (1, "")


@pytest.mark.parametrize("name", ["$0", "${FUNCNAME[0]:-$0}", "(status current-function)"])
def test_a_function_that_needs_its_name_is_left_alone(shell, name):
    if (shell.name == "fish") != name.startswith("("):
        pytest.skip(f"{shell.name} has no {name}")
    before = f"mm() {{ echo {name}; }}\n"
    if shell.name == "fish":
        before = f"function mm; echo {name}; end\n"
    assert shell("mm web", before) == shell("mm web", before, load="")
    said = "your function mm may go past the check"
    assert shell("mm web", before, options=["-i"])[2].count(said) == 1


def test_a_function_that_other_shells_are_given(shell):
    if shell.name != "bash":
        pytest.skip("only bash gives functions to other shells")
    before = f'mm() {{ {WORK} command mm "$@"; }}\nexport -f mm\n'
    assert shell("bash -c 'mm web'", before) == (7, "mm [web] in work.db\n", "")
    assert shell(f"bash -c '{RESET}'", before, VERDICT="1") == (1, "", "checked\n")


def test_aliases_of_what_the_hook_uses(shell):
    if shell.name == "fish":
        pytest.skip("fish has no such aliases")
    names = "alias printf sed" + " declare" * (shell.name == "bash")
    before = f"{ALIASES * (shell.name == 'bash')}\nalias mm='uv run mm'\n"
    before += "".join(f"\\alias {name}='echo {name}'\n" for name in names.split())
    assert shell(RESET, before, VERDICT="1") == (1, "", "checked\n")


def test_a_function_that_is_loaded_when_it_is_called(shell):
    """zsh and fish read such a function from a file."""
    if shell.name == "bash":
        pytest.skip("bash has none")
    folder = shell.folder / "functions"
    folder.mkdir()
    if shell.name == "zsh":
        (folder / "mm").write_text(f'{WORK} command mm "$@"\n')
        before = f"fpath=({folder} $fpath)\nautoload -Uz mm\n"
    else:
        (folder / "mm.fish").write_text(f"function mm; {WORK} command mm $argv; end\n")
        before = f"set -p fish_function_path {folder}\n"
    assert shell("mm web", before) == (7, "mm [web] in work.db\n", "")
    status, out, err = shell(RESET, before, VERDICT="1")
    assert (status, out, err) == (1, "", "checked\n")


def test_function_called_mm_preflight(shell):
    """The program is asked, not a function of its name, which may call mm again."""
    before = "function mm-preflight { mm web; }\n"
    if shell.name == "fish":
        before = "function mm-preflight; mm web; end\n"
    assert shell(RESET, before=before, VERDICT="1") == (1, "", "checked\n")


@pytest.mark.parametrize("ifs", ["-", "e", "", "a\tb"])
def test_words_are_known_whatever_joins_them(shell, ifs):
    """In bash and zsh, the user's IFS stands between the words of a line."""
    before = "" if shell.name == "fish" else f"IFS='{ifs}'\n"
    assert shell(RESET, before=before, VERDICT="1") == (1, "", "checked\n")
    assert shell("mm web -b", before=before) == (7, "mm [web] [-b]\n", "")


def test_read_only_variables(shell):
    """Whatever the user has made read-only, the hook needs none of it."""
    if shell.name == "fish":
        pytest.skip("fish has no read-only variables of a user's")
    names = "arg args command program reset line words name first more IFS reply status_"
    before = "".join(f"readonly {name}=x\n" for name in names.split())
    assert shell(RESET, before=before, VERDICT="1") == (1, "", "checked\n")
    assert shell("mm web", before=before) == (7, "mm [web]\n", "")


def test_strict_shells(shell):
    """With `set -eu`, nothing of the hook is unset, and a refusal ends the script as usual."""
    if shell.name == "fish":  # which has no such setting
        script, before = f"mm web; or echo $status\n{RESET}; or exit $status\necho after\n", ""
    else:
        script, before = f"mm web || echo $?\n{RESET}\necho after\n", "set -eu\n"
    assert shell(script, before, VERDICT="1") == (1, "mm [web]\n7\n", "checked\n")


def test_nothing_else_is_defined(shell):
    """Functions `mm` and `memtomem`, and those they call; no variable."""
    names = {
        "bash": "compgen -v; compgen -A function",
        "zsh": "print -l ${(k)parameters} ${(k)functions}",
        "fish": "set --names; functions --all --names",
    }[shell.name]
    run = "mm web >/dev/null\n"
    before = set(shell(names, load="")[1].split())
    after = set(shell(f"{run}{names}\n")[1].split())
    assert {"mm", "memtomem"} <= after - before
    # `_`, PIPESTATUS and the like are the shells' own
    added = {name for name in after - before if name.islower() and name != "_"}
    assert {"mm", "memtomem"} == {name for name in added if not name.startswith("__mm_preflight")}
    assert not any(
        "own" in name or name.endswith(("function", "alias", "keep", "say")) for name in added
    )


@pytest.mark.parametrize("name", ["mm.sh", "mm.fish", "mm.ps1"])
def test_a_hook_is_short(name):
    """It can be read before it is loaded."""
    lines = (SCRIPT / "hooks" / name).read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line and not line.startswith("#")]) <= 71


@pytest.mark.parametrize(
    "command",
    [
        ["shellcheck", "mm.sh"],
        ["sh", "-n", "mm.sh"],
        ["bash", "-n", "mm.sh"],
        ["zsh", "-n", "mm.sh"],
        ["fish", "--no-execute", "mm.fish"],
    ],
    ids="/".join,
)
def test_lint(command):
    if WINDOWS and command[0] != "shellcheck":
        pytest.skip(f"{command[0]} is no shell of Windows'")
    if not shutil.which(command[0]):
        (pytest.fail if os.environ.get("CI") and sys.platform == "linux" else pytest.skip)(
            f"{command[0]} is not installed"
        )
    done = subprocess.run(
        [*command[:-1], SCRIPT / "hooks" / command[-1]], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---- PowerShell ---------------------------------------------------------------------------------

# As pip installs them: .exe on Windows.
POWERSHELL_MM = """
import os, sys
name = os.path.basename(sys.argv[0]).removesuffix(".exe")
print(name, *(f"[{arg}]" for arg in sys.argv[1:]), flush=True)
if os.environ.get("STDIN"):
    print(sys.stdin.read().strip())
sys.exit(7)
"""
POWERSHELL_CHECK = """
import os, sys
print("checked", flush=True)
assert not sys.argv[1:]
sys.exit(int(os.environ["VERDICT"]))
"""
RAN = "checked\nmm [embedding-reset] [--mode] [apply-current]\n"
# VERDICT, a command, the exit status, and what is printed.
POWERSHELL = {
    "goes-through": ("1", "mm add 'a  b' --port 1", 7, "mm [add] [a  b] [--port] [1]\n"),
    "reset": ("0", RESET, 7, RAN),
    "refused": ("1", RESET, 1, "checked\n"),
    "unknown": ("2", RESET, 2, "checked\n"),
    "memtomem": ("0", RESET.replace("mm", "memtomem", 1), 7, RAN.replace("mm", "memtomem", 1)),
    "memtomem-refused": ("1", RESET.replace("mm", "memtomem", 1), 1, "checked\n"),
    "standard-input": ("0", f"'y' | {RESET}", 7, f"{RAN}y\n"),
    "no-check": ("0", f"$env:PATH = ''\n{RESET}", 2, ""),
}


def powershell_script(command: str) -> str:
    """The hook, loaded twice, a command, and its exit status in words: a crash has one, too."""
    return f'{hook_text("powershell") * 2}{command}\n"last $LASTEXITCODE"\nexit $LASTEXITCODE\n'


@pytest.fixture
def with_stand_ins(tmp_path):
    """An environment whose PATH begins with stand-ins that no shell has to read."""
    for name in ("mm", "memtomem"):
        write_program(tmp_path, name, POWERSHELL_MM)
    write_program(tmp_path, "mm-preflight", POWERSHELL_CHECK)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"

    def with_stand_ins(verdict: str, stdin: bool) -> dict[str, str]:
        env = {"PATH": path, "VERDICT": verdict, "STDIN": "1" * stdin, "TERM": "dumb"}
        return os.environ | env

    return with_stand_ins


@pytest.mark.parametrize("name", POWERSHELL)
def test_powershell_parses(name):
    assert powershell_parses(powershell_script(POWERSHELL[name][1]))
    assert not powershell_parses("function mm { if (")


def test_powershell_stand_ins(with_stand_ins):
    """They do as is told above, also where no PowerShell calls them."""
    for verdict in (0, 1):
        env = with_stand_ins(str(verdict), stdin=True)
        for line, status, printed in [
            ("mm-preflight", verdict, "checked\n"),
            (RESET, 7, RAN.removeprefix("checked\n") + "y\n"),
        ]:
            name, *args = line.split()
            argv = [shutil.which(name, path=env["PATH"]), *args]
            done = subprocess.run(argv, env=env, input="y\n", capture_output=True, text=True)
            assert (done.returncode, done.stdout) == (status, printed)


@pytest.mark.parametrize("case", POWERSHELL)
@pytest.mark.parametrize("name", ["powershell", "pwsh"])
def test_powershell(with_stand_ins, name, case):
    """Run where PowerShell is installed: 5.1 and 7, as in CI on Windows."""
    program = shutil.which(name)
    if not program or is_wine():  # which has an empty program of that name
        must = os.environ.get("CI") and WINDOWS and not is_wine()
        (pytest.fail if must else pytest.skip)(f"{name} is not installed: its hook was NOT run")
    verdict, command, status, printed = POWERSHELL[case]
    done = subprocess.run(
        [program, "-NoProfile", "-NonInteractive", "-Command", powershell_script(command)],
        env=with_stand_ins(verdict, stdin=case == "standard-input"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (status, f"{printed}last {status}\n")
    assert ("mm-preflight is not on PATH" in done.stderr) == (case == "no-check")
