"""The environment of a block, from the ``env`` of a document: rules for its transactions, and what they see of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from executors.machine import Block
from ingest.blobs import BASE_FEE_MIN, blob_base_fee
from schemas.hashing import keccak
from schemas.rules import Rules

from .fields import Fields, Malformed, number
from .forks import Fork, next_base_fee

TRANSACTION_BYTES_MAX: Final = 2**24
"""Tests have transactions larger than any chain of ours takes."""
_EXCESS_BITS: Final = 32
"""More excess of blob gas makes a price with more digits than there are wei."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Ether that comes from the consensus layer at the end of a block."""

    index: int
    validator: int
    address: bytes
    amount_gwei: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A block before its transactions."""

    fork: Fork
    chain_id: int
    coinbase: bytes
    gas_limit: int
    number: int
    timestamp_s: int
    prevrandao: bytes
    base_fee: int
    excess_blob_gas: int | None
    """None where the fork has no blobs."""
    ancestor: Callable[[int], bytes]
    """Hash of an earlier block."""
    parent_hash: bytes | None = None
    """Stored by the history contract; None where the document doesn't tell it."""
    parent_beacon_root: bytes | None = None
    """Stored by the contract of beacon roots."""
    withdrawals: tuple[Withdrawal, ...] = ()

    def rules(self, *, nonce_ahead_max: int = 0, parked_ms_max: int = 0) -> Rules:
        """The rules of a chain whose blocks are as this one. By default no transaction waits for its nonce."""
        return Rules(
            chain_id=self.chain_id, fork=self.fork.rules, blobs=self.fork.blobs, coinbase=self.coinbase,
            base_fee=self.base_fee, block_gas_limit=self.gas_limit, transaction_gas_max=self.gas_limit,
            transaction_bytes_max=TRANSACTION_BYTES_MAX, nonce_ahead_max=nonce_ahead_max, parked_ms_max=parked_ms_max)

    def block(self) -> Block:
        """What a transaction sees."""
        return Block(
            number=self.number, timestamp_s=self.timestamp_s, prevrandao=self.prevrandao, ancestor=self.ancestor,
            blob_base_fee=self.blob_base_fee)

    @property
    def blob_base_fee(self) -> int:
        """Wei per blob gas."""
        return BASE_FEE_MIN if self.excess_blob_gas is None else blob_base_fee(self.excess_blob_gas, self.fork.rules)


def of_state_test(fields: Fields, fork: Fork, chain_id: int) -> Environment:
    """The environment of a state test, where hashes of earlier blocks are those of their numbers in decimal."""
    return _environment(
        fields, fork, chain_id, base_fee=fields.number("currentBaseFee"),
        excess=fields.number("currentExcessBlobGas", 0, bits=_EXCESS_BITS) if fork.blobs else None,
        ancestor=lambda height: keccak(str(height).encode()))


def of_block(fields: Fields, fork: Fork, chain_id: int) -> Environment:
    """The environment of a transition. What isn't given but follows from the parent block is computed.

    Raises
    ------
    Malformed
        If something is missing, or doesn't belong to the fork.
    """
    if fields.number("currentDifficulty", 0):
        raise Malformed(f"{fields.at('currentDifficulty')}: after the merge it is 0, or left out")
    if fork.beacon_roots and "parentBeaconBlockRoot" not in fields:
        raise Malformed(f"{fields.at('parentBeaconBlockRoot')}: missing; blocks of {fork.name} have it")
    if not fork.beacon_roots and "parentBeaconBlockRoot" in fields:
        raise Malformed(f"{fields.at('parentBeaconBlockRoot')}: blocks of {fork.name} have none")
    if not isinstance(fields.any("withdrawals"), list):
        raise Malformed(f"{fields.at('withdrawals')}: a list is expected; blocks of {fork.name} have it")
    if fields.any("ommers"):
        raise Malformed(f"{fields.at('ommers')}: after the merge blocks have none")
    table = fields.table("blockHashes") if "blockHashes" in fields else Fields({}, fields.at("blockHashes"))
    hashes = {number(name, table.at(name), bits=64): table.data(name, 32) for name in table}
    known = _environment(
        fields, fork, chain_id, base_fee=_base_fee(fields), excess=_excess(fields, fork),
        ancestor=_ancestor(hashes, table.where))
    parent_hash = fields.data("parentHash", 32) if "parentHash" in fields else hashes.get(known.number - 1)
    return replace(
        known, parent_hash=parent_hash if fork.history else None,
        parent_beacon_root=fields.data("parentBeaconBlockRoot", 32) if fork.beacon_roots else None,
        withdrawals=tuple(
            _withdrawal(Fields(each, f"{fields.at('withdrawals')}[{index}]"))
            for index, each in enumerate(fields.rows("withdrawals"))))


def _withdrawal(fields: Fields) -> Withdrawal:
    return Withdrawal(
        index=fields.number("index", bits=64), validator=fields.number("validatorIndex", bits=64),
        address=fields.data("address", 20), amount_gwei=fields.number("amount", bits=64))


def _environment(
    fields: Fields, fork: Fork, chain_id: int, *, base_fee: int, excess: int | None, ancestor: Callable[[int], bytes],
) -> Environment:
    return Environment(
        fork=fork, chain_id=chain_id, coinbase=fields.data("currentCoinbase", 20),
        gas_limit=fields.number("currentGasLimit", bits=64), number=fields.number("currentNumber", bits=64),
        timestamp_s=fields.number("currentTimestamp", bits=64), prevrandao=fields.word("currentRandom"),
        base_fee=base_fee, excess_blob_gas=excess, ancestor=ancestor)


def _ancestor(hashes: Mapping[int, bytes], where: str) -> Callable[[int], bytes]:
    def ancestor(height: int) -> bytes:
        if height not in hashes:
            raise Malformed(f"{where}: a transaction asks for the hash of block {height}, which isn't there")
        return hashes[height]
    return ancestor


def _base_fee(fields: Fields) -> int:
    if "currentBaseFee" in fields:
        return fields.number("currentBaseFee")
    return next_base_fee(
        fields.number("parentBaseFee"), fields.number("parentGasUsed", bits=64),
        fields.number("parentGasLimit", bits=64))


def _excess(fields: Fields, fork: Fork) -> int | None:
    if not fork.blobs:
        return None
    if "currentExcessBlobGas" in fields:
        return fields.number("currentExcessBlobGas", bits=_EXCESS_BITS)
    return fork.excess_blob_gas(
        fields.number("parentExcessBlobGas", 0, bits=_EXCESS_BITS),
        fields.number("parentBlobGasUsed", 0, bits=_EXCESS_BITS))
