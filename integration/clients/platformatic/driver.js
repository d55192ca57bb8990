// The client matrix's driver for @platformatic/kafka, the newest that runs on Node 20 (2.x wants 22.22 or later). It compresses
// with zstd where Node itself can (22.15 and later).
import { readFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import zlib from 'node:zlib'
import {
  Admin, ConfigResourceTypes, Consumer, IncrementalAlterConfigOperationTypes, ListOffsetTimestamps, MessagesStreamFallbackModes,
  MessagesStreamModes, ProduceAcks, Producer, stringDeserializers, stringSerializers
} from '@platformatic/kafka'
import { batches, drive, emit, emitRecord, Lacks, settings, stdinClosed, steadily } from '../contract.mjs'

const common = bootstrap => ({ clientId: 'platformatic', bootstrapBrokers: [bootstrap] })

async function producing(bootstrap, work) {
  const producer = new Producer({ ...common(bootstrap), serializers: stringSerializers })
  await work(producer)
  await producer.close()
}

async function administering(bootstrap, work) {
  const admin = new Admin(common(bootstrap))
  await work(admin)
  await admin.close()
}

const consumerOf = (bootstrap, groupId, more) => new Consumer({ ...common(bootstrap), groupId, deserializers: stringDeserializers, ...more })

// There is no consumer without a group: each of these has one of its own.
const lonely = bootstrap => consumerOf(bootstrap, `alone-${randomUUID()}`)

function show(message) {
  emitRecord(message.partition, message, Object.fromEntries(message.headers))
}

await drive({
  async version() {
    const manifest = new URL('node_modules/@platformatic/kafka/package.json', import.meta.url)
    emit({ client: '@platformatic/kafka', version: JSON.parse(readFileSync(manifest)).version })
  },

  async produce(bootstrap, args) {
    if (args.codec === 'zstd' && !zlib.zstdCompressSync) throw new Lacks(`Node ${process.version} has no zstd`)
    await producing(bootstrap, async producer => {
      for (const batch of batches(args)) {
        const messages = batch.map(message => ({ topic: args.topic, ...message }))
        await producer.send({ messages, acks: ProduceAcks.ALL, compression: args.codec })
      }
    })
  },

  async consume(bootstrap, { topic, count }) {
    const consumer = lonely(bootstrap)
    const stream = await consumer.consume({ topics: [topic], mode: MessagesStreamModes.EARLIEST })
    let seen = 0
    for await (const message of stream) {
      show(message)
      if (++seen === Number(count)) break
    }
    await consumer.close(true)
  },

  // It commits for itself. The client meets the refusal of a commit that a rebalance has overtaken with yet another JoinGroup,
  // in the middle of the one that is under way; that is a rebalance again, and so it can go on for ever.
  async group(bootstrap, { topic, group }) {
    const consumer = consumerOf(bootstrap, group, { retries: 20 }) // a second each; by default it gives up after three
    const stream = await consumer.consume({
      topics: [topic], mode: MessagesStreamModes.COMMITTED, fallbackMode: MessagesStreamFallbackModes.EARLIEST, autocommit: false
    })
    const latest = new Map() // of each partition, not yet committed
    let settled = true
    consumer.on('consumer:group:rebalance', () => { settled = false; latest.clear() })
    consumer.on('consumer:group:join', () => { settled = true; latest.clear() })
    async function commit() {
      const messages = [...latest.values()]
      latest.clear()
      await Promise.all(messages.map(message => message.commit()))
    }
    let committing = Promise.resolve()
    const timer = setInterval(() => { if (settled) committing = committing.then(commit) }, 200)
    stdinClosed().then(() => stream.close())
    for await (const message of stream) {
      show(message)
      latest.set(message.partition, message)
    }
    clearInterval(timer)
    await committing
    await commit()
    await consumer.close()
  },

  async seek(bootstrap, { topic, timestamp }) {
    const consumer = lonely(bootstrap)
    const starts = (await consumer.listOffsets({ topics: [topic], timestamp: BigInt(timestamp) })).get(topic)
    const ends = (await consumer.listOffsets({ topics: [topic], timestamp: ListOffsetTimestamps.LATEST })).get(topic)
    const offsets = starts.map((offset, partition) => ({ topic, partition, offset: offset < 0n ? ends[partition] : offset }))
    const awaited = new Set(offsets.filter(({ partition, offset }) => offset < ends[partition]).map(({ partition }) => partition))
    if (awaited.size > 0) {
      for await (const message of await consumer.consume({ topics: [topic], mode: MessagesStreamModes.MANUAL, offsets })) {
        if (awaited.delete(message.partition)) show(message)
        if (awaited.size === 0) break
      }
    }
    await consumer.close(true)
  },

  async create(bootstrap, args) {
    await administering(bootstrap, admin => admin.createTopics({
      topics: [args.topic], partitions: Number(args.partitions), configs: settings(args)
    }))
  },

  async describe(bootstrap, { topic }) {
    await administering(bootstrap, async admin => {
      const metadata = await admin.metadata({ topics: [topic] })
      const [{ configs }] = await admin.describeConfigs({ resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic }] })
      emit({
        partitions: metadata.topics.get(topic).partitionsCount,
        configs: Object.fromEntries(configs.map(({ name, value }) => [name, value]))
      })
    })
  },

  async alter(bootstrap, args) {
    const configs = settings(args).map(setting => ({ ...setting, configOperation: IncrementalAlterConfigOperationTypes.SET }))
    await administering(bootstrap, admin => admin.incrementalAlterConfigs({
      resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: args.topic, configs }]
    }))
  },

  async grow(bootstrap, { topic, partitions }) {
    await administering(bootstrap, admin => admin.createPartitions({ topics: [{ name: topic, count: Number(partitions), assignments: null }] }))
  },

  async delete(bootstrap, { topic }) {
    await administering(bootstrap, admin => admin.deleteTopics({ topics: [topic] }))
  },

  async steady(bootstrap, { topic }) {
    await producing(bootstrap, producer => steadily(async value => {
      const { offsets: [sent] } = await producer.send({ messages: [{ topic, value }], acks: ProduceAcks.ALL })
      return sent
    }))
  }
})
