#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Two API servers on an etcd of three members with TLS: keys, order, conflicts, claims, and the loss of either."""
import atexit, base64, http.client, json, os, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time

BIN = os.path.join(os.environ.get("B", "build"), "bin", "keelson-apiserver")
DIR = tempfile.mkdtemp(prefix="keelson-etcd.")
children = {}


def end():
    for p in children.values():
        if p.poll() is None:
            p.kill()
            p.wait()
    shutil.rmtree(DIR, ignore_errors=True)


atexit.register(end)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
failed = 0


def check(ok, text):
    global failed
    failed += not ok
    print(("ok - " if ok else "not ok - ") + text, flush=True)


def path(name):
    return os.path.join(DIR, name)


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


PORTS = free_ports(6)
MEMBERS = ["https://127.0.0.1:%d" % p for p in PORTS[:3]]


def spawn(name, argv):
    log = open(path(name + ".log"), "ab")
    children[name] = subprocess.Popen(argv, stdout=log, stderr=log, cwd=DIR)


def start_etcd(i):
    tls = [a for kind in ("", "peer-") for a in
           ("--%scert-file" % kind, "all.crt", "--%skey-file" % kind, "all.key", "--%strusted-ca-file" % kind, "ca.crt",
            "--%sclient-cert-auth" % kind)]
    peers = ",".join("m%d=https://127.0.0.1:%d" % (n, PORTS[3 + n]) for n in range(3))
    spawn("m%d" % i, ["etcd", "--name", "m%d" % i, "--data-dir", "m%d" % i, "--listen-client-urls", MEMBERS[i], "--advertise-client-urls",
                      MEMBERS[i], "--listen-peer-urls", "https://127.0.0.1:%d" % PORTS[3 + i], "--initial-advertise-peer-urls",
                      "https://127.0.0.1:%d" % PORTS[3 + i], "--initial-cluster", peers, "--heartbeat-interval", "50",
                      "--election-timeout", "500", "--log-level", "error", *tls])


def etcdctl(*args):
    r = subprocess.run(["etcdctl", "--endpoints", ",".join(MEMBERS), "--cacert", "ca.crt", "--cert", "all.crt", "--key", "all.key", *args],
                       cwd=DIR, env=dict(os.environ, ETCDCTL_API="3"), capture_output=True, text=True, timeout=20)
    return r.stdout


SERVER_PORTS = {}


def start_server(name):
    file = path(name + ".port")
    if os.path.exists(file):
        os.unlink(file)
    number = str(1 + "ab".index(name))
    order = MEMBERS if name == "a" else MEMBERS[1:] + MEMBERS[:1]
    spawn(name, [os.path.abspath(BIN), "--etcd-servers", ",".join(order), "--etcd-cafile", "ca.crt", "--etcd-certfile", "all.crt",
                 "--etcd-keyfile", "all.key", "--listen", "127.0.0.1:0", "--port-file", file, "--advertise-address", "192.0.2." + number, "--tls-cert",
                 "all.crt", "--tls-key", "all.key", "--client-ca", "ca.crt", "--sa-key", "sa.key", "--sa-public", "sa.pub",
                 "--authorization-mode", "AlwaysAllow", "--service-cidr", "10.96.0.0/24"])
    until = time.time() + 20
    while time.time() < until:
        if os.path.exists(file):
            SERVER_PORTS[name] = int(open(file).read())
            try:
                if call(name, "GET", "/readyz", raw=True)[0] == 200:
                    return True
            except OSError:
                pass
        time.sleep(0.05)
    return False


def context():
    c = ssl.create_default_context(cafile=path("ca.crt"))
    c.load_cert_chain(path("all.crt"), path("all.key"))
    return c


local = threading.local()


def call(server, method, url, body=None, content="application/json", raw=False):
    port = SERVER_PORTS[server]
    if not hasattr(local, "open"):
        local.open = {}
    c = local.open.pop(port, None) or http.client.HTTPSConnection("127.0.0.1", port, context=CONTEXT, timeout=30)
    try:
        c.request(method, url, json.dumps(body) if body is not None else None, {"Content-Type": content})
        r = c.getresponse()
        data = r.read()
    except http.client.HTTPException as e:
        raise OSError(str(e))
    local.open[port] = c
    return r.status, data if raw else json.loads(data)


MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def service(name, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": dict({"ports": [{"port": 80}], "selector": {"a": "b"}}, **spec)}


def test_reads_and_keys():
    ok = True
    for i in range(30):
        code, made = call("ab"[i % 2], "POST", MAPS, config_map("read-%d" % i, n=str(i)))
        other, seen = call("ba"[i % 2], "GET", MAPS + "/read-%d" % i)
        ok &= code == 201 and other == 200 and seen == made
    check(ok, "what one server has acknowledged, the other shows at once and alike")
    _, made = call("a", "POST", MAPS, config_map("gone"))
    ok = all(call("ab"[i % 2], "DELETE", MAPS + "/gone")[0] == 200 and
             call("ba"[i % 2], "POST", MAPS, config_map("gone"))[0] == 201 for i in range(10))
    check(ok, "a name that one server has freed can be used at the other at once")
    _, a = call("a", "GET", MAPS)
    _, b = call("b", "GET", MAPS)
    check(a["items"] == b["items"] and len(a["items"]) >= 31, "both list the same")
    value = json.loads(etcdctl("get", "--print-value-only", "/registry/configmaps/default/read-3"))
    check(value["data"] == {"n": "3"} and "resourceVersion" not in value["metadata"], "etcd has the object without its revision")
    answer = json.loads(etcdctl("get", "-w", "json", "/registry/configmaps/default/read-3"))
    _, seen = call("b", "GET", MAPS + "/read-3")
    check(seen["metadata"]["resourceVersion"] == str(answer["kvs"][0]["mod_revision"]), "the resourceVersion is etcd's mod revision")
    keys = etcdctl("get", "--prefix", "--keys-only", "/registry/").split()
    wanted = ["/registry/namespaces/default", "/registry/services/specs/default/kubernetes", "/registry/clusterroles/cluster-admin",
              "/registry/priorityclasses/system-node-critical"]
    check(all(k in keys for k in wanted), "keys are where Kubernetes has them")
    etcdctl("put", "/registry/configmaps/default/foreign", json.dumps(config_map("foreign", from_="etcdctl") | {
        "metadata": {"name": "foreign", "namespace": "default", "uid": "6f5c7f3e-0000-4000-8000-000000000001",
                     "creationTimestamp": "2026-01-01T00:00:00Z"}}))
    code, seen = call("a", "GET", MAPS + "/foreign")
    check(code == 200 and seen["data"] == {"from_": "etcdctl"}, "what others write into etcd is served")


def test_conflicts():
    call("a", "POST", MAPS, config_map("shared", n="0"))
    _, old = call("a", "GET", MAPS + "/shared")
    results = []

    def put(server):
        mine = json.loads(json.dumps(old))
        mine["data"] = {"n": server}
        results.append(call(server, "PUT", MAPS + "/shared", mine)[0])

    threads = [threading.Thread(target=put, args=(s,)) for s in "abababab"]
    [t.start() for t in threads]
    [t.join() for t in threads]
    check(sorted(results) == [200] + [409] * 7, "of writes that name one version, exactly one goes through")
    results.clear()

    def patch(server, key):
        for i in range(10):
            results.append(call(server, "PATCH", MAPS + "/shared", {"data": {"%s%d" % (key, i): "x"}}, MERGE)[0])

    threads = [threading.Thread(target=patch, args=("ab"[i % 2], "abcd"[i])) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    _, now = call("a", "GET", MAPS + "/shared")
    want = results.count(200)
    have = len(now["data"]) - 1
    check(want == have and want >= 36, "patches that name no version are tried again (%d of 40 went through, %d are there)" % (want, have))


def test_watch():
    _, start = call("a", "GET", MAPS)
    rv = start["metadata"]["resourceVersion"]
    seen = {}

    def watch(server):
        c = http.client.HTTPSConnection("127.0.0.1", SERVER_PORTS[server], context=CONTEXT, timeout=30)
        c.request("GET", MAPS + "?watch=1&timeoutSeconds=3&resourceVersion=" + rv)
        lines = c.getresponse().read().splitlines()
        seen[server] = [(e["type"], e["object"]["metadata"]["name"], int(e["object"]["metadata"]["resourceVersion"]))
                        for e in map(json.loads, lines)]

    watches = [threading.Thread(target=watch, args=(s,)) for s in "ab"]
    [t.start() for t in watches]

    def write(server, k):
        for i in range(20):
            call(server, "POST", MAPS, config_map("w-%s-%d" % (k, i)))
            call(server, "PATCH", MAPS + "/w-%s-%d" % (k, i), {"data": {"a": "b"}}, MERGE)
            if i % 2:
                call(server, "DELETE", MAPS + "/w-%s-%d" % (k, i))

    writers = [threading.Thread(target=write, args=("ab"[i % 2], str(i))) for i in range(4)]
    [t.start() for t in writers]
    [t.join() for t in writers]
    [t.join() for t in watches]
    order = [e[2] for e in seen["a"]]
    check(len(order) == 200 and order == sorted(order) and seen["a"] == seen["b"], "watchers of both servers see the same %d events in order"
          % len(order))


def test_claims():
    made = []

    def make(server, k):
        for i in range(8):
            code, s = call(server, "POST", "/api/v1/namespaces/default/services", service("s-%s-%d" % (k, i), type="NodePort"))
            if code == 201:
                made.append(s)

    threads = [threading.Thread(target=make, args=("ab"[i % 2], str(i))) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    ips = [s["spec"]["clusterIP"] for s in made]
    ports = [s["spec"]["ports"][0]["nodePort"] for s in made]
    check(len(made) == 32 and len(set(ips)) == 32 and len(set(ports)) == 32, "two servers give no address and no port twice (%d Services)" %
          len(made))
    results = []

    def ask(server):
        results.append(call(server, "POST", "/api/v1/namespaces/default/services", service("one-" + server, clusterIP="10.96.0.7"))[0])

    threads = [threading.Thread(target=ask, args=(s,)) for s in "ab"]
    [t.start() for t in threads]
    [t.join() for t in threads]
    check(sorted(results) == [201, 422], "one address asked for at both is had by one: %s" % results)
    claims = etcdctl("get", "--prefix", "--keys-only", "/registry-keelson/claims/ip/").split()
    taken = next(s for s in "ab" if call("a", "GET", "/api/v1/namespaces/default/services/one-" + s)[0] == 200)
    call("b", "DELETE", "/api/v1/namespaces/default/services/one-" + taken)
    left = etcdctl("get", "--prefix", "--keys-only", "/registry-keelson/claims/ip/").split()
    check("/registry-keelson/claims/ip/10.96.0.7" in claims and "/registry-keelson/claims/ip/10.96.0.7" not in left,
          "a claim goes with its Service")
    code, _ = call("a", "POST", "/api/v1/namespaces/default/services", service("again", clusterIP="10.96.0.7"))
    check(code == 201, "and the address can be had again")


class Load:
    """Writers whose acknowledged creates are remembered."""

    def __init__(self, prefix):
        self.prefix, self.stop, self.done, self.unknown, self.lost = prefix, False, [], 0, 0
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(4)]
        [t.start() for t in self.threads]

    def run(self, k):
        n = 0
        while not self.stop:
            name, n = "%s-%d-%d" % (self.prefix, k, n), n + 1
            server = "ab"[k % 2]
            try:
                code, _ = call(server, "POST", MAPS, config_map(name, n=str(n)))
            except (OSError, ValueError):
                self.unknown += 1
                time.sleep(0.05)
                continue
            if code == 201:
                self.done.append(name)
            else:
                self.unknown += 1

    def finish(self):
        self.stop = True
        [t.join() for t in self.threads]
        ok = True
        for s in "ab":
            _, items = call(s, "GET", MAPS)
            there = {i["metadata"]["name"] for i in items["items"]}
            ok &= set(self.done) <= there
        return ok


def leader():
    text = etcdctl("endpoint", "status", "-w", "json")
    for e in json.loads(text):
        if e["Status"]["leader"] == e["Status"]["header"]["member_id"]:
            return MEMBERS.index(e["Endpoint"])
    return 0


def test_loss():
    load = Load("member")
    time.sleep(1)
    victim, before = leader(), len(load.done)
    children["m%d" % victim].kill()
    children["m%d" % victim].wait()
    time.sleep(5)
    after = len(load.done)
    ok = load.finish()
    check(ok and before and after > before + 20, "the leader is killed: no acknowledged write is lost, and writing goes on "
          "(%d before, %d after, %d without an answer)" % (before, len(load.done) - before, load.unknown))
    check(load.unknown == 0, "and every write was answered")
    start_etcd(victim)
    load = Load("server")
    time.sleep(1)
    before = len(load.done)
    children["b"].kill()
    children["b"].wait()
    again = start_server("b")
    time.sleep(1)
    ok = load.finish()
    check(again and ok and before, "an API server is killed: no acknowledged write is lost (%d)" % len(load.done))
    children["m0"].send_signal(signal.SIGSTOP)
    codes = [call(s, "POST", MAPS, config_map("hung-" + s))[0] for s in "ab"]
    check(codes == [201, 201], "a member hangs: writes go on at another (%s)" % codes)
    children["m0"].send_signal(signal.SIGCONT)


def test_compacted():
    children["a"].send_signal(signal.SIGSTOP)
    for m in range(3):  # one after the other, so that a server on any of them has to begin a new watch
        children["m%d" % m].kill()
        children["m%d" % m].wait()
        start_etcd(m)
        until = time.time() + 15
        while time.time() < until and len(json.loads(etcdctl("endpoint", "status", "-w", "json") or "[]")) < 3:
            time.sleep(0.2)
    for i in range(30):
        call("b", "POST", MAPS, config_map("unseen-%d" % i))
    now = json.loads(etcdctl("get", "-w", "json", "/registry/configmaps/default/unseen-29"))["header"]["revision"]
    etcdctl("compact", str(now))
    children["a"].send_signal(signal.SIGCONT)
    try:
        code = children["a"].wait(15)
    except subprocess.TimeoutExpired:
        code = None
        children["a"].kill()
        children["a"].wait()
    check(code == 1, "a server that has missed changes which were compacted ends, so that its watchers list anew (%s)" % code)
    check(start_server("a") and call("a", "GET", MAPS + "/unseen-29")[0] == 200, "and shows them after its next start")


def test_endpoints():
    until = time.time() + 15
    want = ["192.0.2.1", "192.0.2.2"]
    have = []
    while time.time() < until and have != want:
        _, e = call("a", "GET", "/api/v1/namespaces/default/endpoints/kubernetes")
        have = [a["ip"] for a in (e.get("subsets") or [{"addresses": []}])[0]["addresses"]]
        time.sleep(0.2)
    check(have == want, "the kubernetes Service leads to both servers: %s" % have)


def test_outage():
    for m in ("m0", "m1", "m2"):
        children[m].send_signal(signal.SIGSTOP)
    until = time.time() + 15
    code, text = 200, b""
    while time.time() < until and code == 200:
        code, text = call("a", "GET", "/readyz", raw=True)
        time.sleep(0.1)
    check(code == 500 and b"store" in text, "without etcd /readyz fails")
    code, _ = call("a", "GET", MAPS + "/shared")
    check(code == 500, "and reads that need it are refused (%d)" % code)
    for m in ("m0", "m1", "m2"):
        children[m].send_signal(signal.SIGCONT)
    until = time.time() + 15
    while time.time() < until and call("a", "GET", "/readyz", raw=True)[0] != 200:
        time.sleep(0.1)
    check(call("a", "GET", MAPS + "/shared")[0] == 200 and call("b", "POST", MAPS, config_map("after"))[0] == 201,
          "when it is back everything goes on")


def test_end():
    for s in "ab":
        children[s].terminate()
    check(all(children[s].wait(10) == 0 for s in "ab"), "both end in order")


if not shutil.which("etcd") or not shutil.which("etcdctl"):
    print("ok - skipped: etcd is not installed")
    sys.exit(0)
certificates()
CONTEXT = context()
for member in range(3):
    start_etcd(member)
check(start_server("a"), "an API server starts on an empty etcd")
check(start_server("b"), "and a second one on what the first has made")
try:
    test_reads_and_keys()
    test_conflicts()
    test_watch()
    test_claims()
    test_loss()
    test_compacted()
    test_outage()
    test_endpoints()
    test_end()
except Exception as e:
    check(False, "the test itself: %r" % e)
    raise
finally:
    if failed:
        for s in "ab":
            sys.stderr.write("--- %s\n" % s + open(path(s + ".log"), errors="replace").read()[-3000:])
sys.exit(1 if failed else 0)
