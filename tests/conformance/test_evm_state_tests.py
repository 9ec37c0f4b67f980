"""The official state tests of the Prague fork, as ``parsec statetest`` runs them, and through the protocol.

All of them run, in a minute or so. ``STATE_TESTS_EVERY=5`` runs every fifth, and leaves out the slowest.
"""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from conformance.accounts import entries_of
from conformance.cases import Case, cases
from conformance.engines import DEFAULT
from conformance.pipeline import Shape
from conformance.protocol import run_protocol
from conformance.statetest import Subtest, execute, judge, situation, subtests

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "evm" / "state_tests_prague.jsonl.gz"
EVERY = int(os.environ.get("STATE_TESTS_EVERY", "1"))
SLOW = "full_discount_table"
"""In the names of cases that fill a transaction with multiplications on curves; only in a run of all."""
PROTOCOL_EVERY = 10
"""Of the cases that run, so many go through the protocol, too."""

pytestmark = pytest.mark.skipif(not FIXTURES.exists(), reason="the file with the state tests is not here")


def chosen() -> Iterator[Any]:
    """One parameter for each expected result in the sample."""
    if not FIXTURES.exists():
        return
    for case in islice(cases(FIXTURES), 0, None, EVERY):
        assert isinstance(case, Case)
        if SLOW in case.name and EVERY > 1:
            continue
        for subtest in subtests(case, None):
            assert isinstance(subtest, Subtest)
            yield pytest.param(subtest, id=case.name.removeprefix("tests/"))


@pytest.mark.parametrize("subtest", list(chosen()))
def test_state(subtest: Subtest) -> None:
    """Accounts, logs and root are those of the specification."""
    verdict = judge(subtest, DEFAULT)
    assert verdict.passed, verdict.error
    run = execute(situation(subtest), DEFAULT).run
    # Whatever was written without a delta was read before; a blind write would lose what others add.
    assert {key for key in run.writes if key[:1] == b"b"} <= run.reads


@pytest.mark.parametrize("subtest", list(islice(chosen(), 0, None, PROTOCOL_EVERY)))
def test_state_through_the_protocol(subtest: Subtest) -> None:
    """The machines of the protocol come to the same state and receipt as the engine alone."""
    read = situation(subtest)
    done = run_protocol(
        read.environment, DEFAULT, entries_of(read.before), [read.raw],
        Shape(partitions=2, executors=2, shards=3, seed=len(read.raw)))
    assert done.serial, done.differences
    alone = execute(read, DEFAULT)
    assert bool(alone.refused) == bool(done.applied.rejected)
    assert alone.state == done.applied.state
