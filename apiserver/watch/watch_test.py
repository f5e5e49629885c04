#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Watches against a real API server: paths, selectors, bookmarks, ends, formats and transports, the window's end, slow readers.
usage: watch_test.py; B (build) is the build directory.
"""
import base64
import hashlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
from urllib.parse import urlencode

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/check"))
sys.dont_write_bytecode = True
from server import Client, make_certificates  # pylint: disable=wrong-import-position
from trial import check, directory, finish, serve  # pylint: disable=wrong-import-position

DIR = directory("watch")
MAPS = "/api/v1/namespaces/default/configmaps"
ALL_MAPS = "/api/v1/configmaps"
PATIENCE_S = 60


def start(name, *options):
    return serve(DIR, f"{DIR}/{name}", options)


class Place:
    def __init__(self, server):
        self.server, self.client = server, Client(server)

    def request(self, method, path, body=None, query=None, media="application/json"):
        return self.client.request(method, path, body, media, query)

    def create(self, name, labels=None, data=None, ns="default"):
        o = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {}}, "data": data or {}}
        status, answer = self.request("POST", f"/api/v1/namespaces/{ns}/configmaps", o)
        assert status == 201, answer
        return answer

    def patch(self, name, body, ns="default"):
        status, answer = self.request("PATCH", f"/api/v1/namespaces/{ns}/configmaps/{name}", body, media="application/merge-patch+json")
        assert status == 200, answer
        return answer

    def delete(self, name, ns="default"):
        status, answer = self.request("DELETE", f"/api/v1/namespaces/{ns}/configmaps/{name}")
        assert status == 200, answer

    def revision(self):
        return self.request("GET", MAPS)[1]["metadata"]["resourceVersion"]

    def watch(self, path, query, accept=None):
        return Watch(self.server, path, query, accept)


class Watch:
    """An open watch over HTTP/1.1."""

    def __init__(self, server, path, query, accept=None):
        self.connection = Client(server).connect(PATIENCE_S)
        self.connection.request("GET", path + ("?" + urlencode(query) if query else ""), headers={"Accept": accept} if accept else {})
        self.response = self.connection.getresponse()
        self.status, self.type = self.response.status, self.response.headers["Content-Type"]

    def event(self):
        """The next event; None at the end of the stream."""
        line = self.response.readline()
        return json.loads(line) if line else None

    def events(self, count):
        return [self.event() for _ in range(count)]

    def rest(self):
        return [json.loads(line) for line in self.response.read().splitlines()]

    def status_answer(self):
        return self.status, json.loads(self.response.read())

    def close(self):
        self.connection.close()


def short(events):
    return [(e["type"], e["object"]["metadata"].get("name")) for e in events if e]


def test_paths(place):
    at = place.revision()
    place.create("one")
    place.create("two")
    place.request("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    place.create("one", ns="other")
    place.request("POST", "/apis/apps/v1/namespaces/default/controllerrevisions",
                  {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "r"}, "revision": 1, "data": {}})
    one, two = ("ADDED", "one"), ("ADDED", "two")
    table = [
        (ALL_MAPS, {"watch": "1"}, [one, two, one]), (MAPS, {"watch": "true"}, [one, two]),
        ("/api/v1/watch/configmaps", {}, [one, two, one]), ("/api/v1/watch/namespaces/default/configmaps", {}, [one, two]),
        ("/api/v1/watch/namespaces/default/configmaps/two", {}, [two]),
        ("/api/v1/watch/namespaces/other/configmaps/one", {"fieldSelector": "metadata.name=one"}, [one]),
        ("/api/v1/watch/namespaces/default/configmaps/two", {"watch": "false"}, [two]),
        (MAPS, {"watch": "1", "fieldSelector": "metadata.name=two"}, [two]),
        (ALL_MAPS, {"watch": "1", "fieldSelector": "metadata.name=one,metadata.namespace=other"}, [one]),
        ("/api/v1/watch/namespaces/other", {}, [("ADDED", "other")]),
        ("/apis/apps/v1/watch/namespaces/default/controllerrevisions/r", {}, [("ADDED", "r")]),
    ]
    open_ones = [place.watch(path, {**query, "resourceVersion": at, "timeoutSeconds": "1"}) for path, query, _ in table]
    for w, (path, query, want) in zip(open_ones, table):
        got = short(w.rest()) if w.status == 200 else w.status
        check(got == want, f"watch {path} {query}", got)
    wrong = [
        ("GET", "/api/v1/watch/namespaces/default/configmaps/two?fieldSelector=metadata.name%3Done", 400,
         "fieldSelector metadata.name doesn't match requested name"),
        ("POST", "/api/v1/watch/namespaces/default/configmaps", 405, "the server does not allow this method on the requested resource"),
        ("GET", "/api/v1/watch/namespaces/default/pods/p/status", 404, "the server could not find the requested resource"),
        ("GET", "/api/v1/watch/nothings", 404, "the server could not find the requested resource"),
        ("GET", "/api/v1/watch", 404, "the server could not find the requested resource"),
    ]
    for method, path, code, message in wrong:
        status, answer = place.request(method, path, {} if method == "POST" else None)
        check((status, answer.get("message")) == (code, message), f"{method} {path} is {code}", status, answer)


def test_selectors(place):
    w = place.watch(MAPS, {"watch": "1", "resourceVersion": place.revision(), "labelSelector": "color=red",
                           "fieldSelector": "metadata.name!=hidden"})
    place.create("s", {"color": "blue"})
    place.create("hidden", {"color": "red"})
    place.patch("s", {"metadata": {"labels": {"color": "red"}}})
    place.patch("s", {"data": {"a": "b"}})
    gone = place.patch("s", {"metadata": {"labels": {"color": "blue"}}})
    place.patch("s", {"data": {"a": "c"}})
    place.patch("s", {"metadata": {"labels": {"color": "red"}}})
    place.delete("s")
    got = w.events(5)
    check([e["type"] for e in got] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"], "a selector turns changes into ADDED and DELETED", got)
    left = got[2]["object"]
    check(left["metadata"]["labels"]["color"] == "red" and left["data"] == {"a": "b"} and
          left["metadata"]["resourceVersion"] == gone["metadata"]["resourceVersion"],
          "what left the selection is shown as it was, at the revision at which it left", left, gone)
    check(int(got[4]["object"]["metadata"]["resourceVersion"]) > int(got[3]["object"]["metadata"]["resourceVersion"]),
          "a deletion has a revision of its own", got[3:])
    w.close()


def test_initial(place):
    place.create("i1", {"in": "y"})
    place.create("i2", {"in": "y"})
    now = place.revision()
    base = {"watch": "1", "labelSelector": "in=y", "timeoutSeconds": "2"}
    both = [("ADDED", "i1"), ("ADDED", "i2")]
    match = {"resourceVersionMatch": "NotOlderThan"}
    table = [
        ({}, both, False), ({"resourceVersion": "0"}, both, False), ({"resourceVersion": now}, [], False),
        ({"sendInitialEvents": "true", "allowWatchBookmarks": "true", **match}, both, True),
        ({"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersion": "0", **match}, both, True),
        ({"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersion": now, **match}, both, True),
        ({"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersion": "1", **match}, both, True),
        ({"sendInitialEvents": "true", **match}, both, False),
        ({"sendInitialEvents": "false", "allowWatchBookmarks": "true", **match}, [], False),
        ({"sendInitialEvents": "false", "resourceVersion": now, **match}, [], False),
    ]
    open_ones = [place.watch(MAPS, {**base, **query}) for query, _, _ in table]
    for w, (query, want, ends) in zip(open_ones, table):
        got = w.rest() if w.status == 200 else []
        added = [e for e in got if e["type"] != "BOOKMARK"]
        marks = [i for i, e in enumerate(got) if e["type"] == "BOOKMARK" and
                 e["object"]["metadata"].get("annotations", {}).get("k8s.io/initial-events-end") == "true"]
        check(short(added) == want and marks == ([len(want)] if ends else []), f"what comes first: {query}", got)
        if ends and marks:
            mark = got[marks[0]]["object"]
            check(int(mark["metadata"]["resourceVersion"]) >= int(now) and (mark["kind"], mark["apiVersion"]) == ("ConfigMap", "v1"),
                  f"and its end: {query}", mark)


def test_ends(place):
    now = place.revision()
    w = place.watch(MAPS, {"watch": "1", "resourceVersion": now, "timeoutSeconds": "2", "allowWatchBookmarks": "true"})
    got = w.rest()
    check(len(got) == 1 and got[0]["type"] == "BOOKMARK" and int(got[0]["object"]["metadata"]["resourceVersion"]) >= int(now) and
          set(got[0]["object"]["metadata"]) == {"resourceVersion"}, "a bookmark comes before the end, which is in order", got)
    w = place.watch(MAPS, {"watch": "1", "resourceVersion": now, "timeoutSeconds": "1"})
    check(w.rest() == [], "no bookmarks but for those who ask")
    w = place.watch(MAPS, {"watch": "1", "resourceVersion": now, "timeoutSeconds": "-5"})
    check(w.status == 200 and w.rest() == [], "a timeout before the beginning")
    # From a bookmark's revision nothing is missed.
    mark = got[0]["object"]["metadata"]["resourceVersion"]
    place.create("after-mark")
    w = place.watch(MAPS, {"watch": "1", "resourceVersion": mark})
    check(short(w.events(1)) == [("ADDED", "after-mark")], "a watch goes on where a bookmark was")
    w.close()


def test_window(place):
    """The server keeps 50 events."""
    old = place.revision()
    first = place.create("window")
    for i in range(60):
        place.patch("window", {"data": {"n": str(i)}})
    w = place.watch(MAPS, {"watch": "1", "resourceVersion": old})
    e = w.event()
    status = e["object"]
    check(w.status == 200 and e["type"] == "ERROR" and status["kind"] == "Status" and status["code"] == 410 and status["reason"] == "Expired" and
          re.fullmatch(rf"too old resource version: {old} \(\d+\)", status["message"]), "past the window a watch is told 410", e)
    check(w.event() is None, "and ends")
    oldest = int(re.search(r"\((\d+)\)", status["message"]).group(1))
    w = place.watch(MAPS, {"watch": "1", "resourceVersion": str(oldest), "timeoutSeconds": "1", "fieldSelector": "metadata.name=window"})
    got = w.rest()
    check(len(got) >= 45 and all(e["type"] == "MODIFIED" for e in got), "the revision that it names can be watched from", got[:1])
    w = place.watch(MAPS, {"watch": "1", "resourceVersion": first["metadata"]["resourceVersion"]}, "application/vnd.kubernetes.protobuf")
    kind, raw = proto_event(w.response)
    check(kind == "ERROR" and raw.startswith(b"k8s\0") and b"too old resource version" in raw, "410 in protobuf", kind, raw)
    w.close()


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """Length-delimited fields of a message."""
    at, out = 0, {}
    while at < len(data):
        tag, at = varint(data, at)
        assert tag & 7 == 2, "another wire type"
        size, at = varint(data, at)
        out[tag >> 3] = data[at:at + size]
        at += size
    return out


def proto_message(data):
    event = fields(data)
    return event[1].decode(), fields(event[2])[1]


def proto_event(response):
    head = response.read(4)
    return proto_message(response.read(struct.unpack(">I", head)[0])) if head else None


def test_formats(place):
    place.create("f1", {"in": "formats"})
    base = {"watch": "1", "labelSelector": "in=formats", "timeoutSeconds": "3"}
    proto, meta = "application/vnd.kubernetes.protobuf", ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    w = place.watch(MAPS, base)
    check((w.status, w.type) == (200, "application/json") and short(w.events(1)) == [("ADDED", "f1")], "JSON", w.type)
    w = place.watch(MAPS, base, "application/json;stream=watch")
    check((w.status, w.type) == (200, "application/json") and short(w.events(1)) == [("ADDED", "f1")], "JSON by stream=watch", w.type)
    w = place.watch(MAPS, base, proto)
    kind, raw = proto_event(w.response)
    check(w.type == proto + ";stream=watch" and kind == "ADDED" and raw.startswith(b"k8s\0") and b"ConfigMap" in raw, "protobuf", w.type, raw)
    w = place.watch(MAPS, base, proto + meta)
    kind, raw = proto_event(w.response)
    check(kind == "ADDED" and raw.startswith(b"k8s\0") and b"PartialObjectMetadata" in raw, "metadata in protobuf", raw)
    w = place.watch(MAPS, base, "application/json" + meta)
    e = w.event()
    check(e["object"]["kind"] == "PartialObjectMetadata" and e["object"]["apiVersion"] == "meta.k8s.io/v1" and
          set(e["object"]) == {"kind", "apiVersion", "metadata"} and e["object"]["metadata"]["name"] == "f1", "metadata", e)
    w = place.watch(MAPS, base, "application/json;as=Table;g=meta.k8s.io;v=v1")
    place.patch("f1", {"data": {"a": "b"}})
    first, second = w.events(2)
    check(first["object"]["kind"] == "Table" and first["object"]["columnDefinitions"][0]["name"] == "Name" and
          first["object"]["rows"][0]["cells"][0] == "f1" and first["object"]["rows"][0]["object"]["kind"] == "PartialObjectMetadata", "a table", first)
    check(second["type"] == "MODIFIED" and second["object"]["columnDefinitions"] is None and second["object"]["rows"][0]["cells"][:2] == ["f1", 1],
          "whose columns come once", second)
    streams = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    for accept in ("application/yaml", "application/cbor", "application/json;as=Table;g=meta.k8s.io;v=v3", "text/html",
                   "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1", "application/json;stream=list"):
        status, answer = place.watch(MAPS, base, accept).status_answer()
        check((status, answer["reason"], answer["message"]) == (406, "NotAcceptable", "only the following media types are accepted: " + streams),
              f"no watch in {accept}", status, answer)
    w = place.watch(MAPS, base, "application/yaml,application/json;q=0.5")
    check(w.status == 200 and w.type == "application/json", "what has no stream is passed over", w.status, w.type)


def test_http2(place):
    place.create("h2", {"in": "h2"})
    url = f"https://127.0.0.1:{place.server.port}{MAPS}?watch=1&labelSelector=in%3Dh2&timeoutSeconds=2&allowWatchBookmarks=true"
    run = subprocess.run(["curl", "-sS", "--noproxy", "*", "--http2", "-N", "--max-time", str(PATIENCE_S), "--cacert", f"{DIR}/ca.crt", "--cert",
                          f"{DIR}/admin.crt", "--key", f"{DIR}/admin.key", "-w", "%{http_version}", url], capture_output=True, text=True, check=False)
    *lines, version = run.stdout.splitlines()
    got = [json.loads(line) for line in lines]
    check(run.returncode == 0 and version == "2" and short(got)[0] == ("ADDED", "h2") and got[-1]["type"] == "BOOKMARK", "a watch over HTTP/2", run)


class WebSocket:
    KEY = base64.b64encode(b"0123456789abcdef").decode()

    def __init__(self, server, path, query, headers=(), version="13", key=KEY):
        raw = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        self.sock = server.context.wrap_socket(raw, server_hostname="127.0.0.1")
        lines = [f"GET {path}?{urlencode(query)} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Upgrade: websocket", "Connection: keep-alive, Upgrade",
                 f"Sec-WebSocket-Key: {key}", f"Sec-WebSocket-Version: {version}", "Origin: https://example.com", *headers, "", ""]
        self.sock.sendall("\r\n".join(lines).encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.receive()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in rest)}

    def receive(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        return data

    def take(self, n):
        while len(self.buffer) < n:
            self.buffer += self.receive()
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def frame(self):
        """(opcode, payload)"""
        first, size = self.take(2)
        assert first & 0x80 and not size & 0x80, "fragmented or masked"
        if size == 126:
            size = struct.unpack(">H", self.take(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.take(8))[0]
        return first & 0x0f, self.take(size)

    def send(self, opcode, payload, mask=b"abcd", fin=0x80):
        body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if mask else payload
        bit = 0x80 if mask else 0
        size = bytes([bit | len(payload)]) if len(payload) < 126 else bytes([bit | 126]) + struct.pack(">H", len(payload))
        self.sock.sendall(bytes([fin | opcode]) + size + mask + body)

    def ended(self):
        try:
            return not self.sock.recv(1)
        except OSError:
            return True


def test_websocket(place):
    place.create("ws", {"in": "ws"}, {"pad": "x" * 70000})
    query = {"watch": "1", "labelSelector": "in=ws"}
    w = WebSocket(place.server, MAPS, query)
    key = base64.b64encode(hashlib.sha1((w.KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    check(w.status == 101 and w.headers.get("sec-websocket-accept") == key, "a WebSocket", w.status, w.headers)
    opcode, data = w.frame()
    check(opcode == 1 and short([json.loads(data)]) == [("ADDED", "ws")], "its first event", opcode)
    w.send(9, b"are you there")
    check(w.frame() == (10, b"are you there"), "pings are answered")
    w.send(1, b"y" * 300)
    w.send(2, b"z" * 70)
    place.patch("ws", {"data": {"pad": None}})
    opcode, data = w.frame()
    check(opcode == 1 and short([json.loads(data)]) == [("MODIFIED", "ws")], "what the client says is ignored", opcode)
    w.send(8, struct.pack(">H", 1000))
    check(w.frame() == (8, struct.pack(">H", 1000)) and w.ended(), "a close is answered by a close")
    w = WebSocket(place.server, MAPS, {**query, "timeoutSeconds": "1"})
    w.frame()
    check(w.frame() == (8, struct.pack(">H", 1000)) and w.ended(), "at the watch's end it is closed")
    for what, send in (("no mask", lambda s: s.send(1, b"text", b"")), ("a control frame of several", lambda s: s.send(9, b"p", fin=0)),
                       ("a long ping", lambda s: s.send(9, b"p" * 200)), ("an unknown opcode", lambda s: s.send(11, b""))):
        w = WebSocket(place.server, MAPS, query)
        w.frame()
        send(w)
        check(w.frame() == (8, struct.pack(">H", 1002)) and w.ended(), f"a client that sends {what} is told so")
    w = WebSocket(place.server, MAPS, query, ("Accept: application/vnd.kubernetes.protobuf",))
    opcode, data = w.frame()
    kind, raw = proto_message(data)
    check(opcode == 2 and kind == "ADDED" and raw.startswith(b"k8s\0"), "protobuf in binary messages", opcode)
    w.sock.close()
    w = WebSocket(place.server, f"/api/v1/watch/namespaces/default/configmaps/ws", {"x": "y"}, ("Sec-WebSocket-Protocol: base64.binary.k8s.io",))
    check(w.status == 101 and w.headers.get("sec-websocket-protocol") == "base64.binary.k8s.io" and w.frame()[0] == 1, "one protocol is agreed to", w.headers)
    w.sock.close()
    for what, kw in (("version", {"version": "8"}), ("key", {"key": "short"}), ("choice", {"headers": ("Sec-WebSocket-Protocol: a, b",)})):
        w = WebSocket(place.server, MAPS, query, **kw)
        check(w.status == 400, f"no WebSocket with a wrong {what}", w.status)
        w.sock.close()
    w = WebSocket(place.server, MAPS, {**query, "resourceVersionMatch": "Exact"})
    check(w.status == 422, "a refused watch is no WebSocket", w.status)
    w.sock.close()


def metric(place, name):
    text = place.client.request("GET", "/metrics", raw=True)[1].decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + " ") or line.startswith(name + "{"))


def test_slow(place):
    """One that does not read is cut off; those beside it get everything."""
    count, size = 120, 200000
    query = {"watch": "1", "resourceVersion": place.revision(), "labelSelector": "in=slow"}
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    raw.settimeout(PATIENCE_S)
    raw.connect(("127.0.0.1", place.server.port))
    slow = place.server.context.wrap_socket(raw, server_hostname="127.0.0.1")
    slow.sendall(f"GET {MAPS}?{urlencode(query)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    slow.recv(1)
    fast = place.watch(MAPS, query)
    cut = metric(place, "apiserver_terminated_watchers_total")
    place.create("slow", {"in": "slow"}, {"v": "x" * size})
    got = fast.events(1)
    for i in range(count):
        place.patch("slow", {"data": {"v": chr(97 + i % 26) * size}})
        got += fast.events(1)
    check(len(got) == count + 1 and all(got) and [e["object"]["data"]["v"][0] for e in got[1:]] == [chr(97 + i % 26) for i in range(count)],
          "who reads gets every event")
    check(metric(place, "apiserver_terminated_watchers_total") == cut + 1, "who does not is cut off and counted")
    received = 0
    try:
        while True:
            data = slow.recv(1 << 20)
            if not data:
                break
            received += len(data)
    except OSError:
        pass
    check(received < count * size, "and gets no more than was on its way", received)
    fast.close()
    # Back at the last revision that it saw, in pieces as it reads: nothing is missing.
    w = place.watch(MAPS, {**query, "timeoutSeconds": "60"})
    got = w.events(count + 1)
    revisions = [int(e["object"]["metadata"]["resourceVersion"]) for e in got]
    check(all(got) and revisions == sorted(set(revisions)) and got[-1]["object"]["data"]["v"][0] == chr(97 + (count - 1) % 26),
          "it comes back and gets them all")
    place.patch("slow", {"data": {"v": "live"}})
    check(w.event()["object"]["data"]["v"] == "live", "and then what is new")
    w.close()


def main():
    make_certificates(DIR)
    server = start("small", "--watch-window-events", "50")
    place = Place(server)
    for test in (test_paths, test_selectors, test_initial, test_ends, test_window, test_formats, test_http2, test_websocket):
        begin = time.monotonic()
        test(place)
        print(f"{test.__name__}: {time.monotonic() - begin:.1f} s")
    check(server.end() == 0, "the server ends in order")
    server = start("queue", "--watch-queue-bytes", "1000000", "--watch-window-bytes", "100000000")
    test_slow(Place(server))
    check(server.end() == 0, "and the other")
    finish()


main()
