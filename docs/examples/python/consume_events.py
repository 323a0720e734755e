"""Reads PGO's events from NSQ, each once and in order, and prints a line for each.

    consume_events.py NSQD EVENTS TLS-FOLDER CHANNEL [COUNT]

NSQD and EVENTS are HOST:PORT of nsqd and of the history over HTTP; what NSQ has lost is had from there. The folder holds tls.crt, tls.key and ca.crt. The channel is this program's own; it gets everything from when it is made.
With a count, the program ends after so many events. Needs pynsq (requirements.txt).
"""

import http.client
import json
import os
import socket
import ssl
import sys
import time

import nsq
import tornado.ioloop
import tornado.iostream

# The name in nsqd's certificate, whatever its address.
NSQD = "nsqd.pgo"

# The name in the event service's certificate, whatever its address.
EVENTS = "event.pgo"

# What to say where nsqd asks for a secret. It is none: the certificate decides.
SECRET = "certificate"

# Seconds that an event waits for those before it. They are late, were lost by an nsqd that was killed, or are from before the
# channel was made.
PATIENCE = 5

# Seconds that the history may take.
HISTORY_DEADLINE = 10

# Seconds that a gap waits for a history that does not answer, or does not have so much yet. nsqd lets a message be held for 900
# (its --max-msg-timeout).
HISTORY_PATIENCE = 300

# Seconds until the history is asked again.
HISTORY_PAUSE = 1

# As many may be held here until the ones before them have come.
MAX_IN_FLIGHT = 100


def tls(folder):
    context = ssl.create_default_context(cafile=os.path.join(folder, "ca.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(os.path.join(folder, "tls.crt"), os.path.join(folder, "tls.key"))
    return context


def use_tls(context):
    """pynsq makes its own TLS context, which does not look at the name in nsqd's certificate; this one does."""
    start_tls = tornado.iostream.IOStream.start_tls

    def start_tls_with_name(stream, server_side, ssl_options=None, server_hostname=None):
        return start_tls(stream, server_side, context, NSQD)

    tornado.iostream.IOStream.start_tls = start_tls_with_name


class History:
    """The history over HTTP."""

    def __init__(self, address, context):
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self.context = context
        # Streams with a gap: since when the history is asked, and when again.
        self.gaps = {}

    def fill(self, stream, after, before, held):
        """The events of a stream between two; says which are not in the history either. None where that is not known yet: the
        messages that wait for it are kept from coming again meanwhile."""
        now = time.monotonic()
        since, again = self.gaps.get(stream, (now, now))
        if now < again:
            return None
        events, whole, why = [], False, "they are not in the history"
        try:
            events, whole = self.read(stream, after, before)
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = error
        if not whole and now - since < HISTORY_PATIENCE:
            self.gaps[stream] = (since, time.monotonic() + HISTORY_PAUSE)
            for message in held:
                message.touch()
            return None
        self.gaps.pop(stream, None)
        missing = before - after - 1 - len(events)
        if missing:
            print(f"{missing} events of stream {stream} between {after} and {before} are missing: {why}", file=sys.stderr)
        return events

    def read(self, stream, after, before):
        """What the history has of a gap, and whether it will not have more."""
        connection = http.client.HTTPSConnection(EVENTS, timeout=HISTORY_DEADLINE)
        # Connected here, because the address need not be the name.
        plain = socket.create_connection((self.host, self.port), HISTORY_DEADLINE)
        connection.sock = self.context.wrap_socket(plain, server_hostname=EVENTS)
        try:
            connection.request("GET", f"/v1/events?since={stream}/{after}&filter=partitionkey%3D%27{stream}%27")
            answer = connection.getresponse()
            if answer.status != 200:
                raise ValueError(f"the history answers {answer.status} {answer.read().decode()}")
            events = []
            for line in answer:
                if not line.strip():
                    continue
                line = json.loads(line)
                if "error" in line:
                    raise ValueError(line["error"])
                # Others say what was cut, or that this is the end.
                if "event" in line:
                    if line["event"]["seq"] >= before:
                        return events, True
                    events.append(line["event"])
            return events, len(events) == before - after - 1
        finally:
            connection.close()


class Streams:
    """What is known of each stream: its last event, and those that came too early.

    A program with a database keeps the last seq of each stream in it, and writes it in the transaction in which it writes
    what the event means to it: then nothing is done twice, whatever dies when.
    """

    def __init__(self, history):
        self.history = history
        self.last = {}
        self.waiting = {}

    def take(self, message):
        """Takes a message; a repeat of what was printed is finished and forgotten."""
        try:
            event = json.loads(message.body)
            stream, seq = event["stream"], event["seq"]
        except (ValueError, KeyError, TypeError):
            print("not an event of PGO:", message.id, file=sys.stderr)
            message.finish()
            return
        waiting = self.waiting.setdefault(stream, {})
        if seq <= self.last.get(stream, 0):
            message.finish()
            return
        # Which of several messages nsqd still knows as ours is not certain: each is kept.
        waiting.setdefault(seq, (time.monotonic(), event, []))[2].append(message)

    def ready(self):
        """What is next in its stream, or has waited long enough for what is before it; no messages with what was lost."""
        for stream, waiting in self.waiting.items():
            while waiting:
                seq = min(waiting)
                since, event, messages = waiting[seq]
                last = self.last.get(stream, 0)
                if seq != last + 1 and time.monotonic() - since < PATIENCE:
                    break
                # What was before the first one that came here is not missed.
                if seq != last + 1 and last > 0:
                    held = [message for _, _, messages in waiting.values() for message in messages]
                    events = self.history.fill(stream, last, seq, held)
                    if events is None:
                        break
                    for missed in events:
                        self.last[stream] = missed["seq"]
                        yield missed, []
                del waiting[seq]
                self.last[stream] = seq
                yield event, messages


def line(event):
    header = event["eventheader"]
    cluster = event.get("clustername", "")
    return (
        f"{header['timestamp']} {header['namespace']}/{cluster} {header['EventType']} "
        f"{event['stream']}/{event['seq']}"
    )


def main(address, events, folder, channel, count=None):
    context = tls(folder)
    use_tls(context)
    streams = Streams(History(events, context))
    left = int(count) if count else None
    reader = None

    def handle(message):
        # It is answered later, from let_go: until then it is in flight.
        message.enable_async()
        streams.take(message)
        let_go()

    def let_go():
        nonlocal left
        for event, messages in streams.ready():
            if left == 0:
                return
            print(line(event), flush=True)
            # Only now: if this program dies before, nsqd delivers the event again.
            for message in messages:
                message.finish()
            left = left - 1 if left else left
        if left == 0:
            # Once what was finished is written.
            reader.close()
            loop.call_later(0.2, loop.stop)

    loop = tornado.ioloop.IOLoop.current()
    reader = nsq.Reader(
        topic="alltopic",
        channel=channel,
        message_handler=handle,
        nsqd_tcp_addresses=[address],
        max_in_flight=MAX_IN_FLIGHT,
        tls_v1=True,
        auth_secret=SECRET,
    )
    # Whoever came too early is let go in the end, also when nothing comes.
    tornado.ioloop.PeriodicCallback(let_go, 100).start()
    loop.start()


if __name__ == "__main__":
    if not 5 <= len(sys.argv) <= 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
