"""The genesis: rules and first state, in the format of geth's ``genesis.json``.

What is read::

    config.chainId            required
    config.parsec             the other rules, by their names in camelCase
    config.shanghaiTime       seconds, not above the timestamp; the last one of the three that is there names the fork,
    config.cancunTime         and those before it have to be there, too; none of them: prague
    config.pragueTime
    config.<fork>Block        of earlier forks: 0
    coinbase                  fee recipient
    gasLimit                  what GASLIMIT answers; absent: the default of the rules
    baseFeePerGas             wei; absent: 0
    timestamp                 seconds; absent: 0
    alloc                     by address: balance, nonce, code, storage

Numbers are integers, or strings in decimal or hexadecimal. Everything else that geth's format knows (``difficulty``,
``extraData`` …) is accepted and has no effect, but it is in the hash. A file that sets something which this platform
doesn't have is refused, with all that is wrong in one message.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields
from itertools import pairwise
from typing import Any, Final

from .errors import ConfigurationError
from .hashing import digest, keccak
from .keys import (
    STORAGE_GIVEN,
    StateKey,
    balance_key,
    blob_key,
    code_key,
    minimal,
    nonce_key,
    slot_key,
    storage_key,
)
from .rules import Rules

_ELSEWHERE: Final = {
    "chainId": "config.chainId", "coinbase": "coinbase", "baseFee": "baseFeePerGas", "blockGasLimit": "gasLimit"}
"""Rules that geth's format has a place for."""
_KNOWN: Final = frozenset({
    "config", "alloc", "coinbase", "gasLimit", "baseFeePerGas", "timestamp", "nonce", "extraData", "difficulty",
    "mixHash", "mixhash", "number", "gasUsed", "parentHash", "excessBlobGas", "blobGasUsed"})
FORKS: Final = ("shanghai", "cancun", "prague")
"""Those that a chain can have, in their order."""
_LATER_FORKS: Final = re.compile(r"(osaka|bpo\d+|amsterdam|verkle|ubt)Time")
_EARLIER_FORKS: Final = re.compile(r"(\w+)(Block|Time)")
_MACHINE: Final = re.compile(r"([a-z0-9_]{1,16})/([0-9A-Za-z.+-]{1,16})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account of the first state."""

    address: bytes
    """20 bytes."""
    balance: int
    """Wei."""
    nonce: int
    code: bytes
    storage: tuple[tuple[int, int], ...]
    """Slots and values other than zero, by slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """What a chain starts from."""

    rules: Rules
    timestamp_ms: int
    accounts: tuple[Account, ...]
    """By address."""
    hash: bytes
    """BLAKE2b-256 of `document`, so that the layout of the file doesn't matter."""
    document: str
    """The file as JSON with sorted keys, without white space, in ASCII."""

    @classmethod
    def parse(cls, content: bytes) -> "Genesis":
        """Read a genesis file.

        Raises
        ------
        ConfigurationError
            With everything that is wrong in the file.
        """
        return _Reader().read(content)

    def entries(self) -> Iterator[tuple[StateKey, bytes]]:
        """Keys and values of the first state, none of them empty, none twice."""
        blobs: dict[StateKey, bytes] = {}
        for account in self.accounts:
            address = account.address
            if account.balance:
                yield balance_key(address), minimal(account.balance)
            if account.nonce:
                yield nonce_key(address), minimal(account.nonce)
            if account.code:
                code_hash = keccak(account.code)
                yield code_key(address), code_hash
                blobs[blob_key(code_hash)] = account.code
            for slot, value in account.storage:
                yield slot_key(address, slot), minimal(value)
            if account.storage and not account.code:
                yield storage_key(address), STORAGE_GIVEN
        yield from blobs.items()

    def dumps(self) -> bytes:
        """The content of a file that parses to the same genesis."""
        return json.dumps(json.loads(self.document), indent=2).encode() + b"\n"


class _Reader:
    """Reads a file and collects what is wrong with it."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def read(self, content: bytes) -> Genesis:
        document = self._document(content)
        config = self.table(document.get("config", {}), "config")
        self.unknown(document, _KNOWN, "")
        timestamp = self.number(document, "timestamp", "", 64, 0)
        rules = self._rules(document, config, timestamp)
        alloc = self.table(document.get("alloc", {}), "alloc")
        accounts = sorted(
            (self._account(key, value) for key, value in alloc.items()), key=lambda account: account.address)
        for account, following in pairwise(accounts):
            if account.address == following.address and len(account.address) == 20:
                self.faults.append(f"alloc: 0x{account.address.hex()} stands there twice")
        supply = sum(account.balance for account in accounts)
        if supply >= 2**256:
            self.faults.append(f"alloc: the balances add up to {supply} wei, the limit is {2**256 - 1}")
        if self.faults:
            raise ConfigurationError("genesis: " + "; ".join(self.faults))
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return Genesis(
            rules=rules, timestamp_ms=timestamp * 1000, accounts=tuple(accounts), hash=digest(canonical.encode()),
            document=canonical)

    def _document(self, content: bytes) -> dict[str, Any]:
        def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
            names = [name for name, _ in items]
            self.faults.extend(
                f"{name}: given twice in one object" for name, count in Counter(names).items() if count > 1)
            return dict(items)

        try:
            document = json.loads(content, object_pairs_hook=pairs)
        except ValueError as exc:
            raise ConfigurationError(f"genesis: not JSON: {exc}") from exc
        if not isinstance(document, dict):
            raise ConfigurationError(f"genesis: an object is expected, found {type(document).__name__}")
        return document

    def _rules(self, document: dict[str, Any], config: dict[str, Any], timestamp: int) -> Rules:
        if "chainId" not in config:
            self.faults.append("config.chainId: missing")
        values: dict[str, Any] = {
            "chain_id": self.number(config, "chainId", "config.", 63, 1),
            "coinbase": self.data(document.get("coinbase", "0x" + "00" * 20), "coinbase", 20),
            "base_fee": self.number(document, "baseFeePerGas", "", 256, Rules().base_fee),
            "block_gas_limit": self.number(document, "gasLimit", "", 63, Rules().block_gas_limit),
        }
        own = self.table(config.get("parsec", {}), "config.parsec")
        names = {_camel(field.name): field for field in fields(Rules)}
        for name in own:
            field = names.get(name)
            if name in _ELSEWHERE:
                self.faults.append(f"config.parsec.{name}: belongs into {_ELSEWHERE[name]}")
            elif field is None:
                known = ", ".join(sorted({*names} - {*_ELSEWHERE}))
                self.faults.append(f"config.parsec.{name}: no such rule; there are {known}")
            elif name == "machines":
                values[name] = self._machines(own[name])
            elif name == "blobs":
                values[name] = self._flag(own[name], "config.parsec.blobs")
            elif name != "fork":
                default = 0 if field.default is MISSING else field.default
                values[field.name] = self.number(own, name, "config.parsec.", 63, default)
        for name, value in values.items():
            if name in ("chain_id", "block_gas_limit", "transaction_gas_max", "transaction_bytes_max") and not value:
                self.faults.append(f"{name}: has to be above 0")
        values["fork"] = self._fork(config, own.get("fork"), timestamp)
        if values.get("blobs") and values["fork"] == FORKS[0]:
            self.faults.append(f"config.parsec.blobs: the fork {FORKS[0]} has no blobs")
        return Rules(**values)

    def _fork(self, config: dict[str, Any], named: Any, timestamp: int) -> str:
        """The fork of the chain: the last one that has begun. It never changes, as no rule does.

        Parameters
        ----------
        config
            With the times and block numbers at which forks begin.
        named
            What ``config.parsec`` says, if it does; it may only repeat what the times say.
        timestamp
            Of the genesis, seconds.
        """
        for name, value in config.items():
            if value is None or not _EARLIER_FORKS.fullmatch(name) or name.removesuffix("Time") in FORKS:
                continue
            if _LATER_FORKS.fullmatch(name):
                self.faults.append(
                    f"config.{name}: the fork comes after {FORKS[-1]}, the latest there is; leave it out")
            elif (start := self.number(config, name, "config.", 64, 0)) > (timestamp if name.endswith("Time") else 0):
                self.faults.append(
                    f"config.{name}: {start}; forks before {FORKS[0]} hold from the start on: set it to 0")
        times = {
            fork: self.number(config, f"{fork}Time", "config.", 64, 0)
            for fork in FORKS if config.get(f"{fork}Time") is not None}
        for fork, start in times.items():
            if start > timestamp:
                self.faults.append(
                    f"config.{fork}Time: {start} is after the genesis, at {timestamp}; rules never change within a "
                    "chain: leave it out, or let it begin with the chain")
        for earlier, later in pairwise(FORKS):
            if later in times and earlier not in times:
                self.faults.append(f"config.{earlier}Time: missing, and config.{later}Time asks for it")
            elif later in times and times[later] < times[earlier]:
                self.faults.append(
                    f"config.{later}Time: {times[later]} is before config.{earlier}Time, {times[earlier]}")
        fork = max(times, key=FORKS.index) if times else FORKS[-1]
        if named is None:
            return fork
        if named not in FORKS:
            self.faults.append(f"config.parsec.fork: {named!r}; there are {', '.join(FORKS)}")
        elif times and named != fork:
            self.faults.append(f"config.parsec.fork: {named!r}, but the times of the forks say {fork!r}")
        else:
            return str(named)
        return fork

    def _machines(self, value: Any) -> tuple[str, ...]:
        """The machines beside the EVM."""
        where = "config.parsec.machines"
        if not isinstance(value, list):
            self.faults.append(f"{where}: a list of names with versions, as 'lua/1', is expected, found {value!r}")
            return ()
        names = []
        for each in value:
            match = _MACHINE.fullmatch(each) if isinstance(each, str) else None
            if match is None:
                self.faults.append(
                    f"{where}: {each!r} is no name with a version, as 'lua/1'; the name has 1 to 16 of a-z, 0-9 and _")
            elif match[1] in names:
                self.faults.append(f"{where}: {match[1]} stands there twice")
            else:
                names.append(match[1])
        return tuple(str(each) for each in value)

    def _flag(self, value: Any, where: str) -> bool:
        if not isinstance(value, bool):
            self.faults.append(f"{where}: true or false is expected, found {value!r}")
        return value is True

    def _account(self, name: str, value: Any) -> Account:
        where = f"alloc.{name}"
        address = self.data(name, where, 20)
        entry = self.table(value, where)
        self.unknown(entry, frozenset({"balance", "nonce", "code", "storage", "secretKey"}), where + ".")
        storage: dict[int, int] = {}
        for slot, word in self.table(entry.get("storage", {}), where + ".storage").items():
            key = int.from_bytes(self.data(slot, f"{where}.storage", None, longest=32), "big")
            if key in storage:
                self.faults.append(f"{where}.storage: slot {key:#x} stands there twice")
            storage[key] = int.from_bytes(self.data(word, f"{where}.storage.{slot}", None, longest=32), "big")
        return Account(
            address=address, balance=self.number(entry, "balance", where + ".", 256, 0),
            nonce=self.number(entry, "nonce", where + ".", 64, 0),
            code=self.data(entry.get("code", "0x"), where + ".code", None),
            storage=tuple(sorted((slot, word) for slot, word in storage.items() if word)))

    def table(self, value: Any, where: str) -> dict[str, Any]:
        """An object, or an empty one and a fault."""
        if isinstance(value, dict):
            return value
        self.faults.append(f"{where}: an object is expected, found {value!r}")
        return {}

    def unknown(self, table: dict[str, Any], known: frozenset[str], where: str) -> None:
        """Note the names that nothing reads: most of them are slips."""
        self.faults.extend(f"{where}{name}: unknown" for name in table if name not in known)

    def number(self, table: dict[str, Any], name: str, where: str, bits: int, default: Any) -> int:
        """An integer below ``2**bits``."""
        value = table.get(name)
        if value is None:
            return int(default)
        read: Callable[[str], int] = lambda text: int(text, 16 if text[:2].lower() == "0x" else 10)
        try:
            number = read(value) if isinstance(value, str) and "_" not in value else value
        except ValueError:
            number = None
        if isinstance(number, bool) or not isinstance(number, int):
            self.faults.append(f"{where}{name}: {value!r} is not an integer in decimal or hexadecimal")
            return int(default)
        if not 0 <= number < 2**bits:
            self.faults.append(f"{where}{name}: {value!r} is not in 0 … 2**{bits} - 1")
            return int(default)
        return number

    def data(self, value: Any, where: str, length: int | None, *, longest: int | None = None) -> bytes:
        """Bytes in hexadecimal, of a given length if there is one."""
        try:
            text = value.removeprefix("0x")
            data = bytes.fromhex(text if longest is None else text.rjust(len(text) + len(text) % 2, "0"))
        except (AttributeError, ValueError):
            self.faults.append(f"{where}: {value!r} is not hexadecimal")
            return b""
        if length is not None and len(data) != length:
            self.faults.append(f"{where}: {len(data)} bytes instead of {length}")
        if longest is not None and len(data) > longest:
            self.faults.append(f"{where}: {len(data)} bytes, limit {longest}")
        return data


def _camel(name: str) -> str:
    """``transaction_gas_max`` → ``transactionGasMax``."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


DEVELOPMENT_ACCOUNTS: Final = tuple(bytes.fromhex(address) for address in (
    "f39fd6e51aad88f6f4ce6ab8827279cfffb92266", "70997970c51812dc3a010c7d01b50e0d17dc79c8",
    "3c44cdddb6a900fa2b585dd299e03d12fa4293bc", "90f79bf6eb2c4f870365e785982e1f101e93b906",
    "15d34aaf54267db7d7c367839aaf71a00a2c6a65", "9965507d1a55bcc2695c58ba16fb37d819b0a4dc",
    "976ea74026e726554db657fa54763abd0c3a0aa9", "14dc79964da2c08b23698b3d3cc7ca32193d9955",
    "23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f", "a0ee7a142d267c1f36714e4a8f75612f20a79720"))
"""The first ten accounts of the mnemonic that development chains use; anybody has their keys."""

_HISTORY_ADDRESS: Final = "0x0000f90827f1c53a10cb7a02335b175320002935"
_HISTORY_CODE: Final = (
    "0x3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff81430311604257611f"
    "ff9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500")
"""The history contract as on Ethereum (EIP-2935)."""


def default_genesis() -> bytes:
    """A genesis file for development: chain 52188, no base fee, ten well-known accounts with 10,000 ether each."""
    alloc: dict[str, Any] = {"0x" + address.hex(): {"balance": hex(10**22)} for address in DEVELOPMENT_ACCOUNTS}
    alloc[_HISTORY_ADDRESS] = {"balance": "0x0", "nonce": "0x1", "code": _HISTORY_CODE}
    document = {
        "config": {"chainId": Rules().chain_id, **{f"{fork}Time": 0 for fork in FORKS}, "parsec": {}},
        "timestamp": "0x0", "gasLimit": hex(Rules().block_gas_limit), "baseFeePerGas": "0x0",
        "coinbase": "0x" + Rules().coinbase.hex(), "alloc": alloc}
    return json.dumps(document, indent=2).encode() + b"\n"
