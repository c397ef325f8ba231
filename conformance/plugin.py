"""The suite inside pytest: ``pytest --pyargs conformance --testee py:mine:object``.

In a project's own tests one line is enough::

    test_tsm = conformance.as_test(my_object, profile="mit", level="L0")

`tsm_conformance_plugin`, which pytest finds by its entry point, loads this file when the suite is
asked for; ``-p conformance.plugin`` loads it from a checkout.
"""

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tsm_ref.system.terminal import printable

if TYPE_CHECKING:
    from conformance.testees.base import Testee


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of ``tsm-conformance run`` that make sense for pytest."""
    group = parser.getgroup("tsm-conformance", "judge an implementation of TSM")
    group.addoption("--testee", default=None, help="what to judge, as for tsm-conformance run")
    group.addoption("--tsm-level", default="L3", help="levels, as for tsm-conformance run")
    group.addoption("--tsm-profile", default=None, help="judge against this profile")
    group.addoption("--tsm-seed", type=int, default=0, help="seed of all data")


@pytest.fixture(scope="session")
def tsm_testee(request: pytest.FixtureRequest) -> "Iterator[Testee]":
    """The testee that ``--testee`` names."""
    from conformance.testees.parse import make_testee

    text, profile = (request.config.getoption(name) for name in ("--testee", "--tsm-profile"))
    testee = make_testee(text, profile)
    yield testee
    testee.close()


def chosen_ids(config: pytest.Config) -> list[str]:
    """The cases of the wanted levels; `pytest.UsageError` where there is nothing to judge."""
    if config.getoption("--testee", None) is None:
        raise pytest.UsageError(
            "there is nothing to judge: add --testee TESTEE, such as --testee py:mine:object"
        )
    return case_ids(config.getoption("--tsm-level"))


def case_ids(level: str) -> list[str]:
    """The identifiers of the cases of some levels."""
    from conformance.catalogue import cases_of
    from conformance.questions.levels import parse_levels

    return [case.id for case in cases_of(parse_levels(level))]


def check_case(testee: "Testee", case_id: str, seed: int = 0) -> None:
    """Run one case as a test: fails with what was found, skips with what is declared missing.

    An operation that is not offered fails a MUST case, and skips any other with the reason.
    """
    from conformance.catalogue import find_case
    from conformance.judging.results import Options
    from conformance.judging.runner import run_case

    result = run_case(find_case(case_id), testee, Options(seed))
    required = result.requirement == "MUST"
    lines = [f"{case_id}: {result.message}", *result.diagnosis, result.reproduce]
    text = "\n".join(printable(line) for line in lines)
    failed = result.outcome in ("failed", "error")
    if failed or (result.outcome == "unsupported" and required):
        pytest.fail(text.strip(), pytrace=False)
    if result.outcome != "passed":
        pytest.skip(printable(f"{result.outcome}: {result.message}"))


def as_test(
    testee: Any, *, profile: str | None = None, level: str = "L0", seed: int = 0
) -> Callable[..., None]:
    """A parametrized test function with one test per case, for a module of one's own tests.

    `testee` is an object in the test's process, or a specification such as ``cmd:./program``.
    """
    from conformance.testees.in_process import InProcess
    from conformance.testees.parse import adapted, make_testee

    made: list[Testee] = []

    @pytest.mark.parametrize("case_id", case_ids(level))
    def test(case_id: str) -> None:
        if not made:
            is_text = isinstance(testee, str)
            made.append(
                make_testee(testee, profile) if is_text else InProcess(adapted(testee), profile)
            )
            weakref.finalize(test, made[0].close)
        check_case(made[0], case_id, seed)

    return test
