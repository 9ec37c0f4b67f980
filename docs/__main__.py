"""``python -m docs``: writes those parts of the documentation that follow from the code.

`topics.md` and `state-machines.md` are written as a whole, in other documents the parts between
``<!-- generated: NAME -->`` and ``<!-- end -->``; `BLOCKS` has the names. With ``--check`` nothing is written: the exit
status is 1 if anything differs.
"""

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, get_type_hints

from cluster import config
from cluster.cli import COMMANDS
from cluster.commands import options
from cluster.config import Config, variable_name
from cluster.kafka.topics import FOREVER_MS, topic_specs
from executors import engine, gas
from executors.lane import Stage
from gateway.errors import CODES, INTERNAL
from gateway.methods import METHODS, REQUIRED
from ingest import sequencer
from schemas import genesis, rules
from schemas.codec import RECORDS, rabin, schema_text
from schemas.rules import Rules
from schemas.topics import DEFAULT_PREFIX, TopicName

HERE: Final = Path(__file__).parent
WRITTEN: Final = "<!-- Written by `make docs`. Change the code, not this file. -->"

WRITERS: Final[Mapping[TopicName, tuple[str, str]]] = {
    TopicName.TRANSACTIONS: ("clients, gateway", "executors, gateway, audit"),
    TopicName.CARRIES: ("executors", "executors, audit"),
    TopicName.EPOCHS: ("sequencers", "everyone"),
    TopicName.MEMBERS: ("executors", "sequencers"),
    TopicName.PREPARES: ("executors", "shards, audit"),
    TopicName.VOTES: ("shards", "executors, sequencers; everyone for the shards' addresses"),
    TopicName.OUTCOMES: ("executors", "sequencers"),
    TopicName.RECEIPTS: ("shards", "subscribers, gateway, audit"),
    TopicName.DEADLETTERS: ("executors", "operators"),
}
"""Who writes and who reads a topic."""

PARTITIONS: Final = {
    TopicName.TRANSACTIONS: "N", TopicName.CARRIES: "N", TopicName.PREPARES: "M", TopicName.RECEIPTS: "M"}
"""The others have one."""


# ---- topics.md --------------------------------------------------------------------------------------------------


def topics_document() -> str:
    """All topics, the records on them, and their fields."""
    specs = dict(zip(TopicName, topic_specs("", 1, 1, replication=3), strict=True))
    lines = [
        WRITTEN, "# Topics and records", "",
        f"Names carry a prefix, `{DEFAULT_PREFIX}` by default. N is the number of partitions of `transactions`,",
        "M the number of shards.",
        "A record is an Avro single object: `C3 01`, the fingerprint of its schema (CRC-64-AVRO, 8 bytes), the body.",
        "`parsec schemas NAME` prints a schema.", "",
        "| topic | partitions | written by | read by | kept | records |", "| --- | --- | --- | --- | --- | --- |"]
    on_topic = _records_by_topic()
    for name in TopicName:
        writers, readers = WRITERS[name]
        kept = "for ever" if specs[name].retention_ms == FOREVER_MS else "`kafka.kept_hours`"
        records = ", ".join(f"[{kind.__name__}](#{kind.__name__.lower()})" for kind in on_topic[name])
        lines.append(f"| `{name}` | {PARTITIONS.get(name, '1')} | {writers} | {readers} | {kept} | {records} |")
    named: set[str] = set()
    for name in TopicName:
        lines += ["", f"## `{name}`"]
        for kind in on_topic[name]:
            lines += _record_section(kind, named)
    lines += ["", "## Stored and served"]
    lines += ["These are on no topic: a shard stores the first, its read service speaks the others."]
    for kind in RECORDS:
        if all(kind not in kinds for kinds in on_topic.values()):
            lines += _record_section(kind, named)
    return "\n".join(lines) + "\n"


def _records_by_topic() -> dict[TopicName, list[type]]:
    """The records on each topic, as their docstrings say."""
    found: dict[TopicName, list[type]] = {name: [] for name in TopicName}
    for kind in RECORDS:
        match = re.match(r"`(\w+)`:", kind.__doc__ or "")
        if match:
            found[TopicName(match[1])].append(kind)
    return found


def _record_section(kind: type, named: set[str]) -> list[str]:
    schema = json.loads(schema_text(kind))
    head = f"{schema['doc']} Fingerprint `{rabin(schema).hex()}`."
    lines = ["", f"### {schema['name']}", head, *_field_table(schema)]
    for part in _parts(schema):
        if part["name"] not in named:
            named.add(part["name"])
            lines += ["", f"#### {part['name']}", part.get("doc", ""), *_field_table(part)]
        else:
            lines += ["", f"{part['name']}: see above."]
    return lines


def _field_table(schema: Mapping[str, Any]) -> list[str]:
    rows = [(each["name"], _type(each["type"]), _cell(each.get("doc", ""))) for each in schema["fields"]]
    lines = ["", "| field | type | meaning |", "| --- | --- | --- |"]
    return lines + [f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in rows]


def _type(avro: Any) -> str:
    """A type as people write it."""
    if isinstance(avro, list):
        (some,) = [each for each in avro if each != "null"]
        return f"{_type(some)} or null" if "null" in avro else _type(some)
    if isinstance(avro, dict):
        if avro["type"] == "array":
            return f"list of {_type(avro['items'])}"
        return str(avro["name"] if avro["type"] == "record" else avro["type"])
    return str(avro)


def _parts(avro: Any) -> Iterator[Mapping[str, Any]]:
    """The records within a record."""
    for each in avro["fields"]:
        yield from _named(each["type"])


def _named(avro: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(avro, list):
        for some in avro:
            yield from _named(some)
    elif isinstance(avro, dict) and avro["type"] == "array":
        yield from _named(avro["items"])
    elif isinstance(avro, dict) and avro["type"] == "record":
        yield avro
        yield from _parts(avro)


# ---- state-machines.md ------------------------------------------------------------------------------------------


def stages() -> dict[Stage, tuple[str, tuple[Stage, ...]]]:
    """For each stage of a lane what its function says that it does, and the stages that it may return."""
    found: dict[Stage, tuple[str, tuple[Stage, ...]]] = {}
    for stage, function in engine._STAGES.items():
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        returned = {
            Stage[node.attr]
            for back in ast.walk(tree) if isinstance(back, ast.Return) and back.value is not None
            for node in ast.walk(back.value)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Stage"}
        if any(isinstance(node, ast.Attribute) and node.attr == "_asks" for node in ast.walk(tree)):
            returned.add(stage)  # it ends with a request for values, and is entered again
        found[stage] = inspect.getdoc(function) or "", tuple(each for each in Stage if each in returned)
    return found


def machines_document() -> str:
    """The stages of a lane, drawn from the table in `executors.engine`."""
    table = stages()
    lines = [
        WRITTEN, "# The stages of a lane", "",
        "An executor runs its partitions as one lane per epoch (`executors/lane.py`, `executors/engine.py`). A lane",
        "begins at `FETCH` when a manifest names its attempt, and goes through the stages in order, never back.",
        "*Waits* means for records, for values that a shard has to send, or for acknowledgements of the broker.",
        "An exclusion ends the lane wherever it is, and the executor joins anew.", "",
        "```mermaid", "stateDiagram-v2", f"    [*] --> {next(iter(Stage)).name}"]
    for stage, (_, after) in table.items():
        lines += [f"    {stage.name} --> {each.name}{': waits' if each is stage else ''}" for each in after]
    lines += ["    DONE --> [*]", "```", "", "| stage | what it does | goes on to |", "| --- | --- | --- |"]
    for stage, (does, after) in table.items():
        names = ", ".join(f"`{each.name}`" for each in after if each is not stage)
        lines.append(f"| `{stage.name}` | {_cell(does)} | {names} |")
    lines.append("| `DONE` | Nothing more: the outcome is written, and the close will end the lane. | |")
    return "\n".join(lines) + "\n"


# ---- parts of other documents -----------------------------------------------------------------------------------


def settings_table() -> str:
    """All settings of `cluster.config`."""
    described = _attribute_docs(inspect.getsource(config))
    pace = _attribute_docs(inspect.getsource(sequencer)).get("Pace", {})
    helps = {setting.key: setting.help for setting in (*options._SHARED.values(), *options._OPTIONAL.values())}
    lines = ["| setting | default | environment | meaning |", "| --- | --- | --- | --- |"]
    for section, kind in get_type_hints(Config).items():
        if not isinstance(kind, type) or not is_dataclass(kind):
            continue
        for item in fields(kind):
            key = f"{section}.{item.name}"
            meaning = described.get(kind.__name__, {}).get(item.name) or helps.get(key)
            meaning = meaning or (pace.get(item.name) if section == "pace" else None) or _OTHERWISE.get(key, "")
            default = item.default if item.default_factory is MISSING else item.default_factory()
            text = str(default).lower() if isinstance(default, bool) else str(default)
            shown = "" if default in (None, "", {}) else f"`{text}`"
            lines.append(f"| `{key}` | {shown} | `{variable_name(key)}` | {_cell(meaning)} |")
    return "\n".join(lines)


_OTHERWISE: Final = {
    "cluster.sequencers": "Sequencer processes; all but the first are standbys.",
    "gateway.enabled": "Whether `parsec up` runs a gateway.",
}
"""What no line of code says."""


def rules_table() -> str:
    """All rules, and where a genesis file has them."""
    described = _attribute_docs(inspect.getsource(rules))["Rules"] | _RULES
    lines = ["| rule | in the genesis file | default | meaning |", "| --- | --- | --- | --- |"]
    for item in fields(Rules):
        where = genesis._ELSEWHERE.get(item.name) or genesis._ELSEWHERE.get(genesis._camel(item.name))
        place = where or f"config.parsec.{genesis._camel(item.name)}"
        default = f"0x{item.default.hex()}" if isinstance(item.default, bytes) else f"{item.default}"
        lines.append(f"| `{item.name}` | `{place}` | `{default}` | {_cell(described.get(item.name, ''))} |")
    return "\n".join(lines)


_RULES: Final = {
    "chain_id": "What transactions are signed for. Required in a genesis file.",
    "fork": "The rules of the EVM. There is no other.",
}


def commands_table() -> str:
    """The commands."""
    lines = ["| command | what for |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `parsec {name}` | {_cell(entry.help)} |" for name, entry in COMMANDS.items())])


def methods_table() -> str:
    """The methods of the JSON-RPC."""
    lines = ["| method | parameters | result |", "| --- | --- | --- |"]
    for method in METHODS.values():
        names = [f"`{each.name}`" + ("" if each.default is REQUIRED else "?") for each in method.parameters]
        lines.append(f"| `{method.name}` | {', '.join(names)} | {_cell(method.description)} |")
    return "\n".join(lines)


def codes_table() -> str:
    """The error codes of the JSON-RPC."""
    lines = ["| code | when |", "| --- | --- |"]
    lines += [f"| {code} | {_cell((inspect.getdoc(kind) or '').splitlines()[0])} |" for kind, code in CODES]
    return "\n".join([*lines, f"| {INTERNAL} | Anything else: a fault of the gateway. |"])


def gas_table() -> str:
    """What contracts of machines beside the EVM pay."""
    lines = ["| constant | gas | for |", "| --- | --- | --- |"]
    return "\n".join([*lines, *_constants("gas")])


def gas_limits_table() -> str:
    """What they are held to besides gas."""
    lines = ["| constant | limit | of what |", "| --- | --- | --- |"]
    return "\n".join([*lines, *_constants("limit")])


def _constants(kind: str) -> Iterator[str]:
    """Rows for the constants of the gas schedule, or for its limits."""
    for name, text in _described(ast.parse(inspect.getsource(gas)).body).items():
        value = getattr(gas, name)
        shown = ", ".join(f"{of}: {each:,}" for of, each in value.items()) if isinstance(value, dict) else f"{value:,}"
        if name.endswith("_MAX") == (kind == "limit"):
            yield f"| `{name}` | {shown} | {_cell(text)} |"


BLOCKS: Final[Mapping[str, Callable[[], str]]] = {
    "settings": settings_table,
    "rules": rules_table,
    "commands": commands_table,
    "methods": methods_table,
    "codes": codes_table,
    "gas": gas_table,
    "gas_limits": gas_limits_table,
}
"""The generated parts by name."""


def _attribute_docs(source: str) -> dict[str, dict[str, str]]:
    """The strings under the attributes of all classes of a module."""
    return {kind.name: _described(kind.body) for kind in ast.parse(source).body if isinstance(kind, ast.ClassDef)}


def _described(body: list[ast.stmt]) -> dict[str, str]:
    """The strings under the assignments of a class or module."""
    found = {}
    for item, below in pairwise(body):
        text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and isinstance(text, str):
            found[item.target.id] = inspect.cleandoc(text)
    return found


def _cell(text: str) -> str:
    """A text in one cell of a table."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


# ---- writing ----------------------------------------------------------------------------------------------------


def documents() -> dict[Path, str]:
    """Every document that the code has a part in, as it should be."""
    found = {HERE / "topics.md": topics_document(), HERE / "state-machines.md": machines_document()}
    for path in sorted(HERE.rglob("*.md")):
        if path not in found:
            text = path.read_text(encoding="utf-8")
            made = re.sub(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", _made, text, flags=re.DOTALL)
            if "<!-- generated:" in text:
                found[path] = made
    return found


def _made(part: "re.Match[str]") -> str:
    return f"{part[1]}{BLOCKS[part[2]]()}\n{part[3]}"


def main(arguments: list[str]) -> int:
    """Write what differs, or only say so."""
    differing = [
        (path, text) for path, text in documents().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path, text in differing:
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        print(path.relative_to(HERE.parent))
    return int("--check" in arguments and bool(differing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
