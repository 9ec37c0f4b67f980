"""State tests in files: one case after the other, as they are read.

A ``.json`` file is one object with a case under each name. A ``.jsonl`` file has a case in each line, as an array of
name and case, or as an object with one name; it may be of any size, since only a line is held at a time. Both may be
compressed by gzip, then with ``.gz`` at the end of the name.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SUFFIXES: Final = (".json", ".json.gz", ".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case as a file has it."""

    file: str
    name: str
    document: Any
    """Whatever stands under the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A file, or a line of one, that can't be read."""

    file: str
    name: str
    """The line; empty for a whole file."""
    error: str


def files(paths: Sequence[Path]) -> Iterator[Path | Fault]:
    """The files that are named, and those in the directories that are; hidden ones aren't looked at."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(
            each for each in path.rglob("*")
            if each.name.endswith(SUFFIXES) and each.is_file()
            and not any(part.startswith(".") for part in each.relative_to(path).parts))
        if not found:
            yield Fault(file=str(path), name="", error=f"no file in this directory ends with {', '.join(SUFFIXES)}")
        yield from found


def cases(path: Path) -> Iterator[Case | Fault]:
    """The cases of a file. What can't be read is a fault, and the rest goes on."""
    file = str(path)
    if not path.name.endswith(SUFFIXES):
        yield Fault(file=file, name="", error=f"the name ends with none of {', '.join(SUFFIXES)}")
        return
    lined = path.name.endswith((".jsonl", ".jsonl.gz"))
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as content:
            if lined:
                for number, line in enumerate(content, 1):
                    if line.strip():
                        yield from _line(file, f"line {number}", line)
            else:
                yield from _whole(file, content.read())
    except (OSError, EOFError, zlib.error) as exc:
        yield Fault(file=file, name="", error=f"can't be read: {exc}")


def _line(file: str, name: str, line: bytes) -> Iterator[Case | Fault]:
    document = _parsed(file, name, line)
    if isinstance(document, Fault):
        yield document
    elif isinstance(document, list) and len(document) == 2 and isinstance(document[0], str):
        yield Case(file=file, name=document[0], document=document[1])
    elif isinstance(document, dict) and document:
        yield from (Case(file=file, name=each, document=case) for each, case in document.items())
    else:
        yield Fault(file=file, name=name, error="neither an array of name and case nor an object with a case")


def _whole(file: str, content: bytes) -> Iterator[Case | Fault]:
    document = _parsed(file, "", content)
    if isinstance(document, Fault):
        yield document
    elif isinstance(document, dict) and document:
        yield from (Case(file=file, name=each, document=case) for each, case in document.items())
    else:
        yield Fault(file=file, name="", error="no object with a case under each name")


def _parsed(file: str, name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        return Fault(file=file, name=name, error=f"not JSON: {exc}")
