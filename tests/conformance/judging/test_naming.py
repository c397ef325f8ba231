"""How well mistakes are named: a known one by its own name, an unknown one by no wrong name."""

from conformance.judging.naming import measure, summary
from conformance.mutants import MUTANTS

NAMES = ("direction-swapped", "channels-rest-128", "bn-no-eps", "empty-state-forgotten")


def test_a_known_mistake_is_named_and_a_hidden_one_is_not():
    known, hidden = measure(MUTANTS[name] for name in NAMES)
    assert (known.rightly, known.misleadingly, known.silently) == (list(NAMES), {}, [])
    assert hidden.rightly == []
    assert hidden.misleadingly == {}
    assert "4 named rightly, 0 misleadingly, 0 not at all" in summary(known, hidden)
    assert "with its own entry hidden: 0 named rightly" in summary(known, hidden)
