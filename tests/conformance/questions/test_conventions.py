"""Conventions are free fields: the presets are the reference's, and any mixture has a level."""

import numpy as np
import pytest

from conformance.catalogue import cases_named
from conformance.judging.runner import run
from conformance.questions.conventions import PRESETS, Conventions, conventions_of
from conformance.testees.in_process import InProcess
from conformance.testees.reference import Reference
from tsm_ref import reference
from tsm_ref.errors import UsageError

CHANNELS = (0, 1, 2, 7, 8, 15, 16, 17, 49, 64, 257)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("div", [2, 3, 5, 8, 49])
def test_the_presets_are_the_rules_of_the_reference(channels, div):
    rules = {
        "mit": reference.folds_mit(channels, div),
        "online": reference.folds_online(channels, div),
        "online-double": reference.folds_online_double(channels, div),
        "mtts-can": reference.folds_mtts_can(channels, div),
        "paddle": reference.folds_paddle(channels, 1 / div),
    }
    for name, d in rules.items():
        np.testing.assert_array_equal(PRESETS[name].d(channels, div), d)


def test_folds_have_any_direction_number_and_size():
    def d(**fields):
        return Conventions(fold_div=4, **fields).d(10).tolist()

    assert d(folds=["past", "future"]) == [1, 1, -1, -1, 0, 0, 0, 0, 0, 0]
    assert d(folds=["none", "past"]) == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert d(folds=["past"], fold_rule="double") == [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert d(folds=["past", "future"], fold_rule="ratio") == [1, 1, -1, -1, -1, 0, 0, 0, 0, 0]
    assert d(folds=["future", "past", "future", "past"]) == [-1, -1, 1, 1, -1, -1, 1, 1, 0, 0]
    assert d(folds=[]) == [0] * 10


@pytest.mark.parametrize(
    "profile",
    [
        "past-first",
        "mit,folds=past+none+future,fold_div=5,fill=replicate",
        "mit,folds=future,fold_rule=double",
        "paddle,fold_div=3,causal=none+past",
    ],
)
def test_what_has_no_name_has_a_level(profile):
    chosen = conventions_of(profile)
    cases = cases_named(["L0.shift.", "S.shift.", "L2.block.basic"])
    finished = run(InProcess(Reference(chosen)), cases)
    assert [(r.id, r.message) for r in finished.results if r.outcome == "failed"] == []
    wrong = run(InProcess(Reference("mit"), profile), cases_named(["L0.shift.directions"]))
    assert wrong.results[0].outcome == "failed"


def test_paddle_is_not_asked_for_a_ratio_that_it_refuses():
    (case,) = cases_named(["L0.shift.fold-divisor"])
    from conformance.questions.case import Setting, make_problem

    asked = make_problem(case, Setting(PRESETS["paddle"])).questions
    assert all(q.call.attributes["fold_div"] > 2 for q in asked)
    assert len(asked) >= 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mit,folds=up", "`folds` (=['up']) must be at most 4 words"),
        ("mit,fold_div", "must be NAME or NAME,field=value"),
        ("mit,causal=future", "`causal` (=['future']) must be"),
        ("mit,sampler=val", "there is no convention 'sampler'"),
        ("mit,every_block=yes", "`every_block` (='yes') must be true or false"),
    ],
)
def test_a_wrong_spelling_is_refused(text, sentence):
    with pytest.raises(UsageError) as caught:
        conventions_of(text)
    assert sentence in str(caught.value)
