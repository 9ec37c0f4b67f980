"""A client in a process of its own that can be killed: sends transfers, notes what the broker has accepted.

``python -m tests.integration.transfer_client BOOTSTRAP PREFIX PARTITIONS REPORTS COUNT RATE``. Each line of the reports
file is ``number partition offset``; a client that starts again sends what has no line there, so that some go out twice.
"""

import sys
import time
from pathlib import Path

from bench.wallets import Wallet
from ingest.producer import TransactionProducer
from ingest.routing import Router
from schemas.genesis import Genesis
from streams.kafka import KafkaSettings

SENDERS = 200


def wallets() -> list[Wallet]:
    return [Wallet.numbered(number) for number in range(SENDERS)]


def transfer(senders: list[Wallet], number: int, chain_id: int) -> bytes:
    """The same transaction for the same number; each sender's nonces follow each other."""
    sender, payee = senders[number % SENDERS], senders[(number * 7 + number // SENDERS) % SENDERS]
    sender.nonce = number // SENDERS
    return sender.sign(chain_id, payee.address, value=1 + number % 5)


def main() -> None:
    bootstrap, prefix, partitions, reports, count, rate, genesis = sys.argv[1:]
    path = Path(reports)
    done = {int(line.split()[0]) for line in path.read_text().splitlines() if line.count(" ") == 2} if path.exists() else set()
    rules = Genesis.parse(Path(genesis).read_bytes()).rules
    senders = wallets()
    with path.open("a", buffering=1) as out, TransactionProducer(
        KafkaSettings(bootstrap=bootstrap, prefix=prefix), rules, Router(int(partitions), hold_s=600)
    ) as producer:
        futures = []
        start = time.monotonic()
        for place, number in enumerate(n for n in range(int(count)) if n not in done):
            left = start + place / float(rate) - time.monotonic()
            if left > 0:
                time.sleep(left)
            future = producer.send(transfer(senders, number, rules.chain_id), timeout_s=120)
            future.add_done_callback(lambda f, n=number: out.write(f"{n} {f.result().partition} {f.result().offset}\n"))
            futures.append(future)
        for future in futures:
            future.result(180)
    print("sent", flush=True)


if __name__ == "__main__":
    main()
