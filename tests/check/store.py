# SPDX-License-Identifier: GPL-2.0-or-later
"""
The store's own file, read with SQLite behind the server's back: after the end, and as a power loss would have left it.
Which bytes of the log may be gone follows from SQLite's rules: a commit is answered after an fsync of the log behind its last
frame, and what a checkpoint puts into the main file is in the synced log until that file is synced.
"""
import json
import os
import shutil
import sqlite3
import struct

from reference import KINDS, bare, key_of, require, rv
from server import Client, Server

VALUE_HEAD = 24  # before the JSON of each value
WAL_HEAD, FRAME_HEAD = 32, 24
CHECKPOINT_FRAMES = 900  # beyond, a checkpoint may have begun (SQLite: 1000)


def read_file(directory):
    """The revision and {kind: {key: object}} of a store."""
    db = sqlite3.connect(f"{directory}/objects.db")
    try:
        require(db.execute("PRAGMA integrity_check").fetchone()[0] == "ok", "the store's file is damaged")
        revision = db.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()[0]
        out = {k: {} for k in KINDS}
        for full, value in db.execute("SELECT key, value FROM objects"):
            place, _, key = full.partition(":")
            for k in KINDS:
                if k.place == place:
                    out[k][key] = json.loads(value[VALUE_HEAD:])
        return revision, out
    finally:
        db.close()


def same_state(history, epoch, where, revision, objects):
    for k in KINDS:
        if revision > epoch.complete(k) or revision < epoch.start[k]:
            continue
        want = epoch.state_at(k, revision)
        require(want.keys() == objects[k].keys(), f"{where}: other {k.plural} at revision {revision}",
                f"only there: {sorted(objects[k].keys() - want.keys())}, not there: {sorted(want.keys() - objects[k].keys())}")
        for key, o in want.items():
            require(bare(o) == bare(objects[k][key]), f"{where}: {k.plural} {key} at revision {revision}", objects[k][key], o)


def check_file(history):
    """After the orderly end, the file has the last state and the last revision."""
    revision, objects = read_file(history.server.data)
    epoch = history.epochs[-1]
    newest = history.acks.newest(len(history.acks.list))
    require(revision >= newest, f"the store's file is at revision {revision}, {newest} was acknowledged")
    same_state(history, epoch, "the store's file", revision, objects)


def copy_store(history):
    """A copy at one instant: (directory, how much was acknowledged by then, epoch)."""
    directory = f"{history.server.data}.copy{len(history.copies)}"
    history.server.freeze()
    try:
        acked = len(history.acks.list)
        shutil.copytree(history.server.data, directory)
    finally:
        history.server.thaw()
    return directory, acked, history.epochs[-1]


def commits(directory):
    """Where each committed transaction of the log ends, in bytes, and the pages that the log covers."""
    path, ends, pages = f"{directory}/objects.db-wal", [], set()
    size = os.path.getsize(path) if os.path.exists(path) else 0
    if size < WAL_HEAD:
        return ends, pages, 4096
    with open(path, "rb") as f:
        head = f.read(WAL_HEAD)
        page, salt, at = struct.unpack(">I", head[8:12])[0], head[16:24], WAL_HEAD
        group = set()
        while at + FRAME_HEAD + page <= size:
            frame = f.read(FRAME_HEAD)
            f.seek(page, os.SEEK_CUR)
            number, commit = struct.unpack(">II", frame[:8])
            if frame[8:16] != salt:
                break
            group.add(number)
            at += FRAME_HEAD + page
            if commit:
                ends.append(at)
                pages |= group
                group = set()
    return ends, pages, page


def check_torn(history, copy):
    directory, acked, epoch = copy
    floor = history.acks.newest(acked)
    ends, pages, page = commits(directory)
    rnd = history.random
    whole, objects = torn(history, directory, "a copy", None, b"")
    require(whole >= floor, f"a copy is at revision {whole}, {floor} was acknowledged before it was made")
    same_state(history, epoch, "a copy", whole, objects)
    if not ends:
        shutil.rmtree(directory)
        return
    # Behind the last commit anything may be: cut, garbage, garbage over an unfinished transaction.
    for _ in range(3):
        garbage = rnd.randbytes(rnd.randrange(0, 3 * page))
        revision, objects = torn(history, directory, "a torn log", ends[-1], garbage)
        require(revision == whole, f"a log with garbage behind revision {whole} gives {revision}")
        same_state(history, epoch, "a torn log", revision, objects)
    # Pages that a checkpoint was about to write come from the log again.
    revision, objects = torn(history, directory, "a torn checkpoint", None, b"", rnd.sample(sorted(pages - {1}), min(3, len(pages - {1}))))
    require(revision == whole, f"a torn checkpoint gives revision {revision} instead of {whole}")
    same_state(history, epoch, "a torn checkpoint", revision, objects)
    # A cut log gives a prefix: the state at the end of a transaction, and the one before the cut.
    if ends[-1] < CHECKPOINT_FRAMES * (page + FRAME_HEAD) and len(ends) > 2:
        last = whole
        for i in sorted(rnd.sample(range(max(0, len(ends) - 12), len(ends) - 1), min(3, len(ends) - 1)), reverse=True):
            cut = rnd.randrange(ends[i], ends[i + 1])
            garbage = rnd.randbytes(rnd.randrange(0, ends[-1] - cut + 1)) if rnd.random() < 0.5 else b""
            revision, objects = torn(history, directory, "a cut log", cut, garbage)
            require(revision < last, f"a log cut in the transaction after {i} of {len(ends)} is at {revision}, a longer one at {last}")
            same_state(history, epoch, "a cut log", revision, objects)
            last = revision
    served(history, directory, epoch, whole)
    shutil.rmtree(directory)


def torn(history, directory, what, cut, garbage, pages=()):
    """Reads a copy of the copy: the log cut at a length, garbage behind, pages of the main file overwritten."""
    target = f"{directory}.torn"
    shutil.copytree(directory, target)
    try:
        for name in ("objects.db-shm",):  # memory of the processes that are gone
            if os.path.exists(f"{target}/{name}"):
                os.unlink(f"{target}/{name}")
        if cut is not None:
            with open(f"{target}/objects.db-wal", "r+b") as f:
                f.truncate(cut)
                f.seek(cut)
                f.write(garbage)
        with open(f"{target}/objects.db", "r+b") as f:
            size = os.path.getsize(f"{target}/objects.db")
            for number in pages:
                if number * 4096 <= size:
                    f.seek((number - 1) * 4096)
                    f.write(history.random.randbytes(4096))
        return read_file(target)
    except sqlite3.DatabaseError as e:
        require(False, f"{what} cannot be opened: {e}")
        return None
    finally:
        shutil.rmtree(target)


def served(history, directory, epoch, whole):
    """A server on the copy shows the same."""
    server = Server(history.server.binary, history.server.pki, directory)
    try:
        server.start()
        client = Client(server)
        objects = {}
        for k in KINDS:
            status, answer = client.request("GET", k.collection())
            require(status == 200, f"list of a copy: {status}", answer)
            objects[k] = {key_of(o): o for o in answer["items"]}
        same_state(history, epoch, "a server on a copy", whole, objects)
    finally:
        server.end()
