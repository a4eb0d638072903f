"""What is advised and printed can be pasted: through a real shell, and through Hydra, the same text comes out."""

import os
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from augrad.cli.quoting import command_line, hydra_quoted, no_names, notes, override, understood
from augrad.cli.resume import resolve_resume
from augrad.cli.run_directory import StoppedRun
from augrad.errors import UserError

NAMES = [
    "plain", "données", "a=b", "data (1)", "100%,new", "a b", " a ", "it's", 'say "so"', "[x]", "x[/y].json", "{a: b}",
    "~", "~/p.json", "~nobody-of-that-name", "$HOME/x", "${seed}", "a\\b", "a\\", "\\${x}", "null", "true", "007",
    "1_000", "1e3",
    "a:b", "a#b", "a;b&c|d<e>f", "*?", "`id`", "$(id)", "!x", "caf\udce9", "日本", "a\tb", "a\nb", "\x1b[31m", "-x",
]  # fmt: skip


def read(text: str):
    """The value of an override as a run finds it in its configuration."""
    parsed = OverridesParser.create().parse_override(text)
    config = OmegaConf.create({"key": None})
    OmegaConf.update(config, "key", parsed.value())
    return config.key


def words(line: str, shell: str = "sh") -> list[str]:
    """What a shell makes of a line."""
    done = subprocess.run([shell, "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


@given(st.text("ab$\\{}'\"~[](),= :.é\udce9#%\n\t!`", max_size=12))
@example("a${b}c\\${d}\\")
def test_any_text_comes_through_hydra(text: str):
    assert read(f"key={hydra_quoted(text)}") == text
    assert read(override("key", text)) == text


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_line_comes_through_a_shell(shell: str):
    assert words(command_line(*NAMES), shell) == NAMES


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_line_can_be_written_where_it_is_printed(encoding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with open(tmp_path / "stream", "w", encoding=encoding) as stream:
        monkeypatch.setattr("sys.stderr", stream)
        line = command_line(*NAMES)
    assert line.encode(encoding)
    assert "\x1b" not in line
    assert words(line) == NAMES


def test_the_line_to_go_on_with_can_be_pasted():
    """Whatever the directory is called: through the shell, and as `resume=` is read."""
    lines = [str(StoppedRun("search", Path(name), 3)).partition("go on with: ")[2] for name in NAMES]
    pasted = words(" END ".join(lines))
    assert " ".join(pasted).count("augrad search resume=") == len(NAMES)
    values = [word for word in pasted if word.startswith("resume=")]
    assert [read(value) for value in values] == [str(Path(name)) for name in NAMES]


REFUSED = ["données", "a=b", "data (1)", "it's", 'say "so"', "x[/y].json", "a#b", "a;b&c|d<e>f", "`id`", "$(id)", "!x",
           "caf\udce9", "日本", "\x1b[31m", "a=${b}'", "~/data (1)"]  # fmt: skip


def advice(given: str) -> str:
    with pytest.raises(UserError) as refused:
        understood(given)
    line, _, _ = str(refused.value).partition("quote it: ")[2].rpartition("\n(")
    return line


def test_the_advice_works_when_it_is_pasted():
    keys = "data.root", "policy.file", "tracker.name", "+x.y"
    lines = [advice(f"{key}={name}") for key in keys for name in REFUSED]
    pasted = words(" ".join(lines))
    assert pasted == [understood(override) for override in pasted]
    assert [read(value) for value in pasted] == REFUSED * len(keys)


def test_the_advice_for_a_list_quotes_its_items():
    line = advice("policies=[none,données.json, x[/y].json ,'quoted',a b]")
    (pasted,) = words(line)
    assert read(pasted) == ["none", "données.json", "x[/y].json", "quoted", "a b"]


def test_what_is_no_override_is_told_how_one_looks() -> None:
    """The rest of a path with a space in it, for one."""
    with pytest.raises(
        UserError, match=r"^photos: expected an override, KEY=VALUE; .* quoted whole, as in 'data.root="
    ):
        understood("photos")


@pytest.mark.parametrize("given", ["é=3", "a~b=3"])
def test_no_advice_where_quotes_do_not_help(given: str):
    with pytest.raises(UserError, match="Hydra cannot read this override") as refused:
        understood(given)
    assert "quote it" not in str(refused.value)


@pytest.mark.parametrize(
    "given",
    ["seed=3", "~model", "~model.width", "x='a,~b'", "x=a,b", "x=[a,b]", "x={a: 1}", "data.root=a,b", "x=1_000",
     "data.root=null", "x=tag(log,interval(0.1,1))", "data.root=${x}", "data.root='~/x'", "x=a b"],
)  # fmt: skip
def test_what_hydra_reads_stays_as_it_is(given: str):
    assert understood(given) == given


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("policy.file=~/a b.json", "~/a b.json"),
        ("data.root=~/données", "~/données"),
        ("x=~", "~"),
        ("policies=[~/a.json,none,~me/b.json]", ["~/a.json", "none", "~me/b.json"]),
        ("data.root=1_000", "1_000"),
        ("policy.file=1e3", "1e3"),
        ("+data.path=true", "true"),
        ("hydra.run.dir=~/runs", "HOME/runs"),  # Hydra would make a folder that is called ~
        ("hydra.run.dir='~/it\\'s'", "HOME/it's"),
        ("hydra.sweep.dir=~", "HOME"),
    ],
)
def test_home_folders_and_numbers(given: str, value: object, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "HOME")
    assert read(understood(given)) == value


@pytest.mark.parametrize("key", ["policy.file", "data.path", "data.root", "hydra.run.dir", "hydra.sweep.dir"])
@pytest.mark.parametrize("empty", ["", "''", '""'])
def test_an_empty_name_is_no_path(key: str, empty: str):
    with pytest.raises(UserError, match=f"^{key}={empty}: expected a path, got an empty name"):
        understood(f"{key}={empty}")
    assert understood(f"wandb.name={empty}") == f"wandb.name={empty}"


def test_interpolations_stay_interpolations(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")
    for typed in ("~/x/${now:%Y}", "'~/x/${now:%Y}'"):
        assert understood(f"hydra.run.dir={typed}") == 'hydra.run.dir="/home/me/x/${now:%Y}"'
    assert understood("x=[~/${a},b]") == 'x=["~/${a}",b]'


def test_notes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATA", "/data")
    monkeypatch.delenv("NOTHING", raising=False)
    commas, variable = notes(["seed=3", "data.root=100%,new", "data.path=$DATA/x", "data.path=$NOTHING", "x=$DATA"])
    assert words(commas.partition("quote it: ")[2].removesuffix(")")) == ['data.root="100%,new"']
    assert "$DATA is not expanded in data.path=$DATA/x" in variable


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_found_again(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As its line was printed; `resume=` also takes what Hydra cannot read as it was typed."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / name
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "overrides.yaml").write_text("- seed=3\n")
    (run / "checkpoint.pt").write_bytes(b"")
    for directory in (name, str(run)):
        if directory in ("~", "~/p.json"):
            continue
        seed, resume, place = resolve_resume([override("resume", directory)])
        assert seed == "seed=3"
        assert (tmp_path / read(resume)).samefile(run)
        assert (tmp_path / read(place)).samefile(run)


@pytest.mark.parametrize("given", ["model=[1,2]", "space=[a,null]", "+data=[[a]]", "hydra/launcher=[true]"])
def test_a_list_of_anything_but_names_is_found(given: str):
    assert no_names(["seed=3", given, "experiment=[a,b]", "~model", "policies=[]"], ["model"]) == [given]


@pytest.mark.parametrize("given", ["model=3", "model=null", "model=true", "model=1.5", "model={a:1}"])
def test_a_group_with_anything_but_a_name_is_found(given: str):
    assert no_names(["seed=3", given, "space=3", "model=wrn", "model=[a,b]"], ["model"]) == [given]


def test_commas_of_a_sweep_are_no_mistake():
    assert list(notes(["data.path=a,b"]))
    assert not list(notes(["data.path=a,b"], multirun=True))
