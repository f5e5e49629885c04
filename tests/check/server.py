# SPDX-License-Identifier: GPL-2.0-or-later
"""A keelson-apiserver on loopback in a directory of its own, and requests to it. Only what was started here is ended."""
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from urllib.parse import urlencode

READ_TIMEOUT_S = 20
CUT = (OSError, http.client.HTTPException, ValueError)  # what a connection that dies looks like from here


def openssl(*args, text=None):
    subprocess.run(["openssl", *args], check=True, input=text, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_certificates(d):
    for name in ("ca", "sa"):
        openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", f"{d}/{name}.key")
    openssl("req", "-x509", "-new", "-key", f"{d}/ca.key", "-subj", "/CN=check-ca", "-days", "2", "-out", f"{d}/ca.crt")
    openssl("ec", "-in", f"{d}/sa.key", "-pubout", "-out", f"{d}/sa.pub")
    with open(f"{d}/ext", "w", encoding="ascii") as f:
        f.write("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    issue(d, "server", "/CN=kube-apiserver")
    issue(d, "admin", "/O=system:masters/CN=kubernetes-admin")


def issue(d, name, subject):
    """A certificate of the CA in d, for a server on 127.0.0.1 or a client."""
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", f"{d}/{name}.key")
    openssl("req", "-new", "-key", f"{d}/{name}.key", "-subj", subject, "-out", f"{d}/{name}.csr")
    openssl("x509", "-req", "-in", f"{d}/{name}.csr", "-CA", f"{d}/ca.crt", "-CAkey", f"{d}/ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", f"{d}/ext", "-out", f"{d}/{name}.crt")


class Server:
    """One data directory and the process that serves it."""

    def __init__(self, binary, pki, data, options=()):
        self.binary, self.pki, self.data, self.options, self.process, self.port = binary, pki, data, options, None, 0
        self.context = self.context_of("admin")

    def context_of(self, name):
        """TLS of a client with this certificate; None: without one."""
        context = ssl.create_default_context(cafile=f"{self.pki}/ca.crt")
        if name:
            context.load_cert_chain(f"{self.pki}/{name}.crt", f"{self.pki}/{name}.key")
        return context

    def start(self):
        port_file, p = f"{self.data}.port", self.pki
        if os.path.exists(port_file):
            os.unlink(port_file)
        with open(f"{self.data}.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, *(() if "--etcd-servers" in self.options else ("--data-dir", self.data)), "--listen", "127.0.0.1:0", "--port-file", port_file,
                 "--advertise-address", "192.0.2.1", "--tls-cert", f"{p}/server.crt", "--tls-key", f"{p}/server.key",
                 "--client-ca", f"{p}/ca.crt", "--sa-key", f"{p}/sa.key", "--sa-public", f"{p}/sa.pub",
                 *self.options],
                stderr=log, stdout=log)
        for _ in range(3000):
            if os.path.exists(port_file):
                break
            if self.process.poll() is not None:
                raise RuntimeError(f"the API server ended with {self.process.returncode}: {self.log_end()}")
            time.sleep(0.01)
        with open(port_file, encoding="ascii") as f:
            self.port = int(f.read())
        while Client(self).request("GET", "/readyz", raw=True)[0] != 200:
            time.sleep(0.01)

    def log_end(self):
        with open(f"{self.data}.log", encoding="utf-8", errors="replace") as f:
            return f.read()[-1500:]

    def end(self, how=signal.SIGTERM):
        """Its exit status; negative after a signal."""
        if not self.process:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(60)
        self.process = None
        return status

    def freeze(self):
        """Every thread stands still when it returns."""
        pid = self.process.pid
        os.kill(pid, signal.SIGSTOP)
        for tid in os.listdir(f"/proc/{pid}/task"):
            while True:
                with open(f"/proc/{pid}/task/{tid}/stat", encoding="ascii", errors="replace") as f:
                    if f.read().rsplit(")", 1)[1].split()[0] in "TtZX":
                        break
                time.sleep(0.0005)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)


class Etcd:
    """One member without TLS, whose data need not outlive the machine."""

    def __init__(self, directory):
        self.directory, self.process, self.url, self.peer = directory, None, None, None

    def start(self):
        with socket.socket() as a, socket.socket() as b:
            for s in (a, b):
                s.bind(("127.0.0.1", 0))
            self.url, self.peer = (f"http://127.0.0.1:{s.getsockname()[1]}" for s in (a, b))
        os.mkdir(self.directory, 0o700)
        self.run()

    def run(self):
        peer = self.peer
        with open(f"{self.directory}/log", "ab") as log:
            self.process = subprocess.Popen(
                ["etcd", "--data-dir", f"{self.directory}/data", "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                 "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
                 "--unsafe-no-fsync", "--log-level", "error"], stdout=log, stderr=log)
        for _ in range(600):
            if self.process.poll() is not None:
                raise RuntimeError(f"etcd ended with {self.process.returncode}")
            try:
                self.revision()
                return
            except subprocess.CalledProcessError:
                time.sleep(0.05)
        raise RuntimeError("etcd does not answer")

    def die(self):
        """And be back at once."""
        self.end()
        self.run()

    def control(self, *args):
        return subprocess.run(["etcdctl", "--endpoints", self.url, *args], env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30).stdout

    def revision(self):
        return json.loads(self.control("get", "/none", "-w", "json"))["header"]["revision"]

    def forget(self, prefix):
        """Removes what is below, and the history up to now."""
        self.control("del", "--prefix", prefix)
        self.control("compact", str(self.revision()))

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()


class Client:
    """Requests over one kept connection; for one thread."""

    def __init__(self, server, context=None):
        self.server, self.context, self.connection = server, context or server.context, None

    def connect(self, timeout=READ_TIMEOUT_S):
        return http.client.HTTPSConnection("127.0.0.1", self.server.port, context=self.context, timeout=timeout)

    def request(self, method, path, body=None, media="application/json", query=None, raw=False):
        if query:
            path += "?" + urlencode(query)
        if not self.connection:
            self.connection = self.connect()
        try:
            self.connection.request(method, path, json.dumps(body) if body is not None else None,
                                    {"Content-Type": media} if body is not None else {})
            answer = self.connection.getresponse()
            data = answer.read()
        except CUT:
            self.connection.close()
            self.connection = None
            raise
        return answer.status, data if raw else json.loads(data)

    def stream(self, path, query):
        """The connection's socket and the response, its frames to be read by readline()."""
        connection = self.connect()
        connection.request("GET", path + "?" + urlencode(query))
        sock = connection.sock
        return connection, sock, connection.getresponse()


def break_socket(sock):
    """From another thread: the reader sees the end."""
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass
