#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""/metrics and the health checks of a real API server: the text format by a parser of its own, names, types and labels, what is counted,
who may look, and that nobody can make series up."""
import os, re, sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/check"))
from server import Client, issue, make_certificates  # noqa: E402
from trial import check, directory, failures, serve  # noqa: E402

DIR = directory("metrics")
server = None


NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,?)')
NUMBER = re.compile(r"[+-]?(Inf|NaN|[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?)$")


def parse(text):
    """{family: (type, help, {(sample, labels): value})} of a text of format 0.0.4; ValueError says what is wrong with it."""
    families, current = {}, None
    if not text.endswith("\n"):
        raise ValueError("the last line does not end")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, help_text = line[7:].split(" ", 1)
            if name in families or not help_text:
                raise ValueError("HELP again, or empty: " + line)
            families[name] = current = [None, help_text, {}]
            current_name = name
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            if name != current_name or current[0] or kind not in ("counter", "gauge", "histogram"):
                raise ValueError("TYPE in the wrong place: " + line)
            current[0] = kind
        else:
            name = NAME.match(line)
            if not name:
                raise ValueError("no sample: " + line)
            rest, labels = line[name.end():], []
            if rest.startswith("{"):
                rest = rest[1:]
                while not rest.startswith("}"):
                    label = LABEL.match(rest)
                    if not label or (not label[3] and not rest[label.end():].startswith("}")):
                        raise ValueError("labels: " + line)
                    labels.append((label[1], label[2]))
                    rest = rest[label.end():]
                rest = rest[1:]
            if len(set(k for k, _ in labels)) != len(labels) or not rest.startswith(" ") or not NUMBER.match(rest[1:]):
                raise ValueError("sample: " + line)
            allowed = [current_name] if current[0] != "histogram" else [current_name + s for s in ("_bucket", "_sum", "_count")]
            key = (name[0], tuple(sorted(labels)))
            if name[0] not in allowed or key in current[2]:
                raise ValueError("a sample of another family, or twice: " + line)
            current[2][key] = float(rest[1:])
    for name, (kind, _, samples) in families.items():
        if kind == "histogram":
            check_histogram(name, samples)
        elif any(v < 0 for v in samples.values()) and kind == "counter":
            raise ValueError("a negative counter: " + name)
    return families


def check_histogram(name, samples):
    series = {}
    for (sample, labels), value in samples.items():
        plain = tuple(kv for kv in labels if kv[0] != "le")
        series.setdefault(plain, {}).setdefault(sample, []).append((dict(labels).get("le"), value))
    for labels, s in series.items():
        buckets = [(float(le), v) for le, v in s[name + "_bucket"]]
        if buckets != sorted(buckets) or buckets[-1][0] != float("inf") or [v for _, v in buckets] != sorted(v for _, v in buckets):
            raise ValueError("buckets of %s%s" % (name, labels))
        if s[name + "_count"][0][1] != buckets[-1][1] or len(s[name + "_sum"]) != 1:
            raise ValueError("count of %s%s" % (name, labels))


def scrape(client):
    status, text = client.request("GET", "/metrics", raw=True)
    if status != 200:
        raise ValueError("/metrics answers %d" % status)
    return parse(text.decode())


def total(families, family, sample=None, **labels):
    return sum(v for (name, have), v in families[family][2].items()
               if name == (sample or family) and all((k, v) in have for k, v in labels.items()))


def series(families):
    return sum(len(f[2]) for f in families.values())


REQUEST = ["component", "group", "resource", "scope", "subresource", "verb", "version"]
EXPECTED = {
    "apiserver_request_total": ("counter", "[STABLE]", REQUEST + ["code", "dry_run"]),
    "apiserver_request_duration_seconds": ("histogram", "[STABLE]", REQUEST + ["dry_run"]),
    "apiserver_response_sizes": ("histogram", "[STABLE]", REQUEST),
    "apiserver_longrunning_requests": ("gauge", "[STABLE]", REQUEST),
    "apiserver_current_inflight_requests": ("gauge", "[STABLE]", ["request_kind"]),
    "apiserver_storage_objects": ("gauge", "[STABLE]", ["resource"]),
    "apiserver_resource_objects": ("gauge", "[ALPHA]", ["group", "resource"]),
    "apiserver_storage_size_bytes": ("gauge", "[STABLE]", ["storage_cluster_id"]),
    "apiserver_admission_step_admission_duration_seconds": ("histogram", "[STABLE]", ["operation", "rejected", "type"]),
    "apiserver_admission_controller_admission_duration_seconds": ("histogram", "[STABLE]", ["name", "operation", "rejected", "type"]),
    "etcd_request_duration_seconds": ("histogram", "[ALPHA]", ["group", "operation", "resource"]),
    "apiserver_watch_events_total": ("counter", "[ALPHA]", ["group", "resource", "version"]),
    "apiserver_watch_events_sizes": ("histogram", "[ALPHA]", ["group", "resource", "version"]),
    "authentication_attempts": ("counter", "[ALPHA]", ["result"]),
    "authenticated_user_requests": ("counter", "[ALPHA]", ["username"]),
    "apiserver_client_certificate_expiration_seconds": ("histogram", "[ALPHA]", []),
    "kubernetes_build_info": ("gauge", "[BETA]", ["build_date", "compiler", "git_commit", "git_tree_state", "git_version", "go_version",
                                                  "major", "minor", "platform"]),
    "kubernetes_healthcheck": ("gauge", "[STABLE]", ["name", "type"]),
    "kubernetes_healthchecks_total": ("counter", "[STABLE]", ["name", "status", "type"]),
    "process_cpu_seconds_total": ("counter", "", []), "process_open_fds": ("gauge", "", []), "process_max_fds": ("gauge", "", []),
    "process_resident_memory_bytes": ("gauge", "", []), "process_start_time_seconds": ("gauge", "", []),
    "process_virtual_memory_bytes": ("gauge", "", []),
}


def config_map(name):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}


def metrics(admin):
    path = "/api/v1/namespaces/default/configmaps"
    connection, _, watch = admin.stream(path, {"watch": "1"})
    for i in range(3):
        admin.request("POST", path, config_map("m%d" % i))
    admin.request("POST", path, config_map("dry"), query={"dryRun": "All"})
    admin.request("GET", path + "/m0")
    admin.request("GET", path)
    admin.request("PATCH", path + "/m0", {"data": {"c": "d"}}, "application/merge-patch+json")
    admin.request("PATCH", path + "/applied", config_map("applied"), "application/apply-patch+yaml", {"fieldManager": "t"})
    admin.request("DELETE", path + "/m1")
    admin.request("GET", path + "/none")
    for _ in range(5):
        watch.readline()
    f = scrape(admin)
    for name, (kind, stability, labels) in EXPECTED.items():
        have = f.get(name)
        base = sorted(labels)
        ok = bool(have) and have[0] == kind and have[1].startswith(stability) and bool(have[2]) and all(
            sorted(k for k, _ in s if k != "le") == base for _, s in have[2])
        check(ok, "%s is a %s with labels %s" % (name, kind, ",".join(base) or "none"))
    r = {"group": "", "version": "v1", "resource": "configmaps", "component": "apiserver"}
    for verb, code, dry, scope, n in (("POST", "201", "", "resource", 3), ("POST", "201", "All", "resource", 1), ("GET", "200", "", "resource", 1),
                                      ("GET", "404", "", "resource", 1), ("LIST", "200", "", "namespace", 1), ("PATCH", "200", "", "resource", 1),
                                      ("APPLY", "201", "", "resource", 1), ("DELETE", "200", "", "resource", 1)):
        check(total(f, "apiserver_request_total", verb=verb, code=code, dry_run=dry, scope=scope, **r) == n,
              "%d requests %s %s dry_run=%r are counted" % (n, verb, code, dry))
    check(total(f, "apiserver_request_duration_seconds", "apiserver_request_duration_seconds_count", verb="POST", dry_run="", **r) == 3,
          "their durations are observed")
    check(total(f, "apiserver_longrunning_requests", verb="WATCH", **r) == 1, "one watch is open")
    check(total(f, "apiserver_watch_events_total", resource="configmaps") >= 5, "its events are counted")
    check(total(f, "apiserver_storage_objects", resource="configmaps") >= 3 and total(f, "apiserver_resource_objects", group="apps",
                                                                                   resource="deployments") == 0, "objects are counted")
    check(total(f, "etcd_request_duration_seconds", "etcd_request_duration_seconds_count", resource="configmaps", operation="create") >= 4,
          "writes of the store are observed")
    check(total(f, "apiserver_storage_size_bytes") > 4096, "the store has a size")
    le = sorted(float(dict(k)["le"]) for n, k in f["apiserver_request_duration_seconds"][2] if n.endswith("_bucket") and ("verb", "POST") in k
                and ("resource", "configmaps") in k and ("dry_run", "") in k)
    check(le[:5] == [0.005, 0.025, 0.05, 0.1, 0.2] and len(le) == 24, "the buckets are upstream's")
    connection.close()
    for _ in range(200):
        f = scrape(admin)
        if total(f, "apiserver_longrunning_requests", verb="WATCH", **r) == 0:
            break
    check(total(f, "apiserver_longrunning_requests", verb="WATCH", **r) == 0, "it is over when its client has gone")


def cardinality(admin):
    before = series(scrape(admin))
    for i in range(200):
        admin.request("GET", "/api/v1/namespaces/n%d/made-up-%d" % (i, i), raw=True)
        admin.request("GET", "/made/up/%d" % i, raw=True)
        admin.request("GET", "/apis/g%d/v1/things" % i, raw=True)
        admin.request("VERB%d" % i, "/api/v1/pods", raw=True)
        admin.request("GET", "/healthz/none%d" % i, raw=True)
    check(series(scrape(admin)) - before < 300, "a thousand paths and methods that are made up give a few dozen series")


def access():
    issue(server.pki, "someone", "/CN=someone")
    issue(server.pki, "scraper", "/O=system:monitoring/CN=scraper")
    someone, scraper = (Client(server, server.context_of(n)) for n in ("someone", "scraper"))
    nobody = Client(server, server.context_of(None))
    for path, codes in (("/metrics", (403, 403, 200)), ("/readyz/etcd", (403, 403, 200)), ("/livez/ping", (403, 403, 200)),
                        ("/readyz", (200, 200, 200)), ("/livez?verbose", (200, 200, 200)), ("/healthz", (200, 200, 200))):
        got = tuple(c.request("GET", path, raw=True)[0] for c in (nobody, someone, scraper))
        check(got == codes, "%s: anonymous, authenticated, system:monitoring get %s" % (path, codes))


def health(admin):
    def get(path):
        status, text = admin.request("GET", path, raw=True)
        return status, text.decode()
    for endpoint in ("healthz", "livez", "readyz"):
        check(get("/" + endpoint) == (200, "ok"), "/%s says ok" % endpoint)
        status, text = get("/%s?verbose" % endpoint)
        names = re.findall(r"^\[\+\](\S+) ok$", text, re.M)
        check(status == 200 and text.endswith("\n%s check passed\n" % endpoint) and {"ping", "log", "etcd",
              "poststarthook/rbac/bootstrap-roles", "poststarthook/start-system-namespaces-controller",
              "poststarthook/scheduling/bootstrap-system-priority-classes"} <= set(names), "/%s?verbose names its checks" % endpoint)
        check({"etcd-readiness", "informer-sync", "shutdown"} <= set(names) or endpoint != "readyz", "readiness has checks of its own")
        check("shutdown" not in names or endpoint == "readyz", "and %s has them only then" % endpoint)
        check(all(get("/%s/%s" % (endpoint, n)) == (200, "ok") for n in names), "each check of %s has a path" % endpoint)
    status, text = get("/readyz?verbose&exclude=etcd&exclude=none&exclude=no")
    check(status == 200 and "[+]etcd excluded: ok\n" in text and "[+]etcd-readiness ok\n" in text and
          'warn: some health checks cannot be excluded: no matches for "none","no"\nreadyz check passed\n' in text, "checks are excluded by name")
    check(get("/readyz/none")[0] == 404 and get("/livez/shutdown")[0] == 404, "there are no others")
    admin.request("DELETE", "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical")
    check(get("/livez") == (200, "ok"), "what was made at the start may be deleted later")


def main():
    global server
    os.mkdir(DIR + "/pki")
    make_certificates(DIR + "/pki")
    server = serve(DIR + "/pki", DIR + "/data")
    admin = Client(server)
    health(admin)
    metrics(admin)
    cardinality(admin)
    access()
    check(server.end() == 0, "the server ends in order")
    return len(failures) > 0


sys.exit(main())
