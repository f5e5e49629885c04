# SPDX-License-Identifier: GPL-2.0-or-later
"""An etcd of three members and API servers on it, all with TLS, on loopback: for the tests beside it. Only what was started here is ended."""
import atexit, http.client, json, os, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time

BIN = os.path.abspath(os.path.join(os.environ.get("B", "build"), "bin", "keelson-apiserver"))
DIR = tempfile.mkdtemp(prefix="keelson-etcd.")
PATIENCE = 60  # seconds; a wait that succeeds costs nothing
MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
children, failures, server_ports, local = {}, [], {}, threading.local()


def end():
    for p in children.values():
        if p.poll() is None:
            p.kill()
            p.wait()
    shutil.rmtree(DIR, ignore_errors=True)


atexit.register(end)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def check(ok, text):
    if not ok:
        failures.append(text)
    print(("ok - " if ok else "not ok - ") + text, flush=True)
    return ok


def path(name):
    return os.path.join(DIR, name)


def eventually(what, seconds=PATIENCE):
    """The first true answer, or the last one."""
    until = time.time() + seconds
    while True:
        answer = what()
        if answer or time.time() > until:
            return answer
        time.sleep(0.05)


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=DIR)


def certificates():
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
            "-subj", "/CN=test", "-days", "2")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "all.key", "-out", "all.csr", "-subj",
            "/O=system:masters/CN=admin")
    with open(path("ext"), "w") as f:
        f.write("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    openssl("x509", "-req", "-in", "all.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", "all.crt", "-days", "2",
            "-extfile", "ext")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key")
    openssl("ec", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    context = ssl.create_default_context(cafile=path("ca.crt"))
    context.load_cert_chain(path("all.crt"), path("all.key"))
    return context


PORTS = free_ports(6)
MEMBERS = ["https://127.0.0.1:%d" % p for p in PORTS[:3]]
PEERS = ["https://127.0.0.1:%d" % p for p in PORTS[3:]]
CONTEXT = certificates()


def spawn(name, argv):
    with open(path(name + ".log"), "ab") as log:
        children[name] = subprocess.Popen(argv, stdout=log, stderr=log, cwd=DIR)


def kill(name, how=signal.SIGKILL):
    children[name].send_signal(how)
    if how not in (signal.SIGSTOP, signal.SIGCONT):
        children[name].wait(PATIENCE)


def start_etcd(i, *more, members=range(3)):
    tls = [a for kind in ("", "peer-") for a in
           ("--%scert-file" % kind, "all.crt", "--%skey-file" % kind, "all.key", "--%strusted-ca-file" % kind, "ca.crt",
            "--%sclient-cert-auth" % kind)]
    spawn("m%d" % i, ["etcd", "--name", "m%d" % i, "--data-dir", "m%d" % i, "--listen-client-urls", MEMBERS[i], "--advertise-client-urls",
                      MEMBERS[i], "--listen-peer-urls", PEERS[i], "--initial-advertise-peer-urls", PEERS[i], "--initial-cluster",
                      ",".join("m%d=%s" % (n, PEERS[n]) for n in members), "--heartbeat-interval", "50", "--election-timeout", "500",
                      "--log-level", "error", *tls, *more])


def etcdctl(*args, stdin=None, to=None):
    """Its output; what it says of members that are not there does not matter."""
    r = subprocess.run(["etcdctl", "--endpoints", ",".join(to or MEMBERS), "--cacert", "ca.crt", "--cert", "all.crt", "--key", "all.key",
                        *args], cwd=DIR, env=dict(os.environ, ETCDCTL_API="3"), capture_output=True, timeout=PATIENCE, input=stdin)
    return r.stdout.decode() if r.returncode == 0 else ""


def status():
    return json.loads(etcdctl("endpoint", "status", "-w", "json") or "[]")


def leader():
    """The number of the member that leads; None: there is none."""
    for e in status():
        if e["Status"]["leader"] == e["Status"]["header"]["member_id"]:
            return MEMBERS.index(e["Endpoint"])
    return None


def wait_members(n=3):
    return eventually(lambda: sum(e["Status"].get("leader", 0) != 0 for e in status()) == n)


def wait_ready(name):
    """Whether the server says so; False when it has ended."""
    def ready():
        if children[name].poll() is not None:
            return "ended"
        try:
            return call(name, "GET", "/readyz", raw=True)[0] == 200
        except OSError:
            return False
    return eventually(ready) is True


def start_server(name, *more):
    file = path(name + ".port")
    if os.path.exists(file):
        os.unlink(file)
    number = str(1 + "ab".index(name))
    order = MEMBERS if name == "a" else MEMBERS[1:] + MEMBERS[:1]
    spawn(name, [BIN, "--etcd-servers", ",".join(order), "--etcd-cafile", "ca.crt", "--etcd-certfile", "all.crt", "--etcd-keyfile", "all.key",
                 "--listen", "127.0.0.1:0", "--port-file", file, "--advertise-address", "192.0.2." + number, "--tls-cert", "all.crt",
                 "--tls-key", "all.key", "--client-ca", "ca.crt", "--sa-key", "sa.key", "--sa-public", "sa.pub", "--authorization-mode",
                 "AlwaysAllow", "--service-cidr", "10.96.0.0/24", *more])
    if not eventually(lambda: os.path.exists(file) or children[name].poll() is not None) or not os.path.exists(file):
        return False
    with open(file) as f:
        server_ports[name] = int(f.read())
    return wait_ready(name)


def connect(server):
    return http.client.HTTPSConnection("127.0.0.1", server_ports[server], context=CONTEXT, timeout=PATIENCE)


def call(server, method, url, body=None, content="application/json", accept=None, raw=False):
    port = server_ports[server]
    if not hasattr(local, "open"):
        local.open = {}
    c = local.open.pop(port, None) or connect(server)
    headers = {"Content-Type": content}
    if accept:
        headers["Accept"] = accept
    try:
        c.request(method, url, json.dumps(body) if body is not None else None, headers)
        r = c.getresponse()
        data = r.read()
    except http.client.HTTPException as e:
        raise OSError(str(e))
    local.open[port] = c
    return r.status, data if raw else json.loads(data)


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def together(work, *arguments):
    """One thread for each of the argument tuples; waits for all."""
    threads = [threading.Thread(target=work, args=a, daemon=True) for a in arguments]
    [t.start() for t in threads]
    [t.join() for t in threads]


class Load:
    """Writers at both servers whose acknowledged creates are remembered."""

    def __init__(self, prefix):
        self.prefix, self.stop, self.done, self.unknown = prefix, False, [], 0
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(4)]
        [t.start() for t in self.threads]

    def run(self, k):
        n = 0
        while not self.stop:
            name, n = "%s-%d-%d" % (self.prefix, k, n), n + 1
            server = "ab"[k % 2]
            try:
                code, _ = call(server, "POST", MAPS, config_map(name, n=str(n)))
            except (OSError, ValueError):
                code = 0
            if code == 201:
                self.done.append(name)
                continue
            self.unknown += 1
            time.sleep(0.05)

    def goes_on(self, n=20):
        """So many more are acknowledged."""
        before = len(self.done)
        return eventually(lambda: len(self.done) >= before + n)

    def finish(self):
        """Whether both servers show every acknowledged one."""
        self.stop = True
        [t.join() for t in self.threads]
        there = [{i["metadata"]["name"] for i in call(s, "GET", MAPS)[1]["items"]} for s in "ab"]
        return bool(self.done) and all(set(self.done) <= t for t in there)


def run(*tests):
    """Runs them and exits."""
    try:
        for t in tests:
            t()
    except Exception as e:
        check(False, "the test itself: %r" % e)
        raise
    finally:
        if failures:
            for name in server_ports:
                with open(path(name + ".log"), errors="replace") as f:
                    sys.stderr.write("--- %s\n%s" % (name, f.read()[-2000:]))
    sys.exit(1 if failures else 0)


if not shutil.which("etcd") or not shutil.which("etcdctl"):
    print("ok - skipped: etcd is not installed")
    sys.exit(0)
