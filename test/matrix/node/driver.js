// What the drivers of kafkajs and of @confluentinc/kafka-javascript share: the latter offers the former's interface. What
// differs comes from `library`: how clients are made, how partitions are told, what is lacking.
'use strict'

const START_MS = 1700000000000
const [bootstrap, capability, topic, group, argument] = process.argv.slice(2)
const odd = capability === 'null-header'
  ? [{ key: 'k', value: 'v', ms: 0, headers: { n: null } }]
  : [{ key: Buffer.from([0, 255]), value: 'v0', ms: 0, headers: { a: ['a', 'b'], b: '' } }, { key: null, value: 'v1', ms: 1 },
      { key: 'k2', value: null, ms: 2 }, { key: '', value: '', ms: 3 }]

const key = i => `key-${i}`
const value = i => `value-${i}-` + 'abc'.repeat(i % 100)
const bytes = data => data === null || data === undefined ? null : Buffer.from(data)
const hex = data => data === null || data === undefined ? null : Buffer.from(data).toString('hex')
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

async function until (what, fact, seconds = 40) {
  for (const deadline = Date.now() + seconds * 1000; !fact(); await sleep(20)) if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`)
}

module.exports = function main (library) {
  const all = Array.from({ length: 500 }, (_, i) => ({ partition: 0, key: key(i), value: value(i) }))

  async function send (messages, settings) {
    const { producer, more } = library.producer(bootstrap, settings)
    await producer.connect()
    await producer.send({ topic, messages, ...more })
    await producer.disconnect()
  }

  // The members run by themselves; each(message, partition) sees what they read.
  async function member (name, settings, each, topics = [topic]) {
    const m = await library.consumer(bootstrap, name, settings)
    m.read = 0
    await m.consumer.connect()
    await m.consumer.subscribe(library.subscription(topics))
    await m.consumer.run({
      ...library.run,
      eachMessage: async ({ topic, partition, message }) => {
        m.read++
        await each(message, partition, topic)
      }
    })
    m.leave = () => m.consumer.disconnect()
    return m
  }

  async function fetch (from, count, start = null) {
    const out = []
    const m = await member(`${group}-reads-${from}`, { commits: false }, message => { out.push(message) }, [from])
    if (start !== null) await library.seek(m, from, start)
    await until(`${count} messages of ${from}`, () => out.filter(message => start === null || Number(message.offset) >= start).length >= count, 30)
    await m.leave()
    return out.filter(message => start === null || Number(message.offset) >= start).slice(0, count)
  }

  async function read (from, count) {
    const found = await fetch(from, count)
    return found.filter((m, o) => Number(m.offset) === o && String(m.key) === key(o % 500) && String(m.value) === value(o % 500)).length
  }

  async function codec () {
    await send(all, { codec: capability })
    const at = argument.lastIndexOf(':')
    return { own: await read(topic, 500), foreign: await read(argument.slice(0, at), Number(argument.slice(at + 1))) }
  }

  async function records () {
    for (const { key, value, ms, headers } of odd) {
      await send([{ partition: 0, key: bytes(key), value: bytes(value), timestamp: String(START_MS + ms), headers: headers || {} }], {})
    }
    const found = await fetch(topic, odd.length)
    return {
      records: found.map(m => ({
        k: hex(m.key), v: hex(m.value), t: Number(m.timestamp),
        h: library.headers(m).map(([name, data]) => [name, hex(data)])
      }))
    }
  }

  async function oneMember () {
    let ends = 0
    let had = 0
    const one = await member(group, { commits: true }, ({ value }) => { ends += String(value) === 'end' })
    for (; ends < 6; await sleep(20)) {
      const has = one.partitions().length
      if (has !== had) console.log(`has ${had = has}`)
    }
    await library.commitAll(one)
    await one.leave()
    return {}
  }

  async function pause () {
    const offsets = []
    let paused = false
    const one = await member(group, { commits: false }, async message => {
      offsets.push(Number(message.offset))
      await sleep(20)
      if (offsets.length === 10 && !paused) {
        paused = true
        one.consumer.pause([{ topic, partitions: [0] }])
      }
    })
    await until('10 messages', () => offsets.length >= 10)
    await sleep(300) // what was under way
    const before = offsets.length
    await sleep(1000)
    const quiet = offsets.length - before
    await one.consumer.seek({ topic, partition: 0, offset: '20' })
    one.consumer.resume([{ topic, partitions: [0] }])
    await until('a message after the pause', () => offsets.length > before + quiet)
    const next = offsets[before + quiet]
    await one.leave()
    return { quiet, next }
  }

  async function transaction () {
    const { producer } = library.producer(bootstrap, { transactional: group })
    await producer.connect()
    for (const end of ['abort', 'commit']) {
      const one = await producer.transaction()
      await one.send({ topic, messages: all.slice(0, 10) })
      await one[end]()
    }
    await producer.disconnect()
    const found = await fetch(topic, 10)
    return { read: found.length, first: Number(found[0].offset) }
  }

  async function large () {
    await send([{ partition: 0, value: Buffer.alloc(1000000) }], { large: true })
    let refused = ''
    try {
      await send([{ partition: 0, value: Buffer.alloc(1100000) }], { large: true })
    } catch (failure) { refused = String(failure.message) }
    return { read: (await fetch(topic, 1))[0].value.length, refused }
  }

  async function groupOfTwo () {
    if (argument && !library.strategies.includes(argument)) return { lacks: `it has no assignor ${argument}` }
    const counts = new Map()
    let ends = 0
    const each = ({ value }) => {
      const text = String(value)
      if (text === 'end') ends++
      else counts.set(text, (counts.get(text) || 0) + 1)
    }
    const a = await member(group, { commits: true, strategy: argument }, each)
    await until('the first member has 6 partitions', () => a.partitions().length === 6)
    const b = await member(group, { commits: true, strategy: argument }, each)
    await until('the two have 6 partitions together, and the second has read', () => {
      const [ours, theirs] = [a.partitions().length, b.partitions().length]
      return ours > 0 && theirs > 0 && ours + theirs === 6 && b.read > 0
    })
    const shared = [a.partitions().length, b.partitions().length]
    await library.commitAll(b)
    await b.leave()
    await until('the first member has 6 partitions again', () => a.partitions().length === 6)
    console.log('covered')
    await until('six ends', () => ends >= 6)
    await library.commitAll(a)
    await a.leave()
    return { alone: 6, shared, again: 6, seen: counts.size, most: Math.max(...counts.values()) }
  }

  async function resume () {
    let count = 0
    const first = await member(group, { commits: false }, () => { count++ })
    await until('40 messages', () => count >= 40)
    await first.consumer.commitOffsets([{ topic, partition: 0, offset: '40' }])
    await first.leave()
    const offsets = []
    const second = await member(group, { commits: false }, message => { offsets.push(Number(message.offset)) })
    await until('the last message', () => offsets[offsets.length - 1] >= 99)
    await second.consumer.commitOffsets([{ topic, partition: 0, offset: '100' }])
    await second.leave()
    return { first: offsets[0], last: offsets[offsets.length - 1] }
  }

  async function staticMembers () {
    const nothing = () => {}
    const one = await member(group, { commits: false, instance: 'one' }, nothing)
    let two = await member(group, { commits: false, instance: 'two' }, nothing)
    await until('both have two partitions', () => one.partitions().length === 2 && two.partitions().length === 2)
    const before = two.partitions().sort()
    const assignments = one.assignments
    await two.leave() // with an instance id it does not leave the group
    two = await member(group, { commits: false, instance: 'two' }, nothing)
    await until('the second member has partitions again', () => two.partitions().length > 0)
    await sleep(1500) // a heartbeat of the first would tell it of a rebalance
    const answer = { before, after: two.partitions().sort(), disturbed: one.assignments - assignments }
    await two.leave()
    await one.leave()
    return answer
  }

  const administer = call => async () => {
    const admin = library.admin(bootstrap)
    await admin.connect()
    try { return await call(admin) } finally { await admin.disconnect() }
  }

  const offsets = administer(async admin => {
    const [found] = await admin.fetchTopicOffsets(topic)
    const answer = { earliest: Number(found.low), latest: Number(found.high) }
    for (const [name, ms] of [['at', 1700000050000], ['between', 1700000050500], ['after', 1800000000000]]) {
      const [{ offset }] = await admin.fetchTopicOffsetsByTimestamp(topic, ms)
      answer[name] = Number(offset) < 0 ? null : Number(offset)
    }
    // Asked for what is after all records both answer the end, as if a record came next.
    if (answer.after === answer.latest) answer.after = null
    answer.read = String((await fetch(topic, 1, answer.at))[0].key)
    return answer
  })

  const capabilities = {
    version: async () => ({ version: library.version }),
    none: codec, gzip: codec, snappy: codec, lz4: codec, zstd: codec,
    records, 'null-header': records,
    idempotent: async () => { await send(all, { idempotent: true }) },
    group: groupOfTwo, member: oneMember, pause, large, transaction, resume, static: staticMembers, offsets,
    'create-topic': administer(async admin => {
      await admin.createTopics({ topics: [{ topic, numPartitions: 3, replicationFactor: 1, configEntries: [{ name: 'retention.ms', value: '3600000' }] }] })
    }),
    'describe-topic': administer(async admin => {
      const answer = await admin.fetchTopicMetadata({ topics: [topic] })
      const { partitions } = (answer.topics || answer)[0]
      return { partitions: partitions.length, leaders: [...new Set(partitions.map(p => typeof p.leader === 'object' ? p.leader.id : p.leader))].sort() }
    }),
    'create-partitions': administer(admin => admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })),
    'describe-config': administer(async admin => {
      const { resources } = await admin.describeConfigs({ resources: [{ type: 2, name: topic, configNames: ['retention.ms'] }], includeSynonyms: false })
      return { retention: resources[0].configEntries[0].configValue }
    }),
    'alter-config': administer(admin => admin.alterConfigs({ validateOnly: false, resources: [{ type: 2, name: topic, configEntries: [{ name: 'retention.ms', value: '7200000' }] }] })),
    'delete-records': administer(admin => admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '40' }] })),
    'list-groups': administer(async admin => ({ groups: (await admin.listGroups()).groups.map(g => g.groupId) })),
    'describe-group': administer(async admin => {
      const [found] = (await admin.describeGroups([group])).groups
      return { state: library.state(found.state), members: found.members.length }
    }),
    'describe-cluster': administer(async admin => {
      const { brokers, controller } = await admin.describeCluster()
      return { nodes: brokers.length, controller }
    }),
    'group-offsets': administer(async admin => {
      const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
      return { offset: Number(found.partitions[0].offset) }
    }),
    'alter-offsets': administer(admin => admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: '3' }] })),
    'delete-group': administer(admin => admin.deleteGroups([group])),
    'delete-topic': administer(admin => admin.deleteTopics({ topics: [topic] }))
  }
  Object.assign(capabilities, library.instead({ bootstrap, topic }))
  for (const [name, why] of Object.entries(library.lacks)) capabilities[name] = async () => ({ lacks: why })

  capabilities[capability]().then(answer => {
    process.stdout.write(JSON.stringify(answer && typeof answer === 'object' && !Array.isArray(answer) ? answer : {}) + '\n', () => process.exit(0))
  }, failure => {
    process.stderr.write(`${failure.name}: ${failure.message}`.replace(/\n/g, ' ') + '\n', () => process.exit(1))
  })
}
