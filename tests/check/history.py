#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Random histories against real API servers, checked against what Kubernetes promises its clients (reference.py) and against the
store's own log (log.py). usage: history.py KEELSON_APISERVER embedded|etcd [LIE]. With a LIE (tamper.py) it must find it.
KEELSON_CHECK_SEED (1), and KEELSON_CHECK_HISTORIES or KEELSON_CHECK_SECONDS (20) from the environment; a history is determined by its seed
but for the order in which threads run.
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

import log
from reader import Reader
from reference import (KINDS, Acks, Contradiction, Epoch, check_answers, check_death, check_get, check_list, check_stream, key_of, require)
from server import CUT, Client, Etcd, Server, break_socket, make_certificates
from store import check_file, check_torn, copy_store
from tamper import LIES, Tamper
from writer import COUNTER, NAMESPACES, OPS, Op, Writer

WRITERS, COUNTERS, READERS = 3, 2, 4


class History:
    """One history: epochs of threads that write and read, each but the last ended by a death of the server."""

    def __init__(self, seed, stage, lie=None):
        self.seed, self.random, self.stage = seed, random.Random(seed), stage
        self.servers = stage.servers(seed)
        self.server = self.servers[0]
        self.tamper, self.broken, self.followers = Tamper(lie), set(), set()
        self.epochs, self.ops, self.acks = [], [], Acks()
        self.gets, self.lists, self.streams, self.copies, self.errors = [], [], [], [], []
        self.tokens, self.lock, self.sockets = 0, threading.Lock(), set()
        self.dying = self.closing = False
        self.counted, self.maybe_counted, self.logged, self.shaken = 0, 0, 0, 0
        self.places = [(0, None)] * READERS  # where each informer is: revision, (kind, filter)

    def new_token(self):
        with self.lock:
            self.tokens += 1
            return f"t{self.tokens}"

    # ---- one epoch

    def unavailable(self, status):
        """An honest answer while a server or etcd dies; what became of a write is then not known."""
        return status >= 500 and (self.dying or self.shaken > 0)

    def guard(self, work, *args):
        try:
            work(*args)
        except CUT as e:
            if not self.dying:
                time.sleep(0.2)  # a process that just died is known to be dead
                dead = [s for s in self.servers if s.process and s.process.poll() is not None]
                self.errors.append(f"a connection broke while the server lived: {e!r}\n{traceback.format_exc()}" if not dead else
                                   f"a server died by itself with {dead[0].process.returncode}: {dead[0].log_end()}")
        except Contradiction as e:
            self.errors.append(str(e))
        except Exception:  # pylint: disable=broad-except
            self.errors.append(traceback.format_exc())

    def run_epoch(self, death):
        n = len(self.epochs)
        epoch = Epoch(n)
        self.dying = self.closing = False
        epoch.last = not death
        for s in self.servers:
            if not s.process:
                s.start()
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
                if self.random.random() < 0.005:
                    self.storm()
                if self.random.random() < 0.003:
                    self.stage.shake(self)
            if self.random.random() < 0.7 and not self.errors and self.stage.embedded:
                self.copies.append(copy_store(self))
            time.sleep(self.random.random() * 0.05)
            epoch.died = self.dying = True
            for s in self.random.sample(self.servers, self.random.randrange(1, len(self.servers) + 1)):
                status = s.end(death)
                require(status == (0 if death == signal.SIGTERM else -death), f"the server ended with {status}", s.log_end())
        for t in writers:
            while t.is_alive():
                t.join(0.05)
                if not death and self.random.random() < 0.1:
                    self.storm()
                if not death and self.random.random() < 0.03:
                    self.stage.shake(self)
        if not death:
            self.finish(client)
        elif len(self.servers) > 1:
            # Of a server that lives, too.
            for s in list(self.followers):
                break_socket(s)
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

    def storm(self):
        """Every watch breaks at once; all come back."""
        with self.lock:
            self.broken.update(self.sockets)
            for s in self.sockets:
                break_socket(s)

    def finish(self, client):
        """A last object of each kind, by which the first watchers know the end."""
        w = Writer(self, "last")
        w.client = client
        for kind in KINDS:
            op = Op(self, "create", kind, ("x/" if kind.namespaced else "") + "zz-end")
            w.send(op, "POST", kind.collection("x" if kind.namespaced else None), w.template(kind, op), (201,))

    def follow(self, kind, epoch):
        """The first watcher of a kind."""
        connection, sock, response = Client(self.random.choice(self.servers)).stream(kind.collection(), {
            "watch": "1", "resourceVersion": str(epoch.start[kind]), "timeoutSeconds": "600"})
        require(response.status == 200, f"watch: {response.status}")
        self.followers.add(sock)
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
        for s in self.servers:
            status = s.end()
            require(status == 0, f"the server ended with {status}", s.log_end())
        self.acks.index(self.epochs)
        check_answers(self)
        entries = self.stage.log(self)
        log.check_log(self, entries)
        self.logged = sum(len(e) for e in entries.values())
        for g in self.gets:
            check_get(self, g)
        for x in self.lists:
            check_list(self, x)
        for s in self.streams:
            check_stream(self, s)
        if self.stage.embedded:
            check_file(self)
        for copy in self.copies:
            check_torn(self, copy)


class Embedded:
    """Where histories of one server over its own store take place. Each begins with a copy of a store that notes its log."""
    embedded = True

    def __init__(self, binary, work):
        self.binary, self.work, self.template = binary, work, f"{work}/template"
        server = Server(binary, work, self.template)
        server.start()
        server.end()
        log.install(self.template)

    def servers(self, seed):
        data = f"{self.work}/store-{seed}"
        shutil.copytree(self.template, data)
        return [Server(self.binary, self.work, data)]

    def shake(self, history):
        pass

    def log(self, history):
        return log.read_embedded(history.server.data)

    def forget(self, history):
        shutil.rmtree(history.server.data)

    def end(self):
        pass


class Shared:
    """Of two servers over one etcd, each history below a prefix of its own."""
    embedded = False

    def __init__(self, binary, work):
        self.binary, self.work, self.etcd, self.since = binary, work, Etcd(f"{work}/etcd"), 1
        self.etcd.start()

    def servers(self, seed):
        self.since = self.etcd.revision()
        options = ("--etcd-servers", self.etcd.url, "--etcd-prefix", f"/history-{seed}", "--etcd-compaction-interval", "0s")
        return [Server(self.binary, self.work, f"{self.work}/server-{seed}-{n}", options) for n in range(2)]

    def shake(self, history):
        """etcd dies while the servers live."""
        self.etcd.die()
        history.shaken += 1

    def log(self, history):
        return log.read_etcd(self.etcd.url, f"/history-{history.seed}", self.since)

    def forget(self, history):
        self.etcd.forget(f"/history-{history.seed}")

    def end(self):
        self.etcd.end()


def run(stage, seed, lie=None):
    """A history, its errors among it; nothing of it is left."""
    h = History(seed, stage, lie)
    try:
        h.guard(h.run)
        return h
    finally:
        h.dying = True
        for s in h.servers:
            s.end(signal.SIGKILL)
        if not h.errors:
            stage.forget(h)


def find_lie(stage, seed, lie):
    """Histories until one was lied in: that must be found."""
    for s in range(seed, seed + 20):
        h = run(stage, s, lie)
        if h.tamper.told or h.tamper.begun and h.errors:
            found = bool(h.errors) and "Traceback" not in h.errors[0]
            print(("ok" if found else "not ok") + f" - a lie is found: {lie}: {h.errors[0].splitlines()[0] if h.errors else 'nothing said'}")
            return found
        if h.errors:
            print(f"not ok - history of seed {s}: {h.errors[0]}")
            return False
    print(f"not ok - nowhere to lie: {lie}")
    return False


def find_nothing(stage, seed, what):
    histories, seconds = os.environ.get("KEELSON_CHECK_HISTORIES"), float(os.environ.get("KEELSON_CHECK_SECONDS", "20"))
    totals = dict.fromkeys(("writes", "gets", "lists", "watches", "events", "deaths", "torn logs", "broken watches", "deaths of etcd", "log entries"), 0)
    until, done = time.monotonic() + seconds, 0
    while done < int(histories) if histories else time.monotonic() < until:
        h = run(stage, seed + done, None)
        if h.errors:
            print(f"not ok - history of seed {h.seed} (KEELSON_CHECK_SEED={h.seed} KEELSON_CHECK_HISTORIES=1), {what}: {h.errors[0]}")
            return False
        counts = (len(h.ops), len(h.gets), len(h.lists), len(h.streams), sum(len(x.events) for x in h.streams), len(h.epochs) - 1,
                  len(h.copies), len(h.broken), h.shaken, h.logged)
        for name, n in zip(totals, counts):
            totals[name] += n
        done += 1
    print(f"ok - {done} histories from seed {seed}, {what}, contradict nothing: " + ", ".join(f"{n} {k}" for k, n in totals.items()))
    return done > 0


def main():
    if len(sys.argv) not in (3, 4) or sys.argv[2] not in ("embedded", "etcd") or len(sys.argv) == 4 and sys.argv[3] not in LIES:
        sys.exit(__doc__)
    seed = int(os.environ.get("KEELSON_CHECK_SEED", "1"))
    work, stage = tempfile.mkdtemp(prefix="checker.", dir="/tmp"), None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        make_certificates(work)
        stage = (Embedded if sys.argv[2] == "embedded" else Shared)(os.path.abspath(sys.argv[1]), work)
        if len(sys.argv) == 4:
            good = find_lie(stage, seed, sys.argv[3])
        else:
            good = find_nothing(stage, seed, "embedded store" if stage.embedded else "two servers on etcd")
    finally:
        if stage:
            stage.end()
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(not good)


main()
