"""What the action models of EPIC-Kitchens-55 say of themselves, beside their weights.

Their training script writes the settings of the network to the top of the file: MIT's TSM and TSN,
with a classifier of verbs and one of nouns.
"""

from typing import Any

__all__ = ["HEADS", "facts_of_settings"]

HEADS = ("verb", "noun")
"""The classifiers, in the order of their outputs."""


def facts_of_settings(tree: Any) -> dict[str, dict[str, Any]]:
    """The facts at the top of a file; nothing where it is none of theirs.

    >>> facts_of_settings({"model_type": "tsn", "segment_count": 8})
    {'model_type, segment_count, ...': {'segments': 8, 'placement': 'none'}}
    """
    if type(tree) is not dict or type(tree.get("segment_count")) is not int:
        return {}
    kind = tree.get("model_type")
    if type(kind) is not str:
        return {}
    found: dict[str, Any] = {"segments": tree["segment_count"]}
    if kind.startswith("tsm"):
        wanted = (("shift_place", "placement", str), ("shift_div", "fold_div", int))
        found |= {ours: tree[name] for name, ours, type_ in wanted if type(tree.get(name)) is type_}
    else:
        found["placement"] = "none"
    return {"model_type, segment_count, ...": found}
