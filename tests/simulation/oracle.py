"""The oracle: one serial execution of the ledger, and what has to be equal to it.

It replays `transactions`, `carries` and `epochs` (invariant 7) and nothing that the machines hold. It shares with them the
validity of the chain, the digests and the virtual machine; state, receipts and their numbering are its own.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace

from executors import intake
from executors.machine import Answer, Block, Rejected, Result, VirtualMachine, Waits
from executors.walk import Refused
from ingest.transactions import Transaction
from schemas import topics
from schemas.chain import Listed, Tip
from schemas.digests import START, chained
from schemas.hashing import digest
from schemas.keys import StateKey, home, integer, minimal, source_home
from schemas.records import (
    Attempt,
    Carry,
    Event,
    Exclusion,
    Join,
    LaneOutcome,
    Manifest,
    Receipt,
    Source,
    Vote,
)
from streams.log import Fetched

from .broker import Broker
from .violation import Violation
from .workload import Poison, Workload
from .world import World

SKIPPED = "skipped:"


class SerialView:
    """The state while one transaction runs."""

    def __init__(self, state: dict[bytes, bytes]) -> None:
        self._state = state
        self.written: dict[bytes, bytes] = {}
        self.added: dict[bytes, int] = {}
        self._read: dict[bytes, bytes] = {}

    def read(self, key: StateKey) -> bytes:
        """The value now."""
        if key in self.written:
            return self.written[key]
        value = self._read.setdefault(key, self._state.get(key, b""))
        return minimal(integer(value) + self.added[key]) if self.added.get(key) else value

    def write(self, key: StateKey, value: bytes) -> None:
        """Set a value."""
        self.written[key] = value
        self.added.pop(key, None)

    def add(self, key: StateKey, amount: int) -> None:
        """Add to a value."""
        if key in self.written:
            self.written[key] = minimal(integer(self.written[key]) + amount)
        else:
            self.added[key] = self.added.get(key, 0) + amount

    def changes(self) -> dict[bytes, bytes]:
        """New values; writing what was read is no change, adding nothing is one."""
        changed = {key: value for key, value in self.written.items() if self._read.get(key) != value}
        for key, amount in self.added.items():
            changed[key] = minimal(integer(self._state.get(key, b"")) + amount)
        return changed


@dataclass(slots=True)
class Numbering:
    """How far the indexes of a block have come."""

    included: int = 0
    gas: int = 0
    logs: int = 0


class Replay:
    """Executes all epochs, one transaction after the other."""

    def __init__(
        self, broker: Broker, tip: Tip, shards: int, workload: Workload, state: dict[bytes, bytes]
    ) -> None:
        self.broker = broker
        self.tip = tip
        self.shards = shards
        self.workload = workload
        self.machine: VirtualMachine = workload.machine()
        self.state = dict(state)
        self.worth = workload.worth(self.state)
        self.history: dict[bytes, list[tuple[int, bytes, bool]]] = {}
        """Changes of each key: epoch, value, and whether several lanes made it."""
        self.digests: list[list[bytes]] = [
            [chained(START, 0, {key: value for key, value in state.items() if home(key, shards) == shard})]
            for shard in range(shards)]
        """By shard, after each epoch from 0 on."""
        self.receipts: dict[Source, Receipt] = {}
        self.published: dict[tuple[int, int], list[Receipt]] = defaultdict(list)
        self.blocks = [tip.hash]
        self.excluded: Counter[Attempt] = Counter()
        self.count: Counter[str] = Counter()
        self._contributors: dict[bytes, set[int]] = {}

    def run(self) -> None:
        """Follow the valid records."""
        for offset, stored in self.broker.records(topics.EPOCHS):
            record = stored.value
            if not isinstance(record, Manifest | Exclusion):
                continue
            after = self.tip.after(record, digest(stored.data), offset)
            if after is None:
                self.count["skipped records"] += 1
                continue
            if isinstance(record, Exclusion):
                self.excluded.update(self.tip.cut[rank].attempt for rank in record.lanes)
            else:
                self.close(record, after.hash)
                self.check_digests(record)
                self.check_cut(record, after)
            self.tip = after
        self.count["epochs"] = self.tip.epoch
        self.count["blocks"] = len(self.blocks) - 1

    # ---- executing ----------------------------------------------------------------------------------------------

    def close(self, manifest: Manifest, closing_hash: bytes) -> None:
        """Execute the committed lanes of an epoch in rank order (invariants 1 and 2)."""
        tip, numbering = self.tip, Numbering()
        self._contributors = {}
        for rank, outcome in enumerate(manifest.close):
            if outcome is not None:
                self.lane(rank, outcome, numbering, closing_hash)
        if tip.epoch:
            for shard in range(self.shards):
                values = {key: self.state[key] for key in self._contributors if home(key, self.shards) == shard}
                before = self.digests[shard][-1]
                self.digests[shard].append(chained(before, tip.epoch, values) if tip.cut else before)
            for key, lanes in self._contributors.items():
                self.history.setdefault(key, []).append((tip.epoch, self.state[key], len(lanes) > 1))
        if numbering.included:
            self.blocks.append(closing_hash)
        if self.workload.worth(self.state) != self.worth:
            raise Violation("supply", f"epoch {tip.epoch}: {self.workload.worth(self.state)} instead of {self.worth}")

    def lane(self, rank: int, outcome: LaneOutcome, numbering: Numbering, closing_hash: bytes) -> None:
        """Execute one lane."""
        listed = self.tip.listed(rank)
        items = [self.item(item) for item in listed]
        carried = set(outcome.carried)
        self.check_carried(rank, outcome, listed, items)
        start, rejected = replace(numbering), 0
        oldest_found = rank > 0
        for index, (entry, item) in enumerate(zip(listed, items, strict=True)):
            if item is None:
                continue
            if index in carried and oldest_found:
                self.count["carried"] += 1
                continue
            answer, view = self.execute(entry, item)
            if not oldest_found and entry.carry is not None and not isinstance(answer, Waits):
                oldest_found = True
                if index in carried:
                    raise Violation("starves", f"epoch {self.tip.epoch}: {entry}")
            if index in carried:
                self.count["carried"] += 1
                continue
            if isinstance(answer, Waits):
                raise Violation("receipts", f"epoch {self.tip.epoch}: {entry} commits and waits")
            rejected += not isinstance(answer, Result)
            self.receipt(entry, item, answer, numbering, closing_hash)
            if isinstance(answer, Result):
                for key, value in view.changes().items():
                    self.state[key] = value
                    self._contributors.setdefault(key, set()).add(rank)
            self.count["oldest age"] = max(self.count["oldest age"], self.tip.epoch - entry.origin.epoch)
        counts = (
            numbering.included - start.included, rejected, numbering.gas - start.gas, numbering.logs - start.logs)
        if counts != (outcome.included, outcome.rejected, outcome.gas, outcome.logs):
            raise Violation("counts", f"epoch {self.tip.epoch} rank {rank}: {outcome} should count {counts}")

    def item(self, entry: Listed) -> Transaction | Refused | None:
        """What a position of a list holds."""
        carry = entry.carry is not None
        topic = topics.carries(entry.partition) if carry else topics.transactions(entry.partition)
        offset = entry.carry if entry.carry is not None else entry.origin.offset
        stored = self.broker.topics[topic][offset]
        if stored is None:
            return None
        fetched = [Fetched(topic, offset, None, stored.data, 0, {})]
        of = intake.carries if carry else intake.transactions
        (record,) = of(fetched, self.workload.rules, self.workload.decode)
        found: Transaction | Refused = record.value[1] if carry else record.value
        return found

    def execute(self, entry: Listed, item: Transaction | Refused) -> tuple[Answer, SerialView]:
        """Run one transaction on the serial state."""
        view = SerialView(self.state)
        if isinstance(item, Refused):
            return Rejected(reason=item.reason), view
        if entry.skip:
            return Rejected(reason=SKIPPED), view
        tip = self.tip
        block = Block(
            number=len(self.blocks), timestamp_s=tip.timestamp_ms // 1000, prevrandao=tip.randomness,
            ancestor=self.ancestor)
        try:
            answer = self.machine.execute(item, block, view)
        except Poison as exc:
            raise Violation("poison", f"epoch {tip.epoch}: {entry} is executed") from exc
        if isinstance(answer, Waits) and entry.expired:
            return Rejected(reason=(
                f"nonce {item.nonce} is ahead of the account's, which is {answer.nonce}, and the missing ones did not "
                f"come within {tip.rules.parked_ms_max} ms")), view
        return answer, view

    def ancestor(self, number: int) -> bytes:
        """The hash of an earlier block."""
        return self.blocks[number] if max(0, len(self.blocks) - 256) <= number < len(self.blocks) else bytes(32)

    def receipt(
        self, entry: Listed, item: Transaction | Refused, answer: Answer, numbering: Numbering, closing_hash: bytes
    ) -> None:
        """Write down what the receipt of a transaction has to be."""
        source, tip = entry.origin.source, self.tip
        if source in self.receipts:
            raise Violation("receipts", f"epoch {tip.epoch}: {source} commits twice")
        shard = source_home(*source, self.shards)
        of_shard = self.published[shard, tip.epoch]
        signed = item if isinstance(item, Transaction) else None
        result = answer if isinstance(answer, Result) else None
        made = Receipt(
            partition=source.partition, offset=source.offset, epoch=tip.epoch, shard=shard, index=len(of_shard),
            hash=item.hash,
            status=result.status.value if result else "rejected",
            reason=answer.reason if isinstance(answer, Result | Rejected) else "",
            sender=signed.sender if signed else b"",
            recipient=signed.to if signed else None,
            contract=result.contract if result else None,
            nonce=signed.nonce if signed else 0,
            kind=signed.type if signed else 0,
            block=len(self.blocks) if result else None,
            block_hash=closing_hash if result else None,
            timestamp_ms=tip.timestamp_ms,
            transaction_index=numbering.included if result else None,
            gas_used=result.gas_used if result else 0,
            cumulative_gas=numbering.gas + result.gas_used if result else 0,
            gas_price=self.price(signed),
            log_index=numbering.logs if result else 0,
            logs=tuple(Event(address=log.address, topics=log.topics, data=log.data) for log in result.logs)
            if result else (),
            output=result.output[:1024] if result and result.status.value == "failed" else b"",
        )
        self.receipts[source] = made
        of_shard.append(made)
        if result:
            numbering.included += 1
            numbering.gas += result.gas_used
            numbering.logs += len(result.logs)

    def price(self, signed: Transaction | None) -> bytes:
        """What a transaction pays per gas."""
        base_fee = self.workload.rules.base_fee
        return minimal(min(signed.max_fee, base_fee + signed.max_priority_fee)) if signed else b""

    # ---- comparing ----------------------------------------------------------------------------------------------

    def check_carried(
        self, rank: int, outcome: LaneOutcome, listed: list[Listed], items: list[Transaction | Refused | None]
    ) -> None:
        """What did not commit is pending exactly once, where a carry with its origin and bytes lies."""
        where = f"epoch {self.tip.epoch} rank {rank}"
        expected = sorted(listed[index].origin for index in outcome.carried)
        if sorted(carry.origin for carry in outcome.accepted) != expected or len(set(expected)) != len(expected):
            raise Violation("carries", f"{where}: {outcome.accepted} for {expected}")
        hashes = {entry.origin: item.hash for entry, item in zip(listed, items, strict=True) if item is not None}
        for accepted in outcome.accepted:
            stored = self.broker.topics[topics.carries(accepted.partition)][accepted.position]
            carry = stored.value if stored else None
            if not isinstance(carry, Carry) or carry.hash != hashes[accepted.origin]:
                raise Violation("carries", f"{where}: {accepted} names {carry}")
        digests = b"".join(bytes(32) if item is None else item.hash for item in items)
        if outcome.list_digest != digest(digests):
            raise Violation("list", f"{where}: another list ran")

    def check_digests(self, manifest: Manifest) -> None:
        """The digests that a manifest names are those of the replay."""
        for named in manifest.digests:
            if named.digest != self.digests[named.shard][named.epoch]:
                raise Violation("digests", f"shard {named.shard} after epoch {named.epoch}")

    def check_cut(self, manifest: Manifest, after: Tip) -> None:
        """Each partition is in one lane, of an attempt that joined with it; the oldest that can run goes first."""
        taken = [part.partition for lane in manifest.cut for part in lane.slices]
        for lane in manifest.cut:
            stored = self.broker.topics[topics.MEMBERS][lane.joined]
            join = stored.value if stored else None
            if not isinstance(join, Join) or join.attempt != lane.attempt or join.partitions != lane.partitions:
                raise Violation("owners", f"epoch {manifest.epoch}: {lane} has no such join")
            if not {part.partition for part in lane.slices} <= set(lane.partitions):
                raise Violation("owners", f"epoch {manifest.epoch}: {lane}")
        if len(taken) > len(set(taken)):
            raise Violation("owners", f"epoch {manifest.epoch}: {taken}")
        runnable = [
            (carry.origin, rank) for rank, lane in enumerate(manifest.cut) for part in lane.slices
            for carry in after.inputs[part.partition].pending if carry.parked_ms is None]
        if runnable and min(runnable)[1] != 0:
            raise Violation("starves", f"epoch {manifest.epoch}: the oldest doesn't go first")


def votes(broker: Broker) -> Counter[str]:
    """Lanes that were voted on, and those that had to run again because something was stale."""
    first: dict[tuple[int, int], Vote] = {}
    for _, stored in broker.records(topics.VOTES):
        if isinstance(stored.value, Vote) and stored.value.lanes:
            first.setdefault((stored.value.epoch, stored.value.shard), stored.value)
    lanes: defaultdict[tuple[int, int], bool] = defaultdict(bool)
    for vote in first.values():
        for judged in vote.lanes:
            lanes[vote.epoch, judged.rank] |= bool(judged.stale_indexes)
    return Counter({"lanes": len(lanes), "stale lanes": sum(lanes.values())})


def check(world: World) -> Counter[str]:
    """Compare what the machines did with the replay; returns counts for the report."""
    replay = Replay(world.broker, world.start_tip, world.shard_count, world.workload, world.state)
    replay.run()
    sources = [
        (partition, offset) for partition in range(world.partitions)
        for offset, _ in world.broker.records(topics.transactions(partition))]
    if sorted(replay.receipts) != sorted(sources):
        missing = set(sources) - set(replay.receipts)
        raise Violation("receipts", f"{len(missing)} missing: {sorted(missing)[:5]}")
    _check_receipts(world, replay)
    _check_stores(world, replay)
    if any(number > 1 for number in replay.excluded.values()):  # one stall per failure
        raise Violation("stalls twice", f"{replay.excluded.most_common(1)}")
    replay.count["exclusions"] = replay.excluded.total()
    replay.count["transactions"] = len(replay.receipts)
    return replay.count + votes(world.broker) + world.count


def _check_receipts(world: World, replay: Replay) -> None:
    """Each shard has published, once and in order, exactly what the replay says."""
    for epoch in range(replay.tip.epoch):
        for shard in range(world.shard_count):
            published = world.published.get((shard, epoch))
            expected = tuple(replay.published.get((shard, epoch), ()))
            if published is None:
                raise Violation("receipts", f"shard {shard} did not publish epoch {epoch}")
            if len(published) != len(expected):
                raise Violation("receipts", f"shard {shard} epoch {epoch}: {len(published)} of {len(expected)}")
            for is_, should in zip(published, expected, strict=True):
                if should.reason == SKIPPED and is_.reason.startswith(SKIPPED):
                    replay.count["skipped transactions"] += 1
                    should = replace(should, reason=is_.reason)
                    if world.faults.peaceful and is_.hash not in world.workload.poisons_sent:
                        raise Violation("skips", f"an innocent transaction: {is_}")
                if is_ != should:
                    raise Violation("receipts", f"{is_} should be {should}")


def _check_stores(world: World, replay: Replay) -> None:
    """Every snapshot of every replica equals the replay's (invariant 3), with the versions that voting relies on."""
    for machine in world.machines():
        keys = sorted(
            key for key in replay.state.keys() | replay.history.keys() if home(key, world.shard_count) == machine.shard)
        for epoch in range(replay.tip.epoch):
            for key, entry in zip(keys, machine.store.read(keys, epoch)[1], strict=True):
                changes = [change for change in replay.history.get(key, ()) if change[0] <= epoch]
                at, value, merged = changes[-1] if changes else (0, world.state.get(key, b""), False)
                if entry.value != value:
                    raise Violation("state", f"{key.hex()} after epoch {epoch} is {entry}, not {value.hex()} of {at}")
                if entry.version != 2 * at + merged:
                    raise Violation("versions", f"{key.hex()} after epoch {epoch} is {entry}, of {at}, merged: {merged}")
        if machine.store.durable.digest.digest != replay.digests[machine.shard][-1]:
            raise Violation("digests", f"shard {machine.shard} at the end")
