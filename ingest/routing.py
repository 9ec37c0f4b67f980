"""Which partition a transaction goes to: learned from what is used together, and only ever a hint.

A sender keeps its partition while any of its transactions may be in flight, so that they run in the order of their
nonces. Otherwise a key that several recent transactions have met in (a pool, a merchant) draws everything that touches
it to one partition, where it conflicts with nothing. All else is spread by the sender.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from schemas.hashing import digest

WINDOW = 2_000
"""The hot keys are those of about so many recent transactions."""
HOT_SHARE = 0.004
"""A key is hot if more than this share of them touches it, besides those that it sends."""
SENDERS_MAX = 200_000


class Router:
    """Routes by keys.

    Parameters
    ----------
    partitions
        N.
    hold_s
        For so long after its last transaction a sender keeps its partition, unless it is told that they are settled.
    now_s
        A monotonic clock.
    """

    def __init__(self, partitions: int, *, hold_s: float = 10.0, now_s: Callable[[], float] = time.monotonic) -> None:
        self.partitions = partitions
        self._hold_s = hold_s
        self._now_s = now_s
        self._held: OrderedDict[bytes, tuple[int, float, int]] = OrderedDict()
        """By sender: the partition, when it last sent, and how many aren't settled."""
        self._counts: dict[bytes, float] = {}
        self._hot: dict[bytes, int] = {}
        self._load = [0.0] * partitions
        self._seen = 0

    def route(self, keys: Sequence[bytes]) -> int:
        """The partition for a transaction whose routing keys these are, its sender first."""
        now, sender = self._now_s(), keys[0]
        held = self._held.pop(sender, None)
        stays = held is not None and now - held[1] < self._hold_s
        partition = held[0] if held is not None and stays else self._choice(keys)
        open_ = held[2] if held is not None and stays else 0
        self._held[sender] = partition, now, open_ + 1
        if len(self._held) > SENDERS_MAX:
            self._held.popitem(last=False)
        self._note(keys, partition)
        return partition

    def settled(self, sender: bytes) -> None:
        """A transaction of a sender has its receipt. When all have, the sender may move."""
        held = self._held.get(sender)
        if held is not None and held[2] > 1:
            self._held[sender] = held[0], held[1], held[2] - 1
        else:
            self._held.pop(sender, None)

    def _choice(self, keys: Sequence[bytes]) -> int:
        hot = [key for key in keys if key in self._hot]
        if hot:
            return self._hot[max(hot, key=lambda key: self._counts.get(key, 0.0))]
        return home_partition(keys[0], self.partitions)

    def _note(self, keys: Sequence[bytes], partition: int) -> None:
        """Count, and twice per window forget half and name the hot keys anew."""
        for key in keys[1:]:
            self._counts[key] = self._counts.get(key, 0.0) + 1.0
        self._load[partition] += 1.0
        self._seen += 1
        if self._seen < WINDOW // 2:
            return
        self._seen = 0
        total = sum(self._load)
        hottest = {key: count for key, count in self._counts.items() if count > HOT_SHARE * total}
        self._hot = {key: at for key, at in self._hot.items() if key in hottest}
        for key in sorted(hottest, key=lambda key: -hottest[key]):
            if key not in self._hot:
                self._hot[key] = min(range(self.partitions), key=lambda p: (self._load[p], p))
                self._load[self._hot[key]] += hottest[key]
        self._load = [load / 2 for load in self._load]
        self._counts = {key: count / 2 for key, count in self._counts.items() if count > 1.0}


def home_partition(key: bytes, partitions: int) -> int:
    """Where a key goes that nothing draws anywhere else."""
    return int.from_bytes(digest(key)[8:16], "big") % partitions
