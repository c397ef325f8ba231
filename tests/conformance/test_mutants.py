"""The judge is judged: every mutant fails, every case fails one, and none the reference."""

import json

from conformance.catalogue import all_cases, cases_of
from conformance.judging.kill_matrix import Matrix, kill_matrix, summary, write_matrix
from conformance.mutants import MUTANTS

CLASSES = """direction, wrap, edge, fold arithmetic, reshape order, leaking clips, in-place smear,
placement, skip path, n_round, cache content, cache slice, reset, aliasing, stream mix-up,
causality, chunking, consensus, batch-norm constants, kernel flip, padding, stride position,
pooling edge rules, activations, layouts, colour order, normalisation, resize arithmetic,
crop arithmetic, sampler arithmetic, view order, low precision,
quantised rounding, quantised zero point, quantised scale, saturation, width of sums, signs,
rules of LiteRT"""


def test_the_kill_matrix():
    """One test, because the matrix takes half a minute and must not be made twice."""
    matrix = kill_matrix(all_cases())
    assert matrix.survivors == []
    assert matrix.harmless == []
    assert matrix.reference_fails == []
    assert matrix.complete
    # What writes into its input raises where that is read-only. Nothing else may be caught by an
    # error alone: a mutant that raises has not shown that a case can see a wrong answer.
    raising = {(case, name) for case, names in matrix.errors.items() for name in names}
    assert raising == {("L0.shift.input-unmodified", "input-modified")}


def test_the_catalogue_covers_every_class_of_mistakes():
    assert len(MUTANTS) >= 60
    kinds = {mutant.kind for mutant in MUTANTS.values()}
    assert {" ".join(kind.split()) for kind in CLASSES.split(",")} <= kinds


def test_a_case_that_kills_nothing_and_a_survivor_are_named():
    first, second, *others = MUTANTS
    matrix = Matrix(["L0.a", "L0.b"], {"L0.a": [first, *others]})
    assert not matrix.complete
    assert f"survives: {second} ({MUTANTS[second].mistake})" in summary(matrix)
    assert "kills nothing: L0.b" in summary(matrix)


def test_the_matrix_is_written_as_json(tmp_path):
    mutants = [MUTANTS["direction-swapped"], MUTANTS["lenient-shift"]]
    matrix = kill_matrix(cases_of(["R"]), mutants)
    write_matrix(matrix, tmp_path / "matrix.json")
    told = json.loads((tmp_path / "matrix.json").read_text())
    assert "lenient-shift" in told["kills"]["R.shift.rank"]
    assert "direction-swapped" in told["survivals"]["R.shift.rank"]
    assert set(told["mutants"]) == set(MUTANTS)
