"""State tests: a transaction on a state, and what has to be there afterwards.

A case has a transaction in which data, gas limit and value are lists; each expected result names one of each. Results
are told apart by name, fork and those three indexes.

References
----------
The formats of ethereum/tests (GeneralStateTests) and of the fixtures of ethereum/execution-specs (``state_test``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from executors.machine import Rejected, Result, Status
from executors.view import Run
from executors.walk import Refused
from ingest.transactions import Transaction
from ledger.tries import encode
from schemas.errors import ParsecError
from schemas.hashing import keccak
from schemas.rules import Rules

from .accounts import Account, accounts_of, differences, entries_of, read_accounts
from .cases import Case
from .engines import engine
from .environment import Environment, of_state_test
from .fields import Fields, Malformed, hexadecimal
from .forks import known_fork, unknown_fork
from .roots import state_root
from .serial import SerialRun, item_of
from .transactions import signed

Indexes = tuple[int, int, int]
"""Of data, gas limit and value."""
_INDEXES: Final = (("data", "data"), ("gas", "gasLimit"), ("value", "value"))
"""The names in the expected result, and in the transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one expected result."""

    file: str
    name: str
    """Of the case."""
    fork: str = ""
    indexes: Indexes | None = None
    passed: bool = False
    skipped: str = ""
    """Why it wasn't run."""
    error: str = ""
    """What differs, with both values."""
    state_root: bytes = b""
    """Of the state afterwards, 32 bytes; empty if there is none."""

    @property
    def title(self) -> str:
        """Name, fork and indexes."""
        fork = f"[{self.fork}]" if self.fork else ""
        return self.name + fork + (f"[{','.join(map(str, self.indexes))}]" if self.indexes else "")

    def document(self) -> dict[str, Any]:
        """For programs."""
        shown: dict[str, Any] = {"name": self.name, "pass": None if self.skipped else self.passed, "fork": self.fork}
        if self.indexes is not None:
            shown["indexes"] = dict(zip(("data", "gas", "value"), self.indexes, strict=True))
        if self.state_root:
            shown["stateRoot"] = hexadecimal(self.state_root)
        for name in ("error", "skipped"):
            if getattr(self, name):
                shown[name] = getattr(self, name)
        return {**shown, "file": self.file}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtest:
    """One expected result of a case."""

    case: Case
    fork: str
    """As the case names it."""
    number: int
    """Among the results of the fork."""


def subtests(case: Case, fork: str | None) -> Iterator[Subtest | Verdict]:
    """The results that a case expects, and verdicts on what can't be run.

    Parameters
    ----------
    fork
        Only results of this one; without it those of all forks that are known.
    """
    try:
        post = Fields(case.document, "case").table("post")
        if fork is not None and known_fork(fork) is None:
            raise Malformed(unknown_fork(fork))
        names = [name for name in post if fork is None or name.lower() == fork.lower()]
        if not [*post]:
            raise Malformed(f"{post.where}: empty; a state test says there what is expected")
        counts = {name: len(post.rows(name)) for name in names}
    except Malformed as exc:
        yield Verdict(file=case.file, name=case.name, fork=fork or "", error=str(exc))
        return
    for name, count in counts.items():
        if known_fork(name) is None:
            yield Verdict(file=case.file, name=case.name, fork=name, skipped=unknown_fork(name))
            continue
        if not count:
            yield Verdict(
                file=case.file, name=case.name, fork=name, error=f"{post.at(name)}: empty; nothing is expected")
        yield from (Subtest(case=case, fork=name, number=number) for number in range(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A subtest, read."""

    environment: Environment
    rules: Rules
    before: dict[bytes, Account]
    raw: bytes
    """The signed transaction."""
    post: Fields
    indexes: Indexes


def situation(subtest: Subtest) -> Situation:
    """Read a subtest.

    Raises
    ------
    Malformed
        With the place in the case.
    """
    case = Fields(subtest.case.document, "case")
    fork = known_fork(subtest.fork)
    if fork is None:
        raise Malformed(unknown_fork(subtest.fork))
    post = Fields(case.table("post").rows(subtest.fork)[subtest.number], f"case.post.{subtest.fork}[{subtest.number}]")
    named = post.table("indexes")
    data, gas, value = (named.number(name, bits=32) for name, _ in _INDEXES)
    config = case.table("config") if "config" in case else Fields({}, "case.config")
    environment = of_state_test(case.table("env"), fork, config.number("chainid", 1))
    if "txbytes" in post:
        raw = post.data("txbytes")
    else:
        raw = _built(case.table("transaction"), (data, gas, value), environment.chain_id)
    return Situation(
        environment=environment, rules=environment.rules(), before=read_accounts(case.table("pre")), raw=raw, post=post,
        indexes=(data, gas, value))


def _built(transaction: Fields, indexes: Indexes, chain_id: int) -> bytes:
    """The transaction of one combination of data, gas limit and value, signed with the key of the case."""
    chosen = {name: transaction.any(name) for name in transaction if name not in ("sender", "gasLimit", "accessLists")}
    for index, (_, name) in zip(indexes, _INDEXES, strict=True):
        chosen[name] = _chosen(transaction, name, index)
    lists = transaction.any("accessLists")
    if lists:
        access_list = _chosen(transaction, "accessLists", indexes[0])
        # A null says that this combination is no transaction with an access list.
        chosen |= {} if access_list is None else {"accessList": access_list}
    if not chosen.get("to"):
        chosen["to"] = None
    return signed(Fields(chosen, transaction.where), chain_id)


def _chosen(transaction: Fields, name: str, index: int) -> Any:
    choices = transaction.rows(name)
    if index >= len(choices):
        raise Malformed(f"{transaction.at(name)}: {len(choices)} of them, number {index} is asked for")
    return choices[index]


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """What a transaction has done."""

    run: Run
    refused: str
    """Why it wasn't executed; empty if it was."""
    state: dict[bytes, bytes]


def execute(situation: Situation, engine_name: str) -> Executed:
    """Decode, admit and run the transaction of a subtest."""
    item: Transaction | Refused = item_of(situation.raw, situation.rules)
    machine = engine(engine_name, situation.rules)
    serial = SerialRun(machine, situation.environment.block(), entries_of(situation.before))
    run = serial.run(item)
    if run is None:
        raise Malformed("the list has a hole")
    refused = ""
    if not isinstance(run.answer, Result):
        refused = run.answer.reason if isinstance(run.answer, Rejected) else "its nonce is ahead"
    return Executed(run=run, refused=refused, state=serial.state())


def judge(subtest: Subtest, engine_name: str) -> Verdict:
    """Run a subtest and compare. Whatever goes wrong is in the verdict."""
    case, indexes, root = subtest.case, None, b""
    try:
        read = situation(subtest)
        indexes = read.indexes
        executed = execute(read, engine_name)
        found = accounts_of(executed.state)
        root, faults = _root(read, found)
        faults = [*_faults(read, executed, found), *faults]
    except ParsecError as exc:
        faults = [str(exc)]
    except Exception as exc:  # an engine or a file that nobody thought of must not end the run of all others
        faults = [f"the runner failed: {exc!r}"]
    return Verdict(
        file=case.file, name=case.name, fork=subtest.fork, indexes=indexes, passed=not faults, error="; ".join(faults),
        state_root=root)


def _faults(read: Situation, executed: Executed, found: dict[bytes, Account]) -> Iterator[str]:
    """What isn't as the case expects it, the root aside."""
    post = read.post
    wanted, answer = post.any("expectException"), executed.run.answer
    if wanted and not executed.refused:
        yield f"the transaction was executed, expected it to be rejected ({wanted})"
        return
    if executed.refused and not wanted:
        yield f"the transaction was rejected ({executed.refused}), expected it to be executed"
        return
    if wanted and (executed.run.writes or executed.run.deltas):
        yield "the rejected transaction changed the state"
    if not any(name in post for name in ("hash", "state")):
        yield f"{post.where}: neither hash nor state is expected"
    if "state" in post:
        yield from differences(found, read_accounts(post.table("state")))
    logs = [[log.address, log.topics, log.data] for log in answer.logs] if isinstance(answer, Result) else []
    logs_hash = keccak(encode(logs))
    if "logs" in post and logs_hash != post.data("logs", 32):
        yield (
            f"hash of the logs {hexadecimal(logs_hash)}, expected {hexadecimal(post.data('logs', 32))} "
            f"({len(logs)} logs were emitted)")
    if "receipt" in post and isinstance(answer, Result):
        yield from _receipt_faults(post.table("receipt"), answer)


def _receipt_faults(receipt: Fields, result: Result) -> Iterator[str]:
    """What differs from the receipt that newer suites have."""
    found = {"status": int(result.status is Status.SUCCESS)}
    found |= dict.fromkeys(("gasUsed", "cumulativeGasUsed"), result.gas_used)
    for name, value in found.items():
        if name in receipt and receipt.number(name) != value:
            yield f"{name} {value}, expected {receipt.number(name)}"


def _root(read: Situation, found: dict[bytes, Account]) -> tuple[bytes, list[str]]:
    """The root of the state, and what is wrong with it.

    A test may put accounts there that have nothing. The state of this platform has none, but the root counts those that
    are still there: as the expected state lists them, or all that there were.
    """
    post = read.post
    if "hash" not in post:
        return state_root(found), []
    expected = post.data("hash", 32)
    roots = [state_root(found, empties) for empties in _empties(read, found)]
    if expected in roots:
        return expected, []
    return roots[0], [f"state root {hexadecimal(roots[0])}, expected {hexadecimal(expected)}"]


def _empties(read: Situation, found: dict[bytes, Account]) -> list[set[bytes]]:
    """Which accounts without anything may be there: as listed, or either none or all that nothing has become of."""
    if "state" in read.post:
        listed = read_accounts(read.post.table("state"))
        return [{address for address, account in listed.items() if account.empty}]
    kept = {address for address, account in read.before.items() if account.empty} - {*found}
    return [set(), kept] if kept else [set()]
