"""A machine for tests, whose programs are lists of requests to the host, and random worlds with its contracts in them.

A program keeps a hash over everything that the host ever told it, and returns it: so that a value which differs
anywhere is seen in the output. What depends on a value is drawn, too: a request that is skipped by a bit of the hash,
writes of the hash, data and wei of calls.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from executors.machine import Host, InvalidCode, LimitExceeded, Reverted
from executors.machines import contained
from ingest.admission import intrinsic_gas
from ingest.rlp import Item, NotCanonical, read_list, write, write_list
from schemas.hashing import keccak
from tests.conformance.random_contracts import WALLETS, Holding, Step, World, address_of, draw_world

NAME: Final = "toy"
KIND: Final = 0x50
ARGUMENTS: Final = {
    "read": 1, "write": 2, "keep": 1, "add": 2, "log": 2, "balance": 1, "call": 4, "try": 4, "skip": 0, "gas": 0,
    "message": 0, "digest": 1, "verify": 1, "revert": 1, "halt": 1, "burn": 1}
"""Requests with the number of their arguments."""
TOYS: Final = tuple(bytes((0xD0 + index,)) * 20 for index in range(3))
"""Where a drawn world has contracts of this machine."""


def program(*requests: tuple[str, *tuple[bytes | int, ...]]) -> bytes:
    """Code out of requests."""
    return write_list(
        write_list((write(name.encode()), *(write(argument) for argument in arguments)))
        for name, *arguments in requests)


def deployment(code: bytes, arguments: bytes = b"") -> bytes:
    """Data of a transaction that deploys."""
    return write_list((write(code), write(arguments)))


class Toy:
    """The machine."""

    name = NAME
    version = 1

    def compile(self, code: bytes) -> bytes:
        """Check that all requests are known."""
        _requests(code)
        return code

    def run(self, code: bytes, host: Host) -> bytes:
        """Make the requests one after the other."""
        seen = keccak(host.message.data)
        skipped = False
        for name, arguments in _requests(code):
            if skipped:
                skipped = False
                continue
            if name == "skip":
                skipped = bool(seen[0] & 1)
            else:
                seen = keccak(seen + _answer(host, name, arguments, seen))
        return seen


def _requests(code: bytes) -> list[tuple[str, list[bytes]]]:
    requests = []
    try:
        for item in read_list(code):
            name, *arguments = _strings(item)
            if ARGUMENTS.get(name.decode("ascii", "replace")) != len(arguments):
                raise InvalidCode(f"no request {name!r} with {len(arguments)} arguments")
            requests.append((name.decode(), arguments))
    except NotCanonical as exc:
        raise InvalidCode(str(exc)) from exc
    return requests


def _strings(item: Item) -> list[bytes]:
    if isinstance(item, list) and item:
        strings = [part for part in item if isinstance(part, bytes)]
        if len(strings) == len(item):
            return strings
    raise InvalidCode("a request is a list of strings")


def _answer(host: Host, name: str, arguments: list[bytes], seen: bytes) -> bytes:
    """Make a request; the answer in bytes."""
    first = arguments[0] if arguments else b""
    number = int.from_bytes(arguments[1], "big") if len(arguments) == 2 else 0
    match name:
        case "read":
            return host.read(first)
        case "write":
            host.write(first, arguments[1])
        case "keep":
            host.write(first, seen[:1 + seen[1] % 32])
        case "add":
            host.add(first, number)
        case "log":
            host.log((seen,) * (number % 5), first)
        case "balance":
            return host.balance(first).to_bytes(32, "big")
        case "call" | "try":
            return _call(host, arguments, catch=name == "try")
        case "gas":
            return host.gas.to_bytes(8, "big")
        case "message":
            message = host.message
            return b"".join((
                message.contract, message.caller, message.origin, message.value.to_bytes(32, "big"), message.data,
                bytes((message.creates, message.static))))
        case "digest":
            return host.digest(first.decode(), seen)
        case "verify":
            return bytes((host.verify(first.decode(), seen, seen + seen, seen),))
        case "revert":
            raise Reverted(first)
        case "halt":
            raise LimitExceeded(first.decode())
        case "burn":
            host.charge(int.from_bytes(first, "big"))
    return b""


def _call(host: Host, arguments: list[bytes], *, catch: bool) -> bytes:
    address, data, value, gas = arguments
    most = int.from_bytes(gas, "big") if gas else None
    try:
        return b"\1" + host.call(address, data, value=int.from_bytes(value, "big"), gas=most)
    except Reverted as reverted:
        if not catch:
            raise
        return b"\0" + reverted.output


# ---- drawing ------------------------------------------------------------------------------------------------------


def draw_program(
    rng: random.Random, addresses: Sequence[bytes], requests: int, *, precompiled: bool = True,
) -> bytes:
    """A random program that names some addresses, and precompiled contracts."""
    drawn: list[tuple[str, *tuple[bytes | int, ...]]] = []
    for _ in range(requests):
        key = b"k%d" % rng.randrange(4)
        address = rng.choice(addresses) if not precompiled or rng.random() < 0.85 else rng.randrange(0x13).to_bytes(20, "big")
        value = rng.choice((0, 0, 0, 0, 1, 3, 10**6, 2**255))
        gas = rng.choice((b"", b"", b"", b"\x01", b"\x40\x00", b"\x01\x00\x00", b"\x04\x00\x00"))
        data = rng.choice((b"", rng.randbytes(4), rng.choice(addresses).rjust(32, b"\0")))
        choices: list[tuple[int, tuple[str, *tuple[bytes | int, ...]]]] = [
            (12, ("read", key)), (8, ("write", key, rng.choice((b"", b"\1", b"\0\7", rng.randbytes(40))))),
            (6, ("keep", key)), (12, ("add", key, rng.choice((0, 1, 1, 255, 2**200)))),
            (4, ("log", rng.randbytes(3), rng.randrange(5))), (6, ("balance", address)),
            (6, ("call", address, data, value, gas)), (14, ("try", address, data, value, gas)), (4, ("skip",)),
            (2, ("gas",)), (4, ("message",)), (1, ("digest", rng.choice((b"sha256", b"blake2b256", b"md5")))),
            (1, ("verify", rng.choice((b"ed25519", b"bip340", b"secp256k1")))), (2, ("revert", rng.randbytes(5))),
            (1, ("halt", b"a limit")), (1, ("burn", 50_000))]
        drawn.append(rng.choices([request for _, request in choices], [weight for weight, _ in choices])[0])
    return program(*drawn)


def draw_mixed_world(seed: int, *, steps: int = 8) -> World:
    """A world in which contracts of both kinds call each other."""
    rng = random.Random(seed)
    contracts = [bytes((0xC0 + index,)) * 20 for index in range(3)]
    wallets = [address_of(wallet) for wallet in range(WALLETS)]
    named = [*TOYS, *TOYS, *contracts, *contracts, *wallets]
    toys = {
        address: Holding(
            nonce=1, balance=rng.choice((0, 5, 10**6)), code=contained(NAME, draw_program(rng, named, rng.randrange(2, 9))),
            entries={b"k%d" % rng.randrange(4): rng.choice((b"\1", b"\0\5", rng.randbytes(33))) for _ in range(3)})
        for address in TOYS}
    world = draw_world(seed, steps=steps, extra=toys)
    return replace(world, steps=tuple(
        _draw_step(rng, named, step) if rng.random() < 0.6 else step for step in world.steps))


def _draw_step(rng: random.Random, named: Sequence[bytes], step: Step) -> Step:
    """A transaction of type 0x50 in the place of another one."""
    to: bytes | None = rng.choice((*TOYS, *TOYS, *TOYS, *TOYS, named[-1], named[-5]))
    data = rng.randbytes(rng.randrange(5))
    if rng.random() < 0.25:
        to = None
        code = draw_program(rng, named, rng.randrange(6)) if rng.random() < 0.9 else rng.randbytes(5)
        data = deployment(code, data) if rng.random() < 0.95 else code
    gas, floor = intrinsic_gas(data, creates=to is None)
    return replace(
        step, kind=KIND, machine=NAME, to=to, data=data, access=(), grants=(),
        gas=max(gas, floor) + rng.choice((5_000, 100_000, 300_000, 300_000, 800_000, 2_000_000)))
