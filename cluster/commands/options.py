"""Options that several commands share, and the configuration that follows from them."""

import inspect
from collections.abc import Callable, Mapping
from enum import Enum, auto
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from cluster.config import FILE, Config, load
from cluster.supervisor import running
from schemas.errors import ConfigurationError

F = TypeVar("F", bound=Callable[..., Any])


class Live(Enum):
    """What a command has to do with what runs on the data directory."""

    IGNORED = auto()
    USED = auto()
    """Its settings are used if something runs."""
    NEEDED = auto()
    """It has to run, or a cluster has to be named."""


class _Setting(NamedTuple):
    key: str
    kind: Any
    help: str


_PATH = click.Path(path_type=Path)
_SHARED: Mapping[str, _Setting] = {
    "data": _Setting("cluster.data", _PATH, "Directory of all data."),
    "kafka": _Setting("kafka.bootstrap", str, "HOST:PORT,… of an existing cluster instead of the embedded broker."),
    "prefix": _Setting("kafka.prefix", str, "Prefix of all topics."),
}
_OPTIONAL: Mapping[str, _Setting] = {
    "executors": _Setting("cluster.executors", int, "Executor processes."),
    "shards": _Setting("cluster.shards", int, "State shards, M (fixed once the log has begun)."),
    "partitions": _Setting("cluster.partitions", int, "Partitions of transactions, N (fixed once the log has begun)."),
    "genesis": _Setting("cluster.genesis", _PATH, "Genesis file in geth's format."),
    "host": _Setting("gateway.host", str, "Address of the Ethereum JSON-RPC."),
    "port": _Setting("gateway.port", int, "Port of the Ethereum JSON-RPC."),
    "history_minutes": _Setting("cluster.history_minutes", int, "How long replaced values are kept; 0 for ever."),
}


def configured(*names: str, live: Live = Live.IGNORED) -> Callable[[F], F]:
    """Give a command its configuration: `config` first, and `file` if it asks for it.

    Parameters
    ----------
    names
        Settings that are options of this command, besides those that all commands have.
    live
        Whether what runs on the data directory tells its settings.
    """
    settings = {**{name: _OPTIONAL[name] for name in names}, **_SHARED}

    def decorate(function: F) -> F:
        wants_file = "file" in inspect.signature(function).parameters

        @wraps(function)
        def command(config_file: Path | None, **rest: Any) -> Any:
            flags = {setting.key: rest.pop(name) for name, setting in settings.items()}
            config = load(config_file, flags=flags)
            if live is not Live.IGNORED and not config.kafka.bootstrap:
                config = load(config_file, flags=flags, found=_found(config))
                if live is Live.NEEDED and not config.kafka.bootstrap:
                    raise ConfigurationError(
                        f"nothing runs on {config.cluster.data.absolute()}: start it with 'parsec up', or name its "
                        "directory with --data, or a cluster with --kafka")
            if wants_file:
                rest["file"] = FILE.absolute() if config_file is None and FILE.exists() else config_file
            return function(config, **rest)

        wrapped: Any = command
        for name, setting in reversed(settings.items()):
            option = f"--{name.replace('_', '-')}"
            wrapped = click.option(option, name, type=setting.kind, help=setting.help)(wrapped)
        decorated: F = click.option("--config", "config_file", type=_PATH, help="Configuration file (TOML).")(wrapped)
        return decorated

    return decorate


def _found(config: Config) -> dict[str, Any]:
    """What runs on the data directory, by dotted keys. Secrets aren't in it: they stay where they were given."""
    return {
        f"{section}.{name}": value
        for section, entries in running(config.cluster.data).items() for name, value in entries.items()
        if value not in (None, "") and not isinstance(value, Mapping)}


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
"""For every command that prints results."""
