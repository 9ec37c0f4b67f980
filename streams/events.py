"""The events and commands of the protocol's roles.

A role is a pure state machine, ``step(event) -> list[Command]``. It holds no clock, no randomness and no connection:
those arrive as events and leave as commands, by a service over Kafka or by the simulator.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from schemas.records import Attempt, Entry
from schemas.topics import Topic

END = -1
"""In place of a position: the end of a topic at the time when the reader starts."""


# ---- commands ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Append:
    """Produce a record. The broker's acknowledgement comes back as an event with this very command."""

    topic: Topic
    record: Any


@dataclass(frozen=True, slots=True)
class Read:
    """Ask the shards for keys: pinned to an epoch, or at whatever each has applied if `at` is None."""

    keys: frozenset[bytes]
    at: int | None


@dataclass(frozen=True, slots=True)
class Rejoin:
    """Ask for a new attempt with the same partitions."""


@dataclass(frozen=True, slots=True, eq=False)
class Publish:
    """Publish the receipts of an epoch in one transaction; acknowledged with this command."""

    epoch: int
    receipts: tuple[Any, ...]


Command = Append | Read | Rejoin | Publish


# ---- events -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assigned:
    """The consumer group has given an executor these partitions and no others; `attempt` is a fresh random id."""

    attempt: Attempt
    partitions: tuple[int, ...]


class Record(NamedTuple):
    """The next record of a topic, decoded."""

    topic: Topic
    offset: int
    value: Any
    data: bytes
    """The bytes that it was decoded from: the hash of a manifest is theirs."""


class Acknowledged(NamedTuple):
    """The broker has stored an append."""

    command: Append | Publish
    offset: int


class Answer(NamedTuple):
    """The shards' answer to a read."""

    read: Read
    entries: Mapping[bytes, Entry]


class Tick(NamedTuple):
    """Time passes for a sequencer."""

    now_ms: int
    """Wall clock, for timestamps."""
    elapsed_ms: float
    """Monotonic clock, for time-outs."""
    randomness: bytes
    """32 bytes."""
    shards_up: bool = True
    """Whether all shards answered lately."""


Event = Assigned | Record | Acknowledged | Answer | Tick
