"""The judge is judged: every mutant fails, every case fails one, and none the reference."""

import pytest

from conformance.levels import LEVELS
from conformance.mutants import MUTANTS
from conformance.mutants.matrix import kill_matrix

CLASSES = """direction, wrap, edge, fold arithmetic, reshape order, leaking clips, in-place smear,
placement, skip path, n_round, cache content, cache slice, reset, aliasing, stream mix-up,
causality, chunking, consensus, batch-norm constants, kernel flip, padding, stride position,
pooling edge rules, activations, layouts, colour order, normalisation, resize arithmetic,
crop arithmetic, sampler arithmetic, view order, low precision"""


@pytest.fixture(scope="module")
def matrix():
    return kill_matrix(tuple(LEVELS))


def test_every_mutant_is_killed(matrix):
    assert matrix.survivors == []


def test_every_case_kills_a_mutant(matrix):
    assert matrix.harmless == []


def test_mutants_give_wrong_answers_and_do_not_just_raise(matrix):
    """What writes into its input must raise where that is read-only, and nothing else raises."""
    raising = {(case, name) for case, names in matrix.errors.items() for name in names}
    assert raising == {("L0.shift.input-unmodified", "input-modified")}


def test_the_reference_survives_every_case(matrix):
    assert matrix.broken == []


def test_the_catalogue_covers_every_class_of_mistakes():
    assert len(MUTANTS) >= 60
    kinds = {mutant.kind for mutant in MUTANTS.values()}
    assert {" ".join(kind.split()) for kind in CLASSES.split(",")} <= kinds
