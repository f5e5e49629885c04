#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Secrets at rest, through the real API server: what is in the SQLite file and in etcd, rotation, wrong keys, damage."""
import atexit, base64, glob, http.client, json, os, re, shutil, signal, socket, sqlite3, ssl, subprocess, sys, tempfile, time

BIN = os.path.abspath(os.path.join(os.environ.get("B", "build"), "bin", "keelson-apiserver"))
DIR = tempfile.mkdtemp(prefix="keelson-encryption.")
MARK = "the-plain-text-nobody-may-find"
DATA = base64.b64encode(MARK.encode()).decode()
children = {}
failed = 0


def end():
    for p in children.values():
        if p.poll() is None:
            p.kill()
            p.wait()
    shutil.rmtree(DIR, ignore_errors=True)


atexit.register(end)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def check(ok, text):
    global failed
    failed += not ok
    print(("ok - " if ok else "not ok - ") + text, flush=True)


def path(name):
    return os.path.join(DIR, name)


def openssl(*args, **more):
    return subprocess.run(["openssl", *args], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=DIR, **more).stdout


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


certificates()
CONTEXT = ssl.create_default_context(cafile=path("ca.crt"))
CONTEXT.load_cert_chain(path("all.crt"), path("all.key"))
PORTS = {}
KEYS = {n: bytes((i * 37 + ord(n)) % 256 for i in range(32)) for n in "abcx"}


def config(*providers, file="encryption", resources="[secrets]"):
    """providers: "aescbc:a" (the key a), "aescbc:a=x" (the bytes of x under the name a), "identity"."""
    lines = []
    for p in providers:
        kind, _, key = p.partition(":")
        name, _, of = key.partition("=")
        lines.append("    - identity: {}\n" if kind == "identity" else "    - %s: {keys: [{name: %s, secret: %s}]}\n" % (
            kind, name, base64.b64encode(KEYS[of or name]).decode()))
    text = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: %s\n  providers:\n%s" % (
        resources, "".join(lines))
    with open(path(file + ".new"), "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write(text)
    os.rename(path(file + ".new"), path(file))


def spawn(name, store, encryption):
    if os.path.exists(path(name + ".port")):
        os.unlink(path(name + ".port"))
    argv = [BIN, *store, "--listen", "127.0.0.1:0", "--port-file", name + ".port", "--advertise-address", "192.0.2.1", "--tls-cert", "all.crt",
            "--tls-key", "all.key", "--client-ca", "ca.crt", "--sa-key", "sa.key", "--sa-public", "sa.pub", "--authorization-mode",
            "AlwaysAllow", "--service-cidr", "10.96.0.0/24"]
    if encryption:
        argv += ["--encryption-provider-config", encryption, "--encryption-provider-config-automatic-reload=true"]
    with open(path(name + ".log"), "wb") as log:
        children[name] = subprocess.Popen(argv, stdout=log, stderr=log, cwd=DIR)


EMBEDDED = ["--data-dir", "store"]


def wait(what, seconds=60):
    until = time.time() + seconds
    while time.time() < until:
        try:
            found = what()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.05)
    return None


def start(name="s", store=EMBEDDED, encryption="encryption"):
    spawn(name, store, encryption)

    def ready():
        if children[name].poll() is not None:
            raise SystemExit("%s ended: %s" % (name, log(name)))
        if not os.path.exists(path(name + ".port")):
            return False
        PORTS[name] = int(open(path(name + ".port")).read())
        return call("GET", "/readyz", server=name)[0] == 200
    if not wait(ready):
        raise SystemExit("%s did not start: %s" % (name, log(name)))


def stop(name="s"):
    children[name].terminate()
    children[name].wait()


def log(name="s"):
    return open(path(name + ".log"), errors="replace").read()


def refused(name="s", store=EMBEDDED, encryption="encryption"):
    """A start that ends by itself: what it said."""
    spawn(name, store, encryption)
    try:
        return log(name) if children[name].wait(60) == 1 else "ended otherwise: " + log(name)
    except subprocess.TimeoutExpired:
        stop(name)
        return "it started"


def call(method, url, body=None, server="s"):
    c = http.client.HTTPSConnection("127.0.0.1", PORTS[server], context=CONTEXT, timeout=60)
    c.request(method, url, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
    r = c.getresponse()
    data = r.read()
    c.close()
    return r.status, json.loads(data) if r.getheader("Content-Type", "").startswith("application/json") else data.decode()


URL = "/api/v1/namespaces/default/secrets"


def secret(name):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"password": DATA}}


def replace(name, server="s"):
    status, o = call("GET", URL + "/" + name, server=server)
    return o["metadata"]["resourceVersion"], call("PUT", URL + "/" + name, o, server=server)[1]["metadata"]["resourceVersion"]


def files():
    return b"".join(open(f, "rb").read() for f in glob.glob(path("store/objects.db*")))


def row(name):
    db = sqlite3.connect("file:%s?mode=ro" % path("store/objects.db"), uri=True)
    value = db.execute("SELECT value FROM objects WHERE key = ?", ("secrets:default/" + name,)).fetchone()
    db.close()
    return value and value[0]


def rows():
    db = sqlite3.connect("file:%s?mode=ro" % path("store/objects.db"), uri=True)
    all_rows = db.execute("SELECT key, value FROM objects WHERE key LIKE 'secrets:%' ORDER BY key").fetchall()
    db.close()
    return all_rows


def metric(name, server="s", **labels):
    for line in call("GET", "/metrics", server=server)[1].splitlines():
        m = re.fullmatch(r"(\w+)(?:{(.*)})? (\S+)", line)
        if m and m[1] == name and all('%s="%s"' % kv in (m[2] or "") for kv in labels.items()):
            return float(m[3])
    return 0


RELOADS = "apiserver_encryption_config_controller_automatic_reloads_total"


def reloaded(done, status="success", server="s"):
    """Does it and waits until the server has taken (or refused) it."""
    before = metric(RELOADS, server, status=status)
    done()
    return wait(lambda: metric(RELOADS, server, status=status) > before)


def test_plain_becomes_encrypted():
    start(encryption=None)
    call("POST", URL, secret("old"))
    stop()
    check(DATA.encode() in files(), "without a configuration the file has the text: the search finds what is there")
    config("aescbc:a", "identity")
    start()
    check(call("GET", URL + "/old")[1]["data"]["password"] == DATA, "a value stored plain is read through identity")
    before, after = replace("old")
    check(before != after, "an update that changes nothing writes a plain value again")
    before, again = replace("old")
    check(before == after == again, "and once only")
    status, o = call("GET", URL + "/old")
    o["metadata"]["labels"] = {"a": "b"}
    call("PUT", URL + "/old", o)
    call("POST", URL, secret("new"))
    stop()
    check(DATA.encode() not in files() and row("new")[24:].startswith(b"k8s:enc:aescbc:v1:a:"),
          "then the text is nowhere in the store's files, former pages included")


def test_rotation():
    start()
    check(reloaded(lambda: config("secretbox:b", "aescbc:a", "identity")), "a changed file is taken while the server runs")
    check(metric("keelson_apiserver_stored_objects", key="aescbc:a", resource="secrets") == 2, "the metrics tell how many each key has")
    replace("old")
    check(row("old")[24:].startswith(b"k8s:enc:secretbox:v1:b:") and row("new")[24:].startswith(b"k8s:enc:aescbc:v1:a:"),
          "what is written again is written by the first key")
    check(reloaded(lambda: config("secretbox:b", "identity"), "failure"), "a file without a key that is in use is not taken")
    check("1 objects of secrets are stored under the key aescbc:a" in log(), "and the log says what still needs it")
    call("POST", URL, secret("third"))
    check(call("GET", URL + "/new")[0] == 200 and row("third")[24:].startswith(b"k8s:enc:secretbox:v1:b:"), "the former one stays in force")
    taken = reloaded(lambda: replace("new"))
    check(taken, "when nothing needs the key any more, the file is taken")
    with open(path("encryption"), "w") as f:
        f.write("apiVersion: apiserver.config.k8s.io/v1\nkind: Encr")
    check(wait(lambda: "is not \"apiserver" in log()), "half a file is refused with a reason")
    check(call("POST", URL, secret("fourth"))[0] == 201, "and the server goes on")
    config("secretbox:b", "identity")
    stop()
    check(DATA.encode() not in files(), "the text is still nowhere")


def test_wrong_keys():
    before = rows()
    check(len(before) == 4, "four Secrets are there")
    said = refused(encryption=None)
    check("4 values of the store cannot be read" in said and "secrets:default/fourth" in said and "--encryption-provider-config" in said,
          "without the file the server does not start, and says why")
    config("secretbox:c", "identity")
    check("cannot be read" in refused(), "nor with another key")
    config("secretbox:b=x", "identity")
    check("the key \"b\" of the provider secretbox does not open it" in refused(), "nor with other bytes under the key's name")
    config("secretbox:b", "identity", resources="[configmaps]")
    check("does not have for secrets" in refused(), "nor with the key at another resource")
    check(rows() == before, "all values are as before")
    os.chmod(path("encryption"), 0o644)
    config("secretbox:b", "identity")
    os.chmod(path("encryption"), 0o644)
    start()
    check("has the mode 0644" in log(), "a file that others may read is warned of")
    check(len(call("GET", URL)[1]["items"]) == 4, "with the right key all Secrets are there again")
    stop()


def test_damage():
    db = sqlite3.connect(path("store/objects.db"))
    value = bytearray(row("new"))
    value[-20] ^= 1
    db.execute("UPDATE objects SET value = ? WHERE key = 'secrets:default/new'", (bytes(value),))
    db.commit()
    db.close()
    before = row("new")
    start()
    status, o = call("GET", URL)
    check(status == 500 and o["reason"] == "InternalError" and "unable to transform key \"secrets:default/new\"" in o["message"],
          "one damaged value: a list is refused and says which it is")
    check(call("GET", "/api/v1/secrets?limit=1")[0] == 500, "a list of all namespaces, too")
    check(call("GET", "/api/v1/namespaces/kube-system/secrets")[0] == 200, "another namespace's list is whole")
    check(call("GET", URL + "/new")[0] == 500 and call("GET", URL + "/old")[0] == 200, "the other objects are read by name")
    check(call("GET", URL + "?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan")[0] == 500,
          "a watch does not begin with a part of what there is")
    check(call("POST", URL, secret("new"))[0] == 500 and call("PUT", URL + "/new", secret("new"))[0] == 500 and
          call("DELETE", URL + "/new")[0] == 500 and call("DELETE", URL)[0] == 500, "it is neither replaced nor removed")
    check(call("POST", URL, secret("fifth"))[0] == 201 and call("DELETE", URL + "/fifth")[0] == 200, "others are written")
    check(call("GET", "/api/v1/namespaces/default/configmaps")[0] == 200, "other resources are not touched by it")
    check(reloaded(lambda: config("secretbox:c", "identity"), "failure"), "its key is not dropped")
    stop()
    check(row("new") == before, "its bytes are as they were")


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def etcdctl(*args, data=None):
    r = subprocess.run(["etcdctl", "--endpoints", ETCD, *args], cwd=DIR, env=dict(os.environ, ETCDCTL_API="3"), input=data, capture_output=True,
                       timeout=60)
    return r.stdout[:-1]


def get_raw(name):
    return etcdctl("get", "--print-value-only", "/registry/secrets/default/" + name)


def cbc(value, decrypt, iv=None):
    key = KEYS["a"].hex()
    if not decrypt:
        return b"k8s:enc:aescbc:v1:a:" + iv + openssl("enc", "-aes-256-cbc", "-K", key, "-iv", iv.hex(), input=value)
    value = value[len(b"k8s:enc:aescbc:v1:a:"):]
    return openssl("enc", "-d", "-aes-256-cbc", "-K", key, "-iv", value[:16].hex(), input=value[16:])


def test_etcd():
    store = ["--etcd-servers", ETCD]
    config("aescbc:a", "identity")
    config("aescbc:a", "identity", file="encryption2")
    start("s", store)
    start("t", store, "encryption2")
    call("POST", URL, secret("one"))
    raw = get_raw("one")
    check(raw.startswith(b"k8s:enc:aescbc:v1:a:") and DATA.encode() not in raw, "etcd has the encrypted form only")
    check(json.loads(cbc(raw, True))["data"]["password"] == DATA, "openssl reads it with the key")
    o = dict(secret("two"), type="Opaque", metadata={"name": "two", "namespace": "default", "uid": "5bd2d1a2-0000-4000-8000-000000000001",
                                      "creationTimestamp": "2026-01-01T00:00:00Z"})
    etcdctl("put", "/registry/secrets/default/two", data=cbc(json.dumps(o).encode(), False, bytes(range(16))))
    check(wait(lambda: call("GET", URL + "/two")[0] == 200) and call("GET", URL + "/two")[1]["data"]["password"] == DATA,
          "what another program has encrypted is read")
    # A key that only one of the servers has: the wrong order of a rotation.
    check(reloaded(lambda: config("aesgcm:b", "aescbc:a", "identity")), "one of two servers gets a new key")
    version = call("GET", URL, server="t")[1]["metadata"]["resourceVersion"]
    watch = http.client.HTTPSConnection("127.0.0.1", PORTS["t"], context=CONTEXT, timeout=60)
    watch.request("GET", URL + "?watch=1&resourceVersion=" + version)
    events = watch.getresponse()
    replace("one")
    check(get_raw("one").startswith(b"k8s:enc:aesgcm:v1:b:"), "and writes by it")
    status, o = call("GET", URL + "/one", server="t")
    check(status == 500 and "by a key that the encryption configuration does not have" in o["message"], "the other one says what it cannot read")
    check(call("GET", URL, server="t")[0] == 500 and call("GET", URL + "/two", server="t")[0] == 200, "and still reads the rest")
    call("POST", URL, dict(secret("visible"), data={}), server="t")
    seen = json.loads(events.readline())
    check(seen["type"] == "ADDED" and seen["object"]["metadata"]["name"] == "visible", "no watcher is told that the Secret was deleted")
    watch.close()
    config("aesgcm:b", "aescbc:a", "identity", file="encryption2")
    check(wait(lambda: children["t"].poll() == 1), "when it gets the key it ends, to start anew")
    start("t", store, "encryption2")
    check(call("GET", URL + "/one", server="t")[1]["data"]["password"] == DATA, "and then reads everything")
    replace("two")
    replace("visible")
    check(reloaded(lambda: config("aesgcm:b", "identity")), "the old key is dropped after all was written again")
    stop("t")
    config("identity", file="encryption2")
    said = refused("t", store, "encryption2")
    check("load" not in said.split("ERROR")[-1] and "cannot be read" in said, "a server without the keys does not start on it")
    moved = get_raw("one")
    etcdctl("put", "/registry/secrets/default/moved", data=moved)
    check(wait(lambda: call("GET", URL + "/moved")[0] == 500), "AES-GCM: a value that was moved to another name is not read")
    stop("s")


def main():
    test_plain_becomes_encrypted()
    test_rotation()
    test_wrong_keys()
    test_damage()
    global ETCD
    ports = free_ports(2)
    ETCD = "http://127.0.0.1:%d" % ports[0]
    with open(path("etcd.log"), "wb") as out:
        children["etcd"] = subprocess.Popen(["etcd", "--data-dir", "etcd", "--listen-client-urls", ETCD, "--advertise-client-urls", ETCD,
                                             "--listen-peer-urls", "http://127.0.0.1:%d" % ports[1], "--initial-advertise-peer-urls",
                                             "http://127.0.0.1:%d" % ports[1], "--initial-cluster", "default=http://127.0.0.1:%d" % ports[1],
                                             "--unsafe-no-fsync"], stdout=out, stderr=out, cwd=DIR)
    wait(lambda: b"is healthy" in subprocess.run(["etcdctl", "--endpoints", ETCD, "endpoint", "health"], capture_output=True,
                                                 env=dict(os.environ, ETCDCTL_API="3")).stderr + subprocess.run(
        ["etcdctl", "--endpoints", ETCD, "endpoint", "health"], capture_output=True, env=dict(os.environ, ETCDCTL_API="3")).stdout)
    test_etcd()
    print("%d failed" % failed)
    sys.exit(failed != 0)


main()
