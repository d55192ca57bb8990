"""The driver of kafka-python for the client matrix: see ../doc.go."""

import os.path
import sys
import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

sys.path.insert(1, os.path.join(os.path.dirname(__file__), ".."))
from pydriver import Pace, configs, input_ended, records, run, tell, tell_record  # noqa: E402


def version(bootstrap, args):
    tell(client="kafka-python", version=kafka.__version__)


def produce(bootstrap, args):
    settings = {"linger_ms": 50}
    if args["codec"] != "none":
        settings["compression_type"] = args["codec"]
    if "max" in args:
        settings["max_request_size"] = int(args["max"])
    producer = KafkaProducer(bootstrap_servers=bootstrap, **settings)
    sent = [producer.send(args["topic"], value, key, headers) for key, value, headers in records(args)]
    producer.flush()
    for future in sent:
        future.get()
    producer.close()


def assign(bootstrap, topic):
    """A consumer of all partitions of a topic, and these."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    return consumer, partitions


def tell_message(m):
    tell_record(m.partition, m.offset, m.timestamp, m.key, m.value, m.headers)


def consume(bootstrap, args):
    consumer, partitions = assign(bootstrap, args["topic"])
    consumer.seek_to_beginning(*partitions)
    for count, m in enumerate(consumer, 1):
        tell_message(m)
        if count == int(args["count"]):
            break
    consumer.close()


def group(bootstrap, args):
    ended = input_ended()
    consumer = KafkaConsumer(args["topic"], bootstrap_servers=bootstrap, group_id=args["group"],
                             auto_offset_reset="earliest", auto_commit_interval_ms=200)
    while not ended.is_set():
        for messages in consumer.poll(timeout_ms=100).values():
            for m in messages:
                tell_message(m)
    consumer.close()  # commits, and leaves


def seek(bootstrap, args):
    consumer, partitions = assign(bootstrap, args["topic"])
    found = consumer.offsets_for_times({p: int(args["timestamp"]) for p in partitions})
    awaited = {p for p, at in found.items() if at is not None}
    consumer.assign(awaited)
    for p in awaited:
        consumer.seek(p, found[p].offset)
    while awaited:
        for p, messages in consumer.poll(timeout_ms=100).items():
            if p in awaited:
                awaited.remove(p)
                tell_message(messages[0])
    consumer.close()


def create(bootstrap, args):
    topic = {"num_partitions": int(args["partitions"]), "configs": configs(args)}
    KafkaAdminClient(bootstrap_servers=bootstrap).create_topics({args["topic"]: topic})


def describe(bootstrap, args):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    (topic,) = admin.describe_topics([args["topic"]])
    described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, args["topic"])], config_filter="all")
    entries = described["topic"][args["topic"]]
    tell(partitions=len(topic["partitions"]), configs={name: entry["value"] for name, entry in entries.items()})


def alter(bootstrap, args):
    KafkaAdminClient(bootstrap_servers=bootstrap).alter_configs([ConfigResource(ConfigResourceType.TOPIC, args["topic"], configs(args))])


def grow(bootstrap, args):
    KafkaAdminClient(bootstrap_servers=bootstrap).create_partitions({args["topic"]: int(args["partitions"])})


def delete(bootstrap, args):
    KafkaAdminClient(bootstrap_servers=bootstrap).delete_topics([args["topic"]])


def steady(bootstrap, args):
    ended, pace, i = input_ended(), Pace(), 0
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    while not ended.is_set():
        value = f"s{i}"
        try:
            at = producer.send(args["topic"], value.encode()).get()
        except KafkaError as e:
            print(repr(e), file=sys.stderr)
        else:
            tell(partition=at.partition, offset=at.offset, value=value)
            i += 1
        time.sleep(pace.pause())
    producer.close()


run({f.__name__: f for f in (version, produce, consume, group, seek, create, describe, alter, grow, delete, steady)})
