"""What the documents say is compared with the code: examples, links, paths, settings, steps, generated parts."""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from cluster import cli
from cluster.config import _keys, variable_name
from docs.__main__ import BLOCKS, HERE, documents, stages
from executors.lane import Stage

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "streams", "ingest", "executors", "stateshards", "ledger", "gateway", "cluster")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "tests" / "README.md", ROOT / "bench" / "README.md"])
GENERATED = sorted(documents())
STEPS = range(1, 12)


def of(path: Path) -> str:
    return str(path.relative_to(ROOT))


EXAMPLES = [
    pytest.param(block, id=f"{of(path)}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL), 1)]


@pytest.mark.parametrize("block", EXAMPLES)
def test_an_example_compiles_and_finds_what_it_imports(block: str) -> None:
    compile(block, "example", "exec")
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)


def test_the_readme_has_an_example_of_each_use() -> None:
    blocks = "".join(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))
    for name in ("TransactionProducer", "ReceiptSubscriber", "Audit", "Web3"):
        assert f"{name}(" in blocks


@pytest.mark.parametrize("path", GENERATED, ids=of)
def test_what_is_generated_is_current(path: Path) -> None:
    assert path.read_text() == documents()[path], "run `make docs`"


def test_every_generated_part_is_used() -> None:
    text = "".join(path.read_text() for path in HERE.rglob("*.md"))
    assert set(re.findall(r"<!-- generated: (\w+) -->", text)) == set(BLOCKS)


def test_no_setting_is_without_a_meaning() -> None:
    for name in BLOCKS:
        for row in BLOCKS[name]().splitlines():
            assert not row.endswith("|  |"), row


def test_the_stages_go_from_top_to_bottom() -> None:
    order = list(Stage)
    for stage, (_, after) in stages().items():
        assert after, f"{stage} leads nowhere"
        assert all(order.index(each) >= order.index(stage) for each in after)
        assert any(order.index(each) == order.index(stage) + 1 for each in after)


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=of)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{target} is not there"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), f"{file.name} has no heading {anchor}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=of)
def test_paths_exist(path: Path) -> None:
    for name in re.findall(r"`((?:[\w.]+/)+[\w.*-]+\.(?:py|md|json|toml|avsc))`", path.read_text()):
        assert list(ROOT.glob(name)), f"{name} is not there"


@pytest.mark.parametrize("path", DOCUMENTS, ids=of)
def test_settings_exist(path: Path) -> None:
    text = path.read_text()
    for key in re.findall(r"`((?:kafka|cluster|pace|gateway)\.[a-z_]+)", text):
        module = key.split(".")[0] in ROOMS and importlib.util.find_spec(key) is not None
        assert key in _keys() or module, f"there is no setting {key}"
    known = {variable_name(key) for key in _keys()}
    for name in re.findall(r"\bPARSEC_(?:KAFKA|CLUSTER|PACE|GATEWAY)_[A-Z_]+", text):
        assert name in known, f"there is no variable {name}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=of)
def test_commands_exist(path: Path) -> None:
    text = path.read_text()
    recipes = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in re.findall(r"(?:`|^)make (\w+)", text, re.MULTILINE):
        assert name in recipes, f"make {name}"
    for name in re.findall(r"(?:`|^|bin/)parsec (?!--)(\w+)", text, re.MULTILINE):
        assert name in cli.COMMANDS, f"parsec {name}"


def test_the_steps_that_code_names_are_in_the_protocol() -> None:
    text = (HERE / "protocol.md").read_text()
    assert [int(number) for number in re.findall(r"^\*\*(\d+)\. ", text, re.MULTILINE)] == list(STEPS)
    named: set[int] = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for numbers in re.findall(r"\(steps? ([\d, and]+)\)", path.read_text()):
                named |= {int(number) for number in re.findall(r"\d+", numbers)}
    assert named, "the code names steps"
    assert named <= set(STEPS)


def test_exit_statuses() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", (HERE / "operations.md").read_text(), re.MULTILINE)
    meanings = {int(number): meaning for number, meaning in rows}
    expected = {0: "done", cli.NO: "the answer is no", cli.REFUSED: "changed first", cli.UNAVAILABLE: "nobody answers",
                cli.FAULT: "a fault", cli.INTERRUPTED: "interrupted"}
    assert meanings.keys() == expected.keys()
    assert all(expected[number] in meaning for number, meaning in meanings.items())


def test_the_glossary_is_in_order() -> None:
    words = re.findall(r"^\| ([^|]+?) \| (?!meaning|---)", (HERE / "glossary.md").read_text(), re.MULTILINE)
    words = [word for word in words if word not in ("word", "---")]
    assert words == sorted(words, key=str.lower)


@pytest.mark.parametrize("path", sorted((HERE / "adr").glob("0*.md")), ids=of)
def test_a_decision_has_its_sections(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# {path.name[:4]}: ")
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == ["Context", "Decision", "Alternatives", "Consequences", "Tests"]
    assert path.name in (HERE / "adr" / "README.md").read_text()


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "Copyright The PArSEC Streams authors" in text
