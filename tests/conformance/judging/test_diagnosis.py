"""The diagnosis names the mistake that was made, and says what is read from where."""

import numpy as np
import pytest

from conformance.catalogue import find_case
from conformance.judging.diagnosis import channel_reads, source_map
from conformance.judging.results import Options
from conformance.judging.runner import run_case
from conformance.mutants import MUTANTS
from conformance.testees.in_process import InProcess


@pytest.mark.parametrize(
    ("mutant", "case"),
    [
        ("direction-swapped", "L0.shift.directions"),
        ("wrap-circular", "L0.shift.clips"),
        ("fold-rounded-up", "L0.shift.reshape"),
        ("clips-leak", "L0.shift.clips"),
        ("smear", "L0.shift.directions"),
        ("kernel-flipped", "L1.conv.taps"),
        ("bn-eps-1e-3", "L1.batch_norm.small-variance"),
        ("skip-shifted", "L2.block.basic"),
        ("n-round-ignored", "L3.network.deep"),
        ("cache-shifted", "S.shift.frames"),
        ("reset-forgotten", "S.network.reset"),
        ("colours-swapped", "L5.normalize.own"),
        ("frames-no-half", "L5.sampling.own"),
    ],
)
def test_a_known_mistake_is_named(mutant, case):
    result = run_case(find_case(case), InProcess(MUTANTS[mutant].make()), Options())
    assert result.outcome == "failed"
    assert any(f"({mutant})" in sentence for sentence in result.diagnosis)


def test_the_source_map_is_told_in_words():
    testee = InProcess(MUTANTS["direction-swapped"].make())
    result = run_case(find_case("L0.shift.directions"), testee, Options())
    assert (
        "channels 0..1 read t-1, then zero where your profile says t+1, then zero"
        in result.diagnosis
    )
    assert "the direction is swapped" in result.diagnosis


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([[[1, 2, 3], [4, 5, 6]]], "t"),
        ([[[2, 3, 0], [4, 5, 6]]], "t+1, then zero"),
        ([[[3, 1, 2], [4, 5, 6]]], "t-1, and at the ends t+2"),
        ([[[0, 0, 0], [4, 5, 6]]], "zero everywhere"),
        ([[[4, 5, 6], [4, 5, 6]]], "channel 1"),
        ([[[9, 9, 9], [4, 5, 6]]], "values that are not in the input"),
        ([[[1, 2, 9], [4, 5, 6]]], "t, then other values"),
    ],
)
def test_what_a_channel_reads(y, words):
    x = np.arange(1.0, 7).reshape(1, 2, 3)
    assert channel_reads(x, np.array(y, float), 0) == words


def test_a_value_from_another_clip_is_seen():
    x = np.arange(1.0, 5).reshape(2, 1, 2)
    assert channel_reads(x, x[::-1].copy(), 0) == "another clip"
    assert source_map(x, x[::-1]).ravel().tolist() == [2, 3, 0, 1]


def test_an_unknown_mistake_is_not_given_a_name():
    class Strange:
        def temporal_shift(self, x, fold_div=8):
            return np.cos(x)

    result = run_case(find_case("L0.shift.negative"), InProcess(Strange()), Options())
    assert result.outcome == "failed"
    assert result.diagnosis == ()


@pytest.mark.parametrize(
    ("operation", "case", "answer"),
    [
        ("temporal_shift", "R.shift.rank", lambda x, **rest: x * 0),
        ("conv", "L1.conv.taps", lambda x, *_, **rest: np.full((2, 15, 2, 6, 9), "text")),
        ("recognize", "L6.film.short", lambda path, *_, **rest: {"predictions": [{}], "frames": 1}),
        (
            "recognize",
            "L6.film.short",
            lambda path, *_, **rest: {"predictions": [{}], "frames": [[0, 2, 4, 6, 8, 10]]},
        ),
    ],
)
def test_no_answer_is_too_strange_to_be_judged(operation, case, answer):
    strange = type("Strange", (), {operation: staticmethod(answer)})
    result = run_case(find_case(case), InProcess(strange()), Options())
    assert result.outcome == "failed"
    assert result.picture is None
