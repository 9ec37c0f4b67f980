"""``parsec config``: the settings in force."""

import json
from typing import Any

import click

from cluster.config import Config

from .options import Live, configured, json_option
from .printing import print_json


@click.command
@configured(
    "executors", "shards", "partitions", "genesis", "host", "port", "history_minutes", live=Live.USED)
@json_option
def config(config: Config, as_json: bool) -> None:
    """Print the settings in force, as a configuration file; secrets are left out."""
    shown = config.shown()
    if as_json:
        print_json(shown)
        return
    click.echo("\n".join(_toml(shown)))


def _toml(sections: dict[str, dict[str, Any]]) -> list[str]:
    """The lines of a TOML file; what isn't set is left out."""
    lines: list[str] = []
    for section, entries in sections.items():
        tables = {name: value for name, value in entries.items() if isinstance(value, dict)}
        lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
        # Strings, numbers and booleans are written alike in JSON and TOML.
        plain = {name: value for name, value in entries.items() if name not in tables and value is not None}
        lines += [f"{name} = {json.dumps(value)}" for name, value in plain.items()]
        for name, table in tables.items():
            if table:
                lines += ["", f"[{section}.{name}]"]
                lines += [f"{json.dumps(key)} = {json.dumps(text)}" for key, text in table.items()]
    return lines
