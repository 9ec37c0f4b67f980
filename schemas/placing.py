"""The place of a receipt in its block, which only the close of its epoch tells."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from .chain import Tip
from .records import LaneOutcome, Receipt


def placed(
    tip: Tip, close: Sequence[LaneOutcome | None], rank: int, closing_hash: bytes
) -> Callable[[Receipt], Receipt]:
    """A function from a receipt of a lane, whose indexes count from the start of the lane, to the final one.

    Parameters
    ----------
    tip
        Of the closed epoch, before the close.
    close
        By rank, what the lanes came to.
    rank
        Of the lane that ran the transaction.
    closing_hash
        Hash of the manifest that closes the epoch: the hash of its block, 32 bytes.
    """
    earlier = [outcome for outcome in close[:rank] if outcome is not None]
    included = sum(outcome.included for outcome in earlier)
    gas = sum(outcome.gas for outcome in earlier)
    logs = sum(outcome.logs for outcome in earlier)

    def place(receipt: Receipt) -> Receipt:
        if receipt.transaction_index is None:
            return receipt
        return replace(
            receipt,
            block=tip.block,
            block_hash=closing_hash,
            transaction_index=receipt.transaction_index + included,
            cumulative_gas=receipt.cumulative_gas + gas,
            log_index=receipt.log_index + logs,
        )

    return place
