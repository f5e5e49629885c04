# SPDX-License-Identifier: GPL-2.0-or-later
"""
What happened, by one watcher of each kind from the beginning and the writers' answers; and what every other reader must
therefore have seen. An epoch is the life of one server process: it begins with a list and goes on with a watch.
"""
import bisect
import json


class Contradiction(Exception):
    """Something the API promises did not hold."""


def require(holds, what, *context):
    if not holds:
        raise Contradiction(what + "".join("\n    " + (c if isinstance(c, str) else json.dumps(c, sort_keys=True)) for c in context))


class Kind:
    def __init__(self, plural, kind, version, namespaced, place, etcd):
        self.plural, self.kind, self.version, self.namespaced = plural, kind, version, namespaced
        self.place, self.etcd = place, etcd  # in the embedded store, in an etcd
        self.root = "/api/v1" if version == "v1" else f"/apis/{version}"

    def collection(self, ns=None):
        return f"{self.root}/namespaces/{ns}/{self.plural}" if ns else f"{self.root}/{self.plural}"

    def path(self, key):
        ns, _, name = key.rpartition("/")
        return f"{self.collection(ns or None)}/{name}"


# None of which the server itself writes.
KINDS = [
    Kind("secrets", "Secret", "v1", True, "secrets", "secrets"),
    Kind("replicasets", "ReplicaSet", "apps/v1", True, "apps/replicasets", "replicasets"),
    Kind("nodes", "Node", "v1", False, "nodes", "minions"),
]


def rv(o):
    return int(o["metadata"]["resourceVersion"])


def key_of(o):
    m = o["metadata"]
    return f"{m['namespace']}/{m['name']}" if m.get("namespace") else m["name"]


def bare(o):
    """Items of lists have neither kind nor apiVersion."""
    return {k: v for k, v in o.items() if k not in ("kind", "apiVersion")}


def at_revision(o, revision):
    return {**o, "metadata": {**o["metadata"], "resourceVersion": str(revision)}}


def token(o):
    return o["metadata"].get("labels", {}).get("op")


class Filter:
    """A namespace and selectors, as a query and as a predicate."""

    def __init__(self, ns=None, label=None, field=None):
        self.ns, self.label, self.field = ns, label, field

    def query(self):
        q = {}
        if self.label:
            q["labelSelector"] = "sel=" + self.label if self.label[0] != "!" else "sel!=" + self.label[1:]
        if self.field:
            q["fieldSelector"] = "=".join(self.field)
        return q

    def matches(self, o):
        m = o["metadata"]
        value = m.get("labels", {}).get("sel")
        if self.ns and m.get("namespace") != self.ns:
            return False
        if self.label and (value == self.label[1:] if self.label[0] == "!" else value != self.label):
            return False
        if self.field and self.field[0] == "metadata.name":
            return m["name"] == self.field[1]
        if self.field and self.field[0] == "spec.unschedulable":
            return ("true" if o.get("spec", {}).get("unschedulable") else "false") == self.field[1]
        return True

    def __str__(self):
        return f"ns={self.ns} label={self.label} field={self.field}"


class Epoch:
    """base: the state at revision `start`; events after it, in order, complete up to `complete` (None: to the end)."""

    def __init__(self, number):
        self.number, self.start, self.died, self.last = number, {}, False, False
        self.base = {k: {} for k in KINDS}
        self.events = {k: [] for k in KINDS}  # (revision, type, key, object)

    def complete(self, kind):
        """The revision up to which everything is known."""
        if not self.died:
            return 1 << 62
        return self.events[kind][-1][0] if self.events[kind] else self.start[kind]

    def state_at(self, kind, revision):
        state = dict(self.base[kind])
        for r, what, key, o in self.events[kind]:
            if r > revision:
                break
            if what == "DELETED":
                state.pop(key, None)
            else:
                state[key] = o
        return state

    def expected(self, kind, f, after):
        """What a watcher with this filter sees after a revision: [(type, revision, object)]."""
        state, out = self.state_at(kind, after), []
        for r, what, key, o in self.events[kind]:
            old = state.get(key)
            if what == "DELETED":
                state.pop(key, None)
            else:
                state[key] = o
            if r <= after:
                continue
            before, now = old is not None and f.matches(old), what != "DELETED" and f.matches(o)
            if now:
                out.append(("MODIFIED" if before else "ADDED", r, o))
            elif before:
                out.append(("DELETED", r, o if what == "DELETED" else at_revision(old, r)))
        return out

    def learn(self, kind, what, o):
        """One event of the first watcher; it must follow from what was before."""
        key, r = key_of(o), rv(o)
        last = self.events[kind][-1][0] if self.events[kind] else self.start[kind]
        old = self.current[kind].get(key)
        where = f"{kind.plural} {key}: {what} at {r} after {last}"
        require(r > last, f"a watch went back: {where}", o)
        require((what == "ADDED") == (old is None), f"wrong type of event: {where}", {"before": old, "now": o})
        if old is not None:
            check_successor(kind, where, old, o)
        elif kind.plural == "replicasets":
            require(o["metadata"].get("generation") == 1, f"the first generation is not 1: {where}", o)
        self.events[kind].append((r, what, key, o))
        if what == "DELETED":
            del self.current[kind][key]
        else:
            self.current[kind][key] = o

    def begin(self, kind, revision, items):
        self.start[kind], self.base[kind] = revision, items
        self.current = getattr(self, "current", {})
        self.current[kind] = dict(items)


def check_successor(kind, where, old, new):
    a, b = old["metadata"], new["metadata"]
    for field in ("uid", "creationTimestamp"):
        require(a[field] == b[field], f"{field} changed: {where}", old, new)
    if kind.plural != "replicasets":
        require("generation" not in b or kind.plural == "nodes", f"a generation where there is none: {where}", new)
        return
    changed = old["spec"] != new["spec"] or ("deletionTimestamp" in b and "deletionTimestamp" not in a)
    require(b["generation"] == a["generation"] + changed, f"generation: {where}", old, new)


class Acks:
    """What writers were told, in the order in which they heard it. A delete may be known by its uid only."""

    def __init__(self):
        self.list, self.prefix = [], []

    def index(self, epochs):
        """Afterwards: the newest revision acknowledged up to each place."""
        gone = {o["metadata"]["uid"]: r for e in epochs for k in KINDS for r, what, _, o in e.events[k] if what == "DELETED"}
        newest = 0
        self.prefix = [0]
        for revision, uid in self.list:
            newest = max(newest, revision or gone.get(uid, 0))
            self.prefix.append(newest)

    def newest(self, before):
        return self.prefix[before]


def known(epoch, kind, o):
    """The object of this revision as the first watcher saw it; None when that is not known."""
    r, key = rv(o), key_of(o)
    events = epoch.events[kind]
    at = bisect.bisect_left(events, r, key=lambda e: e[0])
    if at < len(events) and events[at][0] == r:
        require(events[at][2] == key, f"revision {r} is of two objects: {key}, {events[at][2]}", o, events[at][3])
        return events[at][3]
    base = epoch.base[kind].get(key)
    if base and rv(base) == r:
        return base
    return None


def check_answers(history):
    """Every write that was acknowledged is an event, equal to the answer; nothing of a refused one is anywhere."""
    for op in history.ops:
        epoch = history.epochs[op.epoch]
        for o in op.answers:
            seen, before = known(epoch, op.kind, o), rv(o) <= epoch.start[op.kind]
            if seen is None and (rv(o) > epoch.complete(op.kind) or before and op.verb == "deletecollection"):
                continue
            require(seen is not None, f"{op}: acknowledged at {rv(o)}, but no watch had it", o)
            if "deletionTimestamp" in o["metadata"] and not o["metadata"].get("finalizers"):
                # Removing the last finalizer: watchers see what was stored.
                require(seen["metadata"]["uid"] == o["metadata"]["uid"], f"{op}: another object went at {rv(o)}", o, seen)
                continue
            require(bare(seen) == bare(o), f"{op}: the answer is not what watchers saw at {rv(o)}", o, seen)
    refused = {op.token: op for op in history.ops if op.refused}
    for e in history.epochs:
        for k in KINDS:
            for o in [*e.base[k].values(), *(x[3] for x in e.events[k])]:
                require(token(o) not in refused, f"{refused.get(token(o))}: refused, but there it is", o)


def check_get(history, g):
    """g: (epoch, kind, key, acks before it was sent, object or None, asked revision)."""
    number, kind, key, before, o, asked = g
    epoch = history.epochs[number]
    floor = max(history.acks.newest(before), asked, epoch.start[kind])
    where = f"GET {kind.plural} {key} after revision {floor} was acknowledged"
    if o is None:
        if key not in epoch.state_at(kind, floor):
            return
        gone = any(r > floor and k == key and what == "DELETED" for r, what, k, _ in epoch.events[kind])
        require(gone or epoch.died, f"{where}: not found", epoch.state_at(kind, floor)[key])
        return
    seen = known(epoch, kind, o)
    if seen is None and rv(o) > epoch.complete(kind):
        return
    require(seen is not None and bare(seen) == bare(o), f"{where}: an object nobody wrote", o, seen)
    later = [r for r, _, k, _ in epoch.events[kind] if k == key and r > rv(o)]
    require(not later or later[0] > floor, f"{where}: stale, {rv(o)} was replaced at {later[0] if later else 0}", o)


def check_list(history, x):
    """A list, its pages put together: the state at its revision, and that not older than promised."""
    epoch, r = history.epochs[x.epoch], x.revision
    where = f"LIST {x.kind.plural} {x.filter} {x.query}: revision {r}"
    floor = history.acks.newest(x.before)
    if x.exact is not None:
        require(r == x.exact, f"{where} instead of exactly {x.exact}")
    else:
        require(r >= x.at_least, f"{where} is older than {x.at_least}")
        require(x.any or r >= floor, f"{where} is older than the acknowledged {floor}")
    if r > epoch.complete(x.kind) or r < epoch.start[x.kind]:
        return
    want = sorted(((k, o) for k, o in epoch.state_at(x.kind, r).items() if x.filter.matches(o)), key=lambda p: p[0])
    got = [(key_of(o), o) for o in x.items]
    require([k for k, _ in got] == [k for k, _ in want], f"{where}: other objects",
            f"got {[k for k, _ in got]}", f"not {[k for k, _ in want]}")
    for (k, o), (_, w) in zip(got, want):
        require(bare(o) == bare(w), f"{where}: {k} is not as it was then", o, w)
    for position, remaining in x.remaining:
        require(remaining == len(want) - position, f"{where}: remainingItemCount {remaining} after {position} of {len(want)}")


def check_stream(history, s):
    """One watch against what it must have been."""
    epoch = history.epochs[s.epoch]
    complete = epoch.complete(s.kind)
    where = f"WATCH {s.kind.plural} {s.filter} {s.query} (epoch {s.epoch})"
    if s.expired:
        require(s.after < epoch.start[s.kind], f"{where}: 410 within the window, which begins at {epoch.start[s.kind]}")
        return
    if not s.initial:
        if s.after > complete:
            return
        if s.after < epoch.start[s.kind]:
            # From before the first list: known is only what came after that.
            early = sum(rv(o) <= epoch.start[s.kind] for _, o in s.events)
            s.events, s.after = s.events[early:], epoch.start[s.kind]
            s.bookmarks = [(max(n - early, 0), r) for n, r in s.bookmarks]
        compare(where, s, epoch.expected(s.kind, s.filter, s.after), complete, s.after)
        return
    # Which revision the first part shows is told by the bookmark at its end, or is one of those since the request.
    if s.snapshot is not None:
        candidates = [s.snapshot]
    else:
        candidates = [epoch.start[s.kind], *(e[0] for e in epoch.events[s.kind])]
    floor = max(history.acks.newest(s.before) if not s.any else 0, s.after)
    failure = None
    for r in candidates:
        later = [e[0] for e in epoch.events[s.kind] if e[0] > r]
        if s.snapshot is None and later and later[0] <= floor:
            continue
        if r > complete:
            return
        state = epoch.state_at(s.kind, r)
        first = [("ADDED", rv(state[k]), state[k]) for k in sorted(state) if s.filter.matches(state[k])]
        try:
            require(s.snapshot is None or r >= floor, f"{where}: begins at {r}, older than {floor}")
            if s.snapshot is not None:
                require(s.snapshot_count == len(first), f"{where}: {s.snapshot_count} objects before the bookmark at {r}",
                        f"there were {[k for k in sorted(state)]}")
            compare(where, s, first + epoch.expected(s.kind, s.filter, r), complete, r)
            return
        except Contradiction as c:
            failure = failure or c
    if failure and not (epoch.died and s.snapshot is None):
        raise failure


def compare(where, s, want, complete, start):
    """What was seen is the beginning of what was to be seen, up to where that is known."""
    got = s.events
    for i, (what, o) in enumerate(got):
        if rv(o) > complete:
            require(all(w[1] <= complete for w in want[i:]) and i >= len(want), f"{where}: missed {want[i:i + 1]} before {rv(o)}")
            break
        require(i < len(want), f"{where}: {what} of {key_of(o)} at {rv(o)} was not to be seen", o)
        require((what, rv(o)) == want[i][:2], f"{where}: event {i} is {what} of {key_of(o)} at {rv(o)}, not "
                f"{want[i][0]} of {key_of(want[i][2])} at {want[i][1]}", f"after {start}", o, want[i][2])
        require(bare(o) == bare(want[i][2]), f"{where}: event {i}, {what} at {rv(o)}, has another object", o, want[i][2])
    for count, revision in s.bookmarks:
        behind = [w for w in want[count:] if w[1] <= min(revision, complete)]
        require(not behind, f"{where}: a bookmark of {revision} before the event of {behind[0][1] if behind else 0}")
    require(not s.to_the_end or len(got) >= len(want), f"{where}: only {len(got)} of {len(want)} events came",
            *(f"missing {w[0]} {key_of(w[2])} at {w[1]}" for w in want[len(got):len(got) + 1]))


def check_death(history, old, new):
    """Everything acknowledged before a death is there after it; what is there was acknowledged or under way."""
    for kind in KINDS:
        newest = dict(old.current[kind])
        gone, under_way = set(), []
        for op in history.ops:
            if op.epoch != old.number or op.kind is not kind:
                continue
            if op.unknown:
                under_way.append(op)
            gone.update(op.gone)
            for o in op.answers:
                key = key_of(o)
                if rv(o) > old.complete(kind) and (key not in newest or rv(newest[key]) < rv(o)):
                    newest[key] = o
        for key in newest.keys() | new.base[kind].keys():
            mine, there = newest.get(key), new.base[kind].get(key)
            maybe = [op for op in under_way if op.touches(key)]
            where = f"after a death, {kind.plural} {key}"
            last = mine is not None and mine["metadata"]["uid"] in gone
            if there is None:
                require(last or maybe, f"{where}: an acknowledged object is lost", mine)
                continue
            require(there["metadata"]["uid"] not in gone, f"{where}: an acknowledged deletion is lost", there)
            if mine is not None and rv(there) == rv(mine):
                require(bare(there) == bare(mine), f"{where}: differs from what was answered", there, mine)
                continue
            require(mine is None or rv(there) > rv(mine), f"{where}: an acknowledged write is lost", there, mine)
            require(maybe, f"{where}: a write that nobody made", there, mine)
