"""Produce a signed transaction and read its receipt: python produce_and_read.py BROKER RAWTX. ``parsec`` prints the schemas."""
import io
import json
import subprocess
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import fingerprint, to_parsing_canonical_form

broker, raw = sys.argv[1], bytes.fromhex(sys.argv[2].removeprefix("0x"))
schema = {name: json.loads(subprocess.check_output(["parsec", "schemas", name])) for name in ("envelope", "receipt")}
mark = {n: b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(s), "CRC-64-AVRO")) for n, s in schema.items()}
consumer = Consumer({"bootstrap.servers": broker, "group.id": "example", "isolation.level": "read_committed"})
shards = [TopicPartition("parsec.receipts", p) for p in consumer.list_topics("parsec.receipts", 10).topics["parsec.receipts"].partitions]
consumer.assign([TopicPartition(s.topic, s.partition, consumer.get_watermark_offsets(s, 10)[1]) for s in shards])
body, stored = io.BytesIO(), []
schemaless_writer(body, parse_schema(schema["envelope"]), {"raw": raw, "touched": []})
producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True})
producer.produce("parsec.transactions", mark["envelope"] + body.getvalue(), partition=0, on_delivery=lambda *told: stored.append(told))
producer.flush(30)
error, message = stored[0] if stored else sys.exit("the broker did not answer")
print("stored at", message.partition(), message.offset(), error or "")
while error is None:  # any receipt may come first: ours is that of the same partition and offset
    record = consumer.poll(30) or sys.exit("no receipt within 30 s")
    if record.error() is None and record.value()[:10] == mark["receipt"]:
        receipt = schemaless_reader(io.BytesIO(record.value()[10:]), parse_schema(schema["receipt"]))
        if (receipt["partition"], receipt["offset"]) == (message.partition(), message.offset()):
            sys.exit(print(receipt["status"], "in block", receipt["block"], receipt["reason"]))
