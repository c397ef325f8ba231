"""What there is to say about one case: its question, its formula, its reason, its reproduction."""

import textwrap

from conformance.questions.case import Call, Case, Setting, make_problem
from conformance.questions.conventions import conventions_of
from conformance.questions.files import FILM
from conformance.questions.levels import LEVELS


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
    """Five lines that put the questions of the case to a function of your own."""
    if case.interactive is not None:
        return (
            f"tsm-conformance run --testee py:yours:object --case {case.id} --seed {seed}\n"
            "# hypothesis draws the questions; a failing one is shrunk and printed"
        )
    question = make_problem(case, Setting(conventions_of(profile), seed)).questions[0]
    imports = "import numpy as np; from conformance import problem"
    answer = f"y = np.asarray(your_{case.operation}(*first, **named))"
    if case.operation == "stream":
        imports += "; from conformance.questions.streams import play"
        answer = 'y = play(named.pop("script"), *first, lambda: your_stream(**named))'
    elif FILM in question.call.inputs:
        answer = f'first[0].tofile("film.avi"); y = your_{case.operation}("film.avi", **named)'
    right = "  # an error is right" if question.judge.expects_refusal else ""
    return (
        f"{imports}\n"
        f'for question in problem("{case.id}", profile="{profile}", seed={seed}).questions:\n'
        f"    first, named = question.call.arguments()  # {_inputs(question.call)}\n"
        f"    {answer}{right}\n"
        "    print(question.judge.judge({question.judge.output: y}).message or 'passed')"
    )


def _rule(case: Case, profile: str, seed: int) -> str:
    if case.interactive is not None:
        return "a property that hypothesis explores; a failing example is shrunk"
    question = make_problem(case, Setting(conventions_of(profile), seed)).questions[0]
    return " ".join((type(question.judge).__doc__ or "").split())


def _inputs(call: Call) -> str:
    shapes = [f"{k} {v.shape}" for k, v in call.inputs.items()]
    return ", ".join(shapes[:3] or call.attributes) + (", ..." if len(shapes) > 3 else "")


def _wrapped(name: str, text: str) -> list[str]:
    return textwrap.wrap(text, 92, initial_indent=f"{name + ':':11}", subsequent_indent=" " * 11)
