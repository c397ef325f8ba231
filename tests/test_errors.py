"""The tree of errors: one exit code each, and a drawing of it that tells the truth."""

import re

import pytest

from tsm_ref import errors

# docs/bad-inputs.md and the README say what each code means.
CODES = {
    "TsmError": 1,
    "UsageError": 2,
    "MissingDependency": 2,
    "VideoError": 3,
    "CheckpointError": 4,
    "WriteError": 5,
    "SomeInputsFailed": 6,
    "GraphError": 4,
    "NotStreamable": 4,
}
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, Exception)
}


def test_every_error_has_its_exit_code():
    assert {name: kind.exit_code for name, kind in CLASSES.items()} == CODES


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_is_a_tsm_error_and_explains_itself(name):
    kind = CLASSES[name]
    assert issubclass(kind, errors.TsmError)
    assert kind.__doc__.strip()


def test_the_drawing_is_the_tree():
    """Every line of the drawing: depth by its indentation, name, exit code."""
    drawn, path = {}, []
    for line in errors.__doc__.splitlines():
        match = re.match(r"([ │├└─]*)(\w+)\s{2,}(\d)\s{2,}\w", line)
        if match:
            depth = len(match[1]) // 4 - 1
            path[depth:] = [match[2]]
            drawn[match[2]] = (path[-2] if depth else None, int(match[3]))
    real = {
        name: (kind.__base__.__name__ if name != "TsmError" else None, kind.exit_code)
        for name, kind in CLASSES.items()
    }
    assert drawn == real


def test_a_missing_package_is_named_with_what_it_is_for_and_how_to_get_it():
    error = errors.MissingDependency("rich", "draw tables")
    assert error.package == "rich"
    sentence = "the package 'rich' is needed to draw tables: pip install rich"
    assert str(error) == sentence
