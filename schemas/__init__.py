"""The contract between services: records and their schemas, topics, keys, digests, the chain of manifests, errors.

Nothing in here does any I/O or knows another room.
"""

from .chain import Tip
from .codec import CODEC, Codec
from .errors import ParsecError
from .rules import Rules

__all__ = ["CODEC", "Codec", "ParsecError", "Rules", "Tip"]
