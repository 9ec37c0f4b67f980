"""`gold.json`: the cases of `scenario.py` and what the specification made of them.

``python -m tests.conformance.eels.gold`` writes the file again, after a change of the scenario or of a contract.

The file holds ``{"engine", "cases": [{"name", "labels", "input", "output"}, ...]}``: input and output are documents as
`runner.py` describes them, and ``labels`` says what each transaction is there for, in the order of the output.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.eels.engine import EelsEngine
from tests.conformance.eels.results import Result, parse
from tests.conformance.eels.scenario import cases
from tests.conformance.eels.script import Case

GOLD = Path(__file__).resolve().with_name("gold.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldCase:
    """A case with its expected result."""

    case: Case
    expected: Result


def load() -> tuple[GoldCase, ...]:
    """Read the committed file."""
    return tuple(
        GoldCase(
            case=Case(name=entry["name"], labels=tuple(entry["labels"]), document=entry["input"]),
            expected=parse(entry["output"]),
        )
        for entry in json.loads(GOLD.read_text())["cases"]
    )


def documents(engine: EelsEngine) -> dict[str, Any]:
    """Run all cases; returns what the file is to hold."""
    entries = [
        {
            "name": case.name,
            "labels": list(case.labels),
            "input": case.document,
            "output": engine.run_document(case.document),
        }
        for case in cases()
    ]
    return {"engine": "ethereum-execution 2.20.0, prague", "cases": entries}


def text(document: dict[str, Any]) -> str:
    """The file's bytes: one space of indentation, so that a change is a readable difference."""
    return json.dumps(document, indent=1) + "\n"


if __name__ == "__main__":
    GOLD.write_text(text(documents(EelsEngine())))
