#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What PodSecurity only warns of: templates of workloads, and pods that a namespace's new level does not suit."""
import json
import os
import shutil
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.join(ROOT, os.environ.get("B", "build"), "bin", "keelson-apiserver")
sys.path.insert(0, os.path.join(ROOT, "tests", "check"))
from server import Client, Server, make_certificates  # noqa: E402

NS = "/api/v1/namespaces/default"
failed = 0


def write(server, method, path, body):
    """Status and texts of the Warning headers."""
    connection = Client(server).connect()
    media = "application/json" if method == "POST" else "application/merge-patch+json"
    connection.request(method, path, json.dumps(body), {"Content-Type": media})
    answer = connection.getresponse()
    answer.read()
    warnings = [json.loads(w.split(" ", 2)[2]) for w in answer.headers.get_all("Warning") or []]
    connection.close()
    return answer.status, warnings


def check(what, got, want):
    global failed
    print(f"{'ok' if got == want else 'not ok'} - {what}{'' if got == want else f': {got!r}'}")
    failed += got != want


def run(server):
    spec = {"hostNetwork": True, "containers": [{"name": "c", "image": "i", "securityContext": {"privileged": True}}]}
    plain = {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80}]}]}
    write(server, "POST", f"{NS}/serviceaccounts", {"metadata": {"name": "default"}})
    for name, what in (("b", spec), ("a", spec), ("z", spec), ("p", plain)):
        check(f"pod {name}", write(server, "POST", f"{NS}/pods", {"metadata": {"name": name}, "spec": what}), (201, []))

    def label(mode, level):
        return write(server, "PATCH", NS, {"metadata": {"labels": {f"pod-security.kubernetes.io/{mode}": level}}})
    check("a stricter level tells of pods, alike ones together", label("enforce", "baseline"), (200, [
        'existing pods in namespace "default" violate the new PodSecurity enforce level "baseline:latest"',
        "a (and 2 other pods): host namespaces, privileged", "p: hostPort"]))
    check("the same level again does not", label("enforce", "baseline"), (200, []))
    check("nor does a looser one", label("enforce", "privileged"), (200, []))
    check("a wrong level is refused", label("enforce", "strict")[0], 422)
    label("warn", "baseline")
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"hostNetwork": True, "containers": [{"name": "c", "image": "i"}]}}}}
    check("a workload's template", write(server, "POST", "/apis/apps/v1/namespaces/default/deployments", deployment), (201, [
        'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)']))
    check("but not its size", write(server, "PATCH", "/apis/apps/v1/namespaces/default/deployments/d/scale", {"spec": {"replicas": 2}}),
          (200, []))


def main():
    directory = tempfile.mkdtemp(prefix="podsecurity-test-")
    server = None
    try:
        make_certificates(directory)
        server = Server(BINARY, directory, f"{directory}/data")
        server.start()
        run(server)
    finally:
        if server:
            server.end()
        shutil.rmtree(directory)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
