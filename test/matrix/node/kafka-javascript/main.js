// Driver of @confluentinc/kafka-javascript: librdkafka in Node, by its interface that is like kafkajs's.
'use strict'
const path = require('path')
const modules = process.env.MATRIX_MODULES
const library = require(path.join(modules, '@confluentinc/kafka-javascript'))
const { Kafka, logLevel } = library.KafkaJS

const kafka = bootstrap => new Kafka({ kafkaJS: { brokers: [bootstrap], logLevel: logLevel.NOTHING } })

require(path.join(__dirname, '..', 'driver.js'))({
  version: `${require(path.join(modules, '@confluentinc/kafka-javascript/package.json')).version} (librdkafka ${library.librdkafkaVersion})`,
  producer: (bootstrap, { codec = 'none', idempotent = false, large = false, transactional }) => ({
    producer: kafka(bootstrap).producer(transactional ? { 'transactional.id': transactional } : { ...(large ? { 'message.max.bytes': 2000000 } : {}), 'compression.type': codec, 'linger.ms': 20, 'enable.idempotence': idempotent }), more: {}
  }),
  consumer: async (bootstrap, groupId, { commits, instance, strategy }) => {
    const m = { assignments: 0, now: new Set(), partitions: () => [...m.now] }
    m.consumer = kafka(bootstrap).consumer({
      'group.id': groupId,
      'session.timeout.ms': 10000,
      'heartbeat.interval.ms': 1000,
      'auto.offset.reset': 'earliest',
      'enable.auto.commit': commits,
      ...(strategy ? { 'partition.assignment.strategy': strategy === 'cooperative' ? 'cooperative-sticky' : strategy } : {}),
      ...(instance ? { 'group.instance.id': instance } : {}),
      rebalance_cb: (event, assignment) => {
        if (event.code === library.CODES.ERRORS.ERR__ASSIGN_PARTITIONS) {
          m.assignments++
          for (const { partition } of assignment) m.now.add(partition)
        } else {
          for (const { partition } of assignment) m.now.delete(partition)
        }
      }
    })
    return m
  },
  strategies: ['range', 'roundrobin', 'cooperative'],
  subscription: topics => ({ topics }),
  run: {},
  seek: async (m, topic, offset) => {
    while (m.partitions().length === 0) await new Promise(resolve => setTimeout(resolve, 20))
    m.consumer.seek({ topic, partition: 0, offset: String(offset) })
  },
  commitAll: async () => {}, // commits what it has stored when it leaves
  headers: message => Object.entries(message.headers || {}).flatMap(([name, data]) => Array.isArray(data) ? data.map(one => [name, one]) : [[name, data]]),
  admin: bootstrap => kafka(bootstrap).admin(),
  state: state => Object.entries(library.KafkaJS.ConsumerGroupStates).find(([, number]) => number === state)[0].toLowerCase().replace(/^./, letter => letter.toUpperCase()),
  instead: ({ bootstrap, topic }) => ({
    'create-partitions': () => new Promise((resolve, reject) => { // only its older interface has it
      const admin = library.AdminClient.create({ 'bootstrap.servers': bootstrap })
      admin.createPartitions(topic, 5, 10000, error => error ? reject(error) : resolve({}))
    })
  }),
  lacks: {
    'describe-cluster': 'its administration has no call that describes the cluster',
    'alter-offsets': 'its administration has no call that sets a group\'s offsets',
    'describe-config': 'its administration has no call that describes configs',
    'alter-config': 'its administration has no call that alters configs'
  }
})
