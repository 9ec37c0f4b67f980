"""What a Python program uses: contracts of every machine deployed, called and paid from a few lines, over Kafka alone.

`Client.connect` finds a pipeline by its brokers. Transactions go to the topic and receipts come from it; calls run in
this process, on state that the shards give. No gateway is needed.
"""

from .arguments import InvalidArgument
from .client import Client
from .code import Code
from .contract import Contract
from .failures import ExecutionFailed, TransactionFailed
from .functions import Function, InvalidSignature
from .sending import Sent

__all__ = [
    "Client",
    "Code",
    "Contract",
    "ExecutionFailed",
    "Function",
    "InvalidArgument",
    "InvalidSignature",
    "Sent",
    "TransactionFailed",
]
