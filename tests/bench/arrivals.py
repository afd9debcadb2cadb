"""Stamps the events of a topic as a read-committed consumer gets them. usage: arrivals.py BROKERS TOPIC"""

import re
import sys
import time

from confluent_kafka import Consumer, TopicPartition

brokers, topic = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "arrivals", "isolation.level": "read_committed", "enable.auto.commit": False, "fetch.wait.max.ms": 10})
partitions = [TopicPartition(topic, partition) for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions]
for partition in partitions:
    partition.offset = consumer.get_watermark_offsets(partition, timeout=10)[1]
consumer.assign(partitions)
consumer.poll(1)
print("ready", flush=True)
identity = re.compile(rb'"row":\{"id":"?(\d+)')
flushed = 0
try:
    while True:
        message = consumer.poll(0.1)
        if message is None or message.error():
            sys.stdout.flush()
            continue
        # One by one: a batch would wait out its time.
        now = time.time_ns()
        print(identity.search(message.value())[1].decode(), now)
        if now - flushed > 100_000_000:
            flushed = now
            sys.stdout.flush()
except KeyboardInterrupt:
    pass
