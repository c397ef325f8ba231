"""Every failure of the system while a file is written: the old file or the new one, never half."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.faults import CALLS, WRITERS, outcomes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files that are open stay")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", WRITERS)
def test_old_or_new_and_nothing_beside(name: str, call: str, tmp_path: Path) -> None:
    found = dict(outcomes(WRITERS[name], call, tmp_path, range(100)))
    assert set(found.values()) <= {"old", "new"}
    assert found[max(found)] == "new"  # it came to its end
    assert len(found) < 100


STARVED = """
import json, sys
from pathlib import Path
from tests.fuzz.faults import WRITERS, outcomes
turns = range(0, 400, 20)
for turn, what in outcomes(WRITERS[sys.argv[1]], "allocation", Path(sys.argv[2]), turns):
    print(json.dumps([turn, what]), flush=True)
"""


@pytest.mark.skipif(importlib.util.find_spec("_testcapi") is None, reason="needs CPython's tests")
@pytest.mark.parametrize("name", ["bytes", "state", "kernel", "report"])
def test_no_memory(name: str, tmp_path: Path) -> None:
    """In a child: an interpreter without memory may end, and must not leave half a file."""
    done = subprocess.run(
        [sys.executable, "-c", STARVED, name, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told
    assert {what for _, what in told} <= {"old", "new"}
