"""The examples of docs/serving.md are run as they stand, and its tables hold."""

import contextlib
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import SAMPLES, Running

pytest.importorskip("starlette")
ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
URL = "http://127.0.0.1:8000"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(SAMPLES / "pan_left.mp4", tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl is installed")
def test_every_line_of_curl(server: Running, here: Path) -> None:
    lines = re.findall(r"^curl .*$", TEXT, re.MULTILINE)
    assert len(lines) == 6
    found = {}
    for line in lines:
        command = line.replace(URL, server.url).replace("curl -s", "curl -sf --noproxy '*'")
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
        found[line] = done.stdout
    whole, form, models, health, metrics, document = found.values()
    assert json.loads(whole)["input"]["path"] == "clip.mp4"
    assert json.loads(whole)["predictions"][0]["label"] == "pan left"
    assert len(json.loads(form)["predictions"]) == 3
    assert json.loads(models)["default"] == "camera-motion"
    assert json.loads(health)["status"] == "ok"
    assert "tsm_requests_total" in metrics
    assert "/recognize" in json.loads(document)["paths"]


def test_the_example_of_a_stream(server: Running, here: Path) -> None:
    pytest.importorskip("websockets")
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    code = code.replace("ws://127.0.0.1:8000/stream", server.stream)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, {})
    *events, last = said.getvalue().splitlines()
    assert events
    assert "pan left" in events[-1]
    assert last == "None None {'frames': 84, 'dropped': 0}"


def test_statuses_and_parameters_are_all_told(client: Any) -> None:
    told = {int(n) for n in re.findall(r"\b([345]\d\d)\b", TEXT.partition("| status |")[2])}
    paths = client.get("/openapi.json").json()["paths"]
    post = paths["/recognize"]["post"]
    known = {int(status) for status in post["responses"]} - {200, 500}
    assert known <= told
    for parameter in post["parameters"]:
        assert f"`{parameter['name']}`" in TEXT


def test_every_option_that_is_named_exists() -> None:
    from tsm_ref.serve.__main__ import parser

    there = {option for action in parser()._actions for option in action.option_strings}
    prose = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL).replace("infer --", "infer __")
    assert set(re.findall(r"(--[a-z][a-z-]+)", prose)) <= there


def test_the_image_is_built_from_what_is_there() -> None:
    from tsm_ref.serve.__main__ import parser

    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists(), name
            assert f"!{name}" in ignored, name
    command = json.loads(re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)[0])
    assert command[0] == "serve"
    options = parser().parse_args(command[1:])
    assert options.isolate
    assert re.search(r"^USER [1-9]\d*$", text, re.MULTILINE), "no administrator"
    extras = re.findall(r"\[([a-z,]+)\]\"", text)[0].split(",")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)
