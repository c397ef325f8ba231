"""The ladder of the package: a folder imports what stands below it, and nothing above."""

import ast
from pathlib import Path

import pytest

import conformance

FOLDER = Path(conformance.__file__).parent

LADDER = (
    ("questions",),
    ("exchange",),
    ("testees",),
    ("catalogue", "mutants"),
    ("judging",),
    ("reports",),
    ("api", "plugin", "explain", "commands", "worker", "adapters"),
    ("__init__", "__main__", "test_suite"),
)
"""The folders and files of each rung, the lowest first."""

NEIGHBOURS = {("commands", "explain")}
"""Who may look at another one of the same rung."""

HEIGHT = {name: height for height, names in enumerate(LADDER) for name in names}

OWN_ENGINES = {
    f"testees/{name}.py"
    for name in ("engines", "engine_graphs", "engine_families", "engine_quantised")
}
"""The adapters of our own engines, the only files that know more of tsm_ref than its oracle."""


def rung(path: Path) -> str:
    return path.relative_to(FOLDER).parts[0].removesuffix(".py")


def imports(source: str):
    """The dotted names that a source imports from `conformance` and from `tsm_ref`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
            yield from (str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant))


def upward(own: str, source: str) -> list[str]:
    """Every import that does not point down the ladder."""
    found = []
    for name in imports(source):
        package, *inside = name.split(".")
        if package != "conformance" or not inside or inside[0] not in HEIGHT:
            continue
        below = own == inside[0] or HEIGHT[inside[0]] < HEIGHT[own]
        if not below and (own, inside[0]) not in NEIGHBOURS:
            found.append(f"{own} imports {name}")
    return found


FILES = sorted(p for p in FOLDER.rglob("*.py") if "examples" not in p.parts)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(FOLDER).as_posix())
def test_arrows_point_down_the_ladder(path):
    assert rung(path) in HEIGHT, f"{path} stands on no rung yet: write it into LADDER"
    assert upward(rung(path), path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(FOLDER).as_posix())
def test_the_judge_knows_no_more_of_tsm_ref_than_its_oracle(path):
    ours = {name for name in imports(path.read_text("utf-8")) if name.startswith("tsm_ref")}
    if path.relative_to(FOLDER).as_posix() not in OWN_ENGINES:
        known = ("tsm_ref.reference", "tsm_ref.errors", "tsm_ref.system")
        assert {name for name in ours if not name.startswith(known)} == set()


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ("questions", "from conformance.catalogue import all_cases"),
        ("exchange", "import conformance.testees.base"),
        ("catalogue", "from conformance import mutants"),
        ("mutants", "from conformance.catalogue import find_case"),
        ("testees", "def f():\n    from conformance.judging.runner import run"),
        ("judging", "import_module('conformance.reports')"),
    ],
)
def test_an_arrow_that_points_up_is_caught(own, source):
    assert len(upward(own, source)) == 1
