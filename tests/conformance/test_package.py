"""The package as a whole: its floor, its examples, its README, its catalogue."""

import doctest
import importlib
import pkgutil
import re
from dataclasses import fields
from pathlib import Path

import pytest

import conformance
from conformance.catalogue import all_cases
from conformance.exchange.schemas import schema
from conformance.mutants import MODULES as MODULES_OF_MUTANTS
from conformance.mutants import MUTANTS
from conformance.questions.case import Setting, make_problem
from conformance.questions.conventions import PRESETS, Conventions
from conformance.questions.levels import LEVELS
from conformance.testees.base import OPERATIONS

FOLDER = Path(conformance.__file__).parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(FOLDER)], "conformance.")
    if not module.name.endswith(("__main__", "pytorch_shift", "test_suite"))
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_every_case_says_what_it_checks_and_what_it_is_for():
    for case in all_cases():
        assert case.checks.endswith("."), case.id
        assert len(case.defect) > 10, case.id
        assert case.formula, case.id
        assert case.operation in OPERATIONS, case.id
    assert {case.level for case in all_cases()} == set(LEVELS)


def test_every_mutant_has_a_name_of_its_own_and_says_its_mistake():
    assert len(MUTANTS) == sum(len(module.CATALOGUE) for module in MODULES_OF_MUTANTS)
    mistakes = [mutant.mistake for mutant in MUTANTS.values()]
    assert len(set(mistakes)) == len(mistakes)


def test_the_readme_is_true():
    text = (FOLDER / "README.md").read_text()
    assert f"puts {len(MUTANTS)} wrong implementations" in text
    for path in re.findall(r"\]\(([^)]+)\)", text):
        assert (FOLDER / path).exists(), path
    for level, what in LEVELS.items():
        assert f"| {level} | {what} |" in text
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    example = (FOLDER / "examples" / "pytorch_shift.py").read_text()
    squeeze = str.maketrans("", "", " \n")
    for line in code.splitlines()[5:]:
        if "def " not in line:
            assert line.translate(squeeze) in example.translate(squeeze), line


def test_the_page_of_operations_names_every_operation_and_attribute_that_is_asked():
    text = (FOLDER / "OPERATIONS.md").read_text()
    words = set(re.findall(r"`([a-z_0-9]+)`", text))
    assert set(OPERATIONS) <= words
    for case in all_cases():
        if case.interactive is None and not case.costly:
            for question in make_problem(case, Setting(PRESETS["mit"])).questions:
                inputs = {n for n in question.call.inputs if "/" not in n}
                assert inputs | set(question.call.attributes) <= words, case.id
    for path in re.findall(r"\]\(([^)]+)\)", text):
        assert (FOLDER / path).exists(), path


def test_the_readme_has_every_convention_and_capability():
    text = (FOLDER / "README.md").read_text()
    assert {f.name for f in fields(Conventions)} - {"name"} <= set(re.findall(r"`(\w+)`", text))
    assert all(f"`{name}`" in text for name in PRESETS)
    known = schema("start_reply")["properties"]["capabilities"]["properties"]
    assert all(f"`{name}`" in text for name in known if name != "extra")
