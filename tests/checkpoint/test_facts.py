"""Facts about a model file: who says them, who wins, and what is warned of."""

from dataclasses import replace
from typing import Any

import pytest

from tsm_ref.checkpoint.facts import FIELDS, Fact, Facts, facts_of_profile
from tsm_ref.errors import CheckpointError
from tsm_ref.profile import PROFILES, Sampling


def test_every_field_of_a_profile_is_a_fact() -> None:
    """A profile made of nothing but its facts is the same one."""
    for profile in PROFILES.values():
        facts = Facts()
        facts.say("the file", **facts_of_profile(profile))
        assert facts.over(replace(PROFILES["mit"], family=profile.family)) == profile
    assert FIELDS["fold_div"] == ("shift", "divisor")
    assert FIELDS["labels"] == ("", "labels")


def test_who_speaks_first_is_heard() -> None:
    facts = Facts()
    facts.say("the file", fold_div=4)
    facts.say("the name", fold_div=4, segments=16)
    facts.suggest("the profile", segments=8, average="logits")
    facts.assume(segments=5)
    assert [str(fact) for fact in facts] == [
        "fold_div 4 (the file)",
        "segments 16 (the name)",
        "average logits (the profile)",
    ]
    assert facts.warnings() == ()


def test_two_who_disagree_are_both_named(refused: Any) -> None:
    facts = Facts()
    facts.say("the name of the file", fold_div=8)
    with refused(CheckpointError, "the name of the file says that fold_div is 8, and the name of"):
        facts.say("the name of the folder", fold_div=4)


def test_a_choice_is_no_contradiction() -> None:
    facts = Facts()
    facts.decide("the option", segments=4)
    facts.say("the file", segments=8)
    assert facts.over(PROFILES["mit"]).sampling == Sampling("uniform", 4)


def test_what_is_assumed_is_told_with_its_option() -> None:
    facts = Facts()
    facts.assume(fold_div=8, frame_depth=10)
    (sentence,) = facts.warnings()
    assert "assumed: --fold-div 8 --frame-depth 10 " in sentence
    assert list(facts) == [Fact("fold_div", 8, "assumed"), Fact("frame_depth", 10, "assumed")]


def test_who_says_what_cannot_be_is_named(refused: Any) -> None:
    facts = Facts()
    facts.say("the file", segments=8)
    facts.say("the name", fold_div=0)
    with refused(CheckpointError, "the name says what cannot be: `divisor` (=0)"):
        facts.over(PROFILES["mit"])
    facts = Facts()
    facts.say("the file", size=None)
    facts.say("the name", short_side=None)
    with refused(CheckpointError, "the name says what cannot be"):
        facts.over(PROFILES["mit"])


@pytest.mark.parametrize("name", PROFILES)
def test_facts_beyond_a_base_are_what_differs(name: str) -> None:
    base = PROFILES[name]
    assert facts_of_profile(base, base) == {}
    other = replace(base, sampling=replace(base.sampling, segments=5))
    assert facts_of_profile(other, base) == {"segments": 5}
