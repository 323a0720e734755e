// Reads PGO's events from NSQ, each once and in order, and prints a line for each.
//
//     node consume_events.js NSQD EVENTS TLS-FOLDER CHANNEL [COUNT]
//
// NSQD and EVENTS are HOST:PORT of nsqd and of the history over HTTP; what NSQ has lost is had from there. The folder holds tls.crt, tls.key and ca.crt. The channel is this program's own; it gets everything from when it is made.
// With a count, the program ends after so many events. Needs nsqjs (package.json).
'use strict'

const fs = require('fs')
const https = require('https')
const path = require('path')
const readline = require('readline')
const tls = require('tls')

// The name in nsqd's certificate, whatever its address.
const NSQD = 'nsqd.pgo'

// The name in the event service's certificate, whatever its address.
const EVENTS = 'event.pgo'

// What to say where nsqd asks for a secret. It is none: the certificate decides.
const SECRET = 'certificate'

// Milliseconds that an event waits for those before it. They are late, were lost by an nsqd that was killed, or are from before
// the channel was made.
const PATIENCE = 5000

// Milliseconds that the history may be silent.
const HISTORY_DEADLINE = 10000

// Milliseconds that a gap waits for a history that does not answer, or does not have so much yet. nsqd lets a message be held for
// 900 s (its --max-msg-timeout).
const HISTORY_PATIENCE = 300000

// Milliseconds until the history is asked again.
const HISTORY_PAUSE = 1000

// As many may be held here until the ones before them have come.
const MAX_IN_FLIGHT = 100

// nsqjs upgrades a connection without saying which name it expects, and Node.js then expects "localhost".
const connect = tls.connect
tls.connect = (options, ...rest) => connect({servername: NSQD, minVersion: 'TLSv1.2', ...options}, ...rest)

const nsq = require('nsqjs')

// The history over HTTP.
class History {
  constructor(address, certificates) {
    const colon = address.lastIndexOf(':')
    this.options = {host: address.slice(0, colon), port: address.slice(colon + 1), servername: EVENTS, ...certificates}
    // Streams with a gap: since when the history is asked, and when again.
    this.gaps = new Map()
  }

  // The events of a stream between two; says which are not in the history either. Null where that is not known yet: the messages
  // that wait for it are kept from coming again meanwhile.
  async fill(stream, after, before, held) {
    const {since, again} = this.gaps.get(stream) || {since: Date.now(), again: 0}
    if (Date.now() < again) return null
    let [events, whole, why] = [[], false, 'they are not in the history']
    try {
      ;({events, whole} = await this.read(stream, after, before))
    } catch (error) {
      why = error.message
    }
    if (!whole && Date.now() - since < HISTORY_PATIENCE) {
      this.gaps.set(stream, {since, again: Date.now() + HISTORY_PAUSE})
      for (const message of held) message.touch()
      return null
    }
    this.gaps.delete(stream)
    const missing = before - after - 1 - events.length
    if (missing > 0) {
      console.error(`${missing} events of stream ${stream} between ${after} and ${before} are missing: ${why}`)
    }
    return events
  }

  // What the history has of a gap, and whether it will not have more.
  async read(stream, after, before) {
    const target = `/v1/events?since=${stream}/${after}&filter=partitionkey%3D%27${stream}%27`
    const answer = await new Promise((resolve, reject) => {
      const request = https.get({...this.options, path: target, agent: false, timeout: HISTORY_DEADLINE}, resolve)
      request.on('timeout', () => request.destroy(new Error('the history does not answer')))
      request.on('error', reject)
    })
    try {
      if (answer.statusCode !== 200) throw new Error(`the history answers ${answer.statusCode}`)
      const events = []
      for await (const text of readline.createInterface({input: answer})) {
        const line = text === '' ? {} : JSON.parse(text)
        if (line.error) throw new Error(line.error)
        // Others say what was cut, or that this is the end.
        if (!line.event) continue
        if (line.event.seq >= before) return {events, whole: true}
        events.push(line.event)
      }
      return {events, whole: events.length === before - after - 1}
    } finally {
      answer.destroy()
    }
  }
}

// What is known of each stream: its last event, and those that came too early.
//
// A program with a database keeps the last seq of each stream in it, and writes it in the transaction in which it writes what
// the event means to it: then nothing is done twice, whatever dies when.
class Streams {
  constructor(history) {
    this.history = history
    this.streams = new Map()
  }

  // Takes a message; a repeat of what was printed is finished and forgotten.
  take(message) {
    let event
    try {
      event = message.json()
    } catch {
      event = {}
    }
    const {stream, seq} = event
    if (typeof stream !== 'string' || typeof seq !== 'number') {
      console.error('not an event of PGO:', message.id)
      message.finish()
      return
    }
    if (!this.streams.has(stream)) this.streams.set(stream, {last: 0, waiting: new Map()})
    const known = this.streams.get(stream)
    if (seq <= known.last) {
      message.finish()
      return
    }
    // Which of several messages nsqd still knows as ours is not certain: each is kept.
    if (!known.waiting.has(seq)) known.waiting.set(seq, {since: Date.now(), event, messages: []})
    known.waiting.get(seq).messages.push(message)
  }

  // What is next in its stream, or has waited long enough for what is before it; no messages with what was lost.
  async *ready() {
    for (const [stream, known] of this.streams) {
      while (known.waiting.size > 0) {
        const seq = Math.min(...known.waiting.keys())
        const {since, event, messages} = known.waiting.get(seq)
        if (seq !== known.last + 1 && Date.now() - since < PATIENCE) break
        // What was before the first one that came here is not missed.
        if (seq !== known.last + 1 && known.last > 0) {
          const held = [...known.waiting.values()].flatMap(({messages}) => messages)
          const missed = await this.history.fill(stream, known.last, seq, held)
          if (missed === null) break
          known.last = seq - 1
          for (const event of missed) yield {event, messages: []}
        }
        known.waiting.delete(seq)
        known.last = seq
        yield {event, messages}
      }
    }
  }
}

function line(event) {
  const {timestamp, namespace, EventType} = event.eventheader
  return `${timestamp} ${namespace}/${event.clustername || ''} ${EventType} ${event.stream}/${event.seq}`
}

function main(address, events, folder, channel, count) {
  const file = (name) => fs.readFileSync(path.join(folder, name))
  const certificates = {ca: file('ca.crt'), cert: file('tls.crt'), key: file('tls.key')}
  const streams = new Streams(new History(events, certificates))
  let left = count === undefined ? Infinity : Number(count)
  const reader = new nsq.Reader('alltopic', channel, {
    nsqdTCPAddresses: [address],
    maxInFlight: MAX_IN_FLIGHT,
    tls: true,
    tlsVerification: true,
    ...certificates,
    authSecret: SECRET,
  })

  let busy = false
  async function letGo() {
    // Whoever is at it sees what has come meanwhile, or the next one does.
    if (busy || left === 0) return
    busy = true
    for await (const {event, messages} of streams.ready()) {
      console.log(line(event))
      // Only now: if this program dies before, nsqd delivers the event again.
      for (const message of messages) message.finish()
      left -= 1
      if (left === 0) break
    }
    busy = false
    if (left === 0) {
      clearInterval(timer)
      // Once what was finished is written.
      setTimeout(() => reader.close(), 200)
    }
  }

  // Whoever came too early is let go in the end, also when nothing comes.
  const timer = setInterval(letGo, 100)
  reader.on('message', (message) => {
    streams.take(message)
    letGo()
  })
  reader.on('error', (error) => console.error(error.message))
  reader.connect()
}

if (process.argv.length < 6 || process.argv.length > 7) {
  console.error('node consume_events.js NSQD EVENTS TLS-FOLDER CHANNEL [COUNT]')
  process.exit(2)
}
main(...process.argv.slice(2))
