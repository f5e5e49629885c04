# SPDX-License-Identifier: GPL-2.0-or-later
"""Those who change objects, in every way that there is, and note what they were answered."""
import base64
import random

from reference import KINDS, key_of, require, rv
from server import CUT, Client

OPS = 45          # of each writer in an epoch
NAMES, NAMESPACES, SELS = 5, ("x", "x-y"), ("a", "b")
FINALIZER = "check.keelson.dev/hold"
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


class Writer:
    def __init__(self, history, name):
        self.h, self.random = history, random.Random(f"{history.seed}/{name}")
        self.client, self.name, self.last = Client(self.random.choice(history.servers)), name, {}

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
        if self.h.unavailable(status):
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
        if self.h.unavailable(status):
            return
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
            status, o = self.client.request("GET", path)
            if self.h.unavailable(status):
                continue
            require(status == 200, f"GET {COUNTER}: {status}", o)
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
