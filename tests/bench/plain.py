"""A plain script: rows of PostgreSQL as JSON into Kafka, as one writes it in an afternoon. usage: plain.py URL BROKERS TOPIC"""

import datetime
import decimal
import json
import sys
import uuid

import confluent_kafka
import psycopg

url, brokers, topic = sys.argv[1:]
producer = confluent_kafka.Producer({
    "bootstrap.servers": brokers, "acks": "all", "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 10,
    "batch.size": 131072, "partitioner": "murmur2_random", "queue.buffering.max.messages": 100000,
})


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, (uuid.UUID, decimal.Decimal)):
        return str(value)
    raise TypeError(type(value))


with psycopg.connect(url) as connection:
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    for table, key in (("sessions", "id"), ("messages", "session_id")):
        with connection.cursor(name=table) as cursor:
            cursor.itersize = 10_000
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            names = None
            for row in cursor:
                names = names or [column.name for column in cursor.description]
                row = dict(zip(names, row))
                value = json.dumps({"v": 1, "table": table, "op": "base", "row": row}, default=plain)
                while True:
                    try:
                        producer.produce(topic, key=str(row[key]), value=value)
                        break
                    except BufferError:
                        producer.poll(0.1)
                producer.poll(0)
left = producer.flush()
sys.exit(1 if left else 0)
