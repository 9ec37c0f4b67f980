"""The way in: signed transactions and their admission rules, the producer client with its routing, the sequencer."""

from .producer import Delivery, TransactionProducer
from .routing import Router
from .sequencer import Pace, Sequencer
from .transactions import Transaction, decode

__all__ = ["Delivery", "Pace", "Router", "Sequencer", "Transaction", "TransactionProducer", "decode"]
