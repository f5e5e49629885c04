# SPDX-License-Identifier: GPL-2.0-or-later
"""
The store's own log of what was written, in order: of the embedded store by triggers that SQLite runs in the same transaction as the
write, of an etcd by its history. The first watchers, by which all others are judged, are held against it: each of their
events is an entry, and each entry one of their events.
"""
import base64
import json
import sqlite3
import subprocess

from reference import KINDS, at_revision, bare, key_of, require, rv

VALUE_HEAD = 24  # before the JSON of each value of the embedded store
TRIGGERS = """
CREATE TABLE log(seq INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB);
CREATE TRIGGER log_insert AFTER INSERT ON objects BEGIN INSERT INTO log(key, value) VALUES(new.key, new.value); END;
CREATE TRIGGER log_update AFTER UPDATE ON objects BEGIN INSERT INTO log(key, value) VALUES(new.key, new.value); END;
CREATE TRIGGER log_delete AFTER DELETE ON objects BEGIN INSERT INTO log(key, value) VALUES(old.key, NULL); END;
"""


class Entry:
    """object None: a deletion; its revision None: not known."""

    def __init__(self, key, revision, o):
        self.key, self.revision, self.object = key, revision, o


def install(directory):
    """Into a store at rest."""
    db = sqlite3.connect(f"{directory}/objects.db")
    db.executescript(TRIGGERS)
    db.close()


def read_embedded(directory):
    """{kind: [Entry]}"""
    out = {k: [] for k in KINDS}
    places = {k.place: k for k in KINDS}
    db = sqlite3.connect(f"{directory}/objects.db")
    try:
        for full, value in db.execute("SELECT key, value FROM log ORDER BY seq"):
            place, _, key = full.partition(":")
            if place in places:
                o = json.loads(value[VALUE_HEAD:]) if value is not None else None
                out[places[place]].append(Entry(key, rv(o) if o else None, o))
        return out
    finally:
        db.close()


def read_etcd(endpoint, prefix, since):
    """The same of an etcd, from a revision on. A mark of ours shows where its history ends."""
    mark = f"{prefix}-check/end"
    env = {"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}
    subprocess.run(["etcdctl", "--endpoints", endpoint, "put", mark, "x"], check=True, env=env, stdout=subprocess.DEVNULL)
    out = {k: [] for k in KINDS}
    places = {f"{prefix}/{k.etcd}/": k for k in KINDS}
    with subprocess.Popen(["etcdctl", "--endpoints", endpoint, "watch", "--prefix", prefix, "--rev", str(since), "-w", "json"],
                          env=env, stdout=subprocess.PIPE) as watch:
        try:
            for line in watch.stdout:
                for e in json.loads(line).get("Events") or ():
                    key = base64.b64decode(e["kv"]["key"]).decode()
                    if key == mark:
                        return out
                    for place, k in places.items():
                        if key.startswith(place):
                            out[k].append(etcd_entry(key[len(place):], e))
        finally:
            watch.kill()
    require(False, "etcd's history ended before our mark")
    return None


def etcd_entry(key, e):
    revision = e["kv"]["mod_revision"]
    deleted = e.get("type") in (1, "DELETE")
    return Entry(key, revision, None if deleted else at_revision(json.loads(base64.b64decode(e["kv"]["value"])), revision))


def boundary(entries, at, start, base):
    """Where an epoch begins that found `base` at revision `start`, not before place `at`."""
    for i in range(at, len(entries)):
        if entries[i].revision is not None and entries[i].revision <= start:
            at = i + 1
    while at < len(entries) and entries[at].revision is None and entries[at].key not in base:
        at += 1
    return at


def check_log(history, log):
    """The first watchers saw the log. What they did not see any more before a death is added to what is known."""
    for k in KINDS:
        entries, at, state = log[k], 0, {}
        begins = []
        for epoch in history.epochs:
            at = boundary(entries, at, epoch.start[k], epoch.base[k])
            begins.append(at)
            at += len(epoch.events[k])
        done = 0
        for n, epoch in enumerate(history.epochs):
            for e in entries[done:begins[n]]:
                replay(state, e)
            where = f"{k.plural} of epoch {n}"
            require(state.keys() == epoch.base[k].keys(), f"the first list is not what the log says: {where}",
                    sorted(state), sorted(epoch.base[k]))
            for key, o in state.items():
                require(bare(o) == bare(epoch.base[k][key]), f"the first list has another {key} than the log: {where}", o, epoch.base[k][key])
            done = begins[n]
            for r, what, key, o in epoch.events[k]:
                require(done < len(entries), f"an event that is not in the log: {where}: {what} {key} at {r}")
                same(where, entries[done], state, (r, what, key, o))
                replay(state, entries[done])
                done += 1
            end = begins[n + 1] if n + 1 < len(begins) else len(entries)
            require(epoch.died or done == end, f"the first watcher missed what is in the log: {where}: {end - done} entries")
            learn_tail(epoch, k, entries[done:end], dict(state))


def same(where, entry, state, event):
    r, what, key, o = event
    old = state.get(entry.key)
    kind = "DELETED" if entry.object is None else "MODIFIED" if old else "ADDED"
    require((kind, entry.key) == (what, key), f"the log has another event: {where}: {kind} {entry.key}, seen was {what} {key} at {r}", o)
    require(entry.revision in (None, r), f"an event at another revision than in the log: {where}: {what} {key} at {r}, not {entry.revision}")
    want = at_revision(old, r) if entry.object is None else entry.object
    require(bare(want) == bare(o), f"an event with another object than in the log: {where}: {what} {key} at {r}", o, want)


def replay(state, entry):
    if entry.object is None:
        state.pop(entry.key, None)
    else:
        state[entry.key] = entry.object


def learn_tail(epoch, kind, entries, state):
    """After the last event seen: known up to the first deletion whose revision is not."""
    for e in entries:
        if e.revision is None:
            return
        old = state.get(e.key)
        o = e.object if e.object is not None else at_revision(old, e.revision)
        epoch.events[kind].append((e.revision, "DELETED" if e.object is None else "MODIFIED" if old else "ADDED", e.key, o))
        replay(state, e)
