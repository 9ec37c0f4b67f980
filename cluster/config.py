"""One configuration for everything, read once: built-in values, then a TOML file, then the environment, then flags.

A key ``kafka.bootstrap`` is ``[kafka] bootstrap`` in the file and ``PARSEC_KAFKA_BOOTSTRAP`` in the environment, where
an empty value counts as none. All that is wrong is reported at once, each with its source. What decides a result isn't
here but in the genesis file.
"""

import json
import os
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from schemas.chain import Tip
from schemas.errors import ConfigurationError
from schemas.genesis import Genesis, default_genesis
from schemas.topics import DEFAULT_PREFIX
from streams.kafka import KafkaSettings

ENVIRONMENT = "PARSEC_"
SECRETS = ("password", "secret", "key", "jaas", "token")
"""A setting with one of these in its name is not printed."""
FILE = Path("parsec.toml")
"""Read from the working directory where no other file is named."""


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
    """SASL and TLS options of librdkafka, passed to every client as they are; a JSON object in the environment."""


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
    timeout_ms_min: int = 5_000
    patience_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """The Ethereum JSON-RPC."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 8545
    cors: str = ""
    """Origins of web pages that may call it, with commas between them; ``*`` for all."""


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
        path = self.cluster.genesis
        if path is None:
            return Genesis.parse(default_genesis())
        try:
            return Genesis.parse(path.read_bytes())
        except OSError as exc:
            raise ConfigurationError(f"genesis file {path}: {exc.strerror}") from exc
        except ConfigurationError as exc:
            raise ConfigurationError(f"{path}: {exc}") from exc

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
    if name == "kafka.security":
        return "***"
    return str(value) if isinstance(value, Path) else value


def load(
    file: Path | None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    found: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration from all sources.

    Parameters
    ----------
    file
        A TOML file; without one ``parsec.toml`` in the working directory, if it is there.
    environment
        That of the process by default.
    flags
        Values by their dotted keys; None for those that weren't given.
    found
        What a running pipeline says of itself, by dotted keys; it stands above file and environment, below flags.

    Raises
    ------
    ConfigurationError
        Names every key that is wrong, with its source.
    """
    environment = os.environ if environment is None else environment
    wrong: list[str] = []
    given: dict[str, tuple[Any, str]] = {}
    for key, value in _from_file(file, wrong).items():
        given[key] = value, str(file or FILE)
    known = _keys()
    _from_environment(environment, known, given, wrong)
    for key, value in (found or {}).items():
        given[key] = value, "what runs"
    for key, value in (flags or {}).items():
        if value is not None:
            given[key] = value, flag_name(key)
    values: dict[str, dict[str, Any]] = {}
    for key, (value, source) in given.items():
        if key not in known:
            wrong.append(f"{source}: there is no setting {key!r}{_perhaps(key, known)}")
            continue
        try:
            section, _, name = key.partition(".")
            values.setdefault(section, {})[name] = _converted(value, known[key])
        except ValueError as exc:
            wrong.append(f"{source}: {key} = {_shown(key, value)!r}: {exc}")
    config = Config()
    for section, changes in values.items():
        config = replace(config, **{section: replace(getattr(config, section), **changes)})
    if "cluster.executors" not in given and 1 <= config.cluster.partitions < config.cluster.executors:
        config = replace(config, cluster=replace(config.cluster, executors=config.cluster.partitions))
    wrong += _out_of_range(config, {key: source for key, (_, source) in given.items()})
    if wrong:
        raise ConfigurationError("the configuration is wrong:\n" + "\n".join(f"  {line}" for line in wrong))
    return config


def flag_name(key: str) -> str:
    """The flag that sets a key: ``--kafka`` for ``kafka.bootstrap``, otherwise the name of the key."""
    name = key.rpartition(".")[2]
    return "--kafka" if key == "kafka.bootstrap" else f"--{name.replace('_', '-')}"


def variable_name(key: str) -> str:
    """The environment variable that sets a key."""
    return ENVIRONMENT + key.replace(".", "_").upper()


def _from_file(file: Path | None, wrong: list[str]) -> dict[str, Any]:
    path = FILE if file is None else file
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


def _from_environment(
    environment: Mapping[str, str], known: Mapping[str, Any], given: dict[str, tuple[Any, str]], wrong: list[str]
) -> None:
    """Take what the environment sets; what looks like a setting and is none is most likely a slip."""
    variables = {variable_name(key): key for key in known}
    sections = tuple(f"{ENVIRONMENT}{section.upper()}_" for section in get_type_hints(Config))
    for name, value in environment.items():
        source = f"environment variable {name}"
        if name in variables and value:
            given[variables[name]] = value, source
        elif name.startswith(sections) and name not in variables:
            wrong.append(f"{source}: there is no such setting{_perhaps(name, variables)}")


def _perhaps(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _keys() -> dict[str, Any]:
    """The type of every setting by its dotted key."""
    keys: dict[str, Any] = {}
    for section, kind in get_type_hints(Config).items():
        if is_dataclass(kind):
            hints = get_type_hints(kind)
            keys |= {f"{section}.{item.name}": hints[item.name] for item in fields(kind)}
    return keys


_EXPECTED = {int: "an integer", str: "text", Path: "a path", Mapping: "a table of options"}


def _converted(value: Any, kind: Any) -> Any:
    """A value in the type of its setting."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) is not None:
        return _options(value)
    if kind is bool:
        if isinstance(value, str) and value.lower() in _BOOLEANS:
            return _BOOLEANS[value.lower()]
        if not isinstance(value, bool):
            raise ValueError("expected true or false")
        return value
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(value)
    if kind is int and isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise ValueError("expected an integer") from None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"expected {_EXPECTED[kind]}")
    return value


_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _options(value: Any) -> dict[str, str]:
    """A table of options: of the file, or a JSON object. ``sasl.username`` is nested in TOML unless it is quoted."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("expected a JSON object") from None
    if not isinstance(value, Mapping):
        raise ValueError("expected a table of options")  # noqa: TRY004 - as for every other setting
    flat: dict[str, str] = {}
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            flat |= {f"{name}.{inner}": text for inner, text in _options(entry).items()}
        else:
            flat[str(name)] = str(entry).lower() if isinstance(entry, bool) else str(entry)
    return flat


_RANGES: Mapping[str, tuple[int, int | None]] = {
    "cluster.executors": (1, None),
    "cluster.shards": (1, 1_024),
    "cluster.partitions": (1, 4_096),
    "cluster.sequencers": (1, None),
    "cluster.history_minutes": (0, None),
    "kafka.port": (1, 65_535),
    "kafka.replication": (0, None),
    "kafka.kept_hours": (1, None),
    "pace.interval_ms": (0, None),
    "pace.lane_transactions_max": (1, None),
    "pace.lane_carries_max": (1, None),
    "pace.timeout_ms_min": (50, None),
    "pace.patience_ms": (0, None),
    "gateway.port": (1, 65_535),
}
_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,150}")
"""What Kafka takes in the name of a topic, with room for our part of the name."""


def _out_of_range(config: Config, sources: Mapping[str, str]) -> list[str]:
    """What no cluster can be run with."""
    wrong = []
    for key, (least, most) in _RANGES.items():
        section, _, name = key.partition(".")
        value = getattr(getattr(config, section), name)
        where = f"{sources[key]}: " if key in sources else ""
        if value < least:
            wrong.append(f"{where}{key} = {value}: the least is {least}")
        elif most is not None and value > most:
            wrong.append(f"{where}{key} = {value}: the most is {most}")
    if not _PREFIX.fullmatch(config.kafka.prefix):
        wrong.append(
            f"kafka.prefix = {config.kafka.prefix!r}: topics take at most 150 letters, digits, '.', '_' and '-'")
    if config.cluster.executors > config.cluster.partitions >= 1:
        wrong.append(
            f"cluster.executors = {config.cluster.executors}: more than cluster.partitions "
            f"({config.cluster.partitions}), so some would have nothing to run")
    return wrong


__all__ = ["FILE", "Config", "flag_name", "load", "variable_name"]
