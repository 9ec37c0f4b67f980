"""What the methods work on."""

from collections.abc import Callable
from dataclasses import dataclass

from ledger import BlockIndex
from schemas.rules import Rules
from streams.snapshots import Snapshots, StateReader

from .calls import Calls
from .moments import Moments
from .settings import GatewaySettings
from .submission import InFlight, Outbox, Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the index is."""

    caught_up: bool
    known_block: int
    """Newest block that the manifests tell of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One chain, as far as a gateway sees it."""

    rules: Rules
    settings: GatewaySettings
    version: str
    """What `web3_clientVersion` answers."""
    index: BlockIndex
    moments: Moments
    snapshots: Snapshots
    calls: Calls
    submission: Submission
    progress: Callable[[], Progress]

    @classmethod
    def of(
        cls,
        index: BlockIndex,
        reader: StateReader,
        outbox: Outbox,
        settings: GatewaySettings,
        *,
        version: str,
        progress: Callable[[], Progress],
    ) -> "Node":
        """Put the parts together."""
        rules = index.rules
        snapshots = Snapshots(reader, settings.read_timeout_s)
        submission = Submission(
            rules,
            index,
            snapshots,
            outbox,
            InFlight(settings.in_flight_max),
            unprotected_allowed=settings.unprotected_allowed,
            timeout_s=settings.produce_timeout_s,
            receipt_wait_s=settings.receipt_wait_s,
            waiting_max=max(1, settings.threads // 2),
        )
        return cls(
            rules=rules,
            settings=settings,
            version=version,
            index=index,
            moments=Moments(index),
            snapshots=snapshots,
            calls=Calls(rules, index, snapshots, settings.call_gas_max),
            submission=submission,
            progress=progress,
        )
