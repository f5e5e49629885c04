#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers that mean harm, against a real API server: each gets a bounded answer, memory stays below --max-memory, an honest client is served
meanwhile, and afterwards the server has no more descriptors than before. Raw sockets, and HTTP/2 frames made by hand.
KEELSON_HOSTILE_CONNECTIONS: how many connections at once (600)."""
import gzip, json, os, resource, socket, ssl, struct, sys, threading, time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/check"))
from server import Client, issue, make_certificates  # noqa: E402
from trial import check, directory, failures, serve  # noqa: E402

LIMIT_MIB = 320
CONNECTIONS = int(os.environ.get("KEELSON_HOSTILE_CONNECTIONS", "600"))
DIR = directory("hostile")
PATH = "/api/v1/namespaces/default/configmaps"
GONE = (OSError, EOFError)
server = None


def proc_status(field):
    with open("/proc/%d/status" % server.process.pid, encoding="ascii") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0


def descriptors():
    return len(os.listdir("/proc/%d/fd" % server.process.pid))


class Honest(threading.Thread):
    """Reads and writes all the time; what it is refused for want of memory it tries again, as clients do."""

    def __init__(self):
        super().__init__(daemon=True)
        self.served = self.refused = 0
        self.wrong, self.stop = [], False

    def run(self):
        client = Client(server)
        while not self.stop:
            try:
                status, _ = client.request("GET", "/api/v1/namespaces/default", raw=True)
                wrote, _ = client.request("PATCH", PATH + "/honest", {"data": {"n": str(self.served)}}, "application/merge-patch+json")
            except Exception as e:  # a connection that was closed for being idle, or by eviction, is made again
                client = Client(server)
                self.refused += 1
                if not isinstance(e, (OSError, ValueError)) and "http.client" not in type(e).__module__:
                    self.wrong.append(repr(e))
                continue
            self.served += 1
            self.refused += wrote == 429
            if status != 200 or wrote not in (200, 429):
                self.wrong.append((status, wrote))
            time.sleep(0.002)

    def progress(self, what):
        before = self.served
        for _ in range(6000):
            if self.served > before + 1:
                break
            time.sleep(0.01)
        check(self.served > before + 1, "an honest client is served after " + what)


# ---- connections

def dial(context=None, alpn="http/1.1"):
    context = context or server.context_of("admin")
    context.set_alpn_protocols([alpn])
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    return context.wrap_socket(raw, server_hostname="127.0.0.1")


def read_all(s):
    data = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                return data
            data += piece
    except GONE:
        return data


def ask(text, context=None):
    """The whole answer to bytes as they are; b"" when the connection was just closed."""
    try:
        with dial(context) as s:
            try:
                s.sendall(text)
            except GONE:
                pass
            return read_all(s)
    except GONE:
        return b""


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def literal(name, value):
    def text(t):
        t = t.encode()
        if len(t) < 127:
            return bytes([len(t)]) + t
        n, out = len(t) - 127, bytearray([127])
        while n > 127:
            out.append(n & 127 | 128)
            n >>= 7
        out.append(n)
        return bytes(out) + t
    return b"\x00" + text(name) + text(value)


def head(path, method="GET", extra=()):
    return b"".join(literal(n, v) for n, v in ((":method", method), (":scheme", "https"), (":authority", "x"), (":path", path)) + tuple(extra))


class H2:
    def __init__(self, settings=b""):
        self.s = dial(alpn="h2")
        self.s.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.buffer = b""

    def send(self, data):
        """False: the server has had enough."""
        try:
            self.s.sendall(data)
            return True
        except GONE:
            return False

    def frames(self):
        """Frames until the end of the connection."""
        while True:
            while len(self.buffer) >= 9 and len(self.buffer) >= 9 + int.from_bytes(self.buffer[:3], "big"):
                n = int.from_bytes(self.buffer[:3], "big")
                kind, flags, stream = self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big")
                payload, self.buffer = self.buffer[9:9 + n], self.buffer[9 + n:]
                yield kind, flags, stream, payload
            try:
                piece = self.s.recv(65536)
            except GONE:
                return
            if not piece:
                return
            self.buffer += piece

    def close(self):
        try:
            self.s.close()
        except GONE:
            pass


# ---- what they do

def malformed():
    cases = [b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
             b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
             b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
             b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
             b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
             b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200000 + b"\r\n\r\n", b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
             b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: b\r\n" % i for i in range(5000)) + b"\r\n",
             b"GET " + PATH.encode() + b"?" + b"&".join(b"a%d=1" % i for i in range(2000)) + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]
    codes = [status_of(ask(c)) for c in cases]
    check(all(400 <= c < 600 for c in codes), "malformed requests are refused: %s" % codes)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        check(b" 400 " in read_all(s)[:20], "plain HTTP is told so")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as s:
        s.sendall(os.urandom(5000))
        read_all(s)


def bodies(admin):
    deep = 100000
    yaml_bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join("%s: &%s [%s]\n" % (c, c, ",".join(["*" + p] * 9)) for p, c in
                                                       zip("abcdefghi", "bcdefghij"))
    cases = {
        "deep JSON": ("application/json", b"[" * deep), "deep objects": ("application/json", b'{"a":' * deep),
        "deep YAML": ("application/yaml", b"[" * deep), "a YAML bomb": ("application/yaml", yaml_bomb.encode()),
        "deep protobuf": ("application/vnd.kubernetes.protobuf", b"k8s\0" + b"\x12\xff\xff\xff\xff\x07" * 20000),
        "many values": ("application/json", b'{"data":{' + b",".join(b'"%d":{}' % i for i in range(300000)) + b"}}"),
        "long numbers": ("application/json", b'{"data":' + b"9" * 1000000 + b"}"), "bad UTF-8": ("application/json", b'{"a":"\xff\xfe\xc0\x80"}'),
        "no JSON": ("application/json", os.urandom(100000)), "a large body": ("application/json", b" " * (4 << 20)),
        "gzip": ("application/json", gzip.compress(b" " * (50 << 20)), ("Content-Encoding: gzip\r\n",)),
        "patch operations": ("application/json-patch+json", json.dumps([{"op": "copy", "from": "", "path": "/data/a"}] * 9000).encode(), (), "PATCH"),
    }
    codes = {}
    for name, case in cases.items():
        media, body, extra, method = (case + ((), "POST"))[:4] if len(case) < 4 else case
        path = PATH + ("/honest" if method == "PATCH" else "")
        text = "%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n" % (
            method, path, media, len(body), "".join(extra))
        codes[name] = status_of(ask(text.encode() + body))
    check(all(400 <= c < 500 for c in codes.values()), "bodies are refused: %s" % codes)


def slow():
    """Heads and bodies that never end hold nobody up. (Their deadlines are tried in lib/io/http_server_test.c.)"""
    held = []
    for i in range(100):
        s = dial()
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nA: " if i % 2 else b"POST " + PATH.encode() +
                  b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 3000000\r\n\r\n{")
        held.append(s)
    return held


def close_all(held):
    for s in held:
        s.close()


def many_connections():
    held, refused = [], 0
    for _ in range(CONNECTIONS):
        try:
            held.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        except OSError:
            refused += 1
    return held


def half_bodies(admin):
    """More bytes of unfinished bodies than the limit allows: some are refused with 429, and the rest may go on."""
    held, refused = [], 0
    piece = b"x" * 65536
    for _ in range(120):
        try:
            s = dial()
        except GONE:
            refused += 1
            continue
        s.settimeout(5)
        try:
            s.sendall(b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 3000000\r\n\r\n")
            for _ in range(45):
                s.sendall(piece)
        except GONE:
            refused += 1
        held.append(s)
    for s in held:
        s.setblocking(False)
        try:
            refused += b" 429 " in s.recv(100)[:20]
        except (ssl.SSLError, BlockingIOError, OSError):
            pass
    check(refused > 0, "unfinished bodies beyond the limit of memory are refused (%d of %d)" % (refused, len(held)))
    close_all(held)


def slow_readers(admin):
    """Lists and watches that nobody reads."""
    held = []
    for i in range(150):
        try:
            h = H2(struct.pack(">HI", 4, 2147483647))
        except GONE:
            continue  # it takes no more
        h.send(frame(WINDOW, 0, 0, struct.pack(">I", 2147418112)))
        h.send(b"".join(frame(HEADERS, 5, 1 + 2 * k, head(PATH + ("?watch=1&resourceVersion=0" if k % 2 else ""))) for k in range(20)))
        held.append(h)
    return held


def h2_floods():
    h = H2()
    alive = all(h.send(b"".join(frame(HEADERS, 5, 1 + 2 * (200 * i + k), head("/version")) + frame(RST, 0, 1 + 2 * (200 * i + k),
                struct.pack(">I", 8)) for k in range(200))) for i in range(200))
    ended = not alive or any(f[0] == GOAWAY for f in h.frames())
    check(ended, "a rapid reset ends the connection")
    h.close()
    h = H2()
    alive = h.send(frame(HEADERS, 1, 1, head("/version")[:20])) and all(h.send(frame(CONTINUATION, 0, 1, literal("a%d" % i, "b" * 100) * 50))
                                                                       for i in range(400))
    check(not alive or any(f[0] == GOAWAY for f in h.frames()), "a flood of CONTINUATION ends the connection")
    h.close()
    for name, flood in (("SETTINGS", frame(SETTINGS, 0, 0)), ("PING", frame(PING, 0, 0, b"12345678"))):
        h = H2()
        alive = all(h.send(flood * 1000) for _ in range(100))
        h.s.settimeout(5)
        list(f for f in h.frames())
        check(True, "a flood of %s is over" % name)
        h.close()
    h = H2()
    h.send(frame(HEADERS, 4, 1, b"".join(literal("a%d" % i, "b" * 4000) for i in range(60))[:16000]))
    h.send(frame(HEADERS, 5, 3, b"\x82\x86\x84" + b"\xbe" * 16000))
    h.s.settimeout(10)
    kinds = {f[0] for f in h.frames()}
    check(GOAWAY in kinds or RST in kinds, "a bomb of header references is refused")
    h.close()


def windows():
    """Streams with windows of zero and of one byte."""
    held = []
    for size in (0, 1):
        for _ in range(20):
            h = H2(struct.pack(">HI", 4, size))
            h.send(b"".join(frame(HEADERS, 5, 1 + 2 * k, head(PATH)) for k in range(100)))
            held.append(h)
    return held


def inflight():
    """Beyond --max-requests-inflight: lists that are not read are in work; system:masters always get an answer."""
    someone = server.context_of("reader")
    h = dial(someone, "h2")
    h.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)) + b"".join(frame(HEADERS, 5, 1 + 2 * k, head(PATH)) for k in range(30)))
    codes = set()
    for _ in range(300):
        answer = ask(b"GET " + PATH.encode() + b"?limit=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", server.context_of("reader"))
        codes.add(status_of(answer))
        if 429 in codes:
            break
    check(429 in codes and b"retry-after: 1" in answer.lower(), "requests beyond --max-requests-inflight get 429 and Retry-After")
    check(status_of(ask(b"GET " + PATH.encode() + b"?limit=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == 200, "but not those of system:masters")
    h.close()


VIEWER = {"metadata": {"name": "reader"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
          "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}]}


def unread():
    """Who never reads what was asked for is cut off after --request-timeout, and others get the place."""
    global server
    first, server = server, serve(DIR + "/pki", DIR + "/unread", ["--max-requests-inflight", "4", "--request-timeout", "5s"])
    admin = Client(server)
    admin.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", VIEWER)
    for i in range(20):
        admin.request("POST", PATH, {"metadata": {"name": "big-%d" % i}, "data": {"a": "x" * 30000}})
    someone = server.context_of("reader")
    one = b"GET " + PATH.encode() + b"/big-0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    h = dial(someone, "h2")
    h.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)) + b"".join(frame(HEADERS, 5, 1 + 2 * k, head(PATH)) for k in range(4)))
    codes = []
    while len(codes) < 3000 and not (429 in codes and codes[-1] == 200):
        codes.append(status_of(ask(one, someone)))
    check(429 in codes and codes[-1] == 200, "lists that nobody reads give their places back after --request-timeout")
    h.close()
    server.end()
    server = first


def fill(admin):
    for i in range(900):
        admin.request("POST", PATH, {"metadata": {"name": "big-%d" % i}, "data": {"a": "x" * 30000}})


def main():
    global server
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    os.mkdir(DIR + "/pki")
    make_certificates(DIR + "/pki")
    issue(DIR + "/pki", "reader", "/CN=reader")
    server = serve(DIR + "/pki", DIR + "/data", ["--max-memory", "%dMi" % LIMIT_MIB, "--max-connections", "500", "--max-requests-inflight", "20",
                                                 "--max-connections-per-client", "450"])
    admin = Client(server)
    admin.request("POST", PATH, {"metadata": {"name": "honest"}})
    admin.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", VIEWER)
    fill(admin)
    honest = Honest()
    honest.start()
    before = descriptors()
    malformed()
    honest.progress("malformed requests")
    bodies(admin)
    honest.progress("bad bodies")
    inflight()
    unread()
    h2_floods()
    honest.progress("floods")
    for attack in (slow, many_connections, windows, lambda: slow_readers(admin)):
        held = attack()
        honest.progress("connections that are held")
        close_all(held)
    half_bodies(admin)
    honest.progress("half bodies")
    honest.stop = True
    honest.join(60)
    check(not honest.wrong and honest.served > 20, "the honest client got what it asked for %d times, refused %d times %s" % (
        honest.served, honest.refused, honest.wrong[:3]))
    peak = proc_status("VmHWM") / 1024
    check(peak < LIMIT_MIB, "memory stayed below the limit: %d of %d MiB" % (peak, LIMIT_MIB))
    for _ in range(3000):
        if descriptors() <= before + 2:
            break
        time.sleep(0.01)
    check(descriptors() <= before + 2, "no descriptor is left behind (%d before, %d now)" % (before, descriptors()))
    check(Client(server).request("GET", "/readyz", raw=True) == (200, b"ok"), "the server is ready")
    check(server.end() == 0, "and ends in order")
    return len(failures) > 0


sys.exit(main())
