"""Exit codes, one line per error, and a stdout that nobody reads."""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
import warnings

import pytest

from tsm_ref import errors
from tsm_ref.command import BLAS_THREADS, INTERRUPTED, Parser, guarded, limit_blas, number, positive
from tsm_ref.kernels import notice
from tsm_ref.subcommands import COMMANDS, PARTS, parser_of
from tsm_ref.system.terminal import tell


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("bad"), 2),
        (errors.MissingDependency("av", "decode a video"), 2),
        (errors.VideoError("bad"), 3),
        (errors.CheckpointError("bad"), 4),
        (errors.WriteError("bad"), 5),
        (errors.SomeInputsFailed("bad"), 6),
        (errors.GraphError("bad"), 4),
        (ZeroDivisionError("bad"), 1),
        (KeyboardInterrupt(), INTERRUPTED),
    ],
)
def test_every_error_has_its_exit_code_and_one_line(error, code, capsys) -> None:
    assert guarded(lambda: _raise(error)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_sentence_of_two_lines_becomes_one(capsys) -> None:
    guarded(lambda: _raise(errors.VideoError("one\n  two")))
    assert capsys.readouterr().err == "error: one two\n"


def test_a_bug_is_called_ours_and_debugging_shows_it(capsys, monkeypatch) -> None:
    guarded(lambda: _raise(ZeroDivisionError("division by zero")))
    assert "a bug of ours" in capsys.readouterr().err
    monkeypatch.setenv("TSM_DEBUG", "1")
    assert guarded(lambda: _raise(ZeroDivisionError())) == 1
    assert "Traceback" in capsys.readouterr().err
    assert guarded(lambda: _raise(errors.VideoError("bad"))) == 3


def test_the_code_that_run_returns_is_kept() -> None:
    assert guarded(lambda: None) == 0
    assert guarded(lambda: 7) == 7


def test_parser_refuses_in_one_line() -> None:
    with pytest.raises(errors.UsageError, match="--nonsense"):
        Parser(prog="x").parse_args(["--nonsense"])


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "²"])
def test_positive_refuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        positive(text)


SAY = (
    "from tsm_ref.command import guarded, say; import sys; sys.exit(guarded(lambda: say('x' * 9)))"
)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_is_a_write_error() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", SAY], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 5
    assert done.stderr.startswith(b"error: cannot write to stdout")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes the stream")
def test_a_closed_stdout_is_a_write_error() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" >&-', sys.executable, SAY], stderr=subprocess.PIPE
    )
    assert done.returncode == 5
    assert b"cannot write to stdout" in done.stderr


def test_a_reader_that_went_away_is_told_nothing() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", SAY], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode == 5
    assert done.stderr == b""


def test_a_name_that_stdout_cannot_encode_is_escaped() -> None:
    code = "from tsm_ref.command import say; say('caf\\xe9 \\udcff \\u4e2d')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.strip() == b"caf\xe9 \\udcff \\u4e2d"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_message_that_nobody_takes_changes_nothing() -> None:
    code = (
        "import sys; from tsm_ref.command import guarded, say, tell\n"
        "sys.exit(guarded(lambda: (tell('warning'), say('result'), 7)[2]))"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=full)
    assert (done.returncode, done.stdout) == (7, b"result\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_that_cannot_be_written_is_a_write_error(option: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "tsm_ref.infer", option], stdout=full)
    assert done.returncode == 5


def test_an_import_that_is_interrupted_is_an_interrupt(capsys) -> None:
    """NumPy turns a Ctrl-C in its import into an ImportError."""

    def run() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        except KeyboardInterrupt:
            raise ImportError("numpy could not be imported") from None

    before = signal.getsignal(signal.SIGINT)
    assert guarded(run) == INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_warnings_are_one_line(capsys) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert guarded(lambda: warnings.warn("look\nout", stacklevel=1)) == 0
    assert capsys.readouterr().err == "warning: look out\n"


def test_what_a_terminal_must_not_see_is_escaped(capsys) -> None:
    guarded(lambda: _raise(errors.VideoError("a\x1b[31m b\r\nc")))
    assert capsys.readouterr().err == "error: a\\x1b[31m b c\n"


def test_blas_is_told_what_the_user_has_not(monkeypatch) -> None:
    for variable in BLAS_THREADS:
        monkeypatch.setenv(variable, "restored after the test")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    limit_blas(3)
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    assert os.environ["MKL_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    "text", ["9" * 5000, "1" * 10, "\u0663", "\uff15", "1_0", " 1", "+1", "0x1"]
)
def test_positive_takes_plain_digits_only(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        positive(text)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    "text",
    ["9" * 5000, "." + "9" * 5000, "1e999", "1e-999", "nan", "inf", "-1", "0", "\u0663", "1_0", ""],
)
def test_number_takes_plain_and_finite_ones_only(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        number(text)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(("text", "value"), [("2", 2), ("0.5", 0.5), (".5", 0.5), ("1e3", 1000)])
def test_number_takes_what_people_write(text: str, value: float) -> None:
    assert number(text) == value


@pytest.mark.parametrize("name", [*COMMANDS, *PARTS])
def test_every_command_can_say_less_and_more(name: str) -> None:
    made = parser_of(name)
    groups = [action for action in made._actions if isinstance(action, argparse._SubParsersAction)]
    for each in [parser for group in groups for parser in group.choices.values()] or [made]:
        known = {option for action in each._actions for option in action.option_strings}
        assert {"-q", "--quiet", "-v", "--verbose"} <= known, each.prog


def test_quiet_is_without_warnings_and_verbose_tells_time_and_memory(capsys) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        def work() -> None:
            Parser(prog="x").parse_args(arguments)
            tell("warning: mind this")
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.warn("and that", stacklevel=1)
            with notice.compiling("kernel"):
                pass
            tell("error: not hidden")

        code = guarded(work)
        return code, capsys.readouterr().err

    code, usual = run()
    assert code == 0
    assert usual.splitlines()[:2] == ["warning: mind this", "warning: and that"]
    assert usual.splitlines()[-1] == "error: not hidden"
    assert "compiling kernels" in usual
    assert run("-q") == (0, "error: not hidden\n")
    code, more = run("-v")
    assert re.fullmatch(r"took \d+\.\d\d s, at most \d[\d.]* [MG]B", more.splitlines()[-1])
    assert run() == (0, usual)  # nothing stays as it was asked for
    code, said = run("-q", "-v")
    assert code == 2
    assert "not allowed with argument" in said


def test_a_warning_is_shown_once(capsys):
    def run():
        for text in ("one", "another", "one"):
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.warn(text, stacklevel=1)

    assert guarded(run) == 0
    assert capsys.readouterr().err.splitlines() == ["warning: one", "warning: another"]
