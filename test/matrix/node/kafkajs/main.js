// Driver of kafkajs. Snappy and lz4 come with its plugins, zstd with a codec of one's own, as its manual has it.
'use strict'
const path = require('path')
const modules = process.env.MATRIX_MODULES
const load = name => require(path.join(modules, name))
const { Kafka, CompressionTypes, CompressionCodecs, logLevel, PartitionAssigners } = load('kafkajs')
const LZ4 = load('kafkajs-lz4')
const zstd = load('@mongodb-js/zstd')

CompressionCodecs[CompressionTypes.Snappy] = load('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = new (LZ4.default || LZ4)().codec
CompressionCodecs[CompressionTypes.ZSTD] = () => ({ compress: ({ buffer }) => zstd.compress(buffer, 3), decompress: buffer => zstd.decompress(buffer) })
const TYPES = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD }

const kafka = bootstrap => new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING })

require(path.join(__dirname, '..', 'driver.js'))({
  version: load('kafkajs/package.json').version,
  producer: (bootstrap, { codec = 'none', idempotent = false, transactional }) => ({
    producer: kafka(bootstrap).producer({ idempotent: idempotent || !!transactional, ...(transactional ? { transactionalId: transactional } : {}), ...(idempotent || transactional ? { maxInFlightRequests: 1 } : {}) }), more: { compression: TYPES[codec], acks: -1 }
  }),
  consumer: async (bootstrap, groupId, { commits }) => {
    const consumer = kafka(bootstrap).consumer({ groupId, sessionTimeout: 10000, heartbeatInterval: 1000, maxWaitTimeInMs: 200, partitionAssigners: [PartitionAssigners.roundRobin] })
    const m = { consumer, assignments: 0, now: [], partitions: () => [...m.now] }
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      m.assignments++
      m.now = Object.values(payload.memberAssignment).flat()
    })
    consumer.on(consumer.events.REBALANCING, () => { m.now = [] })
    const { run } = consumer
    consumer.run = options => run({ autoCommit: commits, ...(commits ? { autoCommitInterval: 500 } : {}), ...options })
    return m
  },
  strategies: ['roundrobin'],
  subscription: topics => ({ topics, fromBeginning: true }),
  run: {},
  seek: async (m, topic, offset) => m.consumer.seek({ topic, partition: 0, offset: String(offset) }),
  commitAll: async () => {}, // commits as it goes, and when it is stopped
  headers: message => Object.entries(message.headers || {}).flatMap(([name, data]) => Array.isArray(data) ? data.map(one => [name, one]) : [[name, data]]),
  admin: bootstrap => kafka(bootstrap).admin(),
  state: state => state,
  instead: () => ({}),
  lacks: { static: 'its consumers have no instance ids' }
})
