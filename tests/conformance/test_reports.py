"""The report: the JSON is what its schema says, and the XML and the page say the same."""

import json
from html.parser import HTMLParser
from xml.etree import ElementTree

import jsonschema
import pytest

from conformance.catalogue import cases_of
from conformance.exchange.schemas import FOLDER, Invalid, check, schema
from conformance.judging.results import Options
from conformance.judging.runner import run
from conformance.mutants import MUTANTS
from conformance.reports import as_report, write
from conformance.testees.in_process import InProcess
from tsm_ref.errors import WriteError


@pytest.fixture(scope="module")
def report():
    testee = InProcess(MUTANTS["direction-swapped"].make())
    return as_report(run(testee, cases_of(["L0", "S"]), Options(examples=3)))


def test_the_report_is_what_its_schema_says(report):
    jsonschema.validate(json.loads(json.dumps(report)), schema("report"))
    check("report", report)
    assert report["verdict"] == "no level"
    assert report["conforms"] is False


def test_a_failed_case_says_where_and_how_to_see_it_again(report):
    case = next(c for c in report["cases"] if c["id"] == "L0.shift.directions")
    assert case["outcome"] == "failed"
    assert case["worst"] == [0, 0, 0, 0, 0]
    assert "--case L0.shift.directions --seed 0" in case["reproduce"]
    assert case["picture"]["expected"][0] == [1, 2, 3, 4, -1]
    assert case["picture"]["actual"][0] == [-1, 0, 1, 2, 3]


def test_junit_counts_what_the_report_counts(report, tmp_path):
    paths = {path.name: path for path in write(report, tmp_path / "new")}
    root = ElementTree.parse(paths["junit.xml"]).getroot()
    failures = [e.get("name") for e in root.iter("testcase") if e.find("failure") is not None]
    expected = [c["id"] for c in report["cases"] if c["outcome"] == "failed"]
    assert sorted(failures) == sorted(expected)
    assert len(list(root.iter("testcase"))) == len(report["cases"])


class Page(HTMLParser):
    """Collects what a page asks of the network, its anchors, and whether its tags are closed."""

    VOID = frozenset({"meta", "br", "rect", "line", "circle"})

    def __init__(self):
        super().__init__()
        self.open, self.outside, self.ids, self.links = [], [], set(), set()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in self.VOID or tag == "circle":
            self.open.append(tag)
        self.ids |= {attrs["id"]} if "id" in attrs else set()
        if attrs.get("href", "").startswith("#"):
            self.links.add(attrs["href"][1:])
        elif "src" in attrs or "href" in attrs:
            self.outside.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_no_other_file(report, tmp_path):
    write(report, tmp_path)
    text = (tmp_path / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.outside == []
    assert page.links <= page.ids
    assert "http" not in text
    assert "past and future are swapped" in text
    assert all(case["id"] in text for case in report["cases"])


def test_a_kept_example_is_not_what_a_mistake_looks_like(report, tmp_path):
    case = next(c for c in report["cases"] if c["id"] == "L0.identity.convolution")
    kept = case | {"outcome": "failed", "diagnosis": ["the smallest failing example is kept in x"]}
    write(report | {"cases": [kept]}, tmp_path)
    assert "It looks like this" not in (tmp_path / "report.html").read_text()


def test_hostile_names_are_escaped(report, tmp_path):
    testee = report["testee"] | {"name": "<script>alert(1)</script>\x00"}
    write(report | {"testee": testee}, tmp_path)
    assert "<script>" not in (tmp_path / "report.html").read_text()
    ElementTree.parse(tmp_path / "junit.xml")


def test_a_folder_that_cannot_be_written_is_named(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot write the report to"):
        write(report, tmp_path / "file" / "folder")


VALUES = [
    ("run_reply", {"id": 1, "outputs": {"y": "y.npy"}}),
    ("run_reply", {"id": 1, "outputs": {}}),
    ("run_reply", {"id": -1, "outputs": {}}),
    ("run_reply", {"id": True, "outputs": {}}),
    ("run_reply", {"id": 1.0, "outputs": {}}),
    ("run_reply", {"id": 1}),
    ("run_reply", {"id": 1, "outputs": {}, "extra": 0}),
    ("run_reply", {"id": 1, "error": {"kind": "odd", "message": ""}}),
    ("run_reply", {"id": 1, "error": {"kind": "invalid"}}),
    ("run_reply", {"id": 1, "skipped": {"message": "m"}, "outputs": {}}),
    ("run_reply", []),
    ("start_reply", {"name": "x" * 201}),
    ("start_reply", {"name": ""}),
    ("start_reply", {"name": "x", "profile": None}),
    ("start_reply", {"name": "x", "capabilities": {"dtypes": ["int8"]}}),
    ("start_reply", {"name": "x", "capabilities": {"dtypes": ["float16"], "streaming": True}}),
    ("result", {"frames": [[1, 2]], "predictions": [{"index": 0, "probability": 0.5}]}),
    ("result", {"frames": [[1.5]], "predictions": []}),
    ("result", {"frames": [], "predictions": [{"index": -1, "probability": 1}]}),
]


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_our_validator_agrees_with_jsonschema(name, value):
    right = jsonschema.Draft202012Validator(schema(name)).is_valid(value)
    try:
        check(name, value)
    except Invalid:
        assert not right
    else:
        assert right


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda p: p.stem)
def test_the_schemas_are_schemas(path):
    jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))
