"""``parsec t8n``: from one state to the next, with the interface of the tools that fill Ethereum's test suites."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from cluster.cli import NO
from conformance.accounts import accounts_of, alloc_document, entries_of
from conformance.engines import DEFAULT, ENGINES, engine
from conformance.environment import of_block
from conformance.fields import hexadecimal
from conformance.files import Inputs, write_outputs
from conformance.forks import fork_of
from conformance.pipeline import Shape
from conformance.protocol import ProtocolRun, run_protocol
from conformance.results import result_document
from conformance.transactions import join_list
from conformance.transition import apply, begin, end
from schemas.errors import ConfigurationError

F = TypeVar("F", bound=Callable[..., Any])

_NO_REWARD: Final = (0, -1)


def _documents(function: F) -> F:
    """The options that name inputs and outputs."""
    wrapped: Any = function
    for flag, default, text in reversed((
        ("--input.alloc", "alloc.json", "The state before: a file, or stdin."),
        ("--input.env", "env.json", "The environment of the block: a file, or stdin."),
        ("--input.txs", "txs.json", "The transactions: a list, or the RLP of one (.rlp); a file, or stdin."),
        ("--output.basedir", ".", "Directory of the outputs."),
        ("--output.result", "result.json", "Where the result goes: a file, stdout or stderr."),
        ("--output.alloc", "alloc.json", "Where the state afterwards goes: a file, stdout or stderr."),
        ("--output.body", "", "Where the RLP of the included transactions goes; by default nowhere."),
    )):
        name = flag.removeprefix("--").replace(".", "_")
        wrapped = click.option(flag, name, default=default, show_default=bool(default), help=text)(wrapped)
    documented: F = wrapped
    return documented


@click.command
@_documents
@click.option("--state.fork", "fork", default="Prague", show_default=True, help="The fork of the block.")
@click.option("--state.chainid", "chain_id", type=click.IntRange(1), default=1, show_default=True, help="The chain id.")
@click.option(
    "--state.reward", "reward", type=int, default=0, show_default=True,
    help="Accepted for the sake of other tools: 0 or -1, since there is none after the merge.")
@click.option(
    "--engine", "engine_name", default=DEFAULT, show_default=True,
    help=f"What runs the transactions: {', '.join(sorted(ENGINES))}.")
@click.option(
    "--partitions", type=click.IntRange(1),
    help="Run the list through the machines of the pipeline, with so many partitions, and compare with a serial run.")
@click.option("--executors", type=click.IntRange(1), default=2, show_default=True, help="With --partitions: executors.")
@click.option("--shards", type=click.IntRange(1), default=2, show_default=True, help="With --partitions: state shards.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="With --partitions: decides in which order things happen.")
def t8n(
    input_alloc: str, input_env: str, input_txs: str, output_basedir: str, output_result: str, output_alloc: str,
    output_body: str, fork: str, chain_id: int, reward: int, engine_name: str, partitions: int | None, executors: int,
    shards: int, seed: int,
) -> None:
    """Apply a list of transactions to a state, as a block does.

    The interface is that of geth's 'evm t8n'. The system's calls at the start and the end of a block, withdrawals and
    requests are applied, too. With --partitions the transactions run in parallel, as in the pipeline; the result then
    has a field "protocol", and the exit status is 1 if a serial run in the committed order gives anything else.
    """
    if reward not in _NO_REWARD:
        raise ConfigurationError(f"--state.reward: {reward}; after the merge there is none, only 0 and -1 are taken")
    inputs = Inputs(alloc=input_alloc, env=input_env, txs=input_txs)
    environment = of_block(inputs.env(), fork_of(fork), chain_id)
    before = entries_of(inputs.alloc())
    raws = inputs.transactions(chain_id)
    machine = engine(engine_name, environment.rules())
    begun = begin(environment, machine, before)
    protocol: ProtocolRun | None = None
    if partitions is None:
        applied = apply(environment, machine, begun, raws)
    else:
        shape = Shape(partitions=partitions, executors=executors, shards=shards, seed=seed)
        protocol = run_protocol(environment, engine_name, begun, raws, shape)
        applied = protocol.applied
    ended = end(environment, machine, applied.state, applied.logs)
    result = result_document(environment, applied, ended)
    if protocol is not None:
        result["protocol"] = protocol.document()
    body = join_list([each.transaction.raw for each in applied.included])
    write_outputs(Path(output_basedir), (
        ("alloc", output_alloc, alloc_document(accounts_of(ended.state))), ("result", output_result, result),
        ("body", output_body, hexadecimal(body))))
    if protocol is not None:
        _tell(protocol)
        sys.exit(0 if protocol.serial else NO)


def _tell(protocol: ProtocolRun) -> None:
    """The comparison, for people."""
    word = click.style("serial", fg="green") if protocol.serial else click.style("different", fg="red")
    click.echo(
        f"{word}: {len(protocol.order)} transactions in {protocol.epochs} epochs, {protocol.carried} carried, "
        f"{protocol.repaired} repaired, order {' '.join(map(str, protocol.order))}", err=True)
    for difference in protocol.differences:
        click.echo(difference, err=True)
