"""The driver of aiokafka for the client matrix: see ../doc.go."""

import asyncio
import os.path
import sys
from contextlib import asynccontextmanager

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

sys.path.insert(1, os.path.join(os.path.dirname(__file__), ".."))
from pydriver import Pace, configs, input_ended, records, run, tell, tell_record  # noqa: E402


async def version(bootstrap, args):
    tell(client="aiokafka", version=aiokafka.__version__)


async def produce(bootstrap, args):
    settings = {"acks": "all", "linger_ms": 50}
    if args["codec"] != "none":
        settings["compression_type"] = args["codec"]
    if "max" in args:
        settings["max_request_size"] = int(args["max"])
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, **settings) as producer:
        sent = [await producer.send(args["topic"], value, key, headers=headers) for key, value, headers in records(args)]
        await asyncio.gather(*sent)


def tell_message(m):
    tell_record(m.partition, m.offset, m.timestamp, m.key, m.value, m.headers)


async def consume(bootstrap, args):
    # Without a group it is assigned all partitions.
    async with AIOKafkaConsumer(args["topic"], bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        for _ in range(int(args["count"])):
            tell_message(await consumer.getone())


async def group(bootstrap, args):
    ended = input_ended()
    consumer = AIOKafkaConsumer(args["topic"], bootstrap_servers=bootstrap, group_id=args["group"],
                                auto_offset_reset="earliest", auto_commit_interval_ms=200)
    async with consumer:  # whose end commits, and leaves
        while not ended.is_set():
            for messages in (await consumer.getmany(timeout_ms=100)).values():
                for m in messages:
                    tell_message(m)


async def seek(bootstrap, args):
    async with AIOKafkaConsumer(args["topic"], bootstrap_servers=bootstrap) as consumer:
        found = await consumer.offsets_for_times({p: int(args["timestamp"]) for p in consumer.assignment()})
        awaited = {p for p, at in found.items() if at is not None}
        for p in awaited:
            consumer.seek(p, found[p].offset)
        while awaited:
            m = await consumer.getone(*awaited)
            awaited.remove(TopicPartition(m.topic, m.partition))
            tell_message(m)


def raise_for(code, message):
    """Raises the error of an answer, if it is one: the admin client leaves that to its users."""
    if code:
        raise for_code(code)(message)


@asynccontextmanager
async def ask(bootstrap):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


def configs_of(args, values=None):
    return [ConfigResource(ConfigResourceType.TOPIC, args["topic"], values)]


async def create(bootstrap, args):
    async with ask(bootstrap) as admin:
        topic = NewTopic(args["topic"], int(args["partitions"]), 1, topic_configs=configs(args))
        for _, code, message in (await admin.create_topics([topic])).topic_errors:
            raise_for(code, message)


async def describe(bootstrap, args):
    async with ask(bootstrap) as admin:
        (topic,) = await admin.describe_topics([args["topic"]])
        (response,) = await admin.describe_configs(configs_of(args))
        ((code, message, _, _, entries),) = response.resources
        raise_for(code, message)
        tell(partitions=len(topic["partitions"]), configs={name: value for name, value, *_ in entries})


async def alter(bootstrap, args):
    async with ask(bootstrap) as admin:
        (response,) = await admin.alter_configs(configs_of(args, configs(args)))
        for code, message, *_ in response.resources:
            raise_for(code, message)


async def grow(bootstrap, args):
    async with ask(bootstrap) as admin:
        await admin.create_partitions({args["topic"]: NewPartitions(int(args["partitions"]))})


async def delete(bootstrap, args):
    async with ask(bootstrap) as admin:
        for topic, code in (await admin.delete_topics([args["topic"]])).topic_error_codes:
            raise_for(code, topic)


async def steady(bootstrap, args):
    ended, pace, i = input_ended(), Pace(), 0
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        while not ended.is_set():
            value = f"s{i}"
            try:
                at = await producer.send_and_wait(args["topic"], value.encode())
            except KafkaError as e:
                print(repr(e), file=sys.stderr)
            else:
                tell(partition=at.partition, offset=at.offset, value=value)
                i += 1
            await asyncio.sleep(pace.pause())


run({f.__name__: f for f in (version, produce, consume, group, seek, create, describe, alter, grow, delete, steady)})
