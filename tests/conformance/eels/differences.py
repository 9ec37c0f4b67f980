"""Random worlds in the engine and in the specification: where the two differ, and the smallest world that still does.

``python -m tests.conformance.eels.differences --start 0 --seeds 500`` plays worlds and prints what differs. A seed names
its world; the smallest one is printed with its code as instructions and with the input document for `runner.py`.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from executors.evm import PyEvm
from executors.evm.opcodes import STACK
from executors.machine import Result as Included
from executors.machine import Status
from schemas.keys import integer, is_blob, storage_key
from tests.conformance.eels.engine import EelsEngine, EelsFailed, Session
from tests.conformance.eels.results import Account, Receipt, Result
from tests.conformance.random_contracts import (
    CHAIN_ID,
    GAS_MAX,
    Played,
    State,
    World,
    block_hash,
    draw_world,
    play,
    prevrandao_of,
    rules_of,
    state_of,
)

_HISTORY = 256
_SLOT_KEY = 53
"""Bytes of the key of a slot."""


def hexed(data: bytes) -> str:
    """0x-prefixed hex."""
    return "0x" + data.hex()


def document_of(world: World, raws: list[bytes]) -> dict[str, Any]:
    """The runner's input for a world whose transactions were signed."""
    return {
        "fork": world.fork, "chain_id": CHAIN_ID, "coinbase": hexed(world.coinbase), "gas_limit": GAS_MAX, "base_fee": world.base_fee,
        "blocks": [{
            "number": world.number, "timestamp": world.timestamp, "prevrandao": hexed(prevrandao_of(world)),
            "transactions": [hexed(raw) for raw in raws]}],
        "alloc": {
            hexed(address): {
                "balance": hex(held.balance), "nonce": hex(held.nonce), "code": hexed(held.code),
                "storage": {hex(slot): hex(value) for slot, value in held.storage.items()}}
            for address, held in world.accounts.items()},
        "block_hashes": {
            str(number): hexed(block_hash(number))
            for number in range(max(0, world.number - _HISTORY), world.number)}}


def accounts_of(state: State) -> dict[bytes, Account]:
    """Accounts that aren't empty, from state keys."""
    found: dict[bytes, dict[str, Any]] = {}

    def of(address: bytes) -> dict[str, Any]:
        return found.setdefault(address, {"balance": 0, "nonce": 0, "code": b"", "storage": {}})

    for key, value in state.items():
        kind, address = key[:1], key[1:21]
        if kind == b"b":
            of(address)["balance"] = integer(value)
        elif kind == b"n":
            of(address)["nonce"] = integer(value)
        elif kind == b"c":
            of(address)["code"] = state[b"h" + value]
        elif kind == b"s" and key[_SLOT_KEY:] == deletions(state, address):
            of(address)["storage"][integer(key[21:_SLOT_KEY])] = integer(value)
    return {address: Account(**fields) for address, fields in found.items()}


def deletions(state: State, address: bytes) -> bytes:
    """What the slots of an account have at the end of their keys: the number of its deletions, in forks that delete."""
    mark = state.get(storage_key(address), b"")
    return mark[1:] if mark[:1] == b"\x02" else b""


def not_empty(account: Account) -> bool:
    """Whether there is anything in an account."""
    return bool(account.balance or account.nonce or account.code or account.storage)


def described_run(played: Played) -> dict[str, Any]:
    """What the engine made of a transaction, in the words of a receipt."""
    answer = played.run.answer if played.run else None
    if not isinstance(answer, Included):
        return {"status": None, "gas_used": 0, "logs": []}
    described: dict[str, Any] = {
        "status": int(answer.status is Status.SUCCESS), "gas_used": answer.gas_used,
        "logs": [(log.address, log.topics, log.data) for log in answer.logs], "created": answer.contract}
    if answer.contract is None:
        described["output"] = answer.output
    return described


def described_receipt(receipt: Receipt) -> dict[str, Any]:
    """The same of the specification's receipt."""
    described: dict[str, Any] = {
        "status": receipt.status, "gas_used": receipt.gas_used,
        "logs": [(log.address, log.topics, log.data) for log in receipt.logs]}
    if receipt.status is not None:
        described["created"] = receipt.created
        if receipt.created is None:
            described["output"] = receipt.output
    return described


def needless(played: Played) -> list[bytes]:
    """Keys that a run wrote with the value that they had; code is written with its hash, whether it is there or not."""
    if played.run is None:
        return []
    before = played.before
    kept = [key for key, value in played.run.writes.items() if not is_blob(key) and before.get(key, b"") == value]
    return kept + [key for key, amount in played.run.deltas.items() if not amount or key in played.run.writes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came of a world in both engines."""

    world: World
    differences: tuple[str, ...]
    """In words; empty where they agree."""
    played: tuple[Played, ...]
    document: dict[str, Any]


def compare(world: World, session: Session) -> Comparison:
    """Play a world in both engines."""
    rules = rules_of(world)
    played = tuple(play(world, PyEvm(rules, {}), rules))
    document = document_of(world, [each.raw for each in played])
    try:
        expected = session.run(document)
    except EelsFailed as error:
        raise EelsFailed(f"world {world.seed}: {error}") from error
    return Comparison(
        world=world, differences=tuple(differences(world, played, expected)), played=played, document=document)


def differences(world: World, played: tuple[Played, ...], expected: Result) -> Iterator[str]:
    """Everything in which the engine differs from the specification."""
    for index, (each, receipt) in enumerate(zip(played, expected.receipts, strict=True)):
        ours, theirs = described_run(each), described_receipt(receipt)
        for name in ours.keys() | theirs.keys():
            if ours.get(name) != theirs.get(name):
                yield (
                    f"transaction {index}: {name} is {ours.get(name)!r}, by the specification {theirs.get(name)!r} "
                    f"(reason {each.run.answer if each.run else each.reason!r}; error {receipt.error})")
        for key in needless(each):
            yield f"transaction {index}: {key.hex()} is written and stays what it was"
    end = played[-1].after if played else state_of(world.accounts)
    ours_now = accounts_of(end)
    theirs_now = {address: account for address, account in expected.accounts.items() if not_empty(account)}
    for address in sorted(ours_now.keys() | theirs_now.keys()):
        mine, wanted = ours_now.get(address), theirs_now.get(address)
        if mine != wanted:
            yield f"account 0x{address.hex()} is {mine}, by the specification {wanted}"


# ---- making it small ----------------------------------------------------------------------------------------------


def smaller(world: World) -> Iterator[World]:
    """Worlds with something taken away, the large pieces first."""
    steps = world.steps
    count = len(steps)
    width = count
    while width:
        for start in range(0, count, width):
            yield replace(world, steps=steps[:start] + steps[start + width:])
        width //= 2
    for address in world.accounts:
        yield replace(world, accounts={key: held for key, held in world.accounts.items() if key != address})
    for index, step in enumerate(steps):
        for less_of in (
            replace(step, data=b""), replace(step, value=0), replace(step, access=()),
            replace(step, grants=step.grants[:1]), replace(step, grants=step.grants[1:] or step.grants),
        ):
            if less_of != step:
                yield replace(world, steps=(*steps[:index], less_of, *steps[index + 1:]))
    for address, held in world.accounts.items():
        for slot in held.storage:
            less = {key: value for key, value in held.storage.items() if key != slot}
            yield replace(world, accounts={**world.accounts, address: replace(held, storage=less)})
    width = 256
    while width:
        for address, held in world.accounts.items():
            for start in range(0, len(held.code), width):
                # Instructions that do nothing, so that all others stay in place.
                part = held.code[start:start + width]
                code = (held.code[:start] + b"\x5b" * len(part) + held.code[start + width:]).rstrip(b"\x5b")
                if set(part) != {0x5B}:
                    yield replace(world, accounts={**world.accounts, address: replace(held, code=code)})
        width //= 4


def smallest(world: World, session: Session, tries: int = 2_000) -> Comparison:
    """Take away whatever isn't needed for a difference."""
    found = compare(world, session)
    while True:
        for candidate in smaller(found.world):
            tries -= 1
            compared = compare(candidate, session)
            if compared.differences or tries <= 0:
                break
        else:
            return found
        if tries <= 0:
            return found
        found = compared


def instructions(code: bytes) -> str:
    """Byte code in numbers of its instructions, with the data of pushes behind them; runs of JUMPDEST are counted."""
    words: list[str] = []
    position = nothing = 0
    while position < len(code):
        opcode = code[position]
        width = opcode - 0x5F if 0x60 <= opcode <= 0x7F else 0
        if opcode == 0x5B:
            nothing += 1
        else:
            if nothing:
                words.append(f"(5b x{nothing})")
                nothing = 0
            mark = "" if opcode in STACK else "?"
            data = code[position + 1:position + 1 + width].hex()
            words.append(f"{opcode:02x}{mark}" + (f":{data}" if width else ""))
        position += 1 + width
    return " ".join(words)


def report(found: Comparison) -> str:
    """A difference in words."""
    world = found.world
    lines = [f"world {world.seed}: fork {world.fork}, number {world.number}, base fee {world.base_fee}, coinbase 0x{world.coinbase.hex()}"]
    for address, held in world.accounts.items():
        lines.append(
            f"  0x{address.hex()}: balance {held.balance}, nonce {held.nonce}, storage {dict(held.storage)}, code "
            f"{instructions(held.code)}")
    for step in world.steps:
        lines.append(f"  {step}" if len(step.data) < 100 else f"  {replace(step, data=b'')}, code {instructions(step.data)}")
    lines += [f"  differs: {difference[:1000]}" for difference in found.differences]
    document = {name: value for name, value in found.document.items() if name != "block_hashes"}
    lines.append(
        f"  again: python -m tests.conformance.eels.differences --fork {world.fork} --start {world.seed} --seeds 1")
    lines.append(f"  document, without the hashes of earlier blocks: {json.dumps(document)}")
    return "\n".join(lines)


def main() -> None:
    """Play worlds, and print those in which the engines differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.eels.differences", description=__doc__)
    parser.add_argument("--start", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, default=100, help="number of worlds")
    parser.add_argument("--fork", default="prague", choices=("shanghai", "cancun", "prague"))
    parser.add_argument("--failures", type=int, default=3, help="stop after so many worlds that differ")
    chosen = parser.parse_args()
    counts: Counter[str] = Counter()
    failures = 0
    with EelsEngine().session() as session:
        for seed in range(chosen.start, chosen.start + chosen.seeds):
            found = compare(draw_world(seed, fork=chosen.fork), session)
            counts.update(str(described_run(each)["status"]) for each in found.played)
            if found.differences:
                print(report(smallest(found.world, session)), flush=True)
                failures += 1
                if failures >= chosen.failures:
                    break
    print(f"{sum(counts.values())} transactions: {counts['1']} successful, {counts['0']} failed, {counts['None']} rejected")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
