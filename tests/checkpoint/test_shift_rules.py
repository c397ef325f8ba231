"""Rules read off the shifts of a graph."""

import pytest

from tsm_ref.checkpoint.shift_rules import profile_of, rule_of
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.profile import PROFILES, ShiftRule


def shifts(rule: ShiftRule, *channels: int) -> list[Node]:
    return [
        Node(
            f"s{c}",
            "TemporalShift",
            ("x",),
            {"d": tuple(rule.d(c).tolist()), "fill": rule.fill, "segment": rule.segment},
        )
        for c in channels
    ]


@pytest.mark.parametrize("fill", ["zero", "replicate", "circular"])
@pytest.mark.parametrize(
    ("name", "divisor"),
    [
        ("mit", 8),
        ("mit", 5),
        ("paddle", 16),
        ("online", 8),
        ("online_double", 8),
        ("mtts_can", 3),
    ],
)
def test_a_rule_is_found_again(name: str, divisor: int, fill: str) -> None:
    """It need not have the same name, where two rules say the same; it must give the same folds."""
    rule = ShiftRule(name, divisor, fill)
    found = rule_of(shifts(rule, 64, 160, 96))
    assert found is not None
    assert found.fill == fill
    for channels in (64, 160, 96):
        assert found.d(channels).tolist() == rule.d(channels).tolist()


def test_shifts_of_two_rules_follow_none() -> None:
    assert rule_of([*shifts(ShiftRule("mit"), 64), *shifts(ShiftRule("online"), 64)]) is None
    mixed = [*shifts(ShiftRule("mit"), 64), *shifts(ShiftRule("mit", 8, "circular"), 64)]
    assert rule_of(mixed) is None


def test_no_shift_is_a_rule_too() -> None:
    assert rule_of([]) == ShiftRule("none")


def graph(*nodes: Node, shape: tuple[int | str, ...] = ("N", 64, 16, 112, 96)) -> Graph:
    return Graph("g", (Input("x", shape),), nodes, (nodes[-1].name,), {})


def test_frames_and_size_that_the_graph_fixes_are_those_of_the_profile() -> None:
    found = profile_of(graph(*shifts(ShiftRule("mit"), 64)))
    assert found.sampling.segments == 16
    assert found.preprocess.crop == (112, 96)
    assert found.preprocess.short_side == 109
    free = profile_of(graph(*shifts(ShiftRule("mit"), 64), shape=("N", 64, "T", "H", "W")))
    assert free.sampling.segments == PROFILES["mit"].sampling.segments
    assert free.preprocess == PROFILES["mit"].preprocess


def test_a_wanted_profile_must_say_what_the_graph_does() -> None:
    causal = graph(*shifts(ShiftRule("online"), 64))
    assert profile_of(causal, PROFILES["mit-online"]) == PROFILES["mit-online"]
    for name in ("mit", "paddle", "tsn"):
        with pytest.raises(CheckpointError, match="the profile asks for"):
            profile_of(causal, PROFILES[name])
    with pytest.raises(CheckpointError, match="shifts nothing"):
        profile_of(graph(Node("y", "Relu", ("x",))), PROFILES["mit"])
