"""The server against its own description, by Schemathesis: hundreds of requests, valid and not."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serve.conftest import Running

pytest.importorskip("starlette")
pytest.importorskip("schemathesis")
EXPECTED = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 413, 415, 422]
"""
"""No schema can say that bytes are a video, nor that two parameters exclude each other."""


def test_schemathesis_finds_nothing(server: Running, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(EXPECTED)
    command = [Path(sys.executable).with_name("schemathesis"), "run", "--checks", "all"]
    done = subprocess.run(
        [*command, "--max-examples", "25", f"{server.url}/openapi.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "5 operation" in done.stdout or "5 selected" in done.stdout
