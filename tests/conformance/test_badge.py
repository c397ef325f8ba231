"""The badge, the action and the container file say what the command line says."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conformance.__main__ import main, parser
from conformance.reports.badge import endpoint, svg

ROOT = Path(__file__).resolve().parents[2]
ACTION = ".github/actions/conformance/action.yml"


@pytest.mark.parametrize("conforms", [True, False])
def test_a_badge_says_the_verdict(conforms):
    report = {"conforms": conforms, "verdict": "L3 <& more> + S"}
    tree = ElementTree.fromstring(svg(report))
    assert tree.attrib["aria-label"] == "TSM conformance: L3 <& more> + S"
    told = json.loads(endpoint(report))
    assert told["schemaVersion"] == 1
    assert (told["message"], told["color"]) == (
        report["verdict"],
        "brightgreen" if conforms else "red",
    )


def test_the_command_makes_one_of_a_report(tmp_path, capsys):
    run = ["run", "--testee", "reference", "--case", "L0.shift.clips", "--report", str(tmp_path)]
    assert main(run) == 0
    for name in ("badge.svg", "badge.json"):
        assert main(["badge", str(tmp_path), str(tmp_path / name)]) == 0
        assert "1 of 1 cases" in (tmp_path / name).read_text()
    assert main(["badge", str(tmp_path), str(tmp_path / "badge.png")]) == 2
    assert "an .svg or a .json file" in capsys.readouterr().err


@pytest.mark.parametrize("file", [ACTION, "conformance/Dockerfile"])
def test_only_commands_and_options_that_exist_are_used(file):
    text = (ROOT / file).read_text()
    told = parser().format_help()
    for verb in re.findall(r"tsm-conformance (run|badge|[a-z]+ --)", text):
        assert verb.split()[0] in told
    for option in set(re.findall(r"--(testee|level|report|profile)\b", text)):
        assert f"--{option}" in run_help()


def run_help():
    actions = parser()._subparsers._group_actions[0].choices
    return actions["run"].format_help()


def test_no_input_of_the_action_is_pasted_into_its_script():
    script = (ROOT / ACTION).read_text().split("run: |")[1]
    assert "${{" not in script.split("- name: Keep")[0]
