"""The wheel holds what the command needs besides modules."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from schemas.codec import RECORDS, schema_name

ROOT = Path(__file__).parents[2]


def uv() -> str:
    """The program, from the environment of this interpreter or the path."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        pytest.skip("uv, which builds wheels, is neither beside this interpreter nor in the path")
    return found


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [uv(), "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)], capture_output=True, text=True,
        timeout=300, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_schema_is_in_it(names: set[str]) -> None:
    assert {f"schemas/avro/{schema_name(kind)}.avsc" for kind in RECORDS} <= names


def test_the_files_of_the_embedded_broker_are_in_it(names: set[str]) -> None:
    assert {"cluster/kafka/jars.txt", "cluster/kafka/log4j2.properties"} <= names


def test_what_a_lua_contract_runs_in_is_in_it(names: set[str]) -> None:
    assert {f"executors/lua/prelude/{path.name}" for path in (ROOT / "executors/lua/prelude").glob("*.lua")} <= names


def test_every_module_is_in_it_and_nothing_else_of_ours(names: set[str]) -> None:
    rooms = (
        "schemas", "streams", "ingest", "executors", "stateshards", "ledger", "gateway", "client", "conformance",
        "cluster")
    modules = {str(path.relative_to(ROOT)) for room in rooms for path in (ROOT / room).rglob("*.py")}
    assert modules <= names
    strange = {name.partition("/")[0] for name in names} - set(rooms)
    assert all(name.endswith(".dist-info") for name in strange)
