"""What the protocol asks of its topics."""

import pytest

from cluster.kafka.topics import FOREVER_MS, TopicSpec, replication_for, topic_specs
from schemas.topics import RECORD_BYTES_MAX, TopicName

_DAY_MS = 24 * 3600 * 1000


def _by_name(**options: int) -> dict[str, TopicSpec]:
    arguments = {"replication": 3} | options
    specs = topic_specs("bank.", 8, 3, **arguments)
    return {spec.name.removeprefix("bank."): spec for spec in specs}


def test_every_topic_of_the_protocol() -> None:
    specs = topic_specs("bank.", 8, 3, replication=3)
    assert [spec.name for spec in specs] == [f"bank.{name}" for name in TopicName]


def test_partitions() -> None:
    assert {name: spec.partitions for name, spec in _by_name().items()} == {
        "transactions": 8,
        "carries": 8,
        "epochs": 1,
        "members": 1,
        "prepares": 3,
        "votes": 1,
        "outcomes": 1,
        "receipts": 3,
        "deadletters": 1,
    }


def test_only_votes_and_outcomes_are_ever_deleted() -> None:
    specs = _by_name(kept_ms=3 * _DAY_MS)
    kept = {name: spec.retention_ms for name, spec in specs.items() if spec.retention_ms != FOREVER_MS}
    assert kept == {"votes": 3 * _DAY_MS, "outcomes": 3 * _DAY_MS}
    assert _by_name()["votes"].retention_ms == 7 * _DAY_MS


@pytest.mark.parametrize(("brokers", "replication", "in_sync"), [(1, 1, 1), (2, 2, 1), (3, 3, 2), (12, 3, 2)])
def test_copies(brokers: int, replication: int, in_sync: int) -> None:
    assert replication_for(brokers) == replication
    for spec in _by_name(replication=replication).values():
        assert (spec.replication, spec.min_insync_replicas) == (replication, in_sync)
        assert spec.settings()["unclean.leader.election.enable"] == "false"
        assert spec.settings()["cleanup.policy"] == "delete"


def test_sizes() -> None:
    specs = _by_name()
    for name in ("epochs", "prepares", "votes", "receipts"):
        assert specs[name].max_message_bytes > RECORD_BYTES_MAX
    # What a client may send has to fit where it may be moved to.
    assert 1024 * 1024 < specs["transactions"].max_message_bytes < specs["carries"].max_message_bytes
    assert specs["transactions"].max_message_bytes < specs["deadletters"].max_message_bytes
    assert _by_name(transaction_bytes_max=5000)["transactions"].max_message_bytes > 5000


def test_its_own_settings_are_fine() -> None:
    for spec in topic_specs("", 2, 2, replication=3):
        assert spec.problems(spec.settings()) == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "1073741824"),
        ("unclean.leader.election.enable", "true"),
        ("min.insync.replicas", "1"),
        ("max.message.bytes", "1048588"),
    ],
)
def test_a_dangerous_setting_is_named(setting: str, value: str) -> None:
    spec = _by_name()["prepares"]
    (problem,) = spec.problems(spec.settings() | {setting: value})
    assert problem.startswith(f"bank.prepares: {setting} is {value}, needed is ")


def test_all_problems_at_once() -> None:
    spec = _by_name()["transactions"]
    wrong = {"cleanup.policy": "compact", "retention.ms": "1", "min.insync.replicas": "1"}
    assert len(spec.problems(spec.settings() | wrong)) == 3


@pytest.mark.parametrize(("found", "good"), [("-1", True), (str(8 * _DAY_MS), True), (str(7 * _DAY_MS - 1), False)])
def test_votes_may_be_kept_longer(found: str, good: bool) -> None:
    spec = _by_name()["votes"]
    assert (spec.problems(spec.settings() | {"retention.ms": found}) == []) is good


def test_more_than_needed_is_fine() -> None:
    spec = _by_name()["carries"]
    more = {"max.message.bytes": "99999999", "min.insync.replicas": "3"}
    assert spec.problems(spec.settings() | more) == []


def test_a_setting_that_the_broker_does_not_have() -> None:
    assert _by_name()["carries"].problems({"cleanup.policy": "delete"}) == []
