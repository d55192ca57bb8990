// The client matrix's driver for kafkajs, with the codecs that its documentation names. @kafkajs/zstd is bound to a native
// package that no longer builds; the codec for zstd is what the documentation says to write then.
import { readFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import zstd from '@mongodb-js/zstd'
import kafkajs from 'kafkajs'
import LZ4Codec from 'kafkajs-lz4'
import SnappyCodec from 'kafkajs-snappy'
import { batches, deferred, drive, emit, emitRecord, settings, stdinClosed, steadily } from '../contract.mjs'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, Partitioners } = kafkajs

CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
CompressionCodecs[CompressionTypes.LZ4] = new LZ4Codec().codec
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: encoder => zstd.compress(encoder.buffer),
  decompress: buffer => zstd.decompress(buffer)
})

const compressions = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD
}

const connect = bootstrap => new Kafka({
  brokers: [bootstrap],
  clientId: 'kafkajs',
  logCreator: () => ({ label, namespace, log }) => console.error(label, namespace, JSON.stringify(log)) // not on stdout
})

async function producing(bootstrap, work) {
  const producer = connect(bootstrap).producer({ createPartitioner: Partitioners.DefaultPartitioner })
  await producer.connect()
  await work(producer)
  await producer.disconnect()
}

async function administering(bootstrap, work) {
  const admin = connect(bootstrap).admin()
  await admin.connect()
  const result = await work(admin)
  await admin.disconnect()
  return result
}

// Joins the group, hands each record to `process`, and leaves when `until` is fulfilled.
async function consuming(bootstrap, topic, groupId, process, until, seek = () => {}) {
  const consumer = connect(bootstrap).consumer({ groupId })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const running = consumer.run({ autoCommitInterval: 200, eachMessage: async ({ partition, message }) => process(partition, message) })
  seek(consumer)
  await running
  await until
  await consumer.disconnect()
}

function show(partition, message) {
  const headers = Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, value.toString()]))
  emitRecord(partition, { ...message, key: message.key?.toString(), value: message.value?.toString() }, headers)
}

// There is no consumer without a group: each of these has one of its own.
const lonely = () => `alone-${randomUUID()}`

await drive({
  async version() {
    emit({ client: 'kafkajs', version: JSON.parse(readFileSync(new URL('node_modules/kafkajs/package.json', import.meta.url))).version })
  },

  async produce(bootstrap, args) {
    await producing(bootstrap, async producer => {
      for (const messages of batches(args)) {
        await producer.send({ topic: args.topic, acks: -1, compression: compressions[args.codec], messages })
      }
    })
  },

  async consume(bootstrap, { topic, count }) {
    const all = deferred()
    let seen = 0
    await consuming(bootstrap, topic, lonely(), (partition, message) => {
      if (seen < Number(count)) show(partition, message)
      if (++seen === Number(count)) all.resolve()
    }, all.promise)
  },

  async group(bootstrap, { topic, group }) {
    await consuming(bootstrap, topic, group, show, stdinClosed())
  },

  async seek(bootstrap, { topic, timestamp }) {
    const [starts, ends] = await administering(bootstrap, admin => Promise.all([
      admin.fetchTopicOffsetsByTimestamp(topic, Number(timestamp)), admin.fetchTopicOffsets(topic)
    ]))
    const end = Object.fromEntries(ends.map(({ partition, high }) => [partition, BigInt(high)]))
    const awaited = new Set(starts.filter(({ partition, offset }) => BigInt(offset) < end[partition]).map(({ partition }) => partition))
    const all = deferred()
    if (awaited.size === 0) return
    await consuming(bootstrap, topic, lonely(), (partition, message) => {
      if (awaited.delete(partition)) show(partition, message)
      if (awaited.size === 0) all.resolve()
    }, all.promise, consumer => starts.forEach(start => consumer.seek({ topic, ...start })))
  },

  async create(bootstrap, args) {
    const topic = { topic: args.topic, numPartitions: Number(args.partitions), configEntries: settings(args) }
    await administering(bootstrap, admin => admin.createTopics({ topics: [topic] }))
  },

  async describe(bootstrap, { topic }) {
    await administering(bootstrap, async admin => {
      const { topics: [metadata] } = await admin.fetchTopicMetadata({ topics: [topic] })
      const { resources: [resource] } = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }] })
      const configs = Object.fromEntries(resource.configEntries.map(({ configName, configValue }) => [configName, configValue]))
      emit({ partitions: metadata.partitions.length, configs })
    })
  },

  async alter(bootstrap, args) { // kafkajs has only the one that replaces all settings
    const resource = { type: ConfigResourceTypes.TOPIC, name: args.topic, configEntries: settings(args) }
    await administering(bootstrap, admin => admin.alterConfigs({ validateOnly: false, resources: [resource] }))
  },

  async grow(bootstrap, { topic, partitions }) {
    const growth = { topic, count: Number(partitions) }
    await administering(bootstrap, admin => admin.createPartitions({ topicPartitions: [growth] }))
  },

  async delete(bootstrap, { topic }) {
    await administering(bootstrap, admin => admin.deleteTopics({ topics: [topic] }))
  },

  async steady(bootstrap, { topic }) {
    await producing(bootstrap, producer => steadily(async value => {
      const [{ partition, baseOffset }] = await producer.send({ topic, acks: -1, messages: [{ value }] })
      return { partition, offset: baseOffset }
    }))
  }
})
