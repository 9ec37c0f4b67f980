"""The errors of all rooms.

::

    ParsecError
    ├── RejectedInput         deterministic: becomes a rejected receipt or an error of the RPC
    │   ├── UndecodableRecord     bytes on a topic that no known schema reads
    │   ├── InvalidTransaction    wrong whatever the state is
    │   └── Gone                  a read of an epoch that isn't kept any more
    ├── Transient             goes away by itself: retried within a bound
    │   ├── Unavailable           a shard, a broker or an index that doesn't answer now
    │   └── QueueFull             back-pressure: the caller is to slow down
    ├── ConfigurationError    an operator has to change something; names all that is wrong
    │   ├── TopicRefused          an existing topic would break the protocol
    │   └── GenesisRefused        a start with another genesis, N, M or rules
    └── InvariantViolation    the process stops: it never goes on with a guess

Messages name the thing, the value and the limit.
"""

from typing import Final


class ParsecError(Exception):
    """Root of all errors that this project raises on purpose."""


class RejectedInput(ParsecError):
    """Input that is wrong and stays wrong."""


class UndecodableRecord(RejectedInput):
    """Bytes that aren't an Avro single object of a known schema."""


class InvalidTransaction(RejectedInput):
    """A transaction that no state could make valid."""

    reason: Final[str]
    """What is wrong, with value and limit."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Gone(RejectedInput):
    """A pinned read of an epoch older than the oldest one kept."""

    oldest: Final[int]
    """The oldest epoch that can be read."""

    def __init__(self, epoch: int, oldest: int) -> None:
        super().__init__(f"epoch {epoch} is not kept any more; the oldest kept epoch is {oldest}")
        self.oldest = oldest


class Transient(ParsecError):
    """Something that goes away by itself."""


class Unavailable(Transient):
    """A peer that doesn't answer at the moment."""


class QueueFull(Transient):
    """A bounded queue is full."""


class ConfigurationError(ParsecError):
    """Something that an operator has to change; the message lists all that is wrong."""


class TopicRefused(ConfigurationError):
    """An existing topic has settings that would break the protocol."""


class GenesisRefused(ConfigurationError):
    """The log belongs to another genesis, N, M or rules."""


class InvariantViolation(ParsecError):
    """A state that cannot be. The process stops."""
