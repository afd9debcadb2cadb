"""Writes keyed records by confluent-kafka: BROKERS TOPIC PARTITIONER [SOURCE]; keys on stdin, one a line in base64.

The value of each record is the number of its line; SOURCE becomes its ce_source. PARTITIONER `default` leaves it unset.
"""

import base64
import sys

from confluent_kafka import Producer

brokers, topic, partitioner = sys.argv[1:4]
headers = [("ce_source", source.encode()) for source in sys.argv[4:]]
settings = {"bootstrap.servers": brokers, "acks": "all"}
if partitioner != "default":
    settings["partitioner"] = partitioner
failed = []


def delivered(error, _):
    if error is not None:
        failed.append(error)


producer = Producer(settings)
for number, line in enumerate(sys.stdin):
    key = base64.b64decode(line)
    producer.produce(topic, key=key, value=str(number).encode(), headers=headers, on_delivery=delivered)
    producer.poll(0)
if producer.flush(60) or failed:
    sys.exit(f"not delivered: {failed[:3]}")
