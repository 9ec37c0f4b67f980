"""The store on disk: equal to the store in memory, whatever comes; complete after any crash."""

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.chain import ANCESTORS, Tip
from schemas.errors import ConfigurationError, GenesisRefused, Gone, InvariantViolation, Unavailable
from schemas.hashing import digest
from schemas.records import NEVER, Attempt, Entry, Input, Lane, ShardDigest, Slice, Version, version
from schemas.rules import Rules
from stateshards.layout import Identity, split_history_keys
from stateshards.rocks import KEPT_EPOCHS, LIST_KEYS, PRUNED_KEYS, RocksStore
from stateshards.store import Durable, MemoryStore

RULES = Rules()
GENESIS_HASH = digest(b"genesis")
GENESIS = Tip.genesis(GENESIS_HASH, 2, 2, RULES, 1_000)
IDENTITY = Identity(anchor=GENESIS.hash, shard=1, shards=2)
SPAWN = get_context("spawn")


def at_genesis() -> Durable:
    """What a shard starts with."""
    return Durable(
        tip=GENESIS, published=GENESIS, prepares_from=0, digest=ShardDigest(shard=1, epoch=0, digest=bytes(32))
    )


def following(durable: Durable, *, elapsed_ms: int = 10, block: bool = True, publish: Tip | None = None) -> Durable:
    """What a shard stores with the next epoch."""
    before = durable.tip
    closing = digest(b"manifest" + before.epoch.to_bytes(8, "big") + before.hash)
    tip = replace(
        before,
        hash=closing,
        offset=before.offset + 1,
        epoch=before.epoch + 1,
        block=before.block + block,
        timestamp_ms=before.timestamp_ms + elapsed_ms,
        ancestors=(*before.ancestors, closing)[-ANCESTORS:] if block else before.ancestors,
    )
    return Durable(
        tip=tip,
        published=publish or durable.published,
        prepares_from=durable.prepares_from + 3,
        digest=ShardDigest(shard=1, epoch=before.epoch, digest=closing),
    )


def created(path: Path, entries: Sequence[tuple[bytes, bytes]] = (), keep: int | None = None) -> RocksStore:
    """A new store."""
    return RocksStore.create(path, entries, at_genesis(), identity=IDENTITY, keep_history_ms=keep)


def opened(path: Path, keep: int | None = None) -> RocksStore:
    """A store of before."""
    return RocksStore.open(path, identity=IDENTITY, rules=RULES, keep_history_ms=keep)


def history_size(store: RocksStore) -> int:
    """Replaced entries in the files."""
    cursor = store._open_database().history.iter()
    cursor.seek_to_first()
    count = 0
    while cursor.valid():
        count += 1
        cursor.next()
    return count


def meta(store: RocksStore, kind: bytes, size: int) -> list[bytes]:
    """Values of one kind of record, by the first byte and the length of the key."""
    items: Iterator[tuple[Any, Any]] = store._open_database().meta.items()
    return [value for key, value in items if key[:1] == kind and len(key) == size]


# ---- equal to the store in memory -------------------------------------------------------------------------------

KEYS = st.binary(min_size=1, max_size=3).map(lambda raw: bytes(b & 1 for b in raw))
"""Few keys, some of which start with another one."""
WRITES = st.dictionaries(KEYS, st.tuples(st.binary(max_size=3), st.booleans()), max_size=6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), WRITES, st.integers(0, 40), st.booleans(), st.booleans()),
        st.tuples(st.just("reopen")),
    ),
    min_size=1,
    max_size=25,
)
ALL_KEYS = [bytes(int(bit) for bit in f"{n:0{size}b}") for size in (1, 2, 3) for n in range(2**size)]


@settings(max_examples=30, deadline=None)
@given(
    entries=st.dictionaries(KEYS, st.binary(max_size=3), max_size=8), steps=STEPS, keep=st.none() | st.integers(0, 99)
)
def test_equals_the_store_in_memory(
    entries: dict[bytes, bytes], steps: list[tuple[Any, ...]], keep: int | None
) -> None:
    """Newest entries, all kept epochs and the durable part are those of a store that forgets nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        store = created(path, list(entries.items()), keep)
        model = MemoryStore(at_genesis(), entries.items())
        clock: list[int] = []
        try:
            for step in steps:
                if step[0] == "reopen":
                    store.close()
                    store = opened(path, keep)
                else:
                    _, writes, elapsed_ms, block, publish = step
                    now = store.durable
                    after = following(now, elapsed_ms=elapsed_ms, block=block, publish=now.tip if publish else None)
                    epoch = after.applied
                    written = (
                        {key: Entry(value, version(epoch, merged=merged)) for key, (value, merged) in writes.items()}
                        if epoch
                        else {}
                    )
                    store.apply(written, after)
                    model.apply(written, after)
                    clock.append(after.tip.timestamp_ms)
                check_equal(store, model, clock, keep)
        finally:
            store.close()


def check_equal(store: RocksStore, model: MemoryStore, clock: list[int], keep: int | None) -> None:
    """Compare all that both can tell. `clock` has the timestamp of each epoch."""
    assert store.durable == model.durable
    assert store.entries(ALL_KEYS) == model.entries(ALL_KEYS)
    stored = [(key, entry) for key, entry in zip(ALL_KEYS, model.entries(ALL_KEYS), strict=True) if entry != NEVER]
    assert list(store.items()) == sorted(stored)
    applied = model.durable.applied
    if applied >= 0:
        assert store.read(ALL_KEYS, None) == (applied, model.entries(ALL_KEYS))
    for epoch in range(applied + 1):
        try:
            assert store.read(ALL_KEYS, epoch) == model.read(ALL_KEYS, epoch)
        except Gone as gone:
            assert keep is not None
            assert epoch < gone.oldest == store.oldest <= applied - KEPT_EPOCHS
            # The next epoch has been there for longer than what it replaced is kept.
            assert clock[epoch + 1] + keep <= clock[-1]
    with pytest.raises(Unavailable):
        store.read(ALL_KEYS, applied + 1)
    with pytest.raises(Gone):
        store.read(ALL_KEYS, -1) if applied >= 0 else model.read(ALL_KEYS, -1)


def test_prunes_all_that_is_old_in_bounded_steps(tmp_path: Path) -> None:
    """History stays as large as the time for which it is kept, and no batch drops much more than it writes."""
    with created(tmp_path / "s", keep=100) as store:
        wide = [b"%d" % n for n in range(5 * LIST_KEYS)]
        store.apply({}, following(store.durable))
        for _ in range(40):
            durable = following(store.durable)
            before = history_size(store)
            keys = wide if durable.applied % 10 == 0 else wide[:10]
            store.apply({key: Entry(b"v", version(durable.applied, merged=False)) for key in keys}, durable)
            dropped = before + len(keys) - history_size(store)
            assert dropped <= PRUNED_KEYS + len(keys) + LIST_KEYS
            assert store.oldest == max(0, durable.applied - 10)
        assert store.oldest == store.durable.applied - 10
        assert history_size(store) == len(wide) + 9 * 10
        for _ in range(20):  # nothing is written any more, and the rest goes in small steps
            store.apply({}, following(store.durable))
        assert history_size(store) == 0
        assert store.oldest == 40
        assert store.read([wide[0]], store.oldest)[1] == store.entries([wide[0]])
        with pytest.raises(Gone, match="39 is not kept any more; the oldest kept epoch is 40"):
            store.read([wide[0]], 39)


def test_pruning_goes_on_after_a_restart_and_where_all_was_kept(tmp_path: Path) -> None:
    """An archive that is opened with a limit shrinks; the other way round nothing more goes."""
    store = created(tmp_path / "s")
    store.apply({}, following(store.durable))
    keys = [b"%d" % n for n in range(3 * LIST_KEYS)]
    for _ in range(10):
        durable = following(store.durable)
        store.apply({key: Entry(b"v", version(durable.applied, merged=False)) for key in keys}, durable)
    assert history_size(store) == 10 * len(keys)
    store.close()
    store = opened(tmp_path / "s", 30)
    store.apply({}, following(store.durable, elapsed_ms=1_000))  # all of it is old at once
    left = history_size(store)
    assert 10 * len(keys) - PRUNED_KEYS - LIST_KEYS <= left < 10 * len(keys)
    while left:
        store.close()
        store = opened(tmp_path / "s", 30)
        store.apply({}, following(store.durable, elapsed_ms=1))
        assert left - PRUNED_KEYS - LIST_KEYS <= history_size(store) < left
        left = history_size(store)
    oldest = store.oldest
    store.close()
    store = opened(tmp_path / "s")
    for _ in range(5):
        durable = following(store.durable, elapsed_ms=1_000)
        store.apply({b"k": Entry(b"v", version(durable.applied, merged=False))}, durable)
    assert (history_size(store), store.oldest) == (5, oldest)
    store.close()


# ---- what else a restart needs ----------------------------------------------------------------------------------


def test_tips_come_back_with_all_hashes(tmp_path: Path) -> None:
    """Both tips are equal after a restart, also while publishing lags by more blocks than a tip holds."""
    lane = Lane(
        attempt=Attempt(b"a" * 16),
        joined=4,
        partitions=(0, 1),
        slices=(Slice(partition=1, low=2, high=9, carries=(3,)),),
    )
    store = created(tmp_path / "s")
    for number in range(700):
        durable = following(store.durable, block=number % 3 != 0)
        durable = replace(
            durable,
            tip=replace(
                durable.tip, cut=(lane,), excluded=frozenset({0}), inputs=(Input(consumed=number), Input(strikes=2))
            ),
        )
        store.apply({}, durable)
        if number in (10, 650):
            behind = store.durable.tip
            store.apply({}, replace(store.durable, published=behind, prepares_from=77))
        if number % 139 == 0:
            before = store.durable
            store.close()
            store = opened(tmp_path / "s")
            assert store.durable == before
    assert len(store.durable.tip.ancestors) == ANCESTORS
    assert store.durable.published.epoch == 651
    assert len(meta(store, b"a", 9)) == store.durable.tip.block - (store.durable.published.block - ANCESTORS)
    store.close()


def test_refuses_another_identity_and_names_both(tmp_path: Path) -> None:
    """A store belongs to one shard of one chain."""
    created(tmp_path / "s").close()
    for other in (
        replace(IDENTITY, shard=0),
        replace(IDENTITY, shards=3),
        replace(IDENTITY, anchor=bytes(32)),
    ):
        with pytest.raises(GenesisRefused) as refused:
            RocksStore.open(tmp_path / "s", identity=other, rules=RULES, keep_history_ms=None)
        assert str(IDENTITY) in str(refused.value)
        assert str(other) in str(refused.value)
        refused = None  # type: ignore[assignment]  # its frames keep the files open
    opened(tmp_path / "s").close()


def test_refuses_what_is_no_new_or_no_whole_store(tmp_path: Path) -> None:
    """Nothing that is there is ever overwritten."""
    assert not RocksStore.loaded(tmp_path / "s")
    with pytest.raises(ConfigurationError, match="there is no store"):
        opened(tmp_path / "s")
    created(tmp_path / "s", [(b"k", b"v")]).close()
    assert RocksStore.loaded(tmp_path / "s")
    with pytest.raises(ConfigurationError, match="exists already; it holds shard 1 of 2"):
        created(tmp_path / "s")
    with opened(tmp_path / "s") as store:
        assert store.entries([b"k"]) == [Entry(b"v", Version(0))]


def test_refuses_epochs_and_versions_out_of_order(tmp_path: Path) -> None:
    """A batch that cannot follow on what is applied leaves no trace."""
    with created(tmp_path / "s") as store:
        store.apply({}, following(store.durable))
        first = following(store.durable)
        second = following(first)
        store.apply({b"k": Entry(b"1", version(1, merged=False))}, first)
        with pytest.raises(InvariantViolation, match="version of epoch 1"):
            store.apply(
                {b"l": Entry(b"2", version(2, merged=True)), b"k": Entry(b"2", version(1, merged=True))}, second
            )
        with pytest.raises(InvariantViolation, match="version of epoch 3"):
            store.apply({b"k": Entry(b"2", version(3, merged=False))}, second)
        with pytest.raises(InvariantViolation, match="epoch 0 is to be applied after epoch 1"):
            store.apply({}, following(at_genesis()))
        assert store.durable == first
        assert store.entries([b"k", b"l"]) == [Entry(b"1", version(1, merged=False)), NEVER]


def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    """Also for a reader that comes while it closes."""
    store = created(tmp_path / "s")
    store.close()
    store.close()
    for use in (
        lambda: store.entries([b"k"]),
        lambda: store.read([b"k"], None),
        lambda: store.apply({}, following(store.durable)),
        lambda: list(store.items()),
    ):
        with pytest.raises(Unavailable):
            use()


def test_a_checkpoint_is_a_store_of_its_own(tmp_path: Path) -> None:
    """It is as of one epoch, though the shard goes on while it is made."""
    with created(tmp_path / "s") as store:
        store.apply({}, following(store.durable))
        applying = Applying(store)
        try:
            for n in range(3):
                time.sleep(0.05)
                store.checkpoint(tmp_path / f"copy{n}")
        finally:
            applying.stop()
        with pytest.raises(ConfigurationError, match="exists already"):
            store.checkpoint(tmp_path / "copy0")
        for n in range(3):
            with opened(tmp_path / f"copy{n}") as copy:
                assert 0 < copy.durable.applied <= store.durable.applied
                check_one_epoch(copy)


# ---- several threads and processes ------------------------------------------------------------------------------

UNIFORM = [b"key-%d" % n for n in range(400)]
"""Keys that each epoch writes with its number."""


def uniform(epoch: int) -> dict[bytes, Entry]:
    """What an epoch writes."""
    return {key: Entry(epoch.to_bytes(8, "big"), version(epoch, merged=False)) for key in UNIFORM}


def check_one_epoch(store: RocksStore) -> None:
    """Values, history and the durable part are all of the same epoch."""
    applied = store.durable.applied
    assert store.entries(UNIFORM) == list(uniform(applied).values())
    for epoch in {max(1, store.oldest), applied // 2, applied - 1, applied} - set(range(max(1, store.oldest))):
        assert store.read(UNIFORM, epoch) == (epoch, list(uniform(epoch).values()))
    if store.oldest == 0:
        assert store.read(UNIFORM, 0) == (0, [NEVER] * len(UNIFORM))
        assert history_size(store) == applied * len(UNIFORM)
    assert sum(1 for value in meta(store, b"r", 13) for _ in split_history_keys(value[8:])) == history_size(store)


class Applying:
    """A thread that applies one epoch after the other."""

    def __init__(self, store: RocksStore) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(store,))
        self.errors: list[BaseException] = []
        self._thread.start()

    def _run(self, store: RocksStore) -> None:
        try:
            while not self._ending.is_set():
                durable = following(store.durable)
                store.apply(uniform(durable.applied), durable)
        except BaseException as exc:  # raised again by `stop`
            self.errors.append(exc)

    def stop(self) -> None:
        """End it; raises what went wrong."""
        self._ending.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self.errors:
            raise self.errors[0]


@pytest.mark.parametrize("keep", [None, 0])
def test_readers_never_see_half_an_epoch(tmp_path: Path, keep: int | None) -> None:
    """Whatever is applied and pruned while they read."""
    with created(tmp_path / "s", keep=keep) as store:
        store.apply({}, following(store.durable))
        applying = Applying(store)
        reads = gone = 0
        until = time.monotonic() + 1.5
        try:
            while time.monotonic() < until:
                epoch, entries = store.read(UNIFORM, None)
                assert {int.from_bytes(entry.value, "big") for entry in entries} == {epoch}
                reads += 1
                for back in (0, 1, KEPT_EPOCHS, 3):
                    try:
                        at, entries = store.read(UNIFORM, max(0, epoch - back))
                    except Gone:
                        assert keep is not None
                        gone += 1
                        continue
                    assert {int.from_bytes(entry.value, "big") for entry in entries} == {at}
        finally:
            applying.stop()
        assert reads > 10
        assert store.durable.applied > 10
        assert (gone > 0) == (keep is not None)


def apply_for_ever(path: str, pipe: Connection) -> None:
    """Body of a process that is killed."""
    with opened(Path(path)) as store:
        pipe.send(store.durable.applied)
        while True:
            durable = following(store.durable)
            store.apply(uniform(durable.applied), durable)
            if durable.applied % 10 == 0:
                pipe.send(durable.applied)


def load_for_ever(path: str, pipe: Connection) -> None:
    """Body of a process that is killed."""

    def entries() -> Iterator[tuple[bytes, bytes]]:
        number = 0
        while True:
            if number % 10_000 == 0:
                pipe.send(number)
            number += 1
            yield b"%d" % number, b"v"

    RocksStore.create(path, entries(), at_genesis(), identity=IDENTITY, keep_history_ms=None)


LOADED = [(key, b"v") for key in UNIFORM]


def load_and_wait(path: str, pipe: Connection) -> None:
    """Body of a process that is killed."""
    with created(Path(path), LOADED):
        pipe.send(1)
        time.sleep(60)


def killed(body: Any, path: Path, until: int) -> None:
    """Run a process until it reports a number, and kill it then."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=body, args=(str(path), theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        while ours.poll(30) and ours.recv() < until:
            pass
        time.sleep(0.003)
    finally:
        process.kill()
        process.join(10)
    assert process.exitcode == -9


def test_survives_sigkill_in_the_middle_of_applying(tmp_path: Path) -> None:
    """The store comes back as of one epoch, again and again, and not before the last one that was reported."""
    with created(tmp_path / "s") as store:
        store.apply({}, following(store.durable))
    reached = 0
    for _ in range(3):
        killed(apply_for_ever, tmp_path / "s", reached + 40)
        with opened(tmp_path / "s") as store:
            assert store.durable.applied >= reached + 40
            check_one_epoch(store)
            reached = store.durable.applied


def test_a_load_that_was_killed_is_done_again(tmp_path: Path) -> None:
    """What it has left is no store, and is thrown away."""
    killed(load_for_ever, tmp_path / "s", 50_000)
    assert not RocksStore.loaded(tmp_path / "s")
    with pytest.raises(ConfigurationError, match="not loaded to its end"):
        opened(tmp_path / "s")
    with created(tmp_path / "s", [(b"k", b"v"), (b"empty", b"")]) as store:
        assert list(store.items()) == [(b"k", Entry(b"v", Version(0)))]
    assert RocksStore.loaded(tmp_path / "s")


def test_a_load_is_whole_once_it_is_done(tmp_path: Path) -> None:
    """Even if the process is killed right after it."""
    killed(load_and_wait, tmp_path / "s", 1)
    with opened(tmp_path / "s") as store:
        assert store.durable == at_genesis()
        assert list(store.items()) == sorted((key, Entry(value, Version(0))) for key, value in LOADED)


def hold(path: str, pipe: Connection) -> None:
    """Body of a process that has the store open."""
    with opened(Path(path)):
        pipe.send(1)
        pipe.recv()


def test_a_second_process_is_told_so(tmp_path: Path) -> None:
    """One process at a time."""
    created(tmp_path / "s").close()
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=hold, args=(str(tmp_path / "s"), theirs), daemon=True)
    process.start()
    assert ours.recv() == 1
    with pytest.raises(ConfigurationError, match="in use by another process"):
        opened(tmp_path / "s")
    assert RocksStore.loaded(tmp_path / "s")
    ours.send(0)
    process.join(10)
    assert process.exitcode == 0
    opened(tmp_path / "s").close()
