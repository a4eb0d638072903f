"""Standard output and standard error that cannot take what is written: nothing is raised, and little is lost."""

import ast
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.progress import Progress
from rich.table import Table

import augrad
from augrad.terminal.console import Words, say, terminal
from augrad.terminal.output import guarded, guarded_output, lost_output, visible, writable

ENCODINGS = ["ascii", "latin-1", "cp1252", "utf-8", "utf-16", "shift_jis"]
TEXT = "±21.5° ≤ 3 – é 日本 🎉 caf\udce9 −1 ┏━┓ …"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_text_can_be_written_in_any_encoding(encoding: str):
    assert writable(TEXT, encoding).encode(encoding)
    assert writable("plain [text]", encoding) == "plain [text]"


def test_what_is_lacking_is_spelled_or_escaped():
    assert writable("±21.5° ≤ 3 – é 日 🎉 −1", "ascii") == r"+-21.5 deg <= 3 - \xe9 \u65e5 \U0001f389 -1"
    assert writable("±21.5° é", "latin-1") == "±21.5° é"
    assert writable("caf\udce9 é") == r"caf\xe9 é"  # a byte of a file name that is not UTF-8


def test_a_terminal_does_not_obey_a_name():
    assert visible("a\x1b[31mred\x07\u202e\n\tb\x9b") == "a\\x1b[31mred\\x07\\u202e\n\tb\\x9b"


class Stream(io.TextIOWrapper):
    """Standard output, say, in an encoding, strict."""

    def __init__(self, encoding: str = "utf-8", descriptor: int | None = None) -> None:
        self.bytes, self.descriptor = io.BytesIO(), descriptor
        file = self.bytes if descriptor is None else open(descriptor, "wb")  # noqa: SIM115 (closed with the stream)
        super().__init__(file, encoding=encoding, errors="strict", write_through=descriptor is None)

    def text(self) -> str:
        return self.bytes.getvalue().decode(self.encoding)


@contextlib.contextmanager
def standard(stdout: Stream | None, stderr: Stream | None = None) -> Iterator[None]:
    """These are standard output and standard error; files among them are closed at the end."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = stdout, stderr  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in (stdout, stderr):
            if stream is not None and stream.descriptor is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def broken_pipe() -> Stream:
    reader, writer = os.pipe()
    os.close(reader)
    return Stream(descriptor=writer)


def full_disk() -> Stream:
    return Stream(descriptor=os.open("/dev/full", os.O_WRONLY))


def closed() -> Stream:
    stream = Stream()
    stream.close()
    return stream


BROKEN = {"broken pipe": broken_pipe, "full disk": full_disk, "closed": closed, "none": lambda: None}


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN)
def test_nothing_that_prints_fails(make):
    streams = make(), make()
    with standard(*streams), guarded_output():
        for _ in range(3):
            print("x" * 100_000, TEXT)
            print("x" * 100_000, TEXT, file=sys.stderr, flush=True)
            say("x" * 100_000)
            say(TEXT, stderr=True)
        sys.stdout.writelines(["a", "b"])
        sys.stdout.flush()
        assert not sys.stdout.isatty()
        with Progress(console=terminal(stderr=True)) as bar:
            bar.advance(bar.add_task("[x", total=1))
        assert (sys.stdout, sys.stderr) != streams


@pytest.mark.parametrize(
    ("make", "reason"),
    [(broken_pipe, None), (full_disk, "No space left on device"), (closed, "closed file"), (Stream, None)],
)
def test_a_command_that_only_prints_knows_that_it_did_not(make, reason: str | None):
    with standard(make(), None), guarded_output():
        print("the answer")
        lost = lost_output()
    assert lost == reason if reason is None else reason in (lost or "")


def test_nothing_is_left_for_the_interpreter_to_fail_over():
    """What a full disk did not take is dropped; the stream can be flushed and takes what comes later."""
    reader, writer = os.pipe()
    stream = Stream(descriptor=writer)
    full = os.open("/dev/full", os.O_WRONLY)
    pipe = os.dup(writer)
    os.dup2(full, writer)
    with standard(stream, Stream()):
        with guarded_output():
            print("lost")
        stream.flush()
        os.dup2(pipe, writer)
        print("kept", flush=True)
    assert os.read(reader, 100) == b"kept\n"
    for descriptor in (reader, full, pipe):
        os.close(descriptor)


def test_a_guard_is_put_around_a_stream_once():
    once = guarded(Stream())
    assert guarded(once) is once
    assert once.encoding == "utf-8"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_names_are_text_and_whole(encoding: str):
    stream = Stream(encoding)
    with standard(stream):
        say("results in [bold]lr=0.1,learn=[ops,gates][/bold] :smile: [/x] 2024-01-01 " + "long " * 50)
    assert stream.text().splitlines() == [
        "results in [bold]lr=0.1,learn=[ops,gates][/bold] :smile: [/x] 2024-01-01 " + "long " * 50
    ]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("columns", ["0", "1", "30", "", "many"])
def test_tables_are_straight_and_whole(encoding: str, columns: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", columns)
    table = Table(title="[b]title")
    table.add_column("[i]name", overflow="fold")
    table.add_column("value")
    names = ["x[/y].json", "[red]odd", "±1 – é", "n" * 90]
    for name in names:
        table.add_row(Words(name, "bold"), "[b]2[/b]")
    stream = Stream(encoding)
    with standard(stream):
        say(table)
    lines = [line for line in stream.text().splitlines() if not line.startswith(" ") and "title" not in line]
    assert len({len(line) for line in lines}) == 1
    cells = "".join(line[1:].partition("│" if "│" in line else "|")[0].strip() for line in lines)
    for name in names:
        assert writable(name, encoding) in cells
    assert stream.text().count("[b]2[/b]") == len(names)
    assert "[b]title" in stream.text()


def test_output_to_a_file_has_no_bar_and_no_colour_codes_of_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with standard(Stream()):
        assert not terminal().is_interactive


def test_a_closed_standard_stream_gives_its_number_to_no_file(tmp_path: Path):
    """Else what a library prints would end up in the checkpoint. In a process of its own, for the numbers are its."""
    child = os.fork()
    if child == 0:  # pragma: no cover
        os.close(1)
        with standard(None), guarded_output():
            file = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
            os.write(1, b"from a library")
        os._exit(0 if file > 2 and not (tmp_path / "file").read_bytes() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_there_is_one_way_to_the_terminal():
    """Whoever prints does so by `say`, or draws on `terminal`: the next print cannot read a name as markup."""
    package = Path(augrad.__file__).parent
    calls = {
        (str(file.relative_to(package)), node.func.id)
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "Console")
    }
    assert calls == {("terminal/console.py", "print"), ("terminal/console.py", "Console"), ("cli/__init__.py", "print")}
