"""The command `parsec`: its help, its errors, and the commands that need nothing running."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cluster import cli
from cluster.commands.account import AMOUNT
from cluster.commands.printing import receipt_document, receipt_line
from cluster.commands.status import lines_of
from cluster.status import Rates, ShardStatus, Status, partition_status, problems_of, rates_of
from ingest.transactions import decode
from schemas.chain import Tip
from schemas.codec import RECORDS, schema_name, schema_text
from schemas.errors import ConfigurationError, InvariantViolation, Unavailable
from schemas.genesis import DEVELOPMENT_ACCOUNTS, Genesis, default_genesis
from schemas.records import Accepted, Attempt, Exclusion, Input, LaneOutcome, Manifest, Receipt
from schemas.rules import Rules

RULES = Genesis.parse(default_genesis()).rules
TO = "0x" + DEVELOPMENT_ACCOUNTS[1].hex()
ATTEMPT = Attempt(bytes(16))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def parsec() -> Callable[..., Result]:
    def run(*arguments: object, text: str | None = None) -> Result:
        return CliRunner().invoke(cli.main, [str(argument) for argument in arguments], input=text)

    return run


def fresh(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


# ---- the group --------------------------------------------------------------------------------------------------


def test_help_imports_nothing_that_takes_time() -> None:
    loaded = set(fresh(
        "import sys\nfrom click.testing import CliRunner\nfrom cluster.cli import main\n"
        "assert 'account' in CliRunner().invoke(main, ['--help']).output\nprint(*sys.modules)").split())
    slow = {"confluent_kafka", "grpc", "eth_account", "fastavro", "rocksdict", "cluster.config", "cluster.supervisor"}
    assert not slow & loaded


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the time that children took")
def test_help_is_there_at_once() -> None:
    import resource

    took = []
    for _ in range(3):  # the processor's time, and the best of three: others may work beside us
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "cluster", "--help"], capture_output=True, timeout=60, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 0.4


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_is_what_the_list_says(name: str) -> None:
    command = cli.main.get_command(click.Context(cli.main), name)
    assert command is not None
    assert command.name == name
    said = " ".join((command.help or "").split("\n\n")[0].split())
    assert said.startswith(cli.COMMANDS[name].help.rstrip("."))


def every_command() -> list[tuple[str, click.Command]]:
    found = []
    for name in cli.COMMANDS:
        command = cli.main.get_command(click.Context(cli.main), name)
        assert command is not None
        inner = command.commands.items() if isinstance(command, click.Group) else [("", command)]
        found += [(f"{name} {part}".strip(), each) for part, each in inner]
    return found


def test_options_have_help_and_one_meaning() -> None:
    for name, command in every_command():
        options = [each for each in command.params if isinstance(each, click.Option)]
        flags = [flag for each in options for flag in each.opts]
        assert len(flags) == len(set(flags)), name
        assert all(each.help for each in options), name


def test_what_prints_results_prints_json() -> None:
    without = {name for name, command in every_command() if all(each.name != "as_json" for each in command.params)}
    assert without == {"genesis", "account sign", "t8n", "sequencer", "executor", "shard", "gateway"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigurationError("thing 3, limit 2"), cli.REFUSED),
        (Unavailable("no broker"), cli.UNAVAILABLE),
        (InvariantViolation("a state that cannot be"), cli.FAULT),
        (ZeroDivisionError("division"), cli.FAULT),
        (FileNotFoundError(2, "No such file or directory", "x.json"), cli.REFUSED),
        (KeyboardInterrupt(), cli.INTERRUPTED),
    ])
def test_an_error_is_one_message_and_a_status(
    error: BaseException, status: int, parsec: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command
    def fails() -> None:
        raise error

    monkeypatch.setattr(cli.Commands, "get_command", lambda *_: fails)
    done = parsec("anything")
    assert done.exit_code == status
    assert "Traceback" not in done.output
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(error.args[-1]).partition(":")[0] in done.stderr if error.args else "interrupted" in done.stderr


def test_debug_tells_where_an_error_comes_from(parsec: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command
    def fails() -> None:
        raise ZeroDivisionError("division")

    monkeypatch.setattr(cli.Commands, "get_command", lambda *_: fails)
    assert "in fails" in parsec("--debug", "anything").stderr


@pytest.mark.parametrize(
    "arguments", [("status",), ("receipts",), ("audit",), ("send", "0x00"), ("topics",)])
def test_what_needs_a_pipeline_says_how_to_start_one(arguments: tuple[str, ...], parsec: Callable[..., Result]) -> None:
    done = parsec(*arguments)
    assert done.exit_code == cli.REFUSED
    assert "parsec up" in done.stderr
    assert "--kafka" in done.stderr


def test_a_pipeline_that_has_died_does_not_run(parsec: Callable[..., Result], tmp_path: Path) -> None:
    died = subprocess.Popen([sys.executable, "-c", ""])
    died.wait()
    data = tmp_path / "data"
    data.mkdir()
    (data / "run.json").write_text(json.dumps({"pid": died.pid, "config": {"kafka": {"bootstrap": "127.0.0.1:1"}}}))
    done = parsec("status", "--data", data)
    assert done.exit_code == cli.REFUSED
    assert "nothing runs" in done.stderr


def test_a_wrong_configuration_is_told_completely(parsec: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "parsec.toml").write_text("[cluster]\nshards = 0\npartitions = 'x'\n")
    done = parsec("up")
    assert done.exit_code == cli.REFUSED
    assert "cluster.shards = 0: the least is 1" in done.stderr
    assert "cluster.partitions = 'x': expected an integer" in done.stderr


# ---- what prints ------------------------------------------------------------------------------------------------


def test_the_genesis_it_prints_is_the_one_it_starts_from(parsec: Callable[..., Result], tmp_path: Path) -> None:
    printed = parsec("genesis")
    assert Genesis.parse(printed.output.encode()) == Genesis.parse(default_genesis())
    own = tmp_path / "own.json"
    own.write_text(printed.output.replace("52188", "777"))
    assert json.loads(parsec("genesis", "--genesis", own).output)["config"]["chainId"] == 777


def test_the_settings_it_prints_are_a_configuration_file(parsec: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "parsec.toml").write_text('[kafka.security]\n"sasl.password" = "hidden"\n"sasl.username" = "u\\"v"\n')
    first = parsec("config", "--shards", 3)
    assert "hidden" not in first.output
    again = tmp_path / "again.toml"
    again.write_text(first.output)
    shown = json.loads(parsec("config", "--config", again, "--json").output)
    assert shown["cluster"]["shards"] == 3
    assert shown["kafka"]["security"] == {"sasl.password": "***", "sasl.username": 'u"v'}


def test_schemas(parsec: Callable[..., Result]) -> None:
    assert [line.split()[0] for line in parsec("schemas").output.splitlines()] == [schema_name(kind) for kind in RECORDS]
    assert parsec("schemas", "receipt").output == schema_text(Receipt)
    assert parsec("schemas", "DeadLetter").output == parsec("schemas", "dead_letter.avsc").output
    assert json.loads(parsec("schemas", "--json").output)["receipt"]["name"] == "Receipt"
    wrong = parsec("schemas", "invoice")
    assert wrong.exit_code == cli.REFUSED
    assert "'invoice'" in wrong.stderr
    assert "envelope" in wrong.stderr


# ---- accounts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wei"),
    [("7", 7), ("1.5ether", 15 * 10**17), ("20gwei", 20 * 10**9), ("0.000000000000000001 ether", 1), ("3 wei", 3)])
def test_amounts(text: str, wei: int) -> None:
    assert AMOUNT.convert(text, None, None) == wei


@pytest.mark.parametrize("text", ["-1", "1.5", "1.5wei", "one", "1e18", "0.0000000001gwei", str(2**256), "1.ether", ""])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(click.BadParameter):
        AMOUNT.convert(text, None, None)


def test_a_transfer_of_a_development_account(parsec: Callable[..., Result]) -> None:
    done = parsec(
        "account", "sign", "--from", "dev:2", "--to", TO, "--value", "1.5ether", "--nonce", 4, "--gas-price", "2gwei")
    (line,) = done.output.splitlines()
    transaction = decode(bytes.fromhex(line.removeprefix("0x")), RULES)
    assert transaction.sender == DEVELOPMENT_ACCOUNTS[2]
    assert transaction.to == DEVELOPMENT_ACCOUNTS[1]
    assert (transaction.value, transaction.nonce, transaction.max_fee) == (15 * 10**17, 4, 2 * 10**9)
    assert transaction.gas_limit == 21_000


def test_a_call_has_gas_to_run(parsec: Callable[..., Result]) -> None:
    done = parsec("account", "sign", "--from", "dev:0", "--to", TO, "--calldata", "0xd09de08a", "--nonce", 0)
    transaction = decode(bytes.fromhex(done.output.strip().removeprefix("0x")), RULES)
    assert transaction.data == bytes.fromhex("d09de08a")
    assert transaction.gas_limit > 100_000


def test_the_chain_is_that_of_the_genesis(parsec: Callable[..., Result], tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(default_genesis().decode().replace("52188", "777"))
    arguments = ("account", "sign", "--from", "dev:0", "--to", TO, "--nonce", 0)
    for more, chain_id in ((("--genesis", own), 777), (("--chain-id", 5), 5)):
        raw = bytes.fromhex(parsec(*arguments, *more).output.strip().removeprefix("0x"))
        assert decode(raw, Rules(chain_id=chain_id)).chain_id == chain_id


def test_an_account_of_ones_own(parsec: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.accounts.new.__kwdefaults__", {"iterations": 2})
    made = json.loads(parsec("account", "new", "--json", text="open\nopen\n").output.splitlines()[-1])
    assert Path(made["file"]).stat().st_mode & 0o777 == 0o600
    listed = parsec("account", "list").output.splitlines()
    assert listed[0].startswith(made["address"])
    assert listed[1].split() == [f"0x{DEVELOPMENT_ACCOUNTS[0].hex()}", "dev:0"]
    password = tmp_path / "password"
    password.write_text("open\n")
    arguments = ("account", "sign", "--from", made["address"], "--to", TO, "--nonce", 0)
    for done in (parsec(*arguments, text="open\n"), parsec(*arguments, "--password-file", password)):
        raw = bytes.fromhex(done.stdout.strip().removeprefix("0x"))
        assert decode(raw, RULES).sender == bytes.fromhex(made["address"][2:])
    wrong = parsec(*arguments, text="shut\n")
    assert wrong.exit_code == cli.REFUSED
    assert "can't be decrypted" in wrong.stderr


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--from", "dev:10", "--nonce", 0), "dev:0 to dev:9"),
        (("--from", "0x" + "ab" * 20, "--nonce", 0), "no key file for account 0xabab"),
        (("--from", "me", "--nonce", 0), "neither an address nor dev:N"),
        (("--from", "dev:0"), "give --nonce"),
        (("--from", "dev:0", "--nonce", 0, "--calldata", "0xz"), "not hexadecimal"),
    ])
def test_what_cannot_be_signed_is_told(more: tuple[object, ...], words: str, parsec: Callable[..., Result]) -> None:
    done = parsec("account", "sign", "--to", TO, *more)
    assert done.exit_code == cli.REFUSED
    assert words in done.stderr
    assert done.stdout == ""


def test_what_is_sent_has_to_be_a_transaction_or_a_file(parsec: Callable[..., Result]) -> None:
    done = parsec("send", "--kafka", "127.0.0.1:1", "nonsense")
    assert done.exit_code == cli.REFUSED
    assert "'nonsense' is neither a file nor a transaction" in done.stderr


# ---- receipts and status ----------------------------------------------------------------------------------------


def receipt(**changes: object) -> Receipt:
    values: dict[str, object] = {
        "partition": 1, "offset": 7, "epoch": 9, "shard": 0, "index": 0, "hash": b"\x11" * 32, "status": "success",
        "reason": "", "sender": b"\x22" * 20, "recipient": b"\x33" * 20, "contract": None, "nonce": 4, "kind": 2, "block": 3,
        "block_hash": b"\x44" * 32, "timestamp_ms": 5, "transaction_index": 0, "gas_used": 21_000, "cumulative_gas": 21_000,
        "gas_price": (10**20).to_bytes(9, "big"), "log_index": 0, "logs": (), "output": b""}
    return Receipt(**(values | changes))  # type: ignore[arg-type]  # the names are its fields


def test_a_receipt_in_json_and_for_people() -> None:
    shown = receipt_document(receipt())
    assert json.loads(json.dumps(shown))["gas_price"] == 10**20
    assert shown["hash"] == "0x" + "11" * 32
    assert shown["contract"] is None
    line = click.unstyle(receipt_line(receipt(status="rejected", block=None, reason="nonce too low: 4")))
    assert line.startswith("rejected 0x1111")
    assert "[1] 7 epoch 9" in line
    assert line.endswith("nonce too low: 4")


def closed(epoch: int, at_ms: int, *lanes: LaneOutcome | None) -> Manifest:
    return Manifest(
        epoch=epoch, block=1, previous=bytes(32), timestamp_ms=at_ms, randomness=bytes(32), rules=bytes(32), close=lanes, cut=(),
        digests=(), outcomes_read=0, offers=())


def lane(included: int, rejected: int = 0, carried: tuple[int, ...] = ()) -> LaneOutcome:
    return LaneOutcome(
        attempt=ATTEMPT, revised=(), carried=carried, accepted=(), included=included, rejected=rejected, gas=included * 21_000,
        logs=0, list_digest=bytes(32))


def test_rates_count_each_epoch_of_the_window_once() -> None:
    second = closed(3, 95_000, lane(30, 10, (4, 5)), None)
    recent: list[Manifest | Exclusion] = [
        closed(2, 80_000, lane(1_000)),  # too old
        Exclusion(epoch=2, previous=bytes(32), lanes=(1,)),
        second,
        second,  # of a second sequencer
        closed(4, 96_000),  # nothing was cut
        closed(5, 99_000, lane(10)),
    ]
    rates = rates_of(recent, 100_000, 10.0)
    assert (rates.epochs, rates.lanes, rates.aborted, rates.exclusions) == (2, 3, 1, 1)
    assert (rates.included, rates.rejected, rates.carried, rates.gas) == (40, 10, 2, 840_000)
    assert rates.transactions_per_s == 5.0
    assert rates.carried_per_100 == 4.0


def waiting(partition: int, position: int, parked_ms: int | None) -> Accepted:
    return Accepted(
        partition=partition, position=position, origin_epoch=1, origin_partition=0, origin_offset=0, parked_ms=parked_ms)


def test_a_partition_tells_what_waits() -> None:
    pending = (waiting(0, 3, None), waiting(0, 4, 77), waiting(0, 5, None))
    tip = Tip(hash=bytes(32), rules=RULES, inputs=(Input(consumed=10, pending=pending, strikes=1),))
    found = partition_status(0, tip, 25)
    assert (found.lag, found.pending, found.parked, found.strikes) == (15, 2, 1, 1)


def status() -> Status:
    tip = Tip(hash=bytes(32), rules=RULES, epoch=8, inputs=(Input(consumed=10, strikes=2),))
    shards = (ShardStatus(
        shard=0, address="127.0.0.1:7", applied=None, published=None, waiting_reads=None, digest="ab" * 32, digest_epoch=6,
        problem="no answer"),)
    partitions = (partition_status(0, tip, 25),)
    rates = Rates(window_s=10.0)
    return Status(
        kafka="h:1", prefix="p.", chain_id=1, epoch=8, block=3, timestamp_ms=1, age_ms=700_000, executors=0, lag=15,
        partitions=partitions, shards=shards, rates=rates, problems=tuple(problems_of(0, shards, partitions, tip, rates)))


def test_problems_are_named() -> None:
    assert status().problems == (
        "shard 0 does not answer: no answer",
        "no executor has partitions",
        "15 offsets wait, and no epoch closed within 10 s: 8 is open",
        "partition 0: 2 exclusions in a row",
    )


def test_a_status_for_people_and_for_programs() -> None:
    text = click.unstyle("\n".join(lines_of(status())))
    assert "epoch 8  block 3  last manifest 11 min ago  lag 15" in text
    assert "abababababababab… after epoch 6" in text
    assert "! no executor has partitions" in text
    assert json.loads(json.dumps(status().document()))["partitions"][0]["lag"] == 15


def test_colour_is_for_terminals_only(parsec: Callable[..., Result]) -> None:
    assert "\x1b" not in parsec("status").stderr
