"""One configuration for everything, read once: built-in values, then a TOML file, then the environment, then flags.

A key ``kafka.bootstrap`` is ``[kafka] bootstrap`` in the file and ``PARSEC_KAFKA_BOOTSTRAP`` in the environment. All
that is wrong is reported at once. What decides a result isn't here but in the genesis file.
"""

import os
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from schemas.chain import Tip
from schemas.errors import ConfigurationError, ParsecError
from schemas.genesis import Genesis, default_genesis
from schemas.topics import DEFAULT_PREFIX
from streams.kafka import KafkaSettings

ENVIRONMENT = "PARSEC_"
SECRETS = ("password", "secret", "key")
"""A setting with one of these in its name is not printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConfig:
    """The log."""

    bootstrap: str = ""
    """``host:port,…`` of a cluster; empty for the embedded broker."""
    port: int = 9092
    """Of the embedded broker; another one is taken if it isn't free."""
    prefix: str = DEFAULT_PREFIX
    replication: int = 0
    """Copies of each topic; 0 for three, or as many as there are brokers."""
    kept_hours: int = 168
    """How long votes and outcomes are kept."""
    security: Mapping[str, str] = field(default_factory=dict)
    """SASL and TLS options of librdkafka, passed to every client as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """How much of everything. N and M belong to the log: they cannot change later."""

    executors: int = 2
    shards: int = 2
    partitions: int = 4
    sequencers: int = 1
    data: Path = Path(".parsec")
    """Directory of all data."""
    genesis: Path | None = None
    """A genesis file; without one, the built-in development chain."""
    host: str = "127.0.0.1"
    """Where the read services listen."""
    advertised: str = ""
    """Host under which others reach them, if it is another."""
    history_minutes: int = 60
    """How long replaced values are kept; 0 keeps them for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceConfig:
    """How epochs are cut."""

    interval_ms: int = 10
    lane_transactions_max: int = 256
    lane_carries_max: int = 256
    timeout_ms_min: int = 2_000
    patience_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """The Ethereum JSON-RPC."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 8545


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything."""

    kafka: KafkaConfig = field(default_factory=KafkaConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    pace: PaceConfig = field(default_factory=PaceConfig)
    gateway: GatewayConfig = field(default_factory=GatewayConfig)

    @property
    def settings(self) -> KafkaSettings:
        """What clients of Kafka need."""
        return KafkaSettings(
            bootstrap=self.kafka.bootstrap, prefix=self.kafka.prefix, security=dict(self.kafka.security))

    def read_genesis(self) -> Genesis:
        """The genesis.

        Raises
        ------
        ConfigurationError
            The file isn't there or isn't a genesis.
        """
        if self.cluster.genesis is None:
            return Genesis.parse(default_genesis())
        try:
            return Genesis.parse(self.cluster.genesis.read_bytes())
        except OSError as exc:
            raise ConfigurationError(f"genesis file {self.cluster.genesis}: {exc.strerror}") from exc

    def start(self, genesis: Genesis) -> Tip:
        """The tip before the first record of the log."""
        return Tip.genesis(
            genesis.hash, self.cluster.partitions, self.cluster.shards, genesis.rules, genesis.timestamp_ms)

    def shown(self) -> dict[str, Any]:
        """All settings for printing, secrets left out."""
        return {
            section.name: {
                item.name: _shown(item.name, getattr(getattr(self, section.name), item.name))
                for item in fields(getattr(self, section.name))}
            for section in fields(self)}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: "***" if any(s in key.lower() for s in SECRETS) else entry for key, entry in value.items()}
    return str(value) if isinstance(value, Path) else value


def load(
    file: Path | None, environment: Mapping[str, str] = os.environ, flags: Mapping[str, Any] | None = None
) -> Config:
    """The configuration from all sources.

    Parameters
    ----------
    file
        A TOML file; without one ``parsec.toml`` in the working directory, if it is there.
    flags
        Values by their dotted keys; None for those that weren't given.

    Raises
    ------
    ConfigurationError
        Names every key that is wrong, with its source.
    """
    wrong: list[str] = []
    given: dict[str, tuple[Any, str]] = {}
    for key, value in _from_file(file, wrong).items():
        given[key] = value, f"{file or 'parsec.toml'}"
    known = _keys()
    variables = {ENVIRONMENT + key.replace(".", "_").upper(): key for key in known}
    for name, key in variables.items():
        if name in environment:
            given[key] = environment[name], f"environment variable {name}"
    for key, value in (flags or {}).items():
        if value is not None:
            given[key] = value, f"--{key.rpartition('.')[2].replace('_', '-')}"
    values: dict[str, dict[str, Any]] = {}
    for key, (value, source) in given.items():
        if key not in known:
            wrong.append(f"{source}: there is no setting {key!r}")
            continue
        try:
            section, _, name = key.partition(".")
            values.setdefault(section, {})[name] = _converted(value, known[key])
        except ValueError as exc:
            wrong.append(f"{source}: {key} = {value!r}: {exc}")
    config = Config()
    for section, changes in values.items():
        config = replace(config, **{section: replace(getattr(config, section), **changes)})
    wrong += _out_of_range(config)
    if wrong:
        raise ConfigurationError("the configuration is wrong:\n" + "\n".join(f"  {line}" for line in wrong))
    return config


def _from_file(file: Path | None, wrong: list[str]) -> dict[str, Any]:
    path = file if file is not None else Path("parsec.toml")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if file is not None:
            wrong.append(f"{file}: there is no such file")
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        wrong.append(f"{path}: {exc}")
        return {}
    found: dict[str, Any] = {}
    for section, entries in document.items():
        if isinstance(entries, dict):
            found |= {f"{section}.{name}": value for name, value in entries.items()}
        else:
            wrong.append(f"{path}: {section} is not a section")
    return found


def _keys() -> dict[str, Any]:
    """The type of every setting by its dotted key."""
    keys: dict[str, Any] = {}
    for section, kind in get_type_hints(Config).items():
        if is_dataclass(kind):
            hints = get_type_hints(kind)
            keys |= {f"{section}.{item.name}": hints[item.name] for item in fields(kind)}
    return keys


def _converted(value: Any, kind: Any) -> Any:
    """A value in the type of its setting."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = [part for part in get_args(kind) if part is not type(None)]
    if kind is Path:
        return Path(value)
    if kind is bool and isinstance(value, str):
        if value.lower() not in ("true", "false", "1", "0"):
            raise ValueError("expected true or false")
        return value.lower() in ("true", "1")
    if kind is int and isinstance(value, str):
        return int(value)
    if get_origin(kind) is not None and isinstance(value, Mapping):
        return {str(key): str(entry) for key, entry in value.items()}
    if not isinstance(value, get_origin(kind) or kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"expected {getattr(kind, '__name__', kind)}")
    return value


_LEAST = {
    "cluster.executors": 1, "cluster.shards": 1, "cluster.partitions": 1, "cluster.sequencers": 1,
    "cluster.history_minutes": 0, "kafka.kept_hours": 1, "kafka.port": 1, "gateway.port": 1, "pace.interval_ms": 0,
    "pace.lane_transactions_max": 1, "pace.lane_carries_max": 1, "pace.timeout_ms_min": 50, "pace.patience_ms": 0,
    "kafka.replication": 0}
_MOST = {"cluster.shards": 1_024, "cluster.partitions": 4_096, "kafka.port": 65_535, "gateway.port": 65_535}


def _out_of_range(config: Config) -> list[str]:
    """What no cluster can be run with."""
    wrong = []
    for key, limit in (*_LEAST.items(), *_MOST.items()):
        section, _, name = key.partition(".")
        value = getattr(getattr(config, section), name)
        if key in _LEAST and value < _LEAST[key]:
            wrong.append(f"{key} = {value}: the least is {_LEAST[key]}")
        elif key in _MOST and value > _MOST[key]:
            wrong.append(f"{key} = {value}: the most is {limit}")
    if config.cluster.executors > config.cluster.partitions:
        wrong.append(
            f"cluster.executors = {config.cluster.executors}: more than cluster.partitions "
            f"({config.cluster.partitions}), so some would have nothing to run")
    return list(dict.fromkeys(wrong))


__all__ = ["Config", "ParsecError", "load"]
