"""The sequencer as a process: moves the bytes of `ingest.sequencer`."""

import logging
import os
import threading
import time

from schemas.chain import Tip
from schemas.codec import CODEC
from schemas.errors import UndecodableRecord
from schemas.topics import Topic, TopicName
from streams.events import END, Append, Command, Record, Tick
from streams.kafka import KafkaLog, KafkaSettings
from streams.reads import ShardReader
from streams.start import newest_tip

from .sequencer import Pace, Sequencer

log = logging.getLogger(__name__)

TICK_S = 0.005
"""How often time passes for the machine when nothing arrives."""
VOTES_TAIL = 64
"""So many votes before the end are read again for digests that no manifest names yet."""


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
        reader = ShardReader(self._shards, anchor=self._genesis.hash)
        try:
            machine = Sequencer(newest_tip(kafka, reader, self._shards, self._genesis), self._shards, self._pace)
            kafka.follow(self._positions(kafka, machine))
            log.info("sequencer starts at epoch %d", machine.tip.epoch)
            while not stop.is_set():
                for fetched in kafka.poll(TICK_S):
                    try:
                        record = CODEC.decode(fetched.value)
                    except UndecodableRecord as exc:
                        log.warning("skipped %s at %d: %s", fetched.topic.name, fetched.offset, exc)
                        continue
                    self._take(kafka, machine.step(Record(fetched.topic, fetched.offset, record, fetched.value)))
                tick = Tick(time.time_ns() // 1_000_000, time.monotonic() * 1000, os.urandom(32))
                self._take(kafka, machine.step(tick))
                kafka.acknowledged()
        finally:
            reader.close()
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
                kafka.append(command.topic, CODEC.encode(command.record), key=b"%d" % epoch, token=command)
