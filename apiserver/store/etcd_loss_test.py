#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What two API servers do when members of their etcd die, hang, lose their data, forget history or are full: no acknowledged write is lost."""
import sys
sys.dont_write_bytecode = True
import http.client, json, shutil, signal, threading, time

from etcd_harness import *


def compact():
    """Forgets everything but the present."""
    etcdctl("compact", str(max(e["Status"]["header"]["revision"] for e in status())))


def test_start():
    for member in range(3):
        start_etcd(member)
    check(start_server("a") and start_server("b"), "two API servers on three members")


def test_leader():
    load = Load("killed")
    load.goes_on()
    victim = leader()
    kill("m%d" % victim)
    on = load.goes_on(100)
    check(load.finish() and on and not load.unknown, "the leader is killed: every write is answered, and none is lost (%d)" % len(load.done))
    start_etcd(victim)
    wait_members()
    load = Load("hung")
    load.goes_on()
    victim = leader()
    kill("m%d" % victim, signal.SIGSTOP)
    on = load.goes_on(100)
    check(load.finish() and on and not load.unknown, "the leader hangs, its connections still up: the same (%d)" % len(load.done))
    load = Load("woken")
    kill("m%d" % victim, signal.SIGCONT)
    on = load.goes_on(100)
    check(load.finish() and on, "and when it is back (%d)" % len(load.done))
    wait_members()


def test_server():
    load = Load("server")
    load.goes_on()
    kill("b")
    again = start_server("b")
    on = load.goes_on(50)
    check(load.finish() and again and on, "an API server is killed: no acknowledged write is lost (%d)" % len(load.done))


def test_empty_member():
    load = Load("empty")
    load.goes_on()
    kill("m0")
    shutil.rmtree(path("m0"))
    number = next(l.split(",")[0] for l in etcdctl("member", "list", to=MEMBERS[1:]).splitlines() if "m0" in l)
    eventually(lambda: etcdctl("member", "remove", number, to=MEMBERS[1:]))
    eventually(lambda: etcdctl("member", "add", "m0", "--peer-urls", PEERS[0], to=MEMBERS[1:]))
    start_etcd(0, "--initial-cluster-state", "existing")
    back = wait_members()
    on = load.goes_on(50)
    check(load.finish() and back and on, "a member has lost its data and is added anew: no acknowledged write is lost (%d)" % len(load.done))


def test_outage():
    load = Load("outage")
    load.goes_on()
    for m in range(3):
        kill("m%d" % m)
    answers = {}

    def ready():
        answers["ready"] = call("a", "GET", "/readyz", raw=True)
        return answers["ready"][0] == 500
    check(eventually(ready) and b"[-]etcd failed" in answers["ready"][1], "without etcd /readyz fails: %r" % answers["ready"][1][:80])
    begin = time.time()
    check(call("a", "GET", MAPS)[0] == 500 and call("b", "POST", MAPS, config_map("never"))[0] == 500, "reads and writes are refused, in time")
    check(call("a", "GET", MAPS + "?resourceVersion=0")[0] == 200, "what needs no etcd is answered (%.1f s for all)" % (time.time() - begin))
    for m in range(3):
        start_etcd(m)
    on = load.goes_on(50)
    check(load.finish() and on, "every member was killed and is back: no acknowledged write is lost (%d)" % len(load.done))
    codes = {}
    for name in sorted(load.done)[:20]:
        codes[call("b", "DELETE", MAPS + "/" + name)[0]] = 1
    check(list(codes) == [200], "and everything goes on")


class Watcher:
    """Follows all ConfigMaps of a server as a client does, from list to watch and again after 410 or a cut."""

    def __init__(self, server):
        self.server, self.stop, self.seen, self.lists, self.wrong, self.rv = server, False, {}, 0, [], None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop:
            try:
                self.watch() if self.rv else self.list()
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.1)

    def list(self):
        _, answer = call(self.server, "GET", MAPS)
        self.seen = {i["metadata"]["name"]: int(i["metadata"]["resourceVersion"]) for i in answer["items"]}
        self.lists += 1
        self.rv = answer["metadata"]["resourceVersion"]

    def watch(self):
        c = connect(self.server)
        try:
            c.request("GET", MAPS + "?watch=1&timeoutSeconds=2&resourceVersion=" + self.rv)
            answer = c.getresponse()
            for line in iter(answer.readline, b""):
                e = json.loads(line)
                if e["type"] == "ERROR":
                    self.rv = None
                    return
                name, at = e["object"]["metadata"]["name"], e["object"]["metadata"]["resourceVersion"]
                if int(at) <= int(self.rv) or (e["type"] == "ADDED") == (name in self.seen):
                    self.wrong.append((e["type"], name, at, self.rv))
                self.rv = at
                if e["type"] == "DELETED":
                    self.seen.pop(name, None)
                else:
                    self.seen[name] = int(at)
        finally:
            c.close()

    def agrees(self):
        """Whether it has arrived at what the server lists."""
        there = {i["metadata"]["name"]: int(i["metadata"]["resourceVersion"]) for i in call(self.server, "GET", MAPS)[1]["items"]}
        return eventually(lambda: self.seen == there)

    def end(self):
        self.stop = True
        self.thread.join()


def revive():
    """Starts the servers that have ended; how many."""
    ended = [s for s in "ab" if children[s].poll() is not None]
    for s in ended:
        start_server(s)
    return len(ended)


def test_compaction_behind():
    """etcd forgets everything while servers change members: what one has not seen is not there, and it must not go on as if it were."""
    watchers, load, restarts = [Watcher(s) for s in "ab"], Load("forgotten"), 0

    def progress(n):
        """So many more are acknowledged, by the servers that live."""
        before = len(load.done)

        def more():
            nonlocal restarts
            restarts += revive()
            return len(load.done) >= before + n
        return eventually(more)

    for i in range(4):
        progress(20)
        name = "ab"[i % 2]
        kill(name, signal.SIGSTOP)  # it misses what the other writes, and its member goes
        progress(5)
        kill("m%d" % (i % 3))
        start_etcd(i % 3)
        wait_members()
        compact()
        kill(name, signal.SIGCONT)
        progress(5)

    def kept():
        nonlocal restarts
        restarts += revive()
        try:
            return load.finish() and all(w.agrees() for w in watchers)
        except OSError:
            return False
    progress(20)
    kept = eventually(kept)
    [w.end() for w in watchers]
    wrong = [w.wrong[:3] for w in watchers if w.wrong]
    check(kept and not wrong, "history forgotten while a server looks away: watchers miss nothing (%d writes, %d restarts, %d lists) %s" %
          (len(load.done), restarts, sum(w.lists for w in watchers), wrong or ""))


def test_missed():
    kill("a", signal.SIGSTOP)
    for m in range(3):  # one after the other, so that a server on any of them has to begin a new watch
        kill("m%d" % m)
        start_etcd(m)
        wait_members()
    wait_ready("b")
    names = [n for n in ("unseen-%d" % i for i in range(30)) if call("b", "POST", MAPS, config_map(n))[0] == 201]
    compact()
    kill("a", signal.SIGCONT)
    check(eventually(lambda: children["a"].poll() is not None) and children["a"].wait() == 1,
          "a server that has missed changes which were compacted ends, so that its watchers list anew")
    again, codes = start_server("a"), {call("a", "GET", MAPS + "/" + n)[0] for n in names}
    check(again and codes == {200}, "and shows them after its next start (%d, %s)" % (len(names), codes))


def test_emptied():
    """All members come back without their data: it is another etcd, at a small revision."""
    for m in range(3):
        kill("m%d" % m)
        shutil.rmtree(path("m%d" % m))
    for m in range(3):
        start_etcd(m, "--quota-backend-bytes", str(6 << 20))
    ended = eventually(lambda: all(children[s].poll() is not None for s in "ab"))
    check(ended and children["a"].wait() == 1 == children["b"].wait(), "servers of an etcd that was emptied end: what they show is not there")
    check(start_server("a") and start_server("b"), "and begin with an empty one")
    _, found = call("a", "GET", MAPS)
    check(all(i["metadata"]["name"] == "kube-root-ca.crt" for i in found["items"]), "which shows nothing of the old one")


def test_full():
    url, text, n, code = MAPS, "x" * 400000, 0, 201
    while code == 201 and n < 40:
        code, answer = call("ab"[n % 2], "POST", url, config_map("full-%d" % n, n=text))
        n += 1
    check(code == 500 and "full" in answer["message"], "a full etcd refuses writes and says so after %d: %s" % (n - 1, answer["message"][:60]))
    begin = time.time()
    codes = [call("ab"[i % 2], "PATCH", MAPS + "/full-0", {"data": {"k": "v"}}, MERGE)[0] for i in range(10)]
    reads = [call(s, "GET", MAPS + "/full-0")[0] for s in "abab"]
    check(codes == [500] * 10 and reads == [200] * 4, "at once, and reads go on (%.1f s)" % (time.time() - begin))
    check(all(call("ab"[i % 2], "DELETE", MAPS + "/full-%d" % i)[0] == 200 for i in range(n - 1)), "objects can still be deleted")
    compact()
    for m in MEMBERS:
        etcdctl("defrag", to=[m])
    etcdctl("alarm", "disarm")
    code = eventually(lambda: call("b", "POST", MAPS, config_map("roomy"))[0] == 201)
    check(code and call("a", "GET", MAPS + "/roomy")[0] == 200, "with room again everything goes on")


def test_end():
    for s in "ab":
        children[s].terminate()
    check(all(children[s].wait(PATIENCE) == 0 for s in "ab"), "both end in order")


run(test_start, test_leader, test_server, test_empty_member, test_outage, test_compaction_behind, test_missed, test_emptied, test_full, test_end)
