"""The sequencer as a process: moves the bytes of `ingest.sequencer`."""

import logging
import os
import threading
import time

from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.errors import ParsecError, UndecodableRecord
from schemas.records import Vote
from schemas.topics import VOTES, Topic, TopicName
from streams.events import END, Append, Command, Record, Tick
from streams.kafka import KafkaLog, KafkaSettings
from streams.reads import ShardReader
from streams.start import newest_tip

from .sequencer import Pace, Sequencer

log = logging.getLogger(__name__)

TICK_S = 0.05
"""How often time passes for the machine when nothing arrives."""
PACED_TICK_S = 0.002
"""The same while a cut waits for nothing but its time."""
PULSE_S = 1.0
PULSE_ANSWER_S = 2.0
"""A shard that takes longer to answer counts as away."""
VOTES_GATHER_MS = 50
"""The sequencer takes digests and addresses from votes, which can wait: a fetch less per vote for the broker."""
VOTES_TAIL = 64
"""So many votes before the end are read again for digests that no manifest names yet."""


class Pulse:
    """Asks every shard every second whether it is there, in a thread of its own."""

    def __init__(self, reader: ShardReader, shards: int, stop: threading.Event) -> None:
        self._reader = reader
        self._shards = shards
        self._stop = stop
        self.all_up = True

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    def _run(self) -> None:
        while not self._stop.wait(PULSE_S):
            try:
                for shard in range(self._shards):
                    self._reader.status(shard, deadline_s=PULSE_ANSWER_S)
            except ParsecError as exc:
                if self.all_up:
                    log.warning("a shard is away, so that no lane is timed out: %s", exc)
                self.all_up = False
            else:
                self.all_up = True


class SequencerService:
    """Follows the topics, ticks the machine and writes `epochs`."""

    def __init__(self, settings: KafkaSettings, genesis: Tip, shards: int, pace: Pace) -> None:
        self._settings = settings
        self._genesis = genesis
        self._shards = shards
        self._pace = pace

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        # `members` counts only what is committed: the group refuses the join of a member that was replaced.
        kafka = KafkaLog(self._settings, committed_only=True)
        votes = KafkaLog(self._settings, committed_only=True, gather_ms=VOTES_GATHER_MS)
        reader = ShardReader(self._shards, anchor=self._genesis.hash)
        pulse = Pulse(reader, self._shards, stop)
        try:
            machine = Sequencer(newest_tip(kafka, reader, self._shards, self._genesis), self._shards, self._pace)
            positions = self._positions(kafka, machine)
            votes.follow({VOTES: positions.pop(VOTES)})
            kafka.follow(positions)
            pulse.start()
            log.info("sequencer starts at epoch %d", machine.tip.epoch)
            while not stop.is_set():
                for fetched in (*kafka.poll(PACED_TICK_S if machine.pacing else TICK_S), *votes.poll(0)):
                    try:
                        record = CODEC.decode(fetched.value)
                    except UndecodableRecord as exc:
                        log.warning("skipped %s at %d: %s", fetched.topic.name, fetched.offset, exc)
                        continue
                    if isinstance(record, Vote):
                        reader.set_address(record.shard, record.address)
                    self._take(kafka, machine.step(Record(fetched.topic, fetched.offset, record, fetched.value)))
                tick = Tick(time.time_ns() // 1_000_000, time.monotonic() * 1000, os.urandom(32), pulse.all_up)
                self._take(kafka, machine.step(tick))
        finally:
            reader.close()
            votes.close()
            kafka.close()

    @staticmethod
    def _positions(kafka: KafkaLog, machine: Sequencer) -> dict[Topic, int]:
        """Where to read from; of a topic that is read from its end, also a few records before."""
        positions = machine.positions()
        ends = kafka.ends(positions)
        begins = kafka.begins(positions)
        return {
            topic: max(begins[topic], ends[topic] - VOTES_TAIL if at == END else at)
            for topic, at in positions.items()}

    def _take(self, kafka: KafkaLog, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Append) and command.topic.name is TopicName.EPOCHS:
                epoch = command.record.epoch
                kafka.append(command.topic, CODEC.encode(command.record), key=b"%d" % epoch)
