#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Random histories against a real API server, checked against what Kubernetes promises its clients (reference.py).
usage: history.py KEELSON_APISERVER. KEELSON_CHECK_SEED (1) and KEELSON_CHECK_HISTORIES (10) from the environment; a history is
determined by its seed but for the order in which threads run. KEELSON_CHECK_STORE=etcd has two servers on one etcd.
"""
import base64
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback

from reference import (KINDS, Acks, Contradiction, Epoch, Filter, check_answers, check_death, check_get,
                       check_list, check_stream, key_of, require, rv)
from etcd import EtcdServer, installed
from server import CUT, Client, Server, break_socket, make_certificates
from store import check_file, check_torn, copy_store

WRITERS, COUNTERS, READERS = 3, 2, 4
OPS = 45          # of each writer in an epoch
NAMES, NAMESPACES, SELS = 5, ("x", "x-y"), ("a", "b")
FINALIZER = "check.keelson.dev/hold"
ETCD = os.environ.get("KEELSON_CHECK_STORE") == "etcd"
COUNTER = "x/counter"


def number(n):
    """As the value of a Secret."""
    return base64.b64encode(str(n).encode()).decode()


class Op:
    def __init__(self, history, verb, kind, key, ns=None):
        self.token, self.verb, self.kind, self.key, self.ns = history.new_token(), verb, kind, key, ns
        self.epoch, self.answers, self.gone = history.epochs[-1].number, [], []
        self.refused, self.unknown = False, True
        history.ops.append(self)

    def touches(self, key):
        return key == self.key or self.verb == "deletecollection" and (not self.ns or key.startswith(self.ns + "/"))

    def __str__(self):
        return f"{self.verb} {self.kind.plural} {self.key or self.ns} ({self.token})"


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


class History:
    """One history: epochs of threads that write and read, each but the last ended by a death of the server."""

    def __init__(self, seed, binary, pki, work):
        self.seed, self.random = seed, random.Random(seed)
        self.server = (EtcdServer if ETCD else Server)(binary, pki, f"{work}/store-{seed}")
        self.work, self.epochs, self.ops, self.acks = work, [], [], Acks()
        self.gets, self.lists, self.streams, self.copies, self.errors = [], [], [], [], []
        self.tokens, self.lock, self.sockets = 0, threading.Lock(), set()
        self.dying = self.closing = False
        self.counted, self.maybe_counted = 0, 0
        self.places = [(0, None)] * READERS  # where each informer is: revision, (kind, filter)

    def new_token(self):
        with self.lock:
            self.tokens += 1
            return f"t{self.tokens}"

    # ---- one epoch

    def guard(self, work, *args):
        try:
            work(*args)
        except CUT as e:
            if not self.dying:
                self.errors.append(f"a connection broke while the server lived: {e!r}\n{traceback.format_exc()}")
        except Contradiction as e:
            self.errors.append(str(e))
        except Exception:  # pylint: disable=broad-except
            self.errors.append(traceback.format_exc())

    def run_epoch(self, death):
        n = len(self.epochs)
        epoch = Epoch(n)
        self.dying = self.closing = False
        self.server.start()
        client = Client(self.server)
        for kind in KINDS:
            status, answer = client.request("GET", kind.collection())
            require(status == 200, f"list: {status}", answer)
            version = {"kind": kind.kind, "apiVersion": kind.version}
            epoch.begin(kind, int(answer["metadata"]["resourceVersion"]),
                        {key_of(o): {**version, **o} for o in answer["items"]})
        self.epochs.append(epoch)
        if n:
            check_death(self, self.epochs[n - 1], epoch)
        else:
            for ns in NAMESPACES:
                client.request("POST", "/api/v1/namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": ns}})
            Writer(self, "first").count_from_zero()
        first = [threading.Thread(target=self.guard, args=(self.follow, kind, epoch)) for kind in KINDS]
        writers = [threading.Thread(target=self.guard, args=(Writer(self, f"w{n}.{i}").run,)) for i in range(WRITERS)]
        writers += [threading.Thread(target=self.guard, args=(Writer(self, f"c{n}.{i}").count,)) for i in range(COUNTERS)]
        readers = [threading.Thread(target=self.guard, args=(Reader(self, f"r{n}.{i}", i).run,)) for i in range(READERS)]
        for t in first + writers + readers:
            t.start()
        if death:
            begin, wait = len(self.ops), self.random.randrange(20, 2 * OPS)
            while len(self.ops) < begin + wait and any(t.is_alive() for t in writers):
                time.sleep(0.002)
            if self.server.copies and self.random.random() < 0.7 and not self.errors:
                self.copies.append(copy_store(self))
            time.sleep(self.random.random() * 0.05)
            epoch.died = self.dying = True
            status = self.server.end(death)
            require(status == (0 if death == signal.SIGTERM else -death), f"the server ended with {status}", self.server.log_end())
        for t in writers:
            t.join()
        if not death:
            self.finish(client)
        for t in first:
            t.join()
        self.closing = True
        with self.lock:
            for s in list(self.sockets):
                break_socket(s)
        for t in readers:
            t.join()
        if not death and not self.errors:
            last = [threading.Thread(target=self.guard, args=(Reader(self, f"l{n}.{i}", i).catch_up,)) for i in range(READERS)]
            for t in last:
                t.start()
            for t in last:
                t.join()

    def finish(self, client):
        """A last object of each kind, by which the first watchers know the end."""
        w = Writer(self, "last")
        w.client = client
        for kind in KINDS:
            op = Op(self, "create", kind, ("x/" if kind.namespaced else "") + "zz-end")
            w.send(op, "POST", kind.collection("x" if kind.namespaced else None), w.template(kind, op), (201,))

    def follow(self, kind, epoch):
        """The first watcher of a kind."""
        connection, _, response = Client(self.server).stream(kind.collection(), {
            "watch": "1", "resourceVersion": str(epoch.start[kind]), "timeoutSeconds": "600"})
        require(response.status == 200, f"watch: {response.status}")
        while True:
            try:
                line = response.readline()
            except CUT:
                line = b""
            if not line or line[-1:] != b"\n":
                require(self.dying, f"the first watch of {kind.plural} ended")
                break
            e = json.loads(line)
            require(e["type"] in ("ADDED", "MODIFIED", "DELETED"), f"the first watch of {kind.plural}: {e['type']}", e["object"])
            epoch.learn(kind, e["type"], e["object"])
            if e["object"]["metadata"]["name"] == "zz-end":
                break
        connection.close()

    # ---- the whole

    def run(self):
        for _ in range(self.random.randrange(0, 3)):
            self.run_epoch(self.random.choice((signal.SIGKILL, signal.SIGTERM)))
            if self.errors:
                return
        self.run_epoch(None)
        if self.errors:
            return
        self.check()

    def check(self):
        client = Client(self.server)
        counter = client.request("GET", KINDS[0].path(COUNTER))[1]
        value = int(base64.b64decode(counter["data"]["n"]))
        require(self.counted <= value <= self.counted + self.maybe_counted,
                f"the counter is {value}: {self.counted} increments were acknowledged, {self.maybe_counted} unanswered", counter)
        status = self.server.end()
        require(status == 0, f"the server ended with {status}", self.server.log_end())
        self.acks.index(self.epochs)
        check_answers(self)
        for g in self.gets:
            check_get(self, g)
        for x in self.lists:
            check_list(self, x)
        for s in self.streams:
            check_stream(self, s)
        if ETCD:
            self.server.check_file(self)
        else:
            check_file(self)
        for copy in self.copies:
            check_torn(self, copy)


class Writer:
    def __init__(self, history, name):
        self.h, self.random = history, random.Random(f"{history.seed}/{name}")
        self.client, self.name, self.last = Client(history.server), name, {}

    def template(self, kind, op):
        ns, _, name = op.key.rpartition("/")
        o = {"kind": kind.kind, "apiVersion": kind.version, "metadata": {"name": name, "labels": self.labels(op)}}
        if ns:
            o["metadata"]["namespace"] = ns
        o.update(self.content(kind))
        return o

    def labels(self, op):
        return {"op": op.token, "sel": self.random.choice(SELS)} if self.random.random() < 0.8 else {"op": op.token}

    def content(self, kind):
        n = self.random.randrange(4)
        if kind.plural == "secrets":
            return {"data": {"v": number(n), "pad": "cGFk" * self.random.choice((0, 0, 0, 30, 1000))}}
        if kind.plural == "nodes":
            return {"spec": {"unschedulable": n % 2 == 0}}
        return {"spec": {"replicas": n, "selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}

    def send(self, op, method, path, body, good, bad=(), media="application/json", query=None, dry=False):
        """Sends a write and notes what was answered. The object or Status; None when it stayed unanswered."""
        try:
            status, answer = self.client.request(method, path, body, media, query)
        except CUT:
            if not self.h.dying:
                raise
            return None
        if self.h.dying and status >= 500:
            return None
        require(status in good + bad, f"{op}: {status}", answer)
        op.unknown = False
        if status in bad or dry:
            op.refused = True
            return answer
        if answer["kind"] == "Status":
            op.gone.append(answer["details"]["uid"])
            self.h.acks.list.append((None, answer["details"]["uid"]))
            return answer
        for o in answer["items"] if "items" in answer else [answer]:
            op.answers.append(o)
            if method == "DELETE" and not o["metadata"].get("finalizers") or \
                    "deletionTimestamp" in o["metadata"] and not o["metadata"].get("finalizers"):
                op.gone.append(o["metadata"]["uid"])
            self.h.acks.list.append((rv(o), None))
            self.last[op.kind, key_of(o)] = o
        return answer

    def run(self):
        verbs = [(self.create, 30), (self.put, 12), (self.put_version, 14), (self.merge, 12), (self.json_patch, 8),
                 (self.strategic, 10), (self.apply, 10), (self.nothing, 12), (self.delete, 16), (self.collection, 2), (self.hold, 5),
                 (self.release, 8), (self.dry, 4)]
        for _ in range(OPS):
            if self.h.dying or self.h.errors:
                return
            kind = self.random.choice(KINDS)
            ns = self.random.choice(NAMESPACES) + "/" if kind.namespaced else ""
            verb = self.random.choices([v for v, _ in verbs], [w for _, w in verbs])[0]
            verb(kind, f"{ns}o{self.random.randrange(NAMES)}")

    def create(self, kind, key):
        op = Op(self.h, "create", kind, key)
        self.send(op, "POST", kind.collection(key.rpartition("/")[0] or None), self.template(kind, op), (201,), (409,))

    def put(self, kind, key):
        op = Op(self.h, "update", kind, key)
        self.send(op, "PUT", kind.path(key), self.template(kind, op), (200,), (404,))

    def put_version(self, kind, key):
        old = self.last.get((kind, key))
        if not old:
            self.create(kind, key)
            return
        op = Op(self.h, "update at a version", kind, key)
        o = {**old, **self.content(kind), "kind": kind.kind, "apiVersion": kind.version}
        o["metadata"] = {**old["metadata"], "labels": self.labels(op)}
        answer = self.send(op, "PUT", kind.path(key), o, (200,), (404, 409))
        if answer and op.answers:
            require(answer["metadata"]["uid"] == old["metadata"]["uid"], f"{op}: another object", old, answer)

    def patch(self, verb, kind, key, body, media, good=(200,), bad=(404,), query=None):
        op = Op(self.h, verb, kind, key)
        return self.send(op, "PATCH", kind.path(key), body(op), good, bad, media, query)

    def merge(self, kind, key):
        self.patch("merge patch", kind, key, lambda op: {"metadata": {"labels": self.labels(op)}, **self.content(kind)},
                   "application/merge-patch+json")

    def json_patch(self, kind, key):
        self.patch("JSON patch", kind, key, lambda op: [{"op": "add", "path": "/metadata/labels", "value": self.labels(op)}],
                   "application/json-patch+json")

    def strategic(self, kind, key):
        self.patch("strategic patch", kind, key, lambda op: {"metadata": {"labels": self.labels(op)}, **self.content(kind)},
                   "application/strategic-merge-patch+json")

    def apply(self, kind, key):
        self.patch("apply", kind, key, lambda op: self.template(kind, op), "application/apply-patch+yaml", (200, 201), (),
                   {"fieldManager": self.name, "force": "true"})

    def nothing(self, kind, key):
        """A patch that changes nothing is answered with what is there."""
        self.patch("empty patch", kind, key, lambda op: {}, "application/merge-patch+json")
        self.see(kind, key)

    def see(self, kind, key):
        """What this client was answered is there when it reads."""
        before = len(self.h.acks.list)
        status, o = self.client.request("GET", kind.path(key))
        require(status in (200, 404), f"GET {key}: {status}", o)
        self.h.gets.append((self.h.epochs[-1].number, kind, key, before, o if status == 200 else None, 0))

    def delete(self, kind, key):
        op = Op(self.h, "delete", kind, key)
        body = {"kind": "DeleteOptions", "apiVersion": "v1"}
        old = self.last.get((kind, key))
        if old and self.random.random() < 0.4:
            body["preconditions"] = {"uid": old["metadata"]["uid"]}
            if self.random.random() < 0.5:
                body["preconditions"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if self.random.random() < 0.15:
            body["propagationPolicy"] = "Foreground"
        self.send(op, "DELETE", kind.path(key), body, (200,), (404, 409) if "preconditions" in body else (404,))

    def collection(self, kind, key):
        ns = key.rpartition("/")[0] or None
        op = Op(self.h, "deletecollection", kind, None, ns)
        self.send(op, "DELETE", kind.collection(ns), None, (200,), query={"labelSelector": "sel=b"})

    def hold(self, kind, key):
        self.patch("finalizer", kind, key, lambda op: {"metadata": {"finalizers": [FINALIZER], "labels": {"op": op.token}}},
                   "application/merge-patch+json", bad=(404, 422))

    def release(self, kind, key):
        self.patch("no finalizers", kind, key, lambda op: {"metadata": {"finalizers": None, "labels": {"op": op.token}}},
                   "application/merge-patch+json")

    def dry(self, kind, key):
        op = Op(self.h, "dry run", kind, key)
        self.send(op, "PATCH", kind.path(key), {"metadata": {"labels": {"op": op.token}}}, (200,), (404,),
                  "application/merge-patch+json", {"dryRun": "All"}, dry=True)

    # ---- a counter that several increment

    def count_from_zero(self):
        op = Op(self.h, "create", KINDS[0], COUNTER)
        self.send(op, "POST", KINDS[0].collection("x"), {**self.template(KINDS[0], op), "data": {"n": number(0)},
                  "metadata": {"name": "counter", "labels": {"op": op.token}}}, (201,))

    def count(self):
        kind, path = KINDS[0], KINDS[0].path(COUNTER)
        for _ in range(OPS // 2):
            if self.h.dying or self.h.errors:
                return
            self.see(kind, COUNTER)
            o = self.h.gets[-1][4] if self.random.random() < 0.01 else self.client.request("GET", path)[1]
            op = Op(self.h, "increment", kind, COUNTER)
            data = {"n": number(int(base64.b64decode(o["data"]["n"])) + 1)}
            meta = {"resourceVersion": o["metadata"]["resourceVersion"], "labels": {"op": op.token}}
            if self.random.random() < 0.5:
                self.send(op, "PUT", path, {**o, "data": data, "metadata": {**o["metadata"], **meta}}, (200,), (409,))
            else:
                self.send(op, "PATCH", path, {"data": data, "metadata": meta}, (200,), (409,), "application/merge-patch+json")
            with self.h.lock:
                self.h.counted += bool(op.answers)
                self.h.maybe_counted += op.unknown


class Reader:
    """An informer that mistrusts: it lists in every way, watches from everywhere, comes back after every break."""

    def __init__(self, history, name, index):
        self.h, self.random, self.index = history, random.Random(f"{history.seed}/{name}"), index
        self.client = Client(history.server)

    def over(self):
        return self.h.dying or self.h.closing or self.h.errors

    def run(self):
        at, what = self.h.places[self.index]
        while not self.over():
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
            require(status == 200, f"LIST {kind.plural} {query}: {status}", answer)
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
            if response.status != 200:
                require(False, f"WATCH {kind.plural} {query}: {response.status}", str(response.read()))
            self.read(s, response, end)
        except CUT:
            if not self.over():
                raise
        finally:
            with self.h.lock:
                self.h.sockets.discard(sock)
            connection.close()
            self.h.streams.append(s)
        if s.expired or s.initial and s.snapshot is None:
            return None
        return s.last() or None

    def read(self, s, response, end):
        most = self.random.choice((1, 3, 10, 1000)) if end is None else end
        slow = self.random.random() < 0.2
        while len(s.events) < most:
            line = response.readline()
            if not line or line[-1:] != b"\n":
                require("timeoutSeconds" in s.query or self.over(), f"WATCH {s.kind.plural} {s.query} ended by itself")
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


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    seed, count = int(os.environ.get("KEELSON_CHECK_SEED", "1")), int(os.environ.get("KEELSON_CHECK_HISTORIES", "10"))
    if ETCD and not installed():
        print("ok - skipped: etcd is not installed")
        return
    work = tempfile.mkdtemp(prefix="checker.", dir="/tmp")
    totals = {"writes": 0, "gets": 0, "lists": 0, "watches": 0, "events": 0, "deaths": 0, "torn": 0}
    h = None
    try:
        make_certificates(work)
        for s in range(seed, seed + count):
            h = History(s, os.path.abspath(sys.argv[1]), work, work)
            h.guard(h.run)
            if h.errors:
                print(f"not ok - history of seed {s} (KEELSON_CHECK_SEED={s} KEELSON_CHECK_HISTORIES=1): {h.errors[0]}")
                sys.exit(1)
            for name, n in (("writes", len(h.ops)), ("gets", len(h.gets)), ("lists", len(h.lists)), ("watches", len(h.streams)),
                            ("events", sum(len(x.events) for x in h.streams)), ("deaths", len(h.epochs) - 1), ("torn", len(h.copies))):
                totals[name] += n
            h.server.close()
            shutil.rmtree(h.server.data)
        print(f"ok - {count} histories from seed {seed} contradict nothing: " + ", ".join(f"{n} {k}" for k, n in totals.items()))
    finally:
        if h:
            h.dying = True
            h.server.close()
        shutil.rmtree(work, ignore_errors=True)


main()
