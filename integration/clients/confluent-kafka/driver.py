"""The driver of confluent-kafka-python, and so of librdkafka, for the client matrix: see ../doc.go."""

import os.path
import sys
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   ResourceType)

sys.path.insert(1, os.path.join(os.path.dirname(__file__), ".."))
from pydriver import Pace, configs, input_ended, records, run, tell, tell_record  # noqa: E402


def version(bootstrap, args):
    tell(client="confluent-kafka", version=f"{confluent_kafka.__version__}, librdkafka {confluent_kafka.libversion()[0]}")


def produce(bootstrap, args):
    settings = {"bootstrap.servers": bootstrap, "compression.type": args["codec"], "linger.ms": 50}
    if "max" in args:
        settings["message.max.bytes"] = int(args["max"])
    producer = Producer(settings)
    failed = []

    def delivered(err, _):
        if err is not None:
            failed.append(err)

    for key, value, headers in records(args):
        while True:
            try:
                producer.produce(args["topic"], value, key, headers=headers, on_delivery=delivered)
                break
            except BufferError:  # the queue is full
                producer.poll(0.1)
        producer.poll(0)
    producer.flush()
    if failed:
        raise KafkaException(failed[0])


def consumer(bootstrap, **settings):
    return Consumer({"bootstrap.servers": bootstrap, **{k.replace("_", "."): v for k, v in settings.items()}})


def partitions(c, topic):
    return c.list_topics(topic, timeout=30).topics[topic].partitions


def messages(c):
    """The messages that a consumer reads, and None now and then; an error that it does not get over by itself ends it."""
    while True:
        message = c.poll(0.1)
        if message is not None and message.error():
            if message.error().fatal() or not message.error().retriable():
                raise KafkaException(message.error())
            print(message.error(), file=sys.stderr)
            message = None
        yield message


def tell_message(m):
    tell_record(m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers())


def consume(bootstrap, args, isolation_level="read_uncommitted"):
    c = consumer(bootstrap, group_id="unused", enable_auto_commit=False,  # it does not start without a group's name
                 isolation_level=isolation_level)
    topic, left = args["topic"], int(args["count"])
    c.assign([TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in partitions(c, topic)])
    for m in messages(c):
        if m is not None:
            tell_message(m)
            left -= 1
        if left <= 0:
            break
    c.close()


def committed(bootstrap, args):
    consume(bootstrap, args, "read_committed")


def group(bootstrap, args):
    ended = input_ended()
    c = consumer(bootstrap, group_id=args["group"], auto_offset_reset="earliest", auto_commit_interval_ms=200)
    c.subscribe([args["topic"]])
    for m in messages(c):
        if m is not None:
            tell_message(m)
        if ended.is_set():
            break
    c.close()  # commits, and leaves


def seek(bootstrap, args):
    c = consumer(bootstrap, group_id="unused", enable_auto_commit=False)
    topic, timestamp = args["topic"], int(args["timestamp"])
    asked = [TopicPartition(topic, p, timestamp) for p in partitions(c, topic)]
    found = [p for p in c.offsets_for_times(asked, timeout=30) if p.offset >= 0]
    awaited = {p.partition for p in found}
    c.assign(found)
    for m in messages(c):
        if m is not None and m.partition() in awaited:
            awaited.remove(m.partition())
            tell_message(m)
        if not awaited:
            break
    c.close()


class Admin(AdminClient):
    """An admin client that is waited for."""

    def __init__(self, bootstrap):
        super().__init__({"bootstrap.servers": bootstrap})

    def do(self, verb, *what):
        """Does a thing, by the name of the method, and returns its result."""
        (future,) = getattr(self, verb)(*what).values()
        return future.result(60)


def create(bootstrap, args):
    Admin(bootstrap).do("create_topics", [NewTopic(args["topic"], int(args["partitions"]), config=configs(args))])


def describe(bootstrap, args):
    admin = Admin(bootstrap)
    topic = admin.do("describe_topics", TopicCollection([args["topic"]]))
    described = admin.do("describe_configs", [ConfigResource(ResourceType.TOPIC, args["topic"])])
    tell(partitions=len(topic.partitions), configs={name: entry.value for name, entry in described.items()})


def alter(bootstrap, args):
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
               for name, value in configs(args).items()]
    resource = ConfigResource(ResourceType.TOPIC, args["topic"], incremental_configs=entries)
    Admin(bootstrap).do("incremental_alter_configs", [resource])


def grow(bootstrap, args):
    Admin(bootstrap).do("create_partitions", [NewPartitions(args["topic"], int(args["partitions"]))])


def delete(bootstrap, args):
    Admin(bootstrap).do("delete_topics", [args["topic"]])


def steady(bootstrap, args):
    ended, pace, i = input_ended(), Pace(), 0
    producer = Producer({"bootstrap.servers": bootstrap})
    acknowledged = []

    def delivered(err, message):
        if err is not None:
            print(err, file=sys.stderr)
        else:
            acknowledged.append(message)

    while not ended.is_set():
        producer.produce(args["topic"], f"s{i}", on_delivery=delivered)
        producer.flush()
        if acknowledged:
            m = acknowledged.pop()
            tell(partition=m.partition(), offset=m.offset(), value=m.value().decode())
            i += 1
        time.sleep(pace.pause())


class Transactions:
    """A transactional producer, and another one with its id when it cannot go on."""

    def __init__(self, bootstrap, args):
        # When the only broker goes, librdkafka 2.16 forgets it, and then waits for ever to hand offsets to the coordinator
        # that it was; with Apache Kafka, too.
        self.settings = {"bootstrap.servers": bootstrap, "transactional.id": args["id"], "metadata.recovery.strategy": "none"}
        self.producer = None

    def begin(self):
        if self.producer is None:
            producer = Producer(self.settings)
            self.insist(producer.init_transactions, 60)
            self.producer = producer
        self.producer.begin_transaction()

    def insist(self, do, *args):
        """Does something again as long as the library says that this is safe."""
        while True:
            try:
                return do(*args)
            except KafkaException as e:
                if not e.args[0].retriable():
                    raise
                print(e, file=sys.stderr)

    def commit(self):
        self.insist(self.producer.commit_transaction)

    def abort(self):
        self.insist(self.producer.abort_transaction)

    def failed(self, e):
        """Aborts what has failed. What cannot be aborted is left to the next producer with the id."""
        print(e, file=sys.stderr)
        if self.producer is None:
            return
        try:
            if e.args[0].txn_requires_abort():
                self.abort()
                return
        except KafkaException as again:
            print(again, file=sys.stderr)
        self.producer = None


def transact(bootstrap, args):
    ended, pace, i = input_ended(), Pace(), 0
    transactions = Transactions(bootstrap, args)
    while not ended.is_set():
        try:
            transactions.begin()
            for j in range(3):
                transactions.producer.produce(args["topic"], f"t{i}.{j}", str(j))
            transactions.producer.flush()  # what fails makes the commit fail
            if i % 3 != 2:
                transactions.commit()
                tell(value=f"c{i}")
            else:
                transactions.abort()
                tell(value=f"a{i}")
        except KafkaException as e:
            transactions.failed(e)
        i += 1
        time.sleep(pace.pause())


def transform(bootstrap, args):
    ended = input_ended()
    c = consumer(bootstrap, group_id=args["group"], auto_offset_reset="earliest", enable_auto_commit=False,
                 isolation_level="read_committed")
    c.subscribe([args["topic"]])
    transactions = Transactions(bootstrap, args)
    while not ended.is_set():
        batch = [m for m in c.consume(100, 0.2) if not m.error()]
        if not batch:
            continue
        try:
            transactions.begin()
            following = {}
            for m in batch:
                transactions.producer.produce(args["to"], b"=" + m.value(), m.key())
                following[m.partition()] = m.offset() + 1
            offsets = [TopicPartition(args["topic"], p, at) for p, at in following.items()]
            transactions.insist(transactions.producer.send_offsets_to_transaction, offsets, c.consumer_group_metadata())
            transactions.commit()
        except KafkaException as e:
            transactions.failed(e)
            for p in c.committed(c.assignment(), timeout=60):  # what is not committed is read again
                c.seek(TopicPartition(p.topic, p.partition, max(p.offset, 0)))
    c.close()


run({f.__name__: f for f in (version, produce, consume, group, seek, create, describe, alter, grow, delete, steady, transact,
                             committed, transform)})
