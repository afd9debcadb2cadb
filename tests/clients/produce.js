// Writes keyed records by KafkaJS: BROKERS TOPIC default|legacy [SOURCE]; keys on stdin, one a line in base64.
// The value of each record is the number of its line; SOURCE becomes its ce_source.
const { Kafka, Partitioners, logLevel } = require('kafkajs');
const { readFileSync } = require('fs');

const [brokers, topic, partitioner, source] = process.argv.slice(2);
const createPartitioner = { default: Partitioners.DefaultPartitioner, legacy: Partitioners.LegacyPartitioner }[partitioner];
const headers = source ? { ce_source: source } : {};
const keys = readFileSync(0, 'ascii').split('\n').slice(0, -1);
const messages = keys.map((key, number) => ({ key: Buffer.from(key, 'base64'), value: String(number), headers }));

(async () => {
  const producer = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.ERROR }).producer({ createPartitioner });
  await producer.connect();
  for (let at = 0; at < messages.length; at += 500) {
    await producer.send({ topic, acks: -1, messages: messages.slice(at, at + 500) });
  }
  await producer.disconnect();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
