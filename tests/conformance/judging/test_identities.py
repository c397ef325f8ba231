"""Properties: a wrong testee is found, its example is shrunk, kept, and found again."""

import sys

import numpy as np
import pytest

from conformance.catalogue import all_cases, find_case
from conformance.catalogue.permanent import FOLDER, read_vector
from conformance.judging.results import Options
from conformance.judging.runner import run_case
from conformance.mutants import MUTANTS
from conformance.testees.in_process import InProcess
from conformance.testees.reference import Reference


def wrong(name, case, tmp_path, **options):
    return run_case(
        find_case(case),
        InProcess(MUTANTS[name].make()),
        Options(examples=25, vectors=tmp_path, **options),
    )


@pytest.mark.parametrize(
    ("mutant", "case", "smallest"),
    [
        ("direction-swapped", "L0.identity.reversal", (1, 8, 2, 1, 1)),
        ("clips-leak", "L0.identity.clips", (2, 8, 1, 1, 1)),
        ("smear", "L0.identity.convolution", (1, 8, 3, 1, 1)),
    ],
)
def test_a_failing_example_is_shrunk_and_kept(mutant, case, smallest, tmp_path):
    result = wrong(mutant, case, tmp_path)
    assert result.outcome == "failed"
    assert f"x {smallest}" in result.message
    assert f"--case {case} --seed 0" in result.reproduce
    about, (x, *_) = read_vector(tmp_path / f"{case}.npz")
    assert about["case"] == case
    assert x.ndim == 5


def test_the_same_seed_finds_the_same_example(tmp_path):
    messages = {wrong("smear", "L0.identity.convolution", tmp_path).message for _ in range(2)}
    assert len(messages) == 1


def test_a_testee_without_the_operation_is_unsupported():
    class Shift:
        def conv(self, x):
            return x

    result = run_case(find_case("L0.identity.clips"), InProcess(Shift()), Options(examples=2))
    assert result.outcome == "unsupported"


def test_without_hypothesis_the_case_is_skipped_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    result = run_case(find_case("L0.identity.clips"), InProcess(Reference()), Options())
    assert (result.outcome, result.message) == (
        "skipped",
        "hypothesis is not installed: pip install hypothesis",
    )


def test_every_permanent_vector_is_a_case():
    names = {f"L0.vector.{path.stem}" for path in FOLDER.glob("*.npz")}
    assert names
    assert names == {c.id for c in all_cases() if c.id.startswith("L0.vector.")}
    for path in FOLDER.glob("*.npz"):
        assert np.isfinite(read_vector(path)[1][0]).all()
