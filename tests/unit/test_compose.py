"""The containers: every service's command is one that the program takes, and their settings fit together."""

from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cluster.cli import main
from cluster.config import load
from cluster.kafka.jars import KAFKA_VERSION

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "parsec-streams"}


def parsed(command: list[str]) -> tuple[str, dict[str, Any]]:
    """The command and its parameters, read by the program's own parser."""
    name, *arguments = command
    found = main.get_command(click.Context(main), name)
    assert found is not None, name
    with found.make_context(name, list(arguments)) as context:
        return name, dict(context.params)


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {name: parsed(service["command"])[1] for name, service in OURS.items() if service["command"][0] == kind}


@pytest.mark.parametrize("name", OURS)
def test_the_command_of_a_service_is_one_of_ours(name: str) -> None:
    kind, parameters = parsed(OURS[name]["command"])
    assert kind in {"topics", "shard", "sequencer", "executor", "gateway"}
    assert parameters["kafka"] == "kafka:9092"
    assert parameters["config_file"] is None


def test_a_command_that_is_wrong_is_found() -> None:
    with pytest.raises(click.UsageError):
        parsed(["shard", "--kafka", "kafka:9092", "--shards-are", "0"])


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_a_service_are_settings_of_ours(name: str) -> None:
    environment = OURS[name]["environment"]
    assert all(isinstance(value, str) for value in environment.values()), "quote numbers: YAML has its own ideas"
    config = load(None, environment)
    assert config.cluster.shards == len(of_kind("shard"))
    assert config.cluster.partitions >= len(of_kind("executor"))


def test_all_agree_on_what_belongs_to_the_log() -> None:
    for key in ("PARSEC_KAFKA_PREFIX", "PARSEC_CLUSTER_PARTITIONS", "PARSEC_CLUSTER_SHARDS", "PARSEC_CLUSTER_GENESIS"):
        assert len({service["environment"][key] for service in OURS.values()}) == 1, key


def test_every_shard_is_there_once_and_can_be_reached() -> None:
    shards = of_kind("shard")
    assert sorted(parameters["number"] for parameters in shards.values()) == list(range(len(shards)))
    for name, parameters in shards.items():
        assert OURS[name]["environment"]["PARSEC_CLUSTER_HOST"] == "0.0.0.0"
        assert OURS[name]["environment"]["PARSEC_CLUSTER_ADVERTISED"] == name
        assert parameters["port"] == 7000
        assert f"'127.0.0.1', {parameters['port']}" in OURS[name]["healthcheck"]["test"][-1]
        (volume,) = OURS[name]["volumes"]
        assert volume == f"{name}:/data"


def test_executors_have_names_of_their_own_and_a_standby_waits() -> None:
    names = [parameters["instance"] for parameters in of_kind("executor").values()]
    assert len(names) >= 2
    assert len(set(names)) == len(names)
    patience = sorted(parameters["patience_ms"] or 0 for parameters in of_kind("sequencer").values())
    assert patience[0] == 0
    assert patience[1] > 0


def test_topics_are_made_before_anything_else_starts() -> None:
    assert OURS["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert OURS["topics"]["restart"] == "on-failure"
    for name, service in OURS.items():
        if name != "topics":
            assert service["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}, name


def test_the_gateway_is_published_where_it_listens_and_to_this_machine_alone() -> None:
    ((name, parameters),) = of_kind("gateway").items()
    assert parameters["host"] == "0.0.0.0"
    assert OURS[name]["ports"] == [f"127.0.0.1:8545:{parameters['port']}"]
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_volumes_that_are_used_are_declared() -> None:
    used = {volume.partition(":")[0] for service in COMPOSE["services"].values() for volume in service.get("volumes", ())}
    assert used == set(COMPOSE["volumes"])


def test_the_broker_is_the_version_that_is_embedded_and_makes_no_topics_by_itself() -> None:
    kafka = COMPOSE["services"]["kafka"]
    assert kafka["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert kafka["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_the_image_has_every_room() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    kept = (ROOT / ".dockerignore").read_text().split()
    assert dockerfile.splitlines()[1].startswith("FROM python:3.11-slim")
    for room in ("schemas", "streams", "ingest", "executors", "stateshards", "ledger", "gateway", "cluster"):
        assert f"COPY {room} {room}\n" in dockerfile
        assert f"!{room}" in kept
