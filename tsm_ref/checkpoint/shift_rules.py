"""The named rule that the shifts of a graph follow: the profile of a file that never says it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph, Node
from tsm_ref.passes.streaming import FAR
from tsm_ref.profile import PROFILES, Profile, ShiftRule

RULES = ("mit", "paddle", "online", "online_double", "mtts_can", "roll")
MAX_DIVISOR = 64


def rule_of(shifts: Sequence[Node]) -> ShiftRule | None:
    """The rule that gives every shift its ``d``; None where none does.

    >>> node = Node("s", "TemporalShift", ("x",), {"d": (-1, 1, 0, 0, 0, 0, 0, 0)})
    >>> rule_of([node])
    ShiftRule(rule='mit', divisor=8, fill='zero', segment=0)
    """
    if not shifts:
        return ShiftRule("none")
    given = {(n.attr("fill"), n.attr("segment")) for n in shifts}
    if len(given) > 1:
        return None
    fill, segment = given.pop()
    for rule, divisor in _candidates():
        wanted = ShiftRule(rule, divisor, fill, segment)
        if all(wanted.d(len(n.attrs["d"])).tolist() == list(n.attrs["d"]) for n in shifts):
            return wanted
    return None


def _candidates() -> Iterator[tuple[str, int]]:
    """The usual divisors first, then every other one."""
    usual = [(rule, divisor) for divisor in (8, 3, 4, 16) for rule in RULES]
    yield from usual
    yield from (
        (rule, divisor)
        for divisor in range(2, MAX_DIVISOR + 1)
        for rule in RULES
        if (rule, divisor) not in usual
    )


def profile_of(graph: Graph, wanted: Profile | None = None) -> Profile:
    """The profile of a graph whose shifts are facts.

    Raises `CheckpointError` where a wanted profile says another shift than the graph has.
    """
    shifts = list(graph.select("TemporalShift"))
    if wanted is not None:
        unnamed = wanted.shift.rule == "none" and wanted.placement != "none"
        if not unnamed:  # the profile of shifts that follow no rule says nothing to compare
            placed = wanted.shift if wanted.placement != "none" else ShiftRule("none")
            _check(shifts, placed, graph.inputs[0].shape[2:3] == (1,))
        return wanted
    rule = rule_of(shifts)
    base = PROFILES["mit" if shifts else "tsn"]
    return replace(
        fitted(base, graph),
        family="onnx",
        shift=rule or ShiftRule("none"),
        placement="blockres" if shifts else "none",
    )


def directed(graph: Graph, rule: ShiftRule) -> Graph:
    """A graph of one frame, whose shifts do not tell where they read, under a rule that does.

    `profile_of` has compared them: the rule moves exactly the channels that are zero.
    """
    if graph.inputs[0].shape[2:3] != (1,):
        return graph
    return graph.with_nodes(
        replace(n, attrs={**n.attrs, "d": tuple(rule.d(len(n.attrs["d"])).tolist())})
        if FAR in n.attrs.get("d", ())
        else n
        for n in graph.nodes
    )


def fitted(profile: Profile, graph: Graph) -> Profile:
    """The profile with as many frames, and as large ones, as the graph fixes."""
    shape = graph.inputs[0].shape
    sampling, preprocess = profile.sampling, profile.preprocess
    if len(shape) == 5 and isinstance(shape[2], int):
        sampling = replace(sampling, segments=shape[2])
    if len(shape) == 5 and isinstance(shape[3], int) and isinstance(shape[4], int):
        side = max(1, min(shape[3], shape[4]) * 256 // 224)
        preprocess = replace(preprocess, short_side=side, crop=(shape[3], shape[4]))
    return replace(profile, sampling=sampling, preprocess=preprocess)


def _check(shifts: Sequence[Node], rule: ShiftRule, one_frame: bool) -> None:
    for node in shifts:
        d, fill = node.attrs["d"], node.attr("fill")
        asked = rule.d(len(d)).tolist()
        if one_frame:  # zero, or not: all that such a file tells
            d, asked = [v != 0 for v in d], [v != 0 for v in asked]
        if asked != list(d) or rule.fill != fill:
            found = rule_of([node])
            raise CheckpointError(
                f"the shift {node.name!r} of the file follows {found or 'no named rule'}; "
                f"the profile asks for {rule}"
            )
    if not shifts and rule.rule != "none":
        raise CheckpointError(f"the file shifts nothing; the profile asks for {rule}")
