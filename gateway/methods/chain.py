"""The chain, its fees, and the node itself."""

import math
from typing import Any, Final

from gateway import forms
from gateway.errors import InvalidParameter
from gateway.node import Node
from gateway.parameters import BlockId, block_id, data, percentiles, quantity64
from ledger import IndexedBlock
from schemas.hashing import keccak

from .method import Method, Parameter

FEE_HISTORY_BLOCKS_MAX: Final = 1_024


def chain_id(node: Node) -> str:
    """The chain id that transactions are signed for."""
    return forms.quantity(node.rules.chain_id)


def block_number(node: Node) -> str:
    """Number of the newest block. A block is an epoch in which at least one transaction was included."""
    return forms.quantity(node.index.latest_block)


def gas_price(node: Node) -> str:
    """A gas price that suffices: the base fee, which the rules fix."""
    return forms.quantity(node.rules.base_fee)


def max_priority_fee(_node: Node) -> str:
    """A tip that suffices: none is needed, as nobody bids for a place."""
    return "0x0"


def blob_base_fee(_node: Node) -> str:
    """Price of blob gas, 1 wei, its least value: there are no blobs."""
    return "0x1"


def fee_history(node: Node, count: int, newest: BlockId, asked: tuple[float, ...]) -> Any:
    """Base fees, how full blocks were, and the tips paid at percentiles of the gas used.

    At most 1,024 blocks; the last base fee is that of the next block.
    """
    if count < 1:
        raise InvalidParameter("invalid parameter 0, blockCount: it is at least 1")
    last = node.moments.at(newest).block.number
    first = max(0, last - min(count, FEE_HISTORY_BLOCKS_MAX) + 1)
    blocks = [block for number in range(first, last + 1) if (block := node.index.block(number)) is not None]
    base_fee = forms.quantity(node.rules.base_fee)
    history: dict[str, Any] = {
        "oldestBlock": forms.quantity(first),
        "baseFeePerGas": [base_fee] * (len(blocks) + 1),
        "gasUsedRatio": [min(1.0, block.gas_used / node.rules.block_gas_limit) for block in blocks],
        "baseFeePerBlobGas": ["0x1"] * (len(blocks) + 1),
        "blobGasUsedRatio": [0.0] * len(blocks),
    }
    if asked:
        history["reward"] = [_rewards(node, block, asked) for block in blocks]
    return history


def _rewards(node: Node, block: IndexedBlock, asked: tuple[float, ...]) -> list[str]:
    """The tips below which the transactions with so many percent of the gas lie."""
    paid = sorted(
        (int.from_bytes(receipt.gas_price, "big") - node.rules.base_fee, receipt.gas_used)
        for receipt in node.index.receipts(block)
    )
    if not paid:
        return ["0x0"] * len(asked)
    rewards, position, gas = [], 0, paid[0][1]
    for percentile in asked:
        threshold = math.floor(block.gas_used * percentile / 100)
        while gas < threshold and position < len(paid) - 1:
            position += 1
            gas += paid[position][1]
        rewards.append(forms.quantity(max(0, paid[position][0])))
    return rewards


def syncing(node: Node) -> Any:
    """False, or how far the index has come after a start."""
    progress = node.progress()
    if progress.caught_up:
        return False
    current = node.index.latest_block
    return {
        "startingBlock": "0x0",
        "currentBlock": forms.quantity(current),
        "highestBlock": forms.quantity(max(current, progress.known_block)),
    }


def accounts(_node: Node) -> list[str]:
    """No account: this node holds no keys."""
    return []


def coinbase(node: Node) -> str:
    """The recipient of fees, as the rules name it."""
    return forms.data(node.rules.coinbase)


def net_version(node: Node) -> str:
    """The chain id as a decimal number."""
    return str(node.rules.chain_id)


def net_listening(_node: Node) -> bool:
    """Whether the node can be reached; it can."""
    return True


def net_peer_count(_node: Node) -> str:
    """Number of peers: there are none, services meet through the log."""
    return "0x0"


def client_version(node: Node) -> str:
    """Name and version of this software."""
    return node.version


def sha3(_node: Node, value: bytes) -> str:
    """Keccak-256 of data, 32 bytes."""
    return forms.data(keccak(value))


METHODS = (
    Method("eth_chainId", chain_id),
    Method("eth_blockNumber", block_number),
    Method("eth_gasPrice", gas_price),
    Method("eth_maxPriorityFeePerGas", max_priority_fee),
    Method("eth_blobBaseFee", blob_base_fee),
    Method("eth_baseFee", gas_price),
    Method(
        "eth_feeHistory",
        fee_history,
        (
            Parameter("blockCount", quantity64),
            Parameter("newestBlock", block_id),
            Parameter("rewardPercentiles", percentiles, ()),
        ),
    ),
    Method("eth_syncing", syncing),
    Method("eth_accounts", accounts),
    Method("eth_coinbase", coinbase),
    Method("net_version", net_version),
    Method("net_listening", net_listening),
    Method("net_peerCount", net_peer_count),
    Method("web3_clientVersion", client_version),
    Method("web3_sha3", sha3, (Parameter("data", data),)),
)
