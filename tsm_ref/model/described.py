"""What a model is, in a line and as a table for notebooks."""

from collections.abc import Mapping
from html import escape

from tsm_ref.graph import Graph
from tsm_ref.profile import Profile
from tsm_ref.system.terminal import printable

__all__ = ["as_html", "facts_of", "measured_in"]


def facts_of(graph: Graph, profile: Profile, engine: str) -> dict[str, str]:
    """What tells models apart, by name; text from files is escaped."""
    facts = {"parameters": f"{graph.parameter_count:,} parameters"}
    if profile.labels:
        facts["classes"] = f"{len(profile.labels)} classes"
    count = sum(1 for _ in graph.select("TemporalShift"))
    facts["shift"] = f"{count} shifts {profile.shift}" if count else "no shift"
    facts["engine"] = f"on {engine}"
    return {name: printable(fact) for name, fact in facts.items()}


def measured_in(precision: str, measured: str) -> str:
    """The accuracy that a profile tells, which nobody measured in bfloat16, for one precision.

    >>> measured_in("bfloat16", "99 %"), measured_in("float32", "99 %")
    ('not measured in bfloat16; in float32 it was: 99 %', '99 %')
    """
    if precision != "bfloat16" or not measured:
        return measured
    return f"not measured in bfloat16; in float32 it was: {measured}"


def as_html(title: str, facts: Mapping[str, str]) -> str:
    """A small table; nothing in it is believed.

    >>> as_html("a", {"b": "<c>"})
    '<table><caption>a</caption><tbody><tr><th>b</th><td>&lt;c&gt;</td></tr></tbody></table>'
    """
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(printable(fact))}</td></tr>"
        for name, fact in facts.items()
    )
    caption = escape(printable(title))
    return f"<table><caption>{caption}</caption><tbody>{rows}</tbody></table>"
