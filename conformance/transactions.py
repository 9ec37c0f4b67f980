"""Transactions in documents: from their fields to signed bytes, and from the RLP of a list to the bytes of each.

References
----------
EIP-155, EIP-2718, EIP-2930, EIP-1559, EIP-4844, EIP-7702.
"""

from collections.abc import Sequence
from typing import Any, Final

from rlp.codec import consume_length_prefix
from rlp.exceptions import DecodingError

from ingest.rlp import write, write_list
from ingest.signatures import Signature, sign
from ledger.tries import encode
from schemas.hashing import keccak

from .fields import Fields, Malformed, data, number

LEGACY, ACCESS_LIST, FEE_MARKET, BLOB, SET_CODE = range(5)
_TYPES_MAX: Final = 0x7F


def signed(fields: Fields, chain_id: int) -> bytes:
    """The bytes of a transaction: signed as it says, or with its ``secretKey`` where it isn't signed.

    Parameters
    ----------
    fields
        As JSON-RPC names them; ``data`` and ``gasLimit`` are as good as ``input`` and ``gas``. ``protected`` says
        whether a legacy transaction is bound to the chain.
    chain_id
        For those that don't name theirs.

    Raises
    ------
    Malformed
        If a field is missing or can't be read. What is wrong in other ways is encoded as it is.
    """
    kind = type_of(fields)
    chain_id = fields.number("chainId", chain_id)
    body = _body(fields, kind, chain_id)
    signature = _given(fields)
    secret = "secretKey" in fields and not any(signature)
    if kind == LEGACY:
        if secret:
            protected = fields.any("protected") is not False
            unsigned = [*body, chain_id, 0, 0] if protected else body
            made = _sign(fields, encode(unsigned))
            signature = Signature(made.parity + (35 + 2 * chain_id if protected else 27), made.r, made.s)
        return encode([*body, *signature])
    prefix = bytes((kind,))
    if secret:
        signature = _sign(fields, prefix + encode(body))
    return prefix + encode([*body, *signature])


def type_of(fields: Fields) -> int:
    """The type that a transaction states, or the one that its fields belong to."""
    if "type" in fields:
        return fields.number("type", bits=7)
    if "authorizationList" in fields:
        return SET_CODE
    if "blobVersionedHashes" in fields or "maxFeePerBlobGas" in fields:
        return BLOB
    if "maxFeePerGas" in fields or "maxPriorityFeePerGas" in fields:
        return FEE_MARKET
    return ACCESS_LIST if "accessList" in fields else LEGACY


def _body(fields: Fields, kind: int, chain_id: int) -> list[Any]:
    """The fields that are signed, in their order."""
    if kind > SET_CODE:
        raise Malformed(f"{fields.at('type')}: {kind:#04x} can't be built from fields; give its RLP")
    nonce = fields.number("nonce", 0)
    # Fees may be given under the name of either kind, as older suites do.
    price = fields.number("gasPrice", 0)
    fees: list[Any] = [price]
    if kind >= FEE_MARKET:
        most = fields.number("maxFeePerGas", price)
        fees = [fields.number("maxPriorityFeePerGas", price), most]
    gas = fields.number("gas" if "gas" in fields else "gasLimit")
    to = fields.data("to", default=b"")
    value = fields.number("value", 0)
    payload = fields.data("input" if "input" in fields else "data", default=b"")
    body: list[Any] = [nonce, *fees, gas, to, value, payload]
    if kind == LEGACY:
        return body
    body = [chain_id, *body, _access_list(fields)]
    if kind == BLOB:
        where = fields.at("blobVersionedHashes")
        hashes = [data(each, where) for each in fields.rows("blobVersionedHashes")]
        body += [fields.number("maxFeePerBlobGas", 0), hashes]
    elif kind == SET_CODE:
        body.append([
            _authorization(Fields(each, f"{fields.at('authorizationList')}[{index}]"))
            for index, each in enumerate(fields.rows("authorizationList"))])
    return body


def _access_list(fields: Fields) -> list[Any]:
    listed: list[Any] = []
    for index, each in enumerate(fields.rows("accessList")):
        entry = Fields(each, f"{fields.at('accessList')}[{index}]")
        slots = [_word(slot, entry.at("storageKeys")) for slot in entry.rows("storageKeys")]
        listed.append([entry.data("address"), slots])
    return listed


def _authorization(fields: Fields) -> list[Any]:
    parity = fields.number("yParity") if "yParity" in fields else fields.number("v")
    return [
        fields.number("chainId"), fields.data("address"), fields.number("nonce"), parity, fields.number("r"),
        fields.number("s")]


def _word(value: object, where: str) -> bytes:
    return number(value, where).to_bytes(32, "big")


def _given(fields: Fields) -> Signature:
    """The signature that is there; zeros without one."""
    parity = "yParity" if "yParity" in fields else "v"
    return Signature(fields.number(parity, 0), fields.number("r", 0), fields.number("s", 0))


def _sign(fields: Fields, message: bytes) -> Signature:
    try:
        return sign(keccak(message), fields.number("secretKey").to_bytes(32, "big"))
    except ValueError as exc:
        raise Malformed(f"{fields.at('secretKey')}: no private key: {exc}") from exc


def split_list(content: bytes, where: str) -> list[bytes]:
    """The bytes of each transaction in the RLP of a list: legacy ones are lists in it, the others strings.

    Raises
    ------
    Malformed
        If it isn't one list of such items.
    """
    found: list[bytes] = []
    try:
        _, kind, length, start = consume_length_prefix(content, 0)
        end = start + length
        if kind is not list or end != len(content):
            raise Malformed(f"{where}: no RLP list, or bytes after its end")
        while start < end:
            _, kind, length, payload = consume_length_prefix(content, start)
            stop = payload + length
            if stop > end:
                raise Malformed(f"{where}: transaction {len(found)} runs past the end of the list")
            found.append(content[start if kind is list else payload:stop])
            start = stop
    except (DecodingError, IndexError) as exc:
        raise Malformed(f"{where}: no RLP list of transactions: {exc}") from exc
    return found


def join_list(raws: Sequence[bytes]) -> bytes:
    """The RLP of a list of transactions, as the body of a block has it."""
    return write_list(raw if raw[:1] > bytes((_TYPES_MAX,)) else write(raw) for raw in raws)
