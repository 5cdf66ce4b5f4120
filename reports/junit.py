"""The cells as JUnit XML, one test case each, in one suite a scenario."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from gradparity.adapters.outcome import printable
from gradparity.reference.verdict import Verdict
from gradparity.reports import story
from gradparity.reports.cell import Cell
from gradparity.reports.results import Results

ELEMENTS = {
    Verdict.WRONG: "failure",
    Verdict.SUSPECT: "failure",
    Verdict.CRASHED: "error",
    Verdict.TIMED_OUT: "error",
    Verdict.UNSUPPORTED: "skipped",
    Verdict.NOT_GIVEN: "skipped",
}


def render(results: Results) -> str:
    """Return the document. A suspect cell that does not fail the run has passed, as have declared and known ones."""
    root = ET.Element("testsuites", _totals(results, results.cells), name="gradparity")
    for scenario in results.scenario_names:
        cells = [cell for cell in results.cells if cell.scenario == scenario]
        suite = ET.SubElement(
            root, "testsuite", _totals(results, cells), name=printable(scenario), timestamp=results.info.started
        )
        for cell in cells:
            _case(suite, results, cell)
    if results.lost:
        lost = ET.SubElement(root, "testsuite", name="lost", tests="1", failures="0", errors="1", skipped="0", time="0")
        case = ET.SubElement(lost, "testcase", classname="gradparity", name="results", time="0")
        ET.SubElement(case, "error", message="the results are not whole").text = "\n".join(map(printable, results.lost))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _element(results: Results, cell: Cell) -> str | None:
    passed = cell.verdict is Verdict.SUSPECT and not results.fails(cell)
    return None if passed else ELEMENTS.get(cell.verdict)


def _totals(results: Results, cells: list[Cell]) -> dict[str, str]:
    elements = [_element(results, cell) for cell in cells]
    return {
        "tests": str(len(cells)),
        "failures": str(elements.count("failure")),
        "errors": str(elements.count("error")),
        "skipped": str(elements.count("skipped")),
        "time": f"{sum(cell.seconds for cell in cells):.3f}",
    }


def _case(suite: ET.Element, results: Results, cell: Cell) -> None:
    name = f"{cell.scenario}-{cell.dtype}-{cell.engine}"
    case = ET.SubElement(
        suite,
        "testcase",
        classname=printable(f"gradparity.{cell.scenario}"),
        name=printable(name),
        time=f"{cell.seconds:.3f}",
    )
    explained = [f"{label}: {sentence}" for label, sentence in story.explain(cell)]
    element = _element(results, cell)
    if element is not None:
        outcome = ET.SubElement(case, element, type=str(cell.verdict), message=_message(cell, explained))
        outcome.text = printable("\n".join([*explained, cell.log]), 60)
    elif cell.verdict is not Verdict.WITHIN:
        reasons = [f"{cell.verdict}: {name}: {reason}" for name, reason in cell.reasons.items()]
        ET.SubElement(case, "system-out").text = printable("\n".join([*reasons, *explained]), 60)


def _message(cell: Cell, explained: list[str]) -> str:
    return printable("; ".join(explained[:2]) or str(cell.verdict)).replace("\n", " ")
