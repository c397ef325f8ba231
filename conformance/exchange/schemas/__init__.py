"""The JSON schemas of messages and reports, and a validator for the part of JSON Schema they use.

The files beside this one are ordinary JSON Schema (draft 2020-12); any validator agrees with this
one on them. Having our own keeps the suite free of dependencies.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


class Invalid(ValueError):
    """A value that its schema does not allow; says where and what would be accepted."""


@cache
def schema(name: str) -> Mapping[str, Any]:
    """A schema by name: ``run_request``, ``start_reply``, ``run_reply``, ``report``, ``result``."""
    tree: Mapping[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return tree


def check(name: str, value: Any) -> None:
    """Raise `Invalid` unless a value is what the schema of that name allows.

    >>> check("run_reply", {"id": 1, "skipped": {"message": "no camera"}})
    >>> check("run_reply", {"id": "one"})
    Traceback (most recent call last):
    conformance.exchange.schemas.Invalid: `id` is str; integer is needed
    """
    tree = schema(name)
    _check(tree, value, "", tree)


_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def _check(rule: Mapping[str, Any], value: Any, where: str, root: Mapping[str, Any]) -> None:
    here = f"`{where}`" if where else "the message"
    if "$ref" in rule:
        rule = root["$defs"][rule["$ref"].rsplit("/", 1)[1]]
    if "type" in rule:
        kinds = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
        if not any(_is(kind, value) for kind in kinds):
            raise Invalid(f"{here} is {type(value).__name__}; {' or '.join(kinds)} is needed")
    if "enum" in rule and value not in rule["enum"]:
        allowed = ", ".join(map(str, rule["enum"]))
        raise Invalid(f"{here} (={value!r}) must be one of {allowed}")
    if "minimum" in rule and value < rule["minimum"]:
        raise Invalid(f"{here} (={value!r}) must be at least {rule['minimum']}")
    if "minLength" in rule and len(value) < rule["minLength"]:
        raise Invalid(f"{here} must have at least {rule['minLength']} characters")
    if "maxLength" in rule and len(value) > rule["maxLength"]:
        raise Invalid(f"{here} must have at most {rule['maxLength']} characters")
    if isinstance(value, dict):
        _check_object(rule, value, where, root)
    if isinstance(value, (list, tuple)) and "items" in rule:
        for i, item in enumerate(value):
            _check(rule["items"], item, f"{where}[{i}]", root)
    if "oneOf" in rule:
        _check_one_of(rule["oneOf"], value, here, root)


def _check_object(
    rule: Mapping[str, Any], value: dict[str, Any], where: str, root: Mapping[str, Any]
) -> None:
    known = rule.get("properties", {})
    for name in rule.get("required", ()):
        if name not in value:
            raise Invalid(f"`{where}.{name}`".replace("`.", "`") + " is missing")
    others = rule.get("additionalProperties", True)
    for name, item in value.items():
        path = f"{where}.{name}" if where else name
        if name in known:
            _check(known[name], item, path, root)
        elif others is False:
            raise Invalid(f"`{path}` is not known; known are {', '.join(known)}")
        elif isinstance(others, dict):
            _check(others, item, path, root)


def _check_one_of(
    rules: list[Mapping[str, Any]], value: Any, here: str, root: Mapping[str, Any]
) -> None:
    reasons = []
    for rule in rules:
        try:
            _check(rule, value, "", root)
        except Invalid as error:
            reasons.append(str(error))
    if len(reasons) != len(rules) - 1:
        raise Invalid(f"{here} must be exactly one of {len(rules)} forms: {'; '.join(reasons)}")


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])
