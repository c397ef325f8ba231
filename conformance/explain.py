"""What there is to say about one case: its question, its formula, its reason, its reproduction."""

import textwrap

from conformance.cases import Case, Setting, make_problem
from conformance.levels import LEVELS
from conformance.profiles import profile_of


def explain(case: Case, profile: str = "mit", seed: int = 0) -> str:
    """A page about a case, with five lines of NumPy that reproduce it."""
    parts = [
        f"{case.id}  ({case.requirement}, {case.level}: {LEVELS[case.level]})",
        "",
        *_wrapped("checks", case.checks),
        *_wrapped("formula", case.formula),
        *_wrapped("catches", case.defect),
        *_wrapped("judged by", _rule(case, profile, seed)),
        "",
        "reproduce:",
        textwrap.indent(reproduction(case, profile, seed), "    "),
    ]
    return "\n".join(parts)


def reproduction(case: Case, profile: str, seed: int) -> str:
    """Five lines that put the first question of the case to a function of your own."""
    if case.interactive is not None:
        return (
            f"tsm-conformance run --testee py:yours:object --case {case.id} --seed {seed}\n"
            "# hypothesis draws the questions; a failing one is shrunk and printed"
        )
    return (
        "import numpy as np; from conformance import problem\n"
        f'question = problem("{case.id}", profile="{profile}", seed={seed}).questions[0]\n'
        "x, *more = map(np.array, question.call.inputs.values())  # "
        + _inputs(case, profile, seed)
        + "\n"
        f"y = your_{case.operation}(x, *more, **question.call.attributes)\n"
        'print(question.judge.judge({"y": y}).message or "passed")'
    )


def _rule(case: Case, profile: str, seed: int) -> str:
    if case.interactive is not None:
        return "a property that hypothesis explores; a failing example is shrunk"
    question = make_problem(case, Setting(profile_of(profile), seed)).questions[0]
    return " ".join((type(question.judge).__doc__ or "").split())


def _inputs(case: Case, profile: str, seed: int) -> str:
    question = make_problem(case, Setting(profile_of(profile), seed)).questions[0]
    shapes = [f"{k} {v.shape}" for k, v in question.call.inputs.items()]
    return ", ".join(shapes[:3]) + (", ..." if len(shapes) > 3 else "")


def _wrapped(name: str, text: str) -> list[str]:
    return textwrap.wrap(text, 92, initial_indent=f"{name + ':':11}", subsequent_indent=" " * 11)
