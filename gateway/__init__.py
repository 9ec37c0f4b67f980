"""Ethereum JSON-RPC for wallets and tools: reads from the ledger's index and from the shards, writes to `transactions`.

A gateway holds no state of its own that could not be built again from the topics; several of them can serve one chain.
"""

from .service import Gateway
from .settings import GatewaySettings

__all__ = ["Gateway", "GatewaySettings"]
