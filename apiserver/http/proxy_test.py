#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy subresources against a backend of our own, in a network namespace of its own: methods, bodies, redirects, TLS, and
connections that switch protocols."""
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BINARY = os.path.join(ROOT, os.environ.get("B", "build"), "bin", "keelson-apiserver")
BACKEND = "192.0.2.10"
sys.path.insert(0, os.path.join(ROOT, "tests", "check"))
from server import Client, Server, make_certificates  # noqa: E402

failed = 0


def check(what, good, saw=""):
    global failed
    print(f"{'ok' if good else 'not ok'} - {what}{'' if good else f': {saw!r}'}")
    failed += not good


def read_request(f):
    """Method, path, headers (lower case), body; None at the end."""
    line = f.readline().decode("latin-1")
    if not line.strip():
        return None
    method, path, _ = line.split(" ", 2)
    headers = {}
    while (line := f.readline().decode("latin-1").strip()):
        name, value = line.split(":", 1)
        headers[name.lower()] = value.strip()
    return method, path, headers, f.read(int(headers.get("content-length", 0)))


def serve_one(conn):
    """One request a connection: what it was is told in the answer."""
    with conn, conn.makefile("rb") as f:
        try:
            request = read_request(f)
        except ValueError:
            return  # not HTTP: the test speaks TLS to the plain port
        if not request:
            return
        method, path, headers, body = request
        if path.startswith("/switch") and headers.get("upgrade") == "loud":
            conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: loud\r\n\r\nhello\n")
            while (line := f.readline()):
                conn.sendall(line.upper())
        elif path.startswith("/refuse"):
            conn.sendall(b"HTTP/1.1 418 No\r\nContent-Length: 6\r\nX-Why: tea\r\n\r\nteapot")
        elif path.startswith("/moved"):
            to = {"/moved-path": "/there", "/moved-host": f"http://{headers['host']}/there", "/moved-out": "http://192.0.2.99/there"}
            conn.sendall(f"HTTP/1.1 302 Found\r\nLocation: {to[path]}\r\nContent-Length: 0\r\n\r\n".encode())
        elif path == "/chunks":
            conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")
        else:
            said = "authorization" in headers or "x-remote-user" in headers
            text = f"{method} {path} {len(body)} {headers.get('content-type', '-')} {'leaks' if said else 'clean'}".encode()
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Seen-For: %s\r\n\r\n" %
                         (len(text), headers.get("x-forwarded-for", "").encode()) + (b"" if method == "HEAD" else text))


def backend(tls):
    """A listening backend's port."""
    listener = socket.create_server((BACKEND, 0))

    def accept():
        while True:
            conn = listener.accept()[0]
            try:
                threading.Thread(target=serve_one, args=(tls.wrap_socket(conn, server_side=True) if tls else conn,), daemon=True).start()
            except OSError:
                conn.close()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def ask(server, method, path, body=None, headers=None):
    """Status, headers, body of one request."""
    connection = Client(server).connect()
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, answer.headers, data


def switch(server, path):
    """Asks for the protocol `loud`; the connection and its buffered file."""
    s = server.context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), 20), server_hostname="127.0.0.1")
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: loud\r\n\r\n".encode())
    return s, s.makefile("rb")


def head_of(f):
    lines = []
    while (line := f.readline().decode().strip()):
        lines.append(line)
    return lines


def make_objects(server, plain, tls):
    """A pod at the backend's address, a Service of it, and a ServiceAccount for the pod."""
    def post(path, body):
        status, answer = Client(server).request("POST", path, body)
        assert status == 201, answer
    ns = "/api/v1/namespaces/default"
    post(f"{ns}/serviceaccounts", {"metadata": {"name": "default"}})
    post(f"{ns}/pods", {"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": plain}]}]}})
    status, answer = Client(server).request("PATCH", f"{ns}/pods/p/status", {"status": {"podIP": BACKEND, "podIPs": [{"ip": BACKEND}]}},
                                            media="application/merge-patch+json")
    assert status == 200, answer
    post(f"{ns}/services", {"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80, "targetPort": plain},
                                                                          {"name": "tls", "port": 443, "targetPort": tls}]}})
    post(f"{ns}/endpoints", {"metadata": {"name": "s"}, "subsets": [{"addresses": [{"ip": BACKEND}], "ports": [
        {"name": "web", "port": plain}, {"name": "tls", "port": tls}]}]})
    return ns


def requests(server, ns):
    pod, service = f"{ns}/pods/p/proxy", f"{ns}/services/s:web/proxy"
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        body = b"x" * 100000 if method in ("POST", "PUT", "PATCH") else None
        status, _, data = ask(server, method, f"{pod}/a/b/?q=1", body, {"Content-Type": "text/x"})
        check(f"{method} reaches a pod", (status, data.decode()) ==
              (200, f"{method} /a/b/?q=1 {len(body or b'')} text/x clean"), (status, data))
    status, headers, data = ask(server, "HEAD", f"{pod}/x")
    check("HEAD too", status == 200 and not data and headers["X-Seen-For"] == "127.0.0.1", (status, data))
    status, headers, _ = ask(server, "GET", pod)
    check("without a slash it is redirected to one", (status, headers["Location"]) == (301, f"{pod}/"), headers["Location"])
    check("a Service by the name of its port", ask(server, "GET", f"{service}/x")[2].startswith(b"GET /x"))
    check("with a scheme", ask(server, "GET", f"{ns}/services/http:s:80/proxy/x")[2].startswith(b"GET /x"))
    check("over TLS", ask(server, "GET", f"{ns}/services/https:s:tls/proxy/x")[2].startswith(b"GET /x"))
    check("TLS that the backend does not speak is told", ask(server, "GET", f"{ns}/services/https:s:web/proxy/x")[0] == 503)
    check("another scheme is refused", ask(server, "GET", f"{ns}/services/ftp:s:web/proxy/x")[0] == 400)
    check("chunks arrive", ask(server, "GET", f"{pod}/chunks")[2] == b"one two")
    for path, want in (("moved-path", f"{pod}/there"), ("moved-host", f"{pod}/there"), ("moved-out", "http://192.0.2.99/there")):
        _, headers, _ = ask(server, "GET", f"{pod}/{path}")
        check(f"redirect {path}", headers["Location"] == want, headers["Location"])


def switching(server, ns):
    for name, path in (("a pod", f"{ns}/pods/p/proxy/switch"), ("a Service over TLS", f"{ns}/services/https:s:tls/proxy/switch")):
        s, f = switch(server, path)
        head = head_of(f)
        check(f"{name} switches protocols", head[0].startswith("HTTP/1.1 101") and "Upgrade: loud" in head, head)
        check("and speaks first", f.readline() == b"hello\n")
        for line in (b"a\n", b"b" * 200000 + b"\n"):
            s.sendall(line)
            check(f"{len(line)} bytes go there and back", f.readline() == line.upper())
        s.close()
    s, f = switch(server, f"{ns}/pods/p/proxy/refuse")
    head = head_of(f)
    check("a backend's refusal is the answer", head[0].startswith("HTTP/1.1 418") and "X-Why: tea" in head, head)
    check("with its body", f.read() == b"teapot")
    s.close()
    s, f = switch(server, f"{ns}/pods/p:1/proxy/switch")
    head = head_of(f)
    check("a backend that is not there is told", head[0].startswith("HTTP/1.1 503"), head)
    s.close()


def main():
    if os.environ.get("KEELSON_IN_NETNS") != "1":
        return subprocess.run(["unshare", "-n", sys.executable, os.path.abspath(__file__)],
                              env={**os.environ, "KEELSON_IN_NETNS": "1"}, check=False).returncode
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{BACKEND}/32", "dev", "lo"], check=True)
    directory = tempfile.mkdtemp(prefix="proxy-test-")
    server = None
    try:
        make_certificates(directory)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(f"{directory}/server.crt", f"{directory}/server.key")
        server = Server(BINARY, directory, f"{directory}/data")
        server.start()
        ns = make_objects(server, backend(None), backend(tls))
        requests(server, ns)
        switching(server, ns)
        check("the server ends in order", server.end() == 0)
    finally:
        if server:
            server.end()
        shutil.rmtree(directory)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
