"""The configuration: where values come from, and that all that is wrong is told at once."""

from pathlib import Path

import pytest

from cluster.config import Config, load, variable_name
from schemas.errors import ConfigurationError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def faults(*arguments: object, **named: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(*arguments, **named)  # type: ignore[arg-type]  # what tests pass is right
    first, *lines = str(caught.value).splitlines()
    assert first == "the configuration is wrong:"
    return [line.strip() for line in lines]


def test_without_anything_it_is_the_built_in_one() -> None:
    assert load(None, environment={}) == Config()


def test_flags_stand_above_what_runs_above_the_environment_above_the_file(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[cluster]\nshards = 3\npartitions = 5\nexecutors = 1\n[kafka]\nprefix = "file."\n')
    environment = {"PARSEC_CLUSTER_PARTITIONS": "6", "PARSEC_CLUSTER_EXECUTORS": "3", "PARSEC_KAFKA_PREFIX": "variable."}
    found = {"cluster.executors": 4, "kafka.prefix": "runs."}
    config = load(file, environment, {"kafka.prefix": "flag.", "cluster.data": None}, found)
    assert config.cluster.shards == 3
    assert config.cluster.partitions == 6
    assert config.cluster.executors == 4
    assert config.kafka.prefix == "flag."
    assert config.cluster.data == Path(".parsec")


def test_the_file_of_the_working_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "parsec.toml").write_text("[pace]\ninterval_ms = 25\n")
    assert load(None, environment={}).pace.interval_ms == 25


def test_all_that_is_wrong_is_told_at_once_with_its_source(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        'stray = 1\n[cluster]\nshards = "two"\nshardz = 3\nhistory_minutes = -1\n[gateway]\nenabled = "perhaps"\n'
        "[brokers]\nport = 1\n[kafka]\nprefix = 'a b'\n")
    environment = {
        "PARSEC_CLUSTER_PARTITIONS": "many", "PARSEC_PACE_INTERVALL_MS": "3", "PARSEC_JAVA": "elsewhere", "HOME": "/"}
    lines = faults(file, environment, {"gateway.port": 70_000, "kafka.bootstrap": 7})
    expected = {
        f"{file}: stray is not a section",
        f"{file}: cluster.shards = 'two': expected an integer",
        f"{file}: there is no setting 'cluster.shardz'; did you mean cluster.shards?",
        f"{file}: cluster.history_minutes = -1: the least is 0",
        f"{file}: gateway.enabled = 'perhaps': expected true or false",
        f"{file}: there is no setting 'brokers.port'",
        "environment variable PARSEC_CLUSTER_PARTITIONS: cluster.partitions = 'many': expected an integer",
        "environment variable PARSEC_PACE_INTERVALL_MS: there is no such setting; did you mean PARSEC_PACE_INTERVAL_MS?",
        "--port: gateway.port = 70000: the most is 65535",
        "--kafka: kafka.bootstrap = 7: expected text",
    }
    assert expected <= set(lines)
    assert [line for line in lines if "kafka.prefix" in line]
    assert len(lines) == len(expected) + 1


@pytest.mark.parametrize(
    ("text", "what"), [("[cluster\n", "Expected ']'"), ("[cluster]\nshards = 1\nshards = 2\n", "overwrite")])
def test_a_broken_file_is_told(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "parsec.toml").write_text(text)
    (line,) = faults(None, {})
    assert line.startswith("parsec.toml: ")
    assert what in line


def test_a_named_file_has_to_be_there(tmp_path: Path) -> None:
    assert faults(tmp_path / "none.toml", {}) == [f"{tmp_path}/none.toml: there is no such file"]


def test_limits_are_told_each_with_its_own_number() -> None:
    assert faults(None, {}, {"cluster.shards": 2_000, "cluster.partitions": 9_999, "kafka.kept_hours": 0}) == [
        "--shards: cluster.shards = 2000: the most is 1024",
        "--partitions: cluster.partitions = 9999: the most is 4096",
        "--kept-hours: kafka.kept_hours = 0: the least is 1",
    ]


def test_more_executors_than_partitions_are_refused_where_they_are_asked_for() -> None:
    (line,) = faults(None, {}, {"cluster.executors": 3, "cluster.partitions": 2})
    assert "cluster.executors = 3: more than cluster.partitions (2)" in line
    assert load(None, {}, {"cluster.partitions": 1}).cluster.executors == 1


@pytest.mark.parametrize("text", ['"sasl.password" = "hidden"', 'sasl.password = "hidden"'])
def test_security_options_are_passed_on_and_never_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "parsec.toml").write_text(
        f'[kafka.security]\n{text}\n"security.protocol" = "SASL_SSL"\n"enable.ssl.certificate.verification" = true\n')
    config = load(None, environment={})
    client = config.settings.client()
    assert client["sasl.password"] == "hidden"
    assert client["enable.ssl.certificate.verification"] == "true"
    assert "hidden" not in str(config.shown())
    assert config.shown()["kafka"]["security"]["security.protocol"] == "SASL_SSL"


def test_security_options_in_the_environment_are_json() -> None:
    name = variable_name("kafka.security")
    config = load(None, {name: '{"sasl.username": "u", "sasl.password": "hidden"}'})
    assert config.kafka.security == {"sasl.username": "u", "sasl.password": "hidden"}
    (line,) = faults(None, {name: "password=hidden"})
    assert "expected a JSON object" in line
    assert "hidden" not in line


def test_an_empty_variable_counts_as_none() -> None:
    assert load(None, {"PARSEC_CLUSTER_GENESIS": "", "PARSEC_CLUSTER_SHARDS": ""}) == Config()


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("no", False), ("FALSE", False)])
def test_booleans(text: str, value: bool) -> None:
    assert load(None, {"PARSEC_GATEWAY_ENABLED": text}).gateway.enabled is value


@pytest.mark.parametrize("wrong", ["1.5", True, [1], {"a": 1}])
def test_an_integer_is_nothing_else(wrong: object) -> None:
    (line,) = faults(None, {}, {"cluster.shards": wrong})
    assert "expected an integer" in line


def test_a_path_is_no_number() -> None:
    (line,) = faults(None, {}, {"cluster.data": 5})
    assert "expected a path" in line


def test_the_genesis_of_a_chain_names_its_file(tmp_path: Path) -> None:
    broken = tmp_path / "chain.json"
    broken.write_text('{"config": {"chainId": "x"}, "aloc": {}}')
    with pytest.raises(ConfigurationError, match=r"chain\.json: genesis: .*aloc.*chainId"):
        load(None, {}, {"cluster.genesis": broken}).read_genesis()
    with pytest.raises(ConfigurationError, match="none.json: No such file"):
        load(None, {}, {"cluster.genesis": tmp_path / "none.json"}).read_genesis()
    assert load(None, {}).read_genesis().rules.chain_id == 52188
