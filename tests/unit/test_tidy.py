"""Rules of the house that a machine can check."""

import ast
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "streams", "ingest", "executors", "stateshards", "ledger", "gateway", "conformance", "client", "cluster")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
VAGUE = {"common", "utils", "util", "helpers", "helper", "base", "manager", "misc"}
LINES_MAX = 560


def of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=of)
def test_module(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module says what it is for"
    assert path.stem not in VAGUE, "a module is named by its noun"
    assert len(text.splitlines()) <= LINES_MAX, "look for the second concept"
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)], "assert is for tests"
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and "NotImplementedError" in ast.dump(node):
            pytest.fail("something isn't implemented")


@pytest.mark.parametrize("path", MODULES, ids=of)
def test_public_names_are_described(path: Path) -> None:
    tree = ast.parse(path.read_text())
    bare = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node):
            bare.append(node.name)
    assert not bare, f"without a docstring: {bare}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for(room: str) -> None:
    tree = ast.parse((ROOT / room / "__init__.py").read_text())
    assert len(ast.get_docstring(tree) or "") > 40
    names = [target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)]
    assert "__all__" in names


def test_no_environment_is_read_at_import() -> None:
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and "os.environ" in ast.unparse(node):
                if "get" in ast.unparse(node) or "[" in ast.unparse(node):
                    pytest.fail(f"{of(path)}: {ast.unparse(node)}")


def test_no_other_distribution_claims_a_room() -> None:
    claimed = packages_distributions()
    for room in ROOMS:
        others = [name for name in claimed.get(room, []) if name != "parsec-streams"]
        assert not others, f"{others} bring a package {room!r}, too"


def test_every_distribution_file_list_names_all_rooms() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(ROOMS)
    assert set(project["tool"]["importlinter"]["root_packages"]) == set(ROOMS)
    copied = {line.split()[1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")}
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(ROOMS) <= copied & sent


def test_the_text_speaks_of_the_project_alone() -> None:
    # Spelled in pieces, so that this file does not find itself.
    forbidden = re.compile("|".join(["/wor" + "k/", r"\.\./sha" + "red/design", r"\bissue #" + r"\d", "pythonhosted" + r"\.org"]))
    for path in ROOT.rglob("*"):
        relative = path.relative_to(ROOT)
        if relative.parts[0].startswith(".") or "node_modules" in relative.parts or path.suffix not in (".py", ".md", ".toml", ".yaml", ".avsc", ".sol", ".mjs"):
            continue
        found = forbidden.search(path.read_text(errors="replace"))
        assert not found, f"{relative}: {found and found.group()}"
