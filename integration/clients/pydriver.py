"""What the drivers in Python share: how they are called, and what they write. doc.go, beside this file, has the contract.

A driver gives run() a function for each verb, or a coroutine function: it is called with the bootstrap address and the
verb's arguments, a dict of strings.
"""

import asyncio
import inspect
import json
import os
import sys
import threading
import time
import traceback


class Lacks(Exception):
    """The library has no such thing."""


def run(verbs):
    """Does what the command line asks for, and ends the process."""
    bootstrap, verb, *rest = sys.argv[1:]
    args = dict(a.split("=", 1) for a in rest)
    try:
        if verb not in verbs:
            raise Lacks(f"there is no {verb}")
        result = verbs[verb](bootstrap, args)
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except Lacks as e:
        print(e, file=sys.stderr)
        sys.exit(3)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def tell(**fields):
    """Writes a line."""
    print(json.dumps(fields), flush=True)


def tell_record(partition, offset, timestamp, key, value, headers):
    """Writes the line of a record; key, value and what is in headers, a list of pairs, are bytes."""
    tell(partition=partition, offset=offset, timestamp=timestamp, key=text(key), value=text(value),
         headers={name: text(value) for name, value in headers or []})


def text(data):
    return None if data is None else data.decode()


def records(args):
    """The records to produce: key, value and headers."""
    for i in range(int(args["count"])):
        yield b"k%d" % i, (b"v%d" % i).ljust(int(args["size"]), b"."), [("n", b"%d" % i)]


def configs(args):
    """The configs of a topic that are among a verb's arguments."""
    return {name: value for name, value in args.items() if name not in ("topic", "partitions")}


def input_ended():
    """An event that is set when the standard input ends."""
    ended = threading.Event()

    def read():
        while os.read(0, 4096):
            pass
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    return ended


class Pace:
    """At most 200 a second."""

    def __init__(self):
        self.next = time.monotonic()

    def pause(self):
        """How long to wait before the next one, in seconds."""
        now = time.monotonic()
        self.next = max(self.next + 1 / 200, now)
        return self.next - now
