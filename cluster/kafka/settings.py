"""The broker's configuration: one node that is broker and controller, reachable on the loopback interface only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from schemas.topics import RECORD_BYTES_MAX

__all__ = ["BATCH_OVERHEAD_BYTES", "HOST", "NODE_ID", "render", "server_settings"]

HOST: Final = "127.0.0.1"
NODE_ID: Final = 1

BATCH_OVERHEAD_BYTES: Final = 64 * 1024
"""What a batch adds to the record in it: headers, key, and Kafka's own framing."""

_INTERNAL_PARTITIONS: Final = 4
_FOREVER_MINUTES: Final = 2**31 - 1


def server_settings(data: Path, *, port: int, controller_port: int) -> dict[str, str]:
    """The broker's settings.

    Parameters
    ----------
    data
        Folder for Kafka's log and metadata.
    port, controller_port
        TCP ports. Either may change between two starts on the same data: the quorum is given here and not stored.
    """
    batch = str(RECORD_BYTES_MAX + BATCH_OVERHEAD_BYTES)
    internal = str(_INTERNAL_PARTITIONS)
    return {
        "process.roles": "broker,controller",
        "node.id": str(NODE_ID),
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        # Static voters stand in this file alone. A dynamic quorum would store the controller's port in the log, and a
        # start on another port would wait for a controller at the old one.
        "controller.quorum.voters": f"{NODE_ID}@{HOST}:{controller_port}",
        "log.dirs": str(data),
        # A mistyped name must not become a topic with default settings.
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        # The largest record passes by default, also for topics that don't say so.
        "message.max.bytes": batch,
        "replica.fetch.max.bytes": batch,
        # One node has one replica of everything; few partitions, since each costs files and start time.
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": internal,
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": internal,
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": internal,
        # Offsets of a group that was stopped for a week are still the place to go on at.
        "offsets.retention.minutes": str(_FOREVER_MINUTES),
        # A lone member needn't wait for others, and a dead one is noticed within the seconds its service asks for.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.min.heartbeat.interval.ms": "300",
        # After a crash the node isn't let in again until its former session is over: 9 s by default.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # A few clients on one machine.
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "num.recovery.threads.per.data.dir": "2",
        # The default takes 128 MB of heap to compact two small internal topics.
        "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
    }


def render(settings: Mapping[str, str]) -> str:
    """Settings as a Java properties file (ISO 8859-1, everything else escaped)."""
    return "".join(f"{_escaped(key, key=True)}={_escaped(value)}\n" for key, value in settings.items())


def _escaped(text: str, *, key: bool = False) -> str:
    out = []
    for place, character in enumerate(text):
        if character == "\\" or (key and character in "=: #!") or (character in " #!" and place == 0):
            out.append(f"\\{character}")
        elif character in "\n\r\t\f":
            out.append({"\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}[character])
        elif " " <= character <= "~":
            out.append(character)
        else:
            units = character.encode("utf-16-be")
            out += [f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)]
    return "".join(out)
