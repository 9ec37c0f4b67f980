"""From JSON to the parameters of methods. Every reader raises `Malformed` with what is wrong with the value.

References
----------
Ethereum JSON-RPC: quantities have no leading zeros, data has two digits per byte; EIP-1898 (block identifiers).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from ledger import LogFilter

T = TypeVar("T")
Reader = Callable[[Any], T]

_QUANTITY: Final = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]*)")
_DATA: Final = re.compile(r"0x([0-9a-fA-F]{2})*")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]{0,64}")
_TAGS: Final = ("latest", "pending", "safe", "finalized", "earliest")
_QUANTITY_DIGITS_MAX: Final = 66
ALTERNATIVES_MAX: Final = 1_000
"""Addresses, or topics at one position, in a filter."""


class Malformed(Exception):
    """A value that isn't what a parameter takes; the message says what is wrong with it."""


class BlockId(NamedTuple):
    """How a client names a block: one of the three is set."""

    tag: str | None = None
    number: int | None = None
    hash: bytes | None = None


LATEST: Final = BlockId(tag="latest")
PENDING: Final = BlockId(tag="pending")


def quantity(value: Any) -> int:
    """An integer below 2**256, ``0x0`` or hex digits without leading zeros."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise Malformed(f"{_shown(value)} is no quantity: 0x and hex digits without leading zeros")
    if len(value) > _QUANTITY_DIGITS_MAX:
        raise Malformed(f"a quantity of {len(value) - 2} hex digits; at most 64")
    return int(value, 16)


def quantity64(value: Any) -> int:
    """An integer below 2**64."""
    number = quantity(value)
    if number >= 1 << 64:
        raise Malformed(f"{_shown(value)} is above 64 bits")
    return number


def data(value: Any) -> bytes:
    """Bytes, ``0x`` and two hex digits each."""
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise Malformed(f"{_shown(value)} is no data: 0x and an even number of hex digits")
    return bytes.fromhex(value[2:])


def _fixed(value: Any, name: str, length: int) -> bytes:
    found = data(value)
    if len(found) != length:
        raise Malformed(f"{name} of {len(found)} bytes; it has {length}")
    return found


def address(value: Any) -> bytes:
    """An address of 20 bytes."""
    return _fixed(value, "an address", 20)


def hash32(value: Any) -> bytes:
    """A hash of 32 bytes."""
    return _fixed(value, "a hash", 32)


def slot(value: Any) -> int:
    """A storage slot: up to 64 hex digits, leading zeros or not."""
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise Malformed(f"{_shown(value)} is no storage slot: 0x and up to 64 hex digits")
    return int(value[2:] or "0", 16)


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise Malformed(f"{_shown(value)} is no string")
    return value


def boolean(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Malformed(f"{_shown(value)} is neither true nor false")
    return value


def percentiles(value: Any) -> tuple[float, ...]:
    """At most 100 numbers from 0 to 100 that rise."""
    if not isinstance(value, list) or len(value) > 100:
        raise Malformed("not a list of at most 100 numbers")
    if not all(isinstance(each, int | float) and not isinstance(each, bool) and 0 <= each <= 100 for each in value):
        raise Malformed("a percentile that isn't a number from 0 to 100")
    if sorted(value) != value:
        raise Malformed("percentiles that don't rise")
    return tuple(map(float, value))


def block_id(value: Any) -> BlockId:
    """A tag, a number, a hash of 32 bytes, or an object with `blockNumber` or `blockHash`."""
    if isinstance(value, dict):
        if ("blockHash" in value) == ("blockNumber" in value):
            raise Malformed("an object with either blockHash or blockNumber is expected")
        if "blockHash" in value:
            # Nothing is ever reorganised, so that requireCanonical makes no difference.
            return BlockId(hash=hash32(value["blockHash"]))
        return block_number(value["blockNumber"])
    if isinstance(value, str) and len(value) == 66:
        return BlockId(hash=hash32(value))
    return block_number(value)


def block_number(value: Any) -> BlockId:
    """A tag or a number."""
    if value in _TAGS and isinstance(value, str):
        return BlockId(tag=value)
    try:
        return BlockId(number=quantity64(value))
    except Malformed as exc:
        raise Malformed(f"{_shown(value)} is neither a block number nor one of {', '.join(_TAGS)}") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """The message of a call or an estimate."""

    sender: bytes = bytes(20)
    to: bytes | None = None
    gas: int | None = None
    gas_price: int | None = None
    max_fee: int | None = None
    max_priority_fee: int | None = None
    value: int = 0
    data: bytes = b""
    chain_id: int | None = None
    access_list: tuple[tuple[bytes, tuple[int, ...]], ...] = ()
    machine: str = ""


def access_list(value: Any) -> tuple[tuple[bytes, tuple[int, ...]], ...]:
    """Addresses, each with slots."""
    entries = []
    for entry in _list(value):
        keys = _object(entry).get("storageKeys") or []
        slots = tuple(int.from_bytes(_fixed(key, "a storage key", 32), "big") for key in _list(keys))
        entries.append((address(entry.get("address")), slots))
    return tuple(entries)


_CALL_FIELDS: Final[Mapping[str, tuple[str, Reader[Any]]]] = {
    "from": ("sender", address),
    "to": ("to", address),
    "gas": ("gas", quantity64),
    "gasPrice": ("gas_price", quantity),
    "maxFeePerGas": ("max_fee", quantity),
    "maxPriorityFeePerGas": ("max_priority_fee", quantity),
    "value": ("value", quantity),
    "chainId": ("chain_id", quantity),
    "accessList": ("access_list", access_list),
    "machine": ("machine", text),
}
_CALL_UNUSED: Final = ("nonce", "type")
_CALL_REFUSED: Final = (
    "blobVersionedHashes",
    "blobs",
    "maxFeePerBlobGas",
    "authorizationList",
    "commitments",
    "proofs",
)


def call(value: Any) -> CallRequest:
    """The object that describes a message."""
    given = {name: each for name, each in _object(value).items() if each is not None}
    refused = [name for name in _CALL_REFUSED if given.get(name)]
    if refused:
        raise Malformed(f"{refused[0]} is not supported in calls")
    found: dict[str, Any] = {}
    for name, (own, read) in _CALL_FIELDS.items():
        if name in given:
            found[own] = _within(name, read, given[name])
    payloads = [_within(name, data, given[name]) for name in ("input", "data") if name in given]
    if payloads:
        if payloads[0] != payloads[-1]:
            raise Malformed("input and data differ; give one of them")
        found["data"] = payloads[0]
    if "gas_price" in found and ("max_fee" in found or "max_priority_fee" in found):
        raise Malformed("both gasPrice and maxFeePerGas or maxPriorityFeePerGas are given")
    for name in _CALL_UNUSED:
        if name in given:
            _within(name, slot, given[name])
    return CallRequest(**found)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOverride:
    """What a call is to find at an account instead of what is there."""

    balance: int | None = None
    nonce: int | None = None
    code: bytes | None = None
    slots: Mapping[int, int] = field(default_factory=dict)
    replaces_storage: bool = False
    """Whether all other slots are zero."""


def overrides(value: Any) -> dict[bytes, AccountOverride]:
    """The state override set: by address an object with `balance`, `nonce`, `code`, and `state` or `stateDiff`."""
    found = {}
    for name, entry in _object(value).items():
        given = {key: each for key, each in _object(entry).items() if each is not None}
        unknown = given.keys() - {"balance", "nonce", "code", "state", "stateDiff"}
        if unknown:
            raise Malformed(f"{min(unknown)} cannot be overridden")
        if "state" in given and "stateDiff" in given:
            raise Malformed("both state and stateDiff are given")
        slots = _object(given.get("state", given.get("stateDiff", {})))
        found[address(name)] = AccountOverride(
            balance=_within("balance", quantity, given["balance"]) if "balance" in given else None,
            nonce=_within("nonce", quantity64, given["nonce"]) if "nonce" in given else None,
            code=_within("code", data, given["code"]) if "code" in given else None,
            slots={slot(at): slot(each) for at, each in slots.items()},
            replaces_storage="state" in given,
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which logs of which blocks."""

    asked: LogFilter
    first: BlockId = LATEST
    last: BlockId = LATEST
    block_hash: bytes | None = None


def log_query(value: Any) -> LogQuery:
    """The object that describes a query for logs."""
    given = {name: each for name, each in _object(value).items() if each is not None}
    asked = LogFilter(
        addresses=_within("address", _alternatives(address), given.get("address")),
        topics=_within("topics", _topics, given.get("topics")),
    )
    if "blockHash" in given:
        if "fromBlock" in given or "toBlock" in given:
            raise Malformed("blockHash goes with neither fromBlock nor toBlock")
        return LogQuery(asked=asked, block_hash=_within("blockHash", hash32, given["blockHash"]))
    return LogQuery(
        asked=asked,
        first=_within("fromBlock", block_number, given.get("fromBlock", "latest")),
        last=_within("toBlock", block_number, given.get("toBlock", "latest")),
    )


def _topics(value: Any) -> tuple[frozenset[bytes], ...]:
    topics = _list([] if value is None else value)
    if len(topics) > 4:
        raise Malformed(f"{len(topics)} positions; a log has at most 4 topics")
    read = _alternatives(hash32)
    return tuple(read(topic) for topic in topics)


def _alternatives(read: Reader[bytes]) -> Reader[frozenset[bytes]]:
    """One value, a list of alternatives, or null for any."""

    def several(value: Any) -> frozenset[bytes]:
        values = [] if value is None else value if isinstance(value, list) else [value]
        if len(values) > ALTERNATIVES_MAX:
            raise Malformed(f"{len(values)} alternatives; at most {ALTERNATIVES_MAX}")
        # Null among alternatives stands for any, as an empty list does.
        return frozenset() if None in values else frozenset(map(read, values))

    return several


def _within(name: str, read: Reader[T], value: Any) -> T:
    """Read a field, and name it if it is wrong."""
    try:
        return read(value)
    except Malformed as exc:
        raise Malformed(f"{name}: {exc}") from exc


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{_shown(value)} is no object")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed(f"{_shown(value)} is no list")
    return value


def _shown(value: Any) -> str:
    """A value as an error message shows it, cut short."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]}…"
