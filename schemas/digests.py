"""Digests of shards: what an epoch wrote at a shard, in 32 bytes, chained from epoch to epoch.

Layout, all hashes BLAKE2b-256:

- leaf: ``00`` + length of the key (4 bytes big-endian) + key + value
- node: ``01`` + left + right; an odd last one moves up as it is
- root of nothing: 32 zero bytes
- digest after e: digest after e-1 (32) + e (8 bytes big-endian) + root over what e wrote, sorted by key

An epoch without lanes leaves the digest as it is. The digest after epoch 0 starts from 32 zero bytes and covers the
entries of the genesis.
"""

from collections.abc import Mapping
from hashlib import blake2b

START = bytes(32)


def merkle_root(written: Mapping[bytes, bytes]) -> bytes:
    """Root over keys and values, in the order of the keys."""
    level = [
        blake2b(b"\x00" + len(key).to_bytes(4, "big") + key + written[key], digest_size=32).digest()
        for key in sorted(written)
    ]
    if not level:
        return bytes(32)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [
            blake2b(b"\x01" + level[i] + level[i + 1], digest_size=32).digest() for i in range(0, len(level) - 1, 2)
        ] + odd
    return level[0]


def chained(before: bytes, epoch: int, written: Mapping[bytes, bytes]) -> bytes:
    """The digest of a shard after `epoch`, from the one before and what the epoch wrote there."""
    return blake2b(before + epoch.to_bytes(8, "big") + merkle_root(written), digest_size=32).digest()
