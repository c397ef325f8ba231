"""JUnit XML from a report, for the machines that collect tests."""

from typing import Any
from xml.etree import ElementTree

from tsm_ref.system.terminal import printable


def junit(report: dict[str, Any]) -> str:
    """The report as JUnit XML: a suite per level, a test per case.

    An unsupported MUST case is a failure, as it is in the verdict; other gaps are skips that say
    why.
    """
    name = _clean(report["testee"]["name"])
    root = ElementTree.Element("testsuites", name=f"tsm-conformance: {name}")
    for level in report["counts"]:
        cases = [c for c in report["cases"] if c["level"] == level]
        suite = ElementTree.SubElement(root, "testsuite", name=level, tests=str(len(cases)))
        failures = skipped = 0
        for case in cases:
            element = ElementTree.SubElement(
                suite, "testcase", classname=level, name=case["id"], time=f"{case['seconds']:.4f}"
            )
            if _fails(case):
                failures += 1
                text = "\n".join(
                    filter(None, [case["message"], *case["diagnosis"], case["reproduce"]])
                )
                failure = ElementTree.SubElement(
                    element, "failure", message=_clean(case["message"])
                )
                failure.text = _clean(text)
            elif case["outcome"] != "passed":
                skipped += 1
                why = _clean(f"{case['outcome']}: {case['message']}")
                ElementTree.SubElement(element, "skipped", message=why)
        suite.set("failures", str(failures))
        suite.set("skipped", str(skipped))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _fails(case: dict[str, Any]) -> bool:
    missing = case["requirement"] == "MUST" and case["outcome"] in ("unsupported", "skipped")
    return case["outcome"] == "failed" or missing


def _clean(text: str) -> str:
    """Text in which what XML cannot hold is escaped."""
    return "".join(c if c in "\n\t" else printable(c) for c in text)
