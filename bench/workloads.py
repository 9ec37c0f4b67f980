"""What is sent: a genesis that holds everything at the start, and signed transactions with their routing keys."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.genesis import Genesis

from .wallets import SWAP, TRANSFER, Wallet, mapping_slot, padded, word

ARTIFACTS = Path(__file__).parents[1] / "examples" / "contracts" / "artifacts"
TOKEN, OTHER = (bytes.fromhex(f"{number:040x}") for number in (0x70001, 0x70002))
POOLS = tuple(bytes.fromhex(f"{0x90001 + number:040x}") for number in range(64))
SUPPLY_EACH = 10**24
CHAIN_ID = 52188


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction ready to be sent."""

    raw: bytes
    keys: tuple[bytes, ...]
    """What it is routed by, the sender first."""


def artifact(name: str) -> dict[str, str]:
    """A compiled contract."""
    loaded: dict[str, str] = json.loads((ARTIFACTS / f"{name}.json").read_text())
    return loaded


def hexed(number: int) -> str:
    """A number as genesis files write slots and values."""
    return f"0x{number:064x}"


def genesis(wallets: list[Wallet], coins: int = 10**22) -> bytes:
    """Two tokens of which every account has plenty, and pools of both with liquidity; each account may use two."""
    token = artifact("Token")["deployedBytecode"]
    alloc: dict[str, object] = {}
    for address in (TOKEN, OTHER):
        storage = {hexed(mapping_slot(wallet.address, 4)): hexed(SUPPLY_EACH) for wallet in wallets}
        storage |= {hexed(mapping_slot(pool, 4)): hexed(SUPPLY_EACH) for pool in POOLS}
        storage[hexed(3)] = hexed(SUPPLY_EACH * (len(wallets) + len(POOLS)))
        for number, wallet in enumerate(wallets):
            inner = mapping_slot(wallet.address, 5)
            for pool in {POOLS[0], POOLS[number % len(POOLS)]}:
                storage[hexed(nested(inner, pool))] = hexed(2**256 - 1)
        alloc[f"0x{address.hex()}"] = {"balance": "0x0", "code": token, "nonce": "0x1", "storage": storage}
    reserves = (SUPPLY_EACH << 112) | SUPPLY_EACH
    pool_storage = {
        hexed(0): hexed(int.from_bytes(TOKEN, "big")), hexed(1): hexed(int.from_bytes(OTHER, "big")),
        hexed(2): hexed(reserves), hexed(3): hexed(SUPPLY_EACH)}
    code = artifact("Pool")["deployedBytecode"]
    for pool in POOLS:
        alloc[f"0x{pool.hex()}"] = {"balance": "0x0", "code": code, "nonce": "0x1", "storage": pool_storage}
    for wallet in wallets:
        alloc[f"0x{wallet.address.hex()}"] = {"balance": hex(coins)}
    document = {"config": {"chainId": CHAIN_ID}, "alloc": alloc, "gasLimit": "0x3b9aca00"}
    text = json.dumps(document).encode()
    Genesis.parse(text)
    return text


def nested(inner: int, address: bytes) -> int:
    """Slot of an entry of a mapping within a mapping."""
    from schemas.hashing import keccak

    return int.from_bytes(keccak(padded(address) + word(inner)), "big")


def erc20(wallets: list[Wallet], count: int, seed: int) -> Iterator[Signed]:
    """Transfers of a token between accounts drawn uniformly."""
    rng = random.Random(seed)
    for _ in range(count):
        sender, payee = rng.choice(wallets), rng.choice(wallets)
        data = TRANSFER + padded(payee.address) + word(1 + rng.randrange(1000))
        yield Signed(sender.sign(CHAIN_ID, TOKEN, data=data, gas=100_000), (sender.address, payee.address))


def native(wallets: list[Wallet], count: int, seed: int) -> Iterator[Signed]:
    """Transfers of ether between accounts drawn uniformly."""
    rng = random.Random(seed)
    for _ in range(count):
        sender, payee = rng.choice(wallets), rng.choice(wallets)
        yield Signed(sender.sign(CHAIN_ID, payee.address, value=1 + rng.randrange(1000)), (sender.address, payee.address))


def one_pool(wallets: list[Wallet], count: int, seed: int) -> Iterator[Signed]:
    """Swaps on one and the same pool."""
    rng = random.Random(seed)
    for _ in range(count):
        yield swap(rng.choice(wallets), POOLS[0], rng)


def many_pools(wallets: list[Wallet], count: int, seed: int) -> Iterator[Signed]:
    """Swaps spread over all pools: what the same transactions cost without contention."""
    rng = random.Random(seed)
    for _ in range(count):
        number = rng.randrange(len(wallets))
        yield swap(wallets[number], POOLS[number % len(POOLS)], rng)


def swap(sender: Wallet, pool: bytes, rng: random.Random) -> Signed:
    """One swap, in one direction or the other."""
    data = SWAP + padded(rng.choice((TOKEN, OTHER))) + word(10**15) + word(0) + padded(sender.address)
    return Signed(sender.sign(CHAIN_ID, pool, data=data, gas=300_000), (sender.address, pool))


WORKLOADS = {"erc20": erc20, "native": native, "pool": one_pool, "pools": many_pools}
