"""The report: the JSON is what its schema says, and the XML and the page say the same."""

import json
import re
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
from conformance.reports.comparison import compare, read_report
from conformance.testees.in_process import InProcess
from tsm_ref.errors import UsageError, WriteError


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
    assert text.count("<svg") == text.count('aria-label="what') + text.count('role="group"')
    assert text.count("<pre") == text.count('<pre tabindex="0"')
    assert "opacity" not in text
    assert all(case["id"] in text for case in report["cases"])


def test_a_kept_example_is_not_what_a_mistake_looks_like(report, tmp_path):
    case = next(c for c in report["cases"] if c["id"] == "L0.identity.convolution")
    kept = case | {"outcome": "failed", "diagnosis": ["the smallest failing example is kept in x"]}
    write(report | {"cases": [kept], "mistakes": []}, tmp_path)
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


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def themes():
    """The colours of the page by name, in light and in dark."""
    css = (FOLDER.parents[1] / "reports" / "page.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    found = []
    for block in (light, dark):
        pairs = re.findall(r"--([\w-]+): #([0-9a-f]{3,6});", block)
        found.append({k: v if len(v) == 6 else "".join(2 * c for c in v) for k, v in pairs})
    return found


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [("ink", "card"), ("ink", "ground"), ("ink", "none"), ("soft", "card"), ("soft", "ground"),
     ("soft", "good-soft"), ("soft", "none"), ("good", "good-soft"), ("good", "ground"),
     ("bad", "card"), ("card", "good"), ("card", "bad"), ("card", "open"), ("card", "past"),
     ("card", "future")],
)  # fmt: skip
def test_every_text_of_the_page_can_be_read(theme, text, ground):
    """The contrast of WCAG 2.2, level AA."""
    high, low = sorted((luminance(theme[text]), luminance(theme[ground])), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_a_comparison_names_what_got_worse_and_what_got_better(report):
    wrong = next(c for c in report["cases"] if c["outcome"] == "failed")
    right = {**wrong, "outcome": "passed", "message": ""}
    cases = [right if c is wrong else c for c in report["cases"]]
    lines, worse = compare(report, report | {"cases": cases})
    assert (lines[1], worse) == (f"better: {wrong['id']} was failed, is passed", False)
    lines, worse = compare(report | {"cases": cases}, report)
    assert worse
    assert lines[1].startswith(f"worse: {wrong['id']} was passed, is failed: at [")
    assert compare(report, report)[0][1:] == ["no case differs"]


def test_what_is_no_report_cannot_be_compared(tmp_path):
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(UsageError, match=r"is no report: `format` is missing"):
        read_report(tmp_path)
    with pytest.raises(UsageError, match="is no report"):
        read_report(tmp_path / "nowhere")
