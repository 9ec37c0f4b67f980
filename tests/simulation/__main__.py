"""Run worlds; ``python -m tests.simulation --help`` says how."""

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

from schemas import topics
from schemas.hashing import digest
from schemas.records import Exclusion, Manifest

from .oracle import check
from .rules import RULES, without
from .seeds import world_of
from .violation import Violation
from .world import World

Found = tuple[int, str, str, Counter[str]]
"""Seed, what is violated (empty if nothing), detail, counts."""


def run(seed: int, taken_out: tuple[str, ...] = ()) -> Found:
    """What one seed violates, and its counts."""
    with without(taken_out):
        try:
            world = world_of(seed)
            world.run()
            return seed, "", "", check(world)
        except Violation as violation:
            return seed, violation.kind, violation.detail, Counter()
        except Exception as exc:  # whatever a machine raises is a finding, with its seed
            return seed, f"raises {type(exc).__name__}", str(exc), Counter()


def results(seeds: range, taken_out: tuple[str, ...], jobs: int) -> Iterator[Found]:
    """The results of all seeds, as they come."""
    work = partial(run, taken_out=taken_out)
    if jobs == 1:
        yield from map(work, seeds)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(work, seeds, chunksize=2)


def progress(done: int, number: int, failed: int, started: float) -> None:
    """One line on a terminal, nothing elsewhere."""
    if sys.stderr.isatty():
        width = 30
        filled = width * done // number
        left = (time.monotonic() - started) / max(1, done) * (number - done)
        bar = "#" * filled + "." * (width - filled)
        sys.stderr.write(f"\r[{bar}] {done}/{number} seeds, {failed} failed, {left:.0f} s left ")
        sys.stderr.write("\n" if done == number else "")
        sys.stderr.flush()


def trace(seed: int, taken_out: tuple[str, ...]) -> None:
    """Print what one run wrote on `epochs`, as a reader of the chain sees it."""
    with without(taken_out):
        world = world_of(seed)
        try:
            world.run()
            check(world)
        except Violation as violation:
            print(violation)
        print_chain(world)


def print_chain(world: World) -> None:
    """Print the valid records of `epochs`."""
    tip = world.start_tip
    for offset, stored in world.broker.records(topics.EPOCHS):
        record = stored.value
        if not isinstance(record, Manifest | Exclusion):
            print(f"{offset:4} no manifest")
            continue
        after = tip.after(record, digest(stored.data), offset)
        if after is None:
            print(f"{offset:4} skipped {type(record).__name__.lower()} of epoch {record.epoch}")
            continue
        if isinstance(record, Exclusion):
            print(f"{offset:4} epoch {record.epoch}: lanes {list(record.lanes)} are excluded")
        else:
            print(f"{offset:4} epoch {tip.epoch} closes; epoch {record.epoch} at {record.timestamp_ms} ms:")
            for rank, outcome in enumerate(record.close):
                number = len(tip.listed(rank))
                what = f"commits {number - len(outcome.carried)} of {number}" if outcome else f"aborts {number}"
                revised = f", revised at {list(outcome.revised)}" if outcome and outcome.revised else ""
                print(f"       lane {rank} {what}{revised}")
            for rank, lane in enumerate(record.cut):
                print(f"       cut lane {rank}: {lane.attempt.hex()[:6]}, join {lane.joined} of {list(lane.partitions)}")
                for part in lane.slices:
                    skip = ", skip" if part.skip else ""
                    print(f"           partition {part.partition}: carries {list(part.carries)}, "
                          f"offsets {part.low} to {part.high}{skip}")
        tip = after


def main() -> int:
    """Parse the command line; 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many worlds")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--without", action="append", default=[], choices=RULES, help="leave a rule out; repeatable")
    parser.add_argument("--list", action="store_true", help="name the rules")
    parser.add_argument("--trace", type=int, metavar="SEED", help="print the epochs of one run")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    taken_out = tuple(arguments.without)
    if arguments.list:
        for name, rule in RULES.items():
            print(f"{name:20} {rule.step:12} {rule.sentence}")
        return 0
    if arguments.trace is not None:
        trace(arguments.trace, taken_out)
        return 0
    seeds = range(arguments.start, arguments.start + arguments.seeds)
    failing: Counter[str] = Counter()
    first: dict[str, tuple[int, str]] = {}
    counts: Counter[str] = Counter()
    started = time.monotonic()
    for done, (seed, kind, detail, count) in enumerate(results(seeds, taken_out, arguments.jobs), 1):
        oldest = max(counts["oldest age"], count["oldest age"])
        counts += count
        counts["oldest age"] = oldest
        if kind:
            failing[kind] += 1
            if kind not in first or seed < first[kind][0]:
                first[kind] = seed, detail
        progress(done, len(seeds), failing.total(), started)
    options = "".join(f" --without {name}" for name in taken_out)
    print(f"{failing.total()} of {len(seeds)} seeds failed in {time.monotonic() - started:.0f} s")
    for kind, number in failing.most_common():
        seed, detail = first[kind]
        print(f"{kind}: {number} seeds, the first is {seed}: {detail[:1500]}")
        print(f"    python -m tests.simulation --start {seed} --seeds 1{options}")
    print(", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    return int(bool(failing))


if __name__ == "__main__":
    sys.exit(main())
