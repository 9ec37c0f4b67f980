"""How results are printed: JSON for programs, aligned lines for people, colour only on a terminal."""

import json
from dataclasses import fields, is_dataclass
from typing import Any, Final

import click

from schemas.keys import integer
from schemas.records import Receipt

COLOURS: Final = {"success": "green", "failed": "yellow", "rejected": "red"}


def hexadecimal(data: bytes) -> str:
    """Bytes as people write them."""
    return f"0x{data.hex()}"


def document(value: Any) -> Any:
    """A record in JSON's terms: bytes in hexadecimal, records as objects."""
    if isinstance(value, bytes):
        return hexadecimal(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: document(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple | list):
        return [document(item) for item in value]
    return value


def receipt_document(receipt: Receipt) -> dict[str, Any]:
    """A receipt in JSON's terms: as its record, with the gas price as a number."""
    shown: dict[str, Any] = document(receipt)
    shown["gas_price"] = integer(receipt.gas_price)
    return shown


def print_json(value: Any) -> None:
    """One line of JSON."""
    click.echo(json.dumps(value))


def receipt_line(receipt: Receipt) -> str:
    """A receipt in one line for people."""
    status = click.style(f"{receipt.status:8}", fg=COLOURS.get(receipt.status))
    place = f"epoch {receipt.epoch}"
    if receipt.block is not None:
        place = f"block {receipt.block} index {receipt.transaction_index}"
    line = f"{status} {hexadecimal(receipt.hash)} [{receipt.partition}] {receipt.offset} {place} gas {receipt.gas_used}"
    if receipt.contract is not None:
        line += f" contract {hexadecimal(receipt.contract)}"
    if receipt.logs:
        line += f" logs {len(receipt.logs)}"
    return f"{line} {receipt.reason}" if receipt.reason else line
