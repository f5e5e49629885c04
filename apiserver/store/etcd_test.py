#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Two API servers on an etcd of three members with TLS: order, conflicts, claims, keys and values."""
import sys
sys.dont_write_bytecode = True
import json, threading, time

from etcd_harness import *


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


def test_lists():
    """What one server lists at a revision, the other lists at it, too, whether it was there already or not."""
    ok = True
    for i in range(20):
        here, there = "ab"[i % 2], "ba"[i % 2]
        call(here, "POST", MAPS, config_map("list-%d" % i))
        _, first = call(here, "GET", MAPS)
        rv = first["metadata"]["resourceVersion"]
        _, exact = call(there, "GET", MAPS + "?limit=500&resourceVersionMatch=Exact&resourceVersion=" + rv)
        _, newer = call(there, "GET", MAPS + "?resourceVersion=" + rv)
        ok &= exact.get("items") == first["items"] and int(newer["metadata"]["resourceVersion"]) >= int(rv) and \
            {m["metadata"]["name"] for m in first["items"]} <= {m["metadata"]["name"] for m in newer["items"]}
    check(ok, "a list at a revision is the same at both servers")


def test_conflicts():
    call("a", "POST", MAPS, config_map("shared", n="0"))
    _, old = call("a", "GET", MAPS + "/shared")
    results = []

    def put(server):
        mine = json.loads(json.dumps(old))
        mine["data"] = {"n": server}
        results.append(call(server, "PUT", MAPS + "/shared", mine)[0])

    together(put, *"abababab")
    check(sorted(results) == [200] + [409] * 7, "of writes that name one version, exactly one goes through")
    results.clear()

    def patch(server, key):
        for i in range(10):
            results.append(call(server, "PATCH", MAPS + "/shared", {"data": {"%s%d" % (key, i): "x"}}, MERGE)[0])

    together(patch, *zip("abab", "abcd"))
    _, now = call("a", "GET", MAPS + "/shared")
    want = results.count(200)
    have = len(now["data"]) - 1
    check(want == have and want >= 36, "patches that name no version are tried again (%d of 40 went through, %d are there)" % (want, have))


def test_watch():
    _, start = call("a", "GET", MAPS)
    rv = start["metadata"]["resourceVersion"]
    seen = {"a": [], "b": []}

    def watch(server):
        c = connect(server)
        c.request("GET", MAPS + "?watch=1&resourceVersion=" + rv)
        answer = c.getresponse()
        while len(seen[server]) < 200:
            e = json.loads(answer.readline())
            seen[server].append((e["type"], e["object"]["metadata"]["name"], int(e["object"]["metadata"]["resourceVersion"])))
        c.close()

    watches = [threading.Thread(target=watch, args=(s,)) for s in "ab"]
    [t.start() for t in watches]

    def write(server, k):
        for i in range(20):
            call(server, "POST", MAPS, config_map("w-%s-%d" % (k, i)))
            call(server, "PATCH", MAPS + "/w-%s-%d" % (k, i), {"data": {"a": "b"}}, MERGE)
            if i % 2:
                call(server, "DELETE", MAPS + "/w-%s-%d" % (k, i))

    together(write, *zip("abab", "0123"))
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

    together(make, *zip("abab", "0123"))
    ips = [s["spec"]["clusterIP"] for s in made]
    ports = [s["spec"]["ports"][0]["nodePort"] for s in made]
    check(len(made) == 32 and len(set(ips)) == 32 and len(set(ports)) == 32, "two servers give no address and no port twice (%d Services)" %
          len(made))
    results = []

    def ask(server):
        results.append(call(server, "POST", "/api/v1/namespaces/default/services", service("one-" + server, clusterIP="10.96.0.7"))[0])

    together(ask, "a", "b")
    check(sorted(results) == [201, 422], "one address asked for at both is had by one: %s" % results)
    claims = etcdctl("get", "--prefix", "--keys-only", "/registry-keelson/claims/ip/").split()
    taken = next(s for s in "ab" if call("a", "GET", "/api/v1/namespaces/default/services/one-" + s)[0] == 200)
    call("b", "DELETE", "/api/v1/namespaces/default/services/one-" + taken)
    left = etcdctl("get", "--prefix", "--keys-only", "/registry-keelson/claims/ip/").split()
    check("/registry-keelson/claims/ip/10.96.0.7" in claims and "/registry-keelson/claims/ip/10.96.0.7" not in left,
          "a claim goes with its Service")
    code, _ = call("a", "POST", "/api/v1/namespaces/default/services", service("again", clusterIP="10.96.0.7"))
    check(code == 201, "and the address can be had again")


def field(number, value):
    """A length-delimited field of protobuf."""
    def varint(n):
        out = b""
        while n > 127:
            out, n = out + bytes([n & 127 | 128]), n >> 7
        return out + bytes([n])
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def stored(api_version, kind, name, namespace, rest=b""):
    """An object as another API server stores it: Kubernetes' envelope around its message."""
    metadata = field(1, name) + (field(3, namespace) if namespace else b"") + field(5, "6f5c7f3e-0000-4000-8000-00000000abcd") + \
        field(8, field(1, 1767225600)) + field(11, field(1, "from") + field(2, "elsewhere"))
    unknown = field(1, field(1, api_version) + field(2, kind)) + field(2, field(1, metadata) + rest) + field(3, "") + field(4, "")
    return b"k8s\0" + unknown


# Where Kubernetes does not keep a resource below its plural.
PATHS = {"nodes": "minions", "services": "services/specs", "endpoints": "services/endpoints", "replicationcontrollers": "controllers",
         "ingresses.networking.k8s.io": "ingress", "apiservices.apiregistration.k8s.io": "apiregistration.k8s.io/apiservices",
         "customresourcedefinitions.apiextensions.k8s.io": "apiextensions.k8s.io/customresourcedefinitions"}


def resources():
    """(group, apiVersion, plural, kind, namespaced) of everything that can be listed."""
    _, groups = call("a", "GET", "/apis")
    versions = [("", "v1")] + [(g["name"], v["groupVersion"]) for g in groups["groups"] for v in g["versions"]]
    for group, version in versions:
        base = "/apis/" + version if group else "/api/v1"
        for r in call("a", "GET", base)[1]["resources"]:
            if "/" not in r["name"] and "list" in r["verbs"] and "create" in r["verbs"]:
                yield group, version, r["name"], r["kind"], r["namespaced"], base


def test_foreign():
    """Every kind as another server stores it, in protobuf, at Kubernetes' place; then changed here, and stored as JSON."""
    wrong, count = [], 0
    for group, version, plural, kind, namespaced, base in resources():
        name, space = "foreign-" + version.replace("/", "-"), "default" if namespaced else None
        full = plural + ("." + group if group else "")
        key = "/registry/%s/%s%s" % (PATHS.get(full, plural), space + "/" if space else "", name)
        url = base + ("/namespaces/default/" if namespaced else "/") + plural
        etcdctl("put", key, stdin=stored(version, kind, name, space))
        code, seen = call("b", "GET", url + "/" + name)
        _, all_of_them = call("a", "GET", url)
        count += 1
        if code != 200 or seen["kind"] != kind or seen["apiVersion"] != version or (seen["metadata"].get("labels") or {}).get("from") != "elsewhere" or \
                seen["metadata"]["creationTimestamp"] != "2026-01-01T00:00:00Z" or seen["metadata"].get("namespace") != space or \
                name not in [i["metadata"]["name"] for i in all_of_them.get("items", [])]:
            wrong.append((full, version, code, seen))
        etcdctl("del", key)
        if call("a", "GET", url + "/" + name)[0] != 404:
            wrong.append((full, version, "still there"))
    check(not wrong and count >= 60, "%d resources are read from where and how Kubernetes stores them %s" % (count, wrong[:3] or ""))
    labels = field(1, "app") + field(2, "web")
    container = field(1, "c") + field(2, "an/image")
    deployment = field(2, field(1, 3) + field(2, field(1, labels)) + field(3, field(1, field(11, labels)) + field(2, field(2, container))))
    etcdctl("put", "/registry/deployments/default/foreign", stdin=stored("apps/v1", "Deployment", "foreign", "default", deployment))
    _, seen = call("a", "GET", "/apis/apps/v1/namespaces/default/deployments/foreign")
    check(seen["spec"]["replicas"] == 3 and seen["spec"]["selector"] == {"matchLabels": {"app": "web"}} and
          seen["spec"]["template"]["spec"]["containers"][0]["image"] == "an/image", "with what they contain")
    etcdctl("put", "/registry/configmaps/default/foreign", stdin=stored("v1", "ConfigMap", "foreign", "default", field(2, field(1, "k") + field(2, "v"))))
    _, seen = call("b", "PATCH", MAPS + "/foreign", {"data": {"l": "w"}}, MERGE)
    value = json.loads(etcdctl("get", "--print-value-only", "/registry/configmaps/default/foreign"))
    check(seen["data"] == {"k": "v", "l": "w"} == value["data"] and value["metadata"]["uid"] == "6f5c7f3e-0000-4000-8000-00000000abcd",
          "and what is changed here is stored as JSON")
    etcdctl("put", "/registry/configmaps/default/json", stdin=json.dumps(value).replace("foreign", "json").encode())
    etcdctl("put", "/registry/configmaps/default/broken", stdin=b"k8s\0\x0a\xff")
    etcdctl("put", "/registry/unknownthings/default/x", stdin=b"{}")
    check(call("a", "GET", MAPS + "/json")[1]["data"] == {"k": "v", "l": "w"} and call("a", "GET", MAPS + "/broken")[0] == 404,
          "JSON that others write is read, what is not readable is left alone")
    etcdctl("del", "/registry/configmaps/default/broken")
    secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "bare", "namespace": "default", "uid": "6f5c7f3e-0000-4000-8000-00000000abce",
              "creationTimestamp": "2026-01-01T00:00:00Z"}, "data": {"k": "dg=="}}
    etcdctl("put", "/registry/secrets/default/bare", stdin=json.dumps(secret).encode())
    _, seen = call("a", "GET", "/api/v1/namespaces/default/secrets/bare")
    check(seen.get("type") == "Opaque", "what they leave out is filled in")
    check(call("a", "PUT", "/api/v1/namespaces/default/secrets/bare", seen)[0] == 200, "and what is read can be written")
    etcdctl("del", "/registry/secrets/default/bare")


def pod_template(name, size=0):
    """What has no limit of its own."""
    env = [{"name": "A", "value": "x" * size}]
    return {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": name}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i", "env": env}]}}}


def test_outcomes():
    """What a write that fails would have made refuses nobody."""
    wrong, url = [], "/api/v1/namespaces/default/podtemplates"
    call("a", "POST", url, pod_template("grow"))

    def ask(delay, want, *request):
        time.sleep(delay)
        code, answer = call("a", *request)
        if code not in want:
            wrong.append((request[:2], code, answer.get("message", "")[:100]))

    for i in range(20):
        # The large one may come second, too.
        name, small, delay = "outcome-%d" % i, {"metadata": {"labels": {"k%d" % i: "v"}}}, i * 0.003
        size = (1800 << 10) + 25000 * i  # some are refused by etcd, the others by its gRPC
        together(ask, (0, (413, 409), "POST", url, pod_template(name, size)), (delay, (201,), "POST", url, pod_template(name)))
        together(ask, (0, (413,), "PATCH", url + "/grow", {"template": pod_template("", size)["template"]}, MERGE),
                 (delay, (200,), "PATCH", url + "/grow", small, MERGE))
    check(not wrong, "an object that etcd refuses is in nobody's way %s" % (wrong[:4] or ""))
    _, seen = call("b", "GET", url + "/grow")
    check(len(seen["metadata"]["labels"]) == 20 and len(json.dumps(seen)) < 10000, "and nothing of it is left")


def test_compaction():
    _, made = call("a", "POST", MAPS, config_map("old", n="0"))
    rv = made["metadata"]["resourceVersion"]
    there = etcdctl("get", "--rev", rv, "--print-value-only", "/registry/configmaps/default/old")
    check('"n":"0"' in there, "etcd has the past")
    check(eventually(lambda: not etcdctl("get", "--rev", rv, "/registry/configmaps/default/old")), "and forgets it when the interval has passed")
    check(call("a", "GET", MAPS + "/old")[0] == 200, "but not the present")


def test_endpoints():
    want = ["192.0.2.1", "192.0.2.2"]

    def told():
        _, e = call("a", "GET", "/api/v1/namespaces/default/endpoints/kubernetes")
        return [a["ip"] for a in (e.get("subsets") or [{"addresses": []}])[0]["addresses"]] == want
    check(eventually(told), "the kubernetes Service leads to both servers")


def test_end():
    for s in "ab":
        children[s].terminate()
    check(all(children[s].wait(PATIENCE) == 0 for s in "ab"), "both end in order")


def test_start():
    for member in range(3):
        start_etcd(member)
    interval = ("--etcd-compaction-interval", "5s")
    check(start_server("a", *interval), "an API server starts on an empty etcd")
    check(start_server("b", *interval), "and a second one on what the first has made")


run(test_start, test_reads_and_keys, test_lists, test_conflicts, test_watch, test_claims, test_foreign, test_outcomes, test_compaction,
    test_endpoints, test_end)
