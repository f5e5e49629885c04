# SPDX-License-Identifier: GPL-2.0-or-later
"""
Two API servers on one etcd, in the place of one with a store of its own: every connection goes to either. Both die at the end of an
epoch, and etcd with them at times; in the middle of an epoch etcd dies alone.
"""
import base64
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading

from reference import KINDS, require
from server import Server
from store import same_state

SERVERS = 2
PATHS = {"nodes": "minions"}


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class EtcdServer:
    """What history.py takes for one server."""

    copies, tells_stored = False, True

    def __init__(self, binary, pki, data):
        os.mkdir(data)
        self.binary, self.pki, self.data, self.process = binary, pki, data, None
        self.random, self.etcd, self.stop, self.deaths = random.Random(data[-4:]), None, None, 0
        self.ports = free_ports(2)
        self.url = f"https://127.0.0.1:{self.ports[0]}"
        self.servers = [Server(binary, pki, f"{data}/server{i}", store=[
            "--etcd-servers", self.url, "--etcd-cafile", f"{pki}/ca.crt", "--etcd-certfile", f"{pki}/server.crt", "--etcd-keyfile",
            f"{pki}/server.key"]) for i in range(SERVERS)]
        self.context = self.servers[0].context

    @property
    def port(self):
        return self.random.choice(self.servers).port

    def start_etcd(self):
        p = self.pki
        with open(f"{self.data}/etcd.log", "ab") as log:
            self.etcd = subprocess.Popen(
                ["etcd", "--name", "m", "--data-dir", f"{self.data}/etcd", "--listen-client-urls", self.url, "--advertise-client-urls",
                 self.url, "--listen-peer-urls", f"http://127.0.0.1:{self.ports[1]}", "--initial-advertise-peer-urls",
                 f"http://127.0.0.1:{self.ports[1]}", "--initial-cluster", f"m=http://127.0.0.1:{self.ports[1]}", "--client-cert-auth",
                 "--trusted-ca-file", f"{p}/ca.crt", "--cert-file", f"{p}/server.crt", "--key-file", f"{p}/server.key",
                 "--heartbeat-interval", "20", "--election-timeout", "200", "--log-level", "error"], stdout=log, stderr=log)

    def kill_etcd(self):
        self.etcd.kill()
        self.etcd.wait()
        self.deaths += 1

    def start(self):
        if not self.etcd:
            self.start_etcd()
        for s in self.servers:
            s.start()
        self.stop = threading.Event()
        self.shaker = threading.Thread(target=self.shake, args=(self.random.random() * 0.6,))
        self.shaker.start()

    def shake(self, after):
        """etcd dies once while the servers live."""
        if not self.stop.wait(after):
            self.kill_etcd()
            self.start_etcd()

    def end(self, how=signal.SIGTERM):
        if self.stop:
            self.stop.set()
            self.shaker.join()
            self.stop = None
        running = [s.process for s in self.servers if s.process]
        for p in running:
            p.send_signal(how)
        for s in self.servers:
            s.process = None
        statuses = [p.wait(60) for p in running]
        if how == signal.SIGKILL and self.etcd and self.random.random() < 0.5:
            self.kill_etcd()
            self.etcd = None
        return max(statuses, key=abs, default=0)

    def close(self):
        """Ends everything."""
        self.end(signal.SIGKILL)
        if self.etcd:
            self.kill_etcd()
            self.etcd = None

    def log_end(self):
        return "".join(s.log_end() for s in self.servers)

    def check_file(self, history):
        """After the orderly end, etcd has the last state."""
        p = self.pki
        text = subprocess.run(["etcdctl", "--endpoints", self.url, "--cacert", f"{p}/ca.crt", "--cert", f"{p}/server.crt", "--key",
                               f"{p}/server.key", "get", "--prefix", "/registry/", "-w", "json"], check=True, capture_output=True,
                              env=dict(os.environ, ETCDCTL_API="3")).stdout
        answer = json.loads(text)
        revision, objects = answer["header"]["revision"], {k: {} for k in KINDS}
        for kv in answer["kvs"]:
            key = base64.b64decode(kv["key"]).decode()[len("/registry/"):]
            for k in KINDS:
                place = PATHS.get(k.plural, k.plural) + "/"
                if key.startswith(place):
                    o = json.loads(base64.b64decode(kv["value"]))
                    o["metadata"]["resourceVersion"] = str(kv["mod_revision"])
                    objects[k][key[len(place):]] = o
        newest = history.acks.newest(len(history.acks.list))
        require(revision >= newest, f"etcd is at revision {revision}, {newest} was acknowledged")
        same_state(history, history.epochs[-1], "etcd", revision, objects)


def installed():
    return shutil.which("etcd") and shutil.which("etcdctl")
