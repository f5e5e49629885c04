#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
A disk that fills up under an API server: writes are refused and said to be, reads go on, kill -9 loses nothing that was
acknowledged, and with room again everything does. Needs root. B (build) and
KEELSON_CHECK_SEED (1) from the environment.
"""
import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

from server import CUT, Client, Server, make_certificates

CLONE_NEWNS = 0x20000
WRITERS, ROUNDS, STEP_MB = 6, 3, 6
failed = 0


def check(ok, text):
    global failed
    failed += not ok
    print(("ok - " if ok else "not ok - ") + text, flush=True)


def mount(*args):
    subprocess.run(["mount", *args], check=True)


class Load:
    """Writers of objects of some ten KB. What was acknowledged: name to resourceVersion, absent when deleted."""

    def __init__(self, server, seed):
        self.server, self.seed, self.there, self.maybe, self.gone = server, seed, {}, set(), set()
        self.codes, self.messages, self.stop, self.dying, self.wrong = {}, set(), False, False, []

    def write(self, number):
        rnd, client, n = random.Random(f"{self.seed}/{number}"), Client(self.server), 0
        mine = []
        while not self.stop:
            path = "/api/v1/namespaces/default/secrets"
            if mine and rnd.random() < 0.1:
                name = mine.pop(rnd.randrange(len(mine)))
                method, body, path = "DELETE", None, f"{path}/{name}"
            else:
                name, n = f"{self.seed}-{number}-{n}", n + 1
                method, body = "POST", {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name},
                                        "stringData": {"v": "x" * rnd.randrange(100, 40000)}}
            self.maybe.add(name)
            try:
                status, answer = client.request(method, path, body)
            except CUT:
                if not self.dying:
                    self.wrong.append(f"a connection broke at {method} {name}")
                return
            self.codes[status] = self.codes.get(status, 0) + 1
            if status == 500:
                self.messages.add(answer["message"])
                if method == "POST":
                    self.maybe.discard(name)
                    self.gone.add(name)
                else:
                    mine.append(name)
                    self.maybe.discard(name)
                time.sleep(0.01)
                continue
            self.maybe.discard(name)
            if method == "POST" and status == 201:
                self.there[name] = answer["metadata"]["resourceVersion"]
                mine.append(name)
            elif method == "DELETE" and status == 200:
                self.there.pop(name, None)
                self.gone.add(name)
            else:
                self.wrong.append(f"{method} {name}: {status} {answer}")

    def run(self, until):
        self.stop = self.dying = False
        self.codes, self.messages = {}, set()
        threads = [threading.Thread(target=self.write, args=(i,), daemon=True) for i in range(WRITERS)]
        for t in threads:
            t.start()
        until()
        self.stop = True
        for t in threads:
            t.join()
        self.seed += "i"

    def agrees(self, client):
        status, answer = client.request("GET", "/api/v1/namespaces/default/secrets")
        found = {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in answer["items"]}
        lost = [n for n, rv in self.there.items() if n not in self.maybe and found.get(n) != rv]
        extra = [n for n in found if n in self.gone and n not in self.maybe]
        return status == 200 and not lost and not extra and not self.wrong, f"lost {lost[:3]}, not deleted or refused {extra[:3]} {self.wrong[:2]}"


def main():
    seed = os.environ.get("KEELSON_CHECK_SEED", "1")
    libc, rnd = ctypes.CDLL(None, use_errno=True), random.Random(seed)
    work = tempfile.mkdtemp(prefix="full.", dir="/tmp")
    if libc.unshare(CLONE_NEWNS):
        print("ok - skipped: no mount namespace of its own can be had")
        return
    mount("--make-rprivate", "/")
    server = None
    try:
        make_certificates(work)
        os.mkdir(f"{work}/store")
        size = STEP_MB
        mount("-t", "tmpfs", "-o", f"size={size}m", "none", f"{work}/store")
        server = Server(os.path.abspath(os.path.join(os.environ.get("B", "build"), "bin", "keelson-apiserver")), work, f"{work}/store")
        server.start()
        load = Load(server, seed)

        def full():
            end = time.time() + 60
            while load.codes.get(500, 0) < 30 and time.time() < end:
                time.sleep(0.01)

        def die():
            full()
            time.sleep(rnd.random() * 0.1)
            load.dying = True
            server.end(signal.SIGKILL)

        for i in range(ROUNDS):
            load.run(full)
            said = all("full" in m for m in load.messages)
            check(load.codes.get(201, 0) > 10 and load.codes.get(500, 0) >= 30 and said,
                  f"a disk of {size} MB fills up: {load.codes}, and that is said {'' if said else load.messages}")
            ok, why = load.agrees(Client(server))
            check(ok, f"reads go on, and show what was acknowledged {'' if ok else why}")
            if i % 2 == 0:
                load.run(die)
                size += STEP_MB  # a server that starts wants to write, too
                mount("-o", f"remount,size={size}m", f"{work}/store")
                server.start()
                ok, why = load.agrees(Client(server))
                check(ok, f"kill -9 on the full disk: no acknowledged write is lost ({len(load.there)}) {'' if ok else why}")
            else:
                size += STEP_MB
                mount("-o", f"remount,size={size}m", f"{work}/store")
        status, _ = Client(server).request("POST", "/api/v1/namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "roomy"}})
        check(status == 201, "with room again the same server writes")
        check(server.end() == 0, "and ends in order")
    finally:
        if server:
            server.end(signal.SIGKILL)
        subprocess.run(["umount", f"{work}/store"], check=False)
        shutil.rmtree(work, ignore_errors=True)


main()
sys.exit(failed > 0)
