# SPDX-License-Identifier: GPL-2.0-or-later
"""Those who read: lists in every way, and watches that come back after every break."""
import json
import random
import time

from reference import KINDS, Filter, require, rv
from server import CUT, Client
from writer import NAMES, NAMESPACES


class Stream:
    def __init__(self, history, kind, f, after, query):
        self.kind, self.filter, self.after, self.query = kind, f, after, query
        self.epoch, self.before = history.epochs[-1].number, len(history.acks.list)
        self.initial = self.any = self.expired = self.to_the_end = False
        self.snapshot, self.snapshot_count, self.events, self.bookmarks = None, 0, [], []

    def last(self):
        return max([self.after] + [rv(o) for _, o in self.events[-1:]] + [b for _, b in self.bookmarks[-1:]] + [self.snapshot or 0])


class List:
    def __init__(self, history, kind, f, query):
        self.kind, self.filter, self.query = kind, f, query
        self.epoch, self.before = history.epochs[-1].number, len(history.acks.list)
        self.exact, self.at_least, self.any = None, 0, False
        self.items, self.remaining, self.revision = [], [], 0


class Reader:
    """An informer that mistrusts: it lists in every way, watches from everywhere, comes back after every break."""

    def __init__(self, history, name, index):
        self.h, self.random, self.index = history, random.Random(f"{history.seed}/{name}"), index
        self.client = Client(self.random.choice(history.servers))

    def over(self):
        return self.h.dying or self.h.closing or self.h.errors

    def run(self):
        at, what = self.h.places[self.index]
        while not self.over():
            if self.random.random() < 0.2:
                self.client = Client(self.random.choice(self.h.servers))
            if what and at and self.random.random() < 0.6:
                at = self.watch(*what, at)
            else:
                kind = self.random.choice(KINDS)
                what = (kind, self.random_filter(kind))
                at = self.list(*what) if self.random.random() < 0.7 else self.watch(*what, None)
            if self.random.random() < 0.3:
                self.get()
            if at and what:
                self.h.places[self.index] = (at, what)

    def random_filter(self, kind):
        ns = self.random.choice(NAMESPACES) if kind.namespaced and self.random.random() < 0.5 else None
        label = self.random.choice(("a", "b", "!a")) if self.random.random() < 0.5 else None
        field = None
        if self.random.random() < 0.4:
            field = ("metadata.name", f"o{self.random.randrange(NAMES)}")
            if kind.plural == "nodes" and self.random.random() < 0.8:
                field = ("spec.unschedulable", self.random.choice(("true", "false")))
        return Filter(ns, label, field)

    def newest(self):
        """A revision that a writer was told of."""
        return max((r for r, _ in self.h.acks.list[-10:] if r), default=self.h.epochs[-1].start[KINDS[0]])

    def get(self):
        kind = self.random.choice(KINDS)
        key = (self.random.choice(NAMESPACES) + "/" if kind.namespaced else "") + f"o{self.random.randrange(NAMES)}"
        before, asked = len(self.h.acks.list), self.random.choice((None, 0, self.newest()))
        status, o = self.client.request("GET", kind.path(key), query={"resourceVersion": asked} if asked is not None else None)
        if self.h.unavailable(status):
            return
        require(status in (200, 404), f"GET {key}: {status}", o)
        self.h.gets.append((self.h.epochs[-1].number, kind, key, before if asked is None else 0, o if status == 200 else None, asked or 0))

    def list(self, kind, f):
        """A list in one of the ways there are, to its last page. The revision, None when there is none."""
        query, how = f.query(), self.random.randrange(6)
        start = self.h.epochs[-1].start[kind]
        some = self.random.choice((self.newest(), self.random.randrange(max(1, start - 20), self.newest() + 1), start))
        if self.random.random() < 0.5:
            query["limit"] = str(self.random.randrange(1, 5))
        if how == 1:
            query["resourceVersion"] = "0"
            if self.random.random() < 0.5:
                query["resourceVersionMatch"] = "NotOlderThan"
        elif how >= 2:
            query["resourceVersion"] = str(some)
            if how >= 4:
                query["resourceVersionMatch"] = "Exact" if how == 4 else "NotOlderThan"
        x = List(self.h, kind, f, query)
        x.any = how >= 1
        x.at_least = some if how >= 2 else 0
        if how == 4 or how in (2, 3) and "limit" in query:
            x.exact = some
        while True:
            status, answer = self.client.request("GET", kind.collection(f.ns), query=query)
            if status == 410:
                require(x.exact is not None and x.exact < start, f"LIST {kind.plural} {query}: 410, the window begins at {start}", answer)
                return None
            if self.h.unavailable(status):
                return None
            require(status == 200, f"LIST {kind.plural} {query}: {status}", answer)
            answer = self.h.tamper.page(answer)
            meta, revision = answer["metadata"], int(answer["metadata"]["resourceVersion"])
            require(not x.items or revision == x.revision, f"LIST {kind.plural}: a page of {revision}, the first was of {x.revision}", query)
            x.revision = revision
            x.items += answer["items"] or []
            if "remainingItemCount" in meta:
                x.remaining.append((len(x.items), meta["remainingItemCount"]))
            if "limit" in query:
                require(len(answer["items"]) <= int(query["limit"]), f"LIST {kind.plural}: a page larger than asked for", query)
            if not meta.get("continue"):
                break
            query = {**f.query(), "continue": meta["continue"], "limit": str(self.random.randrange(1, 5))}
            time.sleep(self.random.random() * 0.01)
            if self.over():
                return None
        self.h.lists.append(x)
        return x.revision

    def watch(self, kind, f, after, end=None):
        """A watch from a revision, or from what is there. Where it is then; None: list again."""
        query = {**f.query(), "watch": "1"}
        if after is not None:
            query["resourceVersion"] = str(after)
        s = Stream(self.h, kind, f, after or 0, query)
        s.to_the_end = end is not None
        if after is None:
            s.initial, s.any = True, False
            how = self.random.randrange(4)
            if how == 1:
                query["resourceVersion"], s.any = "0", True
            elif how >= 2:
                query.update({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"})
                if how == 3:
                    s.after, s.any = self.newest(), True
                    query["resourceVersion"] = str(s.after)
        elif self.random.random() < 0.5:
            query["allowWatchBookmarks"] = "true"
        if self.random.random() < 0.4 and end is None:
            query["timeoutSeconds"] = str(self.random.randrange(1, 3))
        connection, sock, response = self.client.stream(kind.collection(f.ns), query)
        with self.h.lock:
            self.h.sockets.add(sock)
        try:
            if self.over() and end is None:
                return s.last() or None
            if self.h.unavailable(response.status) and end is None:
                return None
            if response.status != 200:
                require(False, f"WATCH {kind.plural} {query}: {response.status}", str(response.read()))
            self.read(s, response, sock, end)
        except CUT:
            if not self.over() and sock not in self.h.broken:
                raise
        finally:
            with self.h.lock:
                self.h.sockets.discard(sock)
            connection.close()
            self.h.streams.append(s)
        if s.expired or s.initial and s.snapshot is None:
            return None
        return s.last() or None

    def read(self, s, response, sock, end):
        most = self.random.choice((1, 3, 10, 1000)) if end is None else end
        slow = self.random.random() < 0.2
        lines = self.h.tamper.lines(response, self.h.epochs[-1].last and not s.initial)
        while len(s.events) < most:
            line = next(lines, b"")
            if not line or line[-1:] != b"\n":
                require("timeoutSeconds" in s.query or self.over() or sock in self.h.broken, f"WATCH {s.kind.plural} {s.query} ended by itself")
                return
            e = json.loads(line)
            o = e["object"]
            if e["type"] == "ERROR":
                require(o.get("code") == 410, f"WATCH {s.kind.plural} {s.query}: an error", o)
                s.expired = True
                return
            if e["type"] == "BOOKMARK":
                if o["metadata"].get("annotations", {}).get("k8s.io/initial-events-end") == "true":
                    s.snapshot, s.snapshot_count = rv(o), len(s.events)
                else:
                    s.bookmarks.append((len(s.events), rv(o)))
            else:
                s.events.append((e["type"], o))
            if slow:
                time.sleep(self.random.random() * 0.02)

    def catch_up(self):
        """After the last write: everything since the last place comes, and no more is missing."""
        at, what = self.h.places[self.index]
        epoch = self.h.epochs[-1]
        if not what or at < epoch.start[what[0]]:
            what = what or (KINDS[0], Filter())
            at = epoch.start[what[0]]
        want = len(epoch.expected(what[0], what[1], at))
        self.watch(*what, at, want)
