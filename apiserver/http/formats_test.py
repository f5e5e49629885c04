#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What bodies and answers may be: media types in and out with q values and parameters, duplicate and unknown fields by
fieldValidation, pretty answers, gzip. Against a real API server. usage: formats_test.py; B (build) is the build directory.
"""
import gzip
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/check"))
sys.dont_write_bytecode = True
from server import Client, make_certificates  # pylint: disable=wrong-import-position
from trial import check, directory, finish, serve  # pylint: disable=wrong-import-position

DIR = directory("formats")
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PROTO = "application/vnd.kubernetes.protobuf"
TYPES = "application/json, application/yaml, " + PROTO

class Place:
    def __init__(self, server):
        self.client = Client(server)

    def send(self, method, path, body=None, **headers):
        """(status, headers, body); underscores of header names are hyphens."""
        connection = self.client.connect()
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, answer.headers, data


def test_accept(place):
    as_table, as_meta = "as=Table;g=meta.k8s.io;v=v1", "as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    as_list = "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    one, many = f"{MAPS}/c", MAPS
    table = [
        (one, None, "application/json", b'{"kind":"ConfigMap"'), (one, "*/*", "application/json", b'{"kind":"ConfigMap"'),
        (one, "application/*", "application/json", b"{"), (one, "APPLICATION/JSON", "application/json", b"{"),
        (one, "application/yaml", "application/yaml", b"apiVersion: v1\n"), (one, PROTO, PROTO, b"k8s\0"),
        (one, "application/json;q=0.1, application/yaml;q=0.5", "application/yaml", b"apiVersion"),
        (one, "application/json, application/yaml", "application/json", b"{"),
        (one, f"application/json;q=0, {PROTO}", PROTO, b"k8s\0"), (one, f"text/html, {PROTO};q=0.2, */*;q=0.1", PROTO, b"k8s\0"),
        (one, "application/json; charset=utf-8", "application/json", b"{"),
        (one, f"application/json;{as_table}", "application/json", b'{"kind":"Table"'),
        (one, f"application/json;{as_meta}", "application/json", b'{"kind":"PartialObjectMetadata"'),
        (one, f"{PROTO};{as_meta}", PROTO, b"k8s\0"),
        (one, f"application/json;{as_list}, application/json", "application/json", b'{"kind":"ConfigMap"'),
        (one, f"application/json;as=Table;g=meta.k8s.io;v=v2, application/json;{as_table}", "application/json", b'{"kind":"Table"'),
        (many, f"application/json;{as_list}", "application/json", b'{"kind":"PartialObjectMetadataList"'),
        (many, f"{PROTO};{as_table}, application/json;{as_table}", "application/json", b'{"kind":"Table"'),
        (many, "application/cbor, application/json;q=0.5", "application/json", b'{"kind":"ConfigMapList"'),
    ]
    for path, accept, media, begins in table:
        status, headers, body = place.send("GET", path, **({"Accept": accept} if accept else {}))
        check(status == 200 and headers["Content-Type"] == media and body.startswith(begins), f"{path} as {accept}", status, headers["Content-Type"], body[:200])
    for path, accept in ((one, "application/cbor"), (one, "text/html"), (one, f"application/json;{as_list}"), (many, f"application/json;{as_meta}"),
                         (many, f"{PROTO};{as_table}"), (one, "application/json;as=Table;g=meta.k8s.io;v=v7"), (one, "application/json;q=0"),
                         (one, "application/json;as=Nothing;g=meta.k8s.io;v=v1"), (one, "application/json;stream=list"), (one, ";;;,,;")):
        status, headers, body = place.send("GET", path, Accept=accept)
        got = json.loads(body)
        check((status, got["reason"], got["message"]) == (406, "NotAcceptable", "only the following media types are accepted: " + TYPES),
              f"406 for {path} as {accept}", status, got)


def test_openapi(place):
    proto = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
    for accept, code in (("application/json", 200), ("*/*", 200), (f"{proto},application/json;q=0.5", 200), (proto, 406)):
        status, headers, body = place.send("GET", "/openapi/v3/api/v1", Accept=accept)
        check(status == code and headers["Content-Type"] == "application/json" and json.loads(body), f"OpenAPI v3 as {accept}", status, body[:100])


def test_content_type(place):
    o = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "types"}}
    wrong = "the body of the request was in an unknown format - accepted media types include: "
    for media in ("application/cbor", "text/plain", "application/x-www-form-urlencoded", "application/merge-patch+json", "nonsense"):
        status, _, body = place.send("POST", MAPS, json.dumps(o), Content_Type=media)
        got = json.loads(body)
        check((status, got["reason"], got["message"]) == (415, "UnsupportedMediaType", wrong + TYPES), f"415 for a body of {media}", status, got)
    patches = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
    for media in ("application/json", "application/apply-patch+cbor"):
        status, _, body = place.send("PATCH", f"{MAPS}/c", "{}", Content_Type=media)
        got = json.loads(body)
        check((status, got["reason"], got["message"]) == (415, "UnsupportedMediaType", wrong + patches), f"415 for a patch of {media}", status, got)
    status, _, body = place.send("POST", MAPS, json.dumps(o), Content_Type="application/json; charset=utf-8")
    check(status == 201, "a body's type with parameters", status, body)
    _, _, raw = place.send("GET", f"{MAPS}/types", Accept=PROTO)
    status, _, body = place.send("PUT", f"{MAPS}/types", raw, Content_Type=PROTO)
    check(status == 200 and json.loads(body)["metadata"]["name"] == "types", "protobuf in", status, body)
    # DeleteOptions{gracePeriodSeconds: 0} in the envelope.
    unknown = bytes([0x0a, 0x13, 0x0a, 0x02]) + b"v1" + bytes([0x12, 0x0d]) + b"DeleteOptions" + bytes([0x12, 0x02, 0x08, 0x00])
    status, _, body = place.send("DELETE", f"{MAPS}/types", b"k8s\0" + unknown, Content_Type=PROTO)
    check(status == 200 and json.loads(body)["status"] == "Success", "DeleteOptions in protobuf", status, body)
    status, _, body = place.send("DELETE", f"{MAPS}/c", b"k8s\0\xff\xff\xff", Content_Type=PROTO)
    check(status == 400, "and broken ones", status, body)
    status, _, body = place.send("DELETE", f"{MAPS}/c", b"\xd9\xd9\xf7\xa0", Content_Type="application/cbor")
    check(status == 415, "and in CBOR", status, body)
    status, _, body = place.send("DELETE", f"{MAPS}/d", "gracePeriodSeconds: 0\nkind: DeleteOptions\napiVersion: v1\n", Content_Type="application/yaml")
    check(status == 200, "and in YAML", status, body)


JSON_BODY = """{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "NAME", "name": "NAME", "unknownMeta": "m"},
"spec": {"unknown1": "v", "unknownDupe": "a", "unknownDupe": "b", "paused": true, "paused": false, "selector": {"matchLabels": {"app": "a"}},
"template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i", "unknownNested": "n",
"imagePullPolicy": "Always", "imagePullPolicy": "Never"}]}}}}"""
YAML_BODY = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: NAME
  name: NAME
  unknownMeta: m
spec:
  unknown1: v
  unknownDupe: a
  unknownDupe: b
  paused: true
  paused: false
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec:
      containers:
      - name: c
        image: i
        unknownNested: n
        imagePullPolicy: Always
        imagePullPolicy: Never
"""
UNKNOWN = {f'unknown field "{p}"' for p in ("metadata.unknownMeta", "spec.unknown1", "spec.unknownDupe",
                                              "spec.template.spec.containers[0].unknownNested")}
DUPLICATE = {f'duplicate field "{p}"' for p in ("metadata.name", "spec.paused", "spec.template.spec.containers[0].imagePullPolicy")}
LINES = [f'line {n}: key "{k}" already set in map' for n, k in ((5, "name"), (10, "unknownDupe"), (12, "paused"), (22, "imagePullPolicy"))]


def test_fields(place):
    for kind, text, problems in (("json", JSON_BODY, UNKNOWN | DUPLICATE), ("yaml", YAML_BODY, UNKNOWN | set(LINES))):
        media = f"application/{kind}"
        status, headers, body = place.send("POST", f"{DEPLOYMENTS}?fieldValidation=Strict", text.replace("NAME", "strict"), Content_Type=media)
        got = json.loads(body)
        head = 'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        check(status == 400 and got["reason"] == "BadRequest" and got["message"].startswith(head), f"Strict refuses {kind}", status, got)
        said = got["message"][len(head):]
        if kind == "yaml":
            first = "yaml: unmarshal errors:\n  " + "\n  ".join(LINES) + ", "
            check(said.startswith(first), "and names the lines of YAML first", said)
            check(set(said[len(first):].split(", ")) == UNKNOWN, "and then the unknown fields", said)
        else:
            # What is both is one or the other.
            check(set(said.split(", ")) - {'duplicate field "spec.unknownDupe"'} == problems, "and names every field", said)
        for how in ("Warn", None):
            path = DEPLOYMENTS + (f"?fieldValidation={how}" if how else "")
            status, headers, body = place.send("POST", path, text.replace("NAME", f"{kind}-{how or 'default'}".lower()), Content_Type=media)
            warned = {w[len('299 - "'):-1].replace('\\"', '"') for w in headers.get_all("Warning") or ()}
            check(status == 201 and warned - {'duplicate field "spec.unknownDupe"'} == problems, f"{how or 'no word'} warns of {kind}", status, warned, body)
            check(json.loads(body)["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Never", "and takes the last")
        status, headers, body = place.send("POST", f"{DEPLOYMENTS}?fieldValidation=Ignore", text.replace("NAME", f"{kind}-ignore"), Content_Type=media)
        check(status == 201 and not headers.get_all("Warning"), f"Ignore takes {kind}", status, headers, body)


def test_pretty(place):
    path, compact = f"{MAPS}/c", b'{"kind":"ConfigMap"'
    table = [("", {}, False), ("?pretty=true", {}, True), ("?pretty=1", {}, True), ("?pretty=false", {"User_Agent": "curl/8"}, False),
             ("?pretty=nonsense", {}, False), ("", {"User_Agent": "curl/8.0"}, True), ("", {"User_Agent": "Wget/1"}, True),
             ("", {"User_Agent": "Mozilla/5.0 (X)"}, True), ("", {"User_Agent": "kubectl/v1.36 curl"}, False),
             ("", {"Accept": "application/json;pretty=1"}, True)]
    for query, headers, want in table:
        status, _, body = place.send("GET", path + query, **headers)
        pretty = body.startswith(b'{\n  "kind": "ConfigMap"') or body.startswith(b'{\n  "apiVersion"')
        check(status == 200 and pretty == want and (want or body.startswith(compact)), f"pretty: {query} {headers}", body[:60])


def test_gzip(place):
    for name, size, zipped in (("small", 100 * 1024, False), ("large", 140 * 1024, True)):
        o = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": "x" * size}}
        status, headers, body = place.send("POST", MAPS, json.dumps(o), Content_Type="application/json")
        status, headers, body = place.send("GET", f"{MAPS}/{name}", Accept_Encoding="gzip")
        got = gzip.decompress(body) if headers["Content-Encoding"] == "gzip" else body
        check((headers["Content-Encoding"] == "gzip") == zipped and json.loads(got)["data"]["v"] == "x" * size, f"gzip: {name}", headers)
        status, headers, body = place.send("GET", f"{MAPS}/{name}", Accept_Encoding="gzip;q=0")
        check(headers["Content-Encoding"] is None and json.loads(body)["data"]["v"] == "x" * size, f"no gzip for who refuses it: {name}", headers)


def main():
    make_certificates(DIR)
    server = serve(DIR, f"{DIR}/store")
    place = Place(server)
    for name in ("c", "d"):
        place.send("POST", MAPS, json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}), Content_Type="application/json")
    for test in (test_accept, test_openapi, test_content_type, test_fields, test_pretty, test_gzip):
        test(place)
    check(server.end() == 0, "the server ends in order")
    finish()


main()
