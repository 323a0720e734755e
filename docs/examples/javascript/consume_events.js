// Reads PGO's events from NSQ, each once and in order, and prints a line for each.
//
//     node consume_events.js HOST:PORT TLS-FOLDER CHANNEL [COUNT]
//
// The folder holds tls.crt, tls.key and ca.crt. The channel is this program's own; it gets everything from when it is made.
// With a count, the program ends after so many events. Needs nsqjs (package.json).
'use strict'

const fs = require('fs')
const path = require('path')
const tls = require('tls')

// The name in nsqd's certificate, whatever its address.
const NSQD = 'nsqd.pgo'

// What to say where nsqd asks for a secret. It is none: the certificate decides.
const SECRET = 'certificate'

// Milliseconds that an event waits for those before it. They are late, or from before the channel was made.
const PATIENCE = 5000

// As many may be held here until the ones before them have come.
const MAX_IN_FLIGHT = 100

// nsqjs upgrades a connection without saying which name it expects, and Node.js then expects "localhost".
const connect = tls.connect
tls.connect = (options, ...rest) => connect({...options, servername: NSQD, minVersion: 'TLSv1.2'}, ...rest)

const nsq = require('nsqjs')

// What is known of each stream: its last event, and those that came too early.
//
// A program with a database keeps the last seq of each stream in it, and writes it in the transaction in which it writes what
// the event means to it: then nothing is done twice, whatever dies when.
class Streams {
  constructor() {
    this.streams = new Map()
  }

  // Takes a message; a repeat is finished and forgotten.
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
    if (seq <= known.last || known.waiting.has(seq)) {
      message.finish()
      return
    }
    known.waiting.set(seq, {since: Date.now(), event, message})
  }

  // What is next in its stream, or has waited long enough for what is before it.
  *ready() {
    for (const known of this.streams.values()) {
      while (known.waiting.size > 0) {
        const seq = Math.min(...known.waiting.keys())
        const {since, event, message} = known.waiting.get(seq)
        if (seq !== known.last + 1 && Date.now() - since < PATIENCE) break
        known.waiting.delete(seq)
        known.last = seq
        yield {event, message}
      }
    }
  }
}

function line(event) {
  const {timestamp, namespace, EventType} = event.eventheader
  return `${timestamp} ${namespace}/${event.clustername || ''} ${EventType} ${event.stream}/${event.seq}`
}

function main(address, folder, channel, count) {
  const file = (name) => fs.readFileSync(path.join(folder, name))
  const streams = new Streams()
  let left = count === undefined ? Infinity : Number(count)
  const reader = new nsq.Reader('alltopic', channel, {
    nsqdTCPAddresses: [address],
    maxInFlight: MAX_IN_FLIGHT,
    tls: true,
    tlsVerification: true,
    ca: file('ca.crt'),
    cert: file('tls.crt'),
    key: file('tls.key'),
    authSecret: SECRET,
  })

  function letGo() {
    for (const {event, message} of streams.ready()) {
      if (left === 0) return
      console.log(line(event))
      // Only now: if this program dies before, nsqd delivers the event again.
      message.finish()
      left -= 1
    }
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

if (process.argv.length < 5 || process.argv.length > 6) {
  console.error('node consume_events.js HOST:PORT TLS-FOLDER CHANNEL [COUNT]')
  process.exit(2)
}
main(...process.argv.slice(2))
