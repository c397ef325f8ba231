"""What a testee says it is: nothing else is asked of it, and the verdict repeats it."""

import numpy as np

from conformance.catalogue import cases_named, cases_of
from conformance.judging.results import Options
from conformance.judging.runner import run, run_case
from conformance.questions.families import ARCHITECTURES
from conformance.testees.in_process import InProcess
from conformance.testees.reference import Reference

QUICK = Options(examples=2)


class Declared(Reference):
    """The reference with capabilities of its own."""

    def __init__(self, profile="mit", **capabilities):
        super().__init__(profile)
        self.declaration = {**self.declaration, "capabilities": capabilities}


def failures(finished):
    return [(r.id, r.message) for r in finished.results if r.outcome in ("failed", "error")]


def test_a_resnet_reaches_the_level_for_resnets():
    one = Declared(operations=["network"], architectures=["resnet"])
    finished = run(InProcess(one), cases_of(["L0", "L1", "L2", "L3"]), QUICK)
    assert failures(finished) == []
    assert finished.reached == ("L3",)
    assert finished.verdict == "L3 (only network as resnet)"
    assert finished.conforms
    asked = {r.id for r in finished.results if r.outcome != "not applicable"}
    assert "L3.network.deep" in asked
    assert "L3.network.mobilenet" not in asked


def test_a_stream_of_a_mobilenet_reaches_s():
    one = Declared("online", operations=["stream"], architectures=["mobilenet_v2"])
    cases = [c for c in cases_of(["S"]) if c.interactive is None]
    finished = run(InProcess(one), cases, QUICK)
    assert failures(finished) == []
    passed = {r.id for r in finished.results if r.outcome == "passed"}
    assert {"S.network.mobilenet", "S.network.frames", "S.network.long"} <= passed
    assert not any(id.startswith("S.shift") for id in passed)


def test_what_a_testee_is_it_must_be():
    class NoMobile(Declared):
        def network(self, x, weights, **attributes):
            raise NotImplementedError("not today")

    one = NoMobile(operations=["network"], architectures=["mobilenet_v2"])
    result = run_case(cases_named(["L3.network.mobilenet"])[0], InProcess(one))
    assert (result.requirement, result.outcome) == ("MUST", "unsupported")


def test_families_are_asked_of_those_alone_that_name_them():
    cases = cases_named(["L4.c3d", "L4.r3d"])
    one = Declared(operations=["network"], architectures=["c3d"])
    c3d, r3d = run(InProcess(one), cases, QUICK).results
    assert (c3d.requirement, c3d.outcome) == ("MUST", "passed")
    assert (r3d.outcome, r3d.message) == (
        "not applicable",
        "it is asked of those who say that they are r3d",
    )
    anybody = run(InProcess(Declared()), cases, QUICK).results
    assert {result.outcome for result in anybody} == {"not applicable"}


def test_who_names_every_architecture_is_no_part_of_anything():
    assert InProcess(Declared(architectures=list(ARCHITECTURES))).declaration.scope == ""
    assert InProcess(Declared(architectures=["rfcn"])).declaration.scope == "as rfcn"


class OneClip(Declared):
    """A device that takes one clip of 8 frames, of 3 x 2 pixels."""

    def temporal_shift(self, x, fold_div):
        assert x.shape[0] == 1
        assert x.shape[2:] == (8, 3, 2)
        return super().temporal_shift(x, fold_div)


def test_a_testee_for_fixed_sizes_is_asked_for_them_alone():
    sizes = {"batch": 1, "frames": 8, "height": 3, "width": 2}
    one = OneClip(operations=["temporal_shift"], fixed=sizes)
    finished = run(InProcess(one), cases_of(["L0"]), QUICK)
    assert failures(finished) == []
    assert finished.reached == ("L0",)
    assert "of batch 1, frames 8" in finished.verdict
    passed = {r.id for r in finished.results if r.outcome == "passed"}
    assert {"L0.shift.directions", "L0.shift.frames", "L0.shift.batches"} <= passed
    assert "L0.shift.two-frames" not in passed


def test_a_wrong_testee_for_fixed_sizes_fails():
    class Wrong(OneClip):
        def temporal_shift(self, x, fold_div):
            return np.asarray(x)

    sizes = {"batch": 1, "frames": 8, "height": 3, "width": 2}
    finished = run(InProcess(Wrong(fixed=sizes)), cases_named(["L0.shift.frames"]))
    assert finished.results[0].outcome == "failed"
