"""The settings of a gateway."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Addresses and limits. None of them decides a result."""

    host: str = "127.0.0.1"
    port: int = 8545
    """0 for any free one."""
    cors_origins: tuple[str, ...] = ()
    """Origins of web pages that may call it, ``*`` for all; none by default."""
    body_bytes_max: int = 5 * 1024 * 1024
    """Largest request body."""
    answer_bytes_max: int = 25 * 1024 * 1024
    """Largest answer to a batch; what is beyond gets an error."""
    depth_max: int = 32
    """Nesting of JSON in a request."""
    batch_max: int = 100
    """Requests in a batch."""
    connections_max: int = 1_000
    """Requests that are worked on or wait; more are answered with status 503."""
    threads: int = 16
    """Requests that are worked on at a time."""
    block_range_max: int = 10_000
    """Blocks that one query for logs may span."""
    logs_max: int = 10_000
    """Logs that one query may find."""
    call_gas_max: int = 30_000_000
    """Gas limit of calls and estimates."""
    in_flight_max: int = 10_000
    """Transactions that were sent through this gateway and have no receipt yet."""
    unprotected_allowed: bool = False
    """Whether legacy transactions without a chain id are taken; valid, but replayable from other chains."""
    read_timeout_s: float = 5.0
    """How long a read of state waits for a shard."""
    receipt_wait_s: float = 0.5
    """How long a question for the receipt of a transaction in flight may wait for it."""
    produce_timeout_s: float = 30.0
    """How long sending waits for the broker's acknowledgement."""
