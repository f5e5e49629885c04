#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The end of a real API server: /readyz fails while everything is still served, connections are told, watches end whole, requests under way
are answered, what was acknowledged is there afterwards, and what does not end is cut."""
import json, os, signal, socket, struct, sys, threading, time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/check"))
from server import CUT, Client, make_certificates  # noqa: E402
from trial import check, directory, failures, serve  # noqa: E402

DIR = directory("drain")
PATH = "/api/v1/namespaces/default/configmaps"
server = None


def start(*options):
    global server
    server = serve(DIR + "/pki", DIR + "/data", options)
    return Client(server)


def h2():
    context = server.context_of("admin")
    context.set_alpn_protocols(["h2"])
    s = context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=60), server_hostname="127.0.0.1")
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    return s


def h2_until_end(s):
    """The kinds of the frames that came."""
    data = b""
    s.settimeout(30)
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            data += piece
    except OSError:
        pass
    kinds = []
    while len(data) >= 9:
        n = int.from_bytes(data[:3], "big")
        kinds.append(data[3])
        data = data[9 + n:]
    return kinds


class Writer(threading.Thread):
    """Creates until the server does not answer any more."""

    def __init__(self, n):
        super().__init__(daemon=True)
        self.n, self.acknowledged, self.other = n, [], []

    def run(self):
        client = Client(server)
        for i in range(1000000):
            name = "w%d-%d" % (self.n, i)
            try:
                status, _ = client.request("POST", PATH, {"metadata": {"name": name}}, raw=True)
            except CUT:
                return
            if status == 201:
                self.acknowledged.append(name)
            else:
                self.other.append(status)


def drain():
    admin = start("--shutdown-delay-duration", "2s", "--shutdown-watch-termination-grace-period", "500ms")
    watches = [admin.stream(PATH, {"watch": "1"}) for _ in range(20)]
    idle = h2()
    writers = [Writer(i) for i in range(4)]
    for w in writers:
        w.start()
    while not all(w.acknowledged for w in writers):
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    status = 200
    while status == 200:
        status, text = Client(server).request("GET", "/readyz", raw=True)
    check(status == 500 and b"[-]shutdown failed: reason withheld\n" in text, "/readyz fails once the end was asked for")
    check(Client(server).request("GET", "/livez", raw=True) == (200, b"ok"), "/livez does not")
    check(Client(server).request("GET", PATH, query={"limit": 1})[0] == 200, "new connections are still served")
    whole = 0
    for connection, _, answer in watches:
        try:
            for line in iter(answer.readline, b""):
                json.loads(line)
            whole += answer.isclosed() or answer.read() == b""
        except CUT:
            pass
        connection.close()
    check(whole == len(watches), "every watch ends behind a whole event (%d of %d)" % (whole, len(watches)))
    check(7 in h2_until_end(idle), "HTTP/2 connections get GOAWAY")
    check(server.end() == 0, "the server ends in order")
    for w in writers:
        w.join(60)
    check(not any(w.other for w in writers), "no write was refused")
    admin = start()
    names = {o["metadata"]["name"] for o in admin.request("GET", PATH)[1]["items"]}
    lost = [n for w in writers for n in w.acknowledged if n not in names]
    check(not lost, "nothing that was acknowledged is lost (%d writes)" % sum(len(w.acknowledged) for w in writers))
    server.end()


def bounded():
    """A request that never ends is cut when the grace is over, or at the second signal."""
    for options, signals in ((("--shutdown-grace-period", "300ms"), 1), (("--shutdown-grace-period", "1h"), 2)):
        start(*options)
        s = server.context_of("admin").wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=60), server_hostname="127.0.0.1")
        s.sendall(b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
        check(Client(server).request("GET", "/livez", raw=True)[0] == 200, "the server runs")
        for _ in range(signals):
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        check(server.end() == 0, "what does not end is cut with %s after %d signals" % (" ".join(options), signals))
        s.close()


def goaway():
    """With a chance of 2% a connection does not live for long."""
    start("--goaway-chance", "0.02")
    s = h2()
    head = b"\x82\x87\x84\x41\x01x"  # GET https / x
    sent = 0
    try:
        for i in range(3000):
            s.sendall(struct.pack(">I", len(head))[1:] + b"\1\5" + struct.pack(">I", 1 + 2 * i) + head)
            sent += 1
            if i % 20 == 19:
                time.sleep(0.005)
    except OSError:
        pass
    check(7 in h2_until_end(s), "a connection gets GOAWAY by chance")
    check(Client(server).request("GET", "/livez", raw=True)[0] == 200, "and another one can be made")
    server.end()


def main():
    os.mkdir(DIR + "/pki")
    make_certificates(DIR + "/pki")
    drain()
    bounded()
    goaway()
    return len(failures) > 0


sys.exit(main())
