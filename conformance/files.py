"""Where a transition reads its documents from and writes them to: files, or the standard streams."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from .accounts import Account, read_accounts
from .fields import Fields, Malformed, data, shown
from .transactions import signed, split_list

STDIN: Final = "stdin"
_STREAMS: Final = {"stdout": False, "stderr": True}
"""Names of outputs that are no files, and whether they mean the stream of errors."""


class Inputs:
    """The documents that a transition needs.

    Parameters
    ----------
    alloc, env, txs
        Names of files, or ``stdin``: there is one object with a field for each document that is read from there.
    """

    def __init__(self, *, alloc: str, env: str, txs: str) -> None:
        self._alloc, self._env, self._txs = alloc, env, txs
        self._standard: Fields | None = None

    def alloc(self) -> dict[bytes, Account]:
        """The accounts before the block."""
        return read_accounts(Fields(self._document(self._alloc, "alloc"), _named(self._alloc, "alloc")))

    def env(self) -> Fields:
        """The environment of the block."""
        return Fields(self._document(self._env, "env"), _named(self._env, "env"))

    def transactions(self, chain_id: int) -> list[bytes]:
        """The signed transactions; those that aren't signed are signed with the keys that they have."""
        name = "txsRlp" if self._txs == STDIN and "txsRlp" in self._input() else "txs"
        where = _named(self._txs, name)
        document = self._document(self._txs, name)
        if document is None:
            return []
        if isinstance(document, str):
            return split_list(data(document.strip(), where), where)
        if not isinstance(document, list):
            raise Malformed(
                f"{where}: a list of transactions is expected, or its RLP in hexadecimal, found {shown(document)}")
        return [signed(Fields(each, f"{where}[{index}]"), chain_id) for index, each in enumerate(document)]

    def _document(self, source: str, name: str) -> Any:
        return self._input().any(name) if source == STDIN else _read(Path(source))

    def _input(self) -> Fields:
        if self._standard is None:
            self._standard = Fields(_parsed(sys.stdin.buffer.read(), STDIN), STDIN)
        return self._standard


def _named(source: str, name: str) -> str:
    """A document in messages."""
    return f"{STDIN}.{name}" if source == STDIN else source


def _read(path: Path) -> Any:
    content = path.read_bytes()
    if path.suffix == ".rlp" and not content.lstrip().startswith(b'"'):
        return content.decode("ascii", "replace")  # hexadecimal as it is, without the quotes of JSON
    return _parsed(content, str(path))


def _parsed(content: bytes, where: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise Malformed(f"{where}: not JSON: {exc}") from exc


def write_outputs(directory: Path, outputs: Sequence[tuple[str, str, Any]]) -> None:
    """Write documents.

    Parameters
    ----------
    directory
        Of those that are files; made if it isn't there.
    outputs
        Name of the document; where to: a file, ``stdout`` or ``stderr``, or nothing to leave it out; and the document.
        What goes to the same stream is one object there.
    """
    streams: dict[bool, dict[str, Any]] = {}
    for name, target, document in outputs:
        if target in _STREAMS:
            streams.setdefault(_STREAMS[target], {})[name] = document
        elif target:
            path = directory / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dumped(document))
    for err, documents in streams.items():
        click.echo(dumped(documents), err=err, nl=False)


def dumped(document: Mapping[str, Any] | str) -> str:
    """A document as text."""
    return json.dumps(document, indent=1) + "\n"
