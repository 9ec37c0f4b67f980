"""A list of transactions through the protocol, compared with a serial run of the order that it committed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from executors.effects import OUTPUT_BYTES_MAX
from executors.machine import Answer, Log, Rejected, Result
from ingest.transactions import decode
from schemas import topics
from schemas.chain import Listed, Tip
from schemas.codec import CODEC
from schemas.errors import InvariantViolation
from schemas.hashing import digest
from schemas.keys import describe
from schemas.records import Event, Exclusion, Manifest, Receipt, Source
from schemas.rules import Rules

from .engines import InOneBlock, engine
from .environment import Environment
from .fields import hexadecimal
from .pipeline import Pipeline, Shape
from .serial import SerialRun, item_of
from .transition import Applied, Included

NONCE_AHEAD_MAX: Final = Rules().nonce_ahead_max
PARKED_MS_MAX: Final = Rules().parked_ms_max
"""How long a nonce is waited for, by a clock that jumps when nothing else happens."""
DIFFERENCES_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolRun:
    """What the machines of the protocol have made of a list."""

    shape: Shape
    applied: Applied
    """Included transactions in the order in which they were committed."""
    order: tuple[int, ...]
    """The same for all, rejected ones too, by their places in the list that was given."""
    epochs: int
    """That had transactions."""
    carried: int
    """How often a transaction was moved to a later epoch."""
    repaired: int
    """How often one ran again because of others."""
    differences: tuple[str, ...]
    """Between the protocol and the serial run."""

    @property
    def serial(self) -> bool:
        """Whether a serial run in the committed order gives the same."""
        return not self.differences

    def document(self) -> dict[str, Any]:
        """For programs."""
        shape = self.shape
        return {
            "serial": self.serial, "partitions": shape.partitions, "executors": shape.executors,
            "shards": shape.shards, "seed": shape.seed, "epochs": self.epochs, "carried": self.carried,
            "repaired": self.repaired, "order": list(self.order), "differences": list(self.differences)}


def run_protocol(
    environment: Environment, engine_name: str, state: Mapping[bytes, bytes], raws: Sequence[bytes], shape: Shape,
) -> ProtocolRun:
    """Run signed transactions through the pipeline, then one after the other as it committed them.

    All see the same block, in whatever epoch they run. The pipeline has no limit of gas over a block, so that none of
    them is rejected for that. One whose nonce is ahead waits, and is rejected when nothing else happens any more.

    Parameters
    ----------
    state
        Keys and values before the first one.
    """
    rules = environment.rules(nonce_ahead_max=NONCE_AHEAD_MAX, parked_ms_max=PARKED_MS_MAX)
    block = environment.block()
    pipeline = Pipeline(shape, rules, lambda: InOneBlock(engine(engine_name, rules), block), state)
    sources = {source: index for index, source in enumerate(pipeline.run(raws))}
    committed = _Committed.of(pipeline)
    serial = SerialRun(engine(engine_name, rules), block, state, PARKED_MS_MAX)
    differences: list[str] = []
    for listed in committed.order:
        index = sources[listed.origin.source]
        run = serial.run(item_of(raws[index], rules), listed)
        if run is None:
            raise InvariantViolation(f"transaction {index} is a hole in its list")
        receipt = pipeline.receipts[listed.origin.source]
        differences += [f"transaction {index}: {fault}" for fault in _receipt_differences(receipt, run.answer)]
    final = pipeline.state()
    differences += _state_differences(final, serial.state())
    order = tuple(sources[listed.origin.source] for listed in committed.order)
    if sorted(order) != list(range(len(raws))):
        differences.append(f"{len(raws)} transactions were sent, {len(order)} were committed: {order}")
    return ProtocolRun(
        shape=shape, applied=_applied(pipeline, sources, raws, order, final, rules), order=order,
        epochs=committed.epochs, carried=committed.carried, repaired=pipeline.repaired,
        differences=tuple(differences[:DIFFERENCES_MAX]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Committed:
    """What the chain of manifests tells."""

    order: list[Listed]
    epochs: int
    carried: int

    @classmethod
    def of(cls, pipeline: Pipeline) -> "_Committed":
        """Follow the valid records: the lanes that a manifest closes, by rank, without what they carried."""
        tip: Tip = pipeline.start
        order: list[Listed] = []
        epochs = carried = 0
        for offset, data in enumerate(pipeline.log[topics.EPOCHS]):
            record = CODEC.decode(data)
            after = tip.after(record, digest(data), offset) if isinstance(record, Manifest | Exclusion) else None
            if after is None or not isinstance(record, Manifest):
                tip = after or tip
                continue
            epochs += bool(tip.cut)
            for rank, outcome in enumerate(record.close):
                if outcome is not None:
                    left = frozenset(outcome.carried)
                    carried += len(left)
                    order += [listed for place, listed in enumerate(tip.listed(rank)) if place not in left]
            tip = after
        return cls(order=order, epochs=epochs, carried=carried)


def _receipt_differences(receipt: Receipt, answer: Answer) -> list[str]:
    """Where a receipt isn't what the serial run came to."""
    told: dict[str, tuple[Any, Any]]
    if isinstance(answer, Result):
        failed = answer.status.value == "failed"
        told = {
            "status": (receipt.status, answer.status.value), "gas": (receipt.gas_used, answer.gas_used),
            "reason": (receipt.reason, answer.reason), "contract": (receipt.contract, answer.contract),
            "output": (receipt.output, answer.output[:OUTPUT_BYTES_MAX] if failed else b""),
            "logs": (receipt.logs, tuple(
                Event(address=log.address, topics=log.topics, data=log.data) for log in answer.logs))}
    else:
        reason = answer.reason if isinstance(answer, Rejected) else f"it waits, the nonce is {answer.nonce}"
        told = {"status": (receipt.status, "rejected"), "reason": (receipt.reason, reason)}
    return [
        f"{name} {is_!r} in the pipeline, {should!r} serially" for name, (is_, should) in told.items()
        if is_ != should]


def _state_differences(found: Mapping[bytes, bytes], serial: Mapping[bytes, bytes]) -> list[str]:
    return [
        f"{describe(key)}: {hexadecimal(found.get(key, b''))} in the pipeline, "
        f"{hexadecimal(serial.get(key, b''))} serially"
        for key in sorted({*found, *serial}) if found.get(key) != serial.get(key)]


def _applied(
    pipeline: Pipeline, sources: Mapping[Source, int], raws: Sequence[bytes], order: Sequence[int],
    state: dict[bytes, bytes], rules: Rules,
) -> Applied:
    """What the pipeline came to: from its receipts and its shards."""
    receipts = {sources[source]: receipt for source, receipt in pipeline.receipts.items()}
    included: list[Included] = []
    for index in order:
        receipt = receipts[index]
        if receipt.included:
            included.append(Included(
                transaction=decode(raws[index], rules), succeeded=receipt.status == "success",
                gas_used=receipt.gas_used,
                logs=tuple(Log(address=log.address, topics=log.topics, data=log.data) for log in receipt.logs),
                contract=receipt.contract))
    rejected = tuple(
        (index, receipts[index].reason) for index in sorted(receipts) if not receipts[index].included)
    return Applied(included=tuple(included), rejected=rejected, state=state)
