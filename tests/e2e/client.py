#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests/e2e/python.sh asks of the Python client; each command prints one line."""
import json
import multiprocessing
import sys
import threading
import time

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock
from kubernetes.stream import stream

config.load_kube_config()
core = client.CoreV1Api()
NS = "default"


def list_pods():
    print(*[p.metadata.name for p in core.list_namespaced_pod(NS).items])


def watch_maps():
    """Events of an object's life, in order."""
    seen = []
    start = core.list_namespaced_config_map(NS).metadata.resource_version

    def write():
        core.create_namespaced_config_map(NS, {"metadata": {"name": "w"}, "data": {"k": "1"}})
        core.patch_namespaced_config_map("w", NS, {"data": {"k": "2"}})
        core.delete_namespaced_config_map("w", NS)

    threading.Timer(0.2, write).start()
    w = watch.Watch()
    for event in w.stream(core.list_namespaced_config_map, NS, resource_version=start, timeout_seconds=20):
        if event["object"].metadata.name == "w":
            seen.append(event["type"])
        if event["type"] == "DELETED":
            w.stop()
    print(*seen)


def open_exec(pod, command, **more):
    return stream(core.connect_get_namespaced_pod_exec, pod, NS, command=command, stderr=True, stdout=True, tty=False, **more)


def run_exec(pod, *command):
    print(open_exec(pod, list(command), stdin=False).strip())


def streams(pod):
    s = open_exec(pod, ["sh", "-c", "echo out; echo err >&2; exit 3"], stdin=False, _preload_content=False)
    s.run_forever(timeout=20)
    status = json.loads(s.read_channel(3))
    code = status["details"]["causes"][0]["message"]
    print(f"out={s.read_stdout().strip()} err={s.read_stderr().strip()} code={code}")


def stdin(pod):
    s = open_exec(pod, ["sh", "-c", "read line; echo got: $line"], stdin=True, _preload_content=False)
    s.write_stdin("some input\n")
    s.run_forever(timeout=20)
    print(s.read_stdout().strip())


def patch():
    core.create_namespaced_config_map(NS, {"metadata": {"name": "p"}, "data": {}})
    core.patch_namespaced_config_map("p", NS, {"data": {"x": "a"}})
    core.patch_namespaced_config_map("p", NS, [{"op": "add", "path": "/data/y", "value": "b"}])
    core.api_client.set_default_header("Content-Type", "application/merge-patch+json")
    core.patch_namespaced_config_map("p", NS, {"data": {"z": "c"}})
    data = core.read_namespaced_config_map("p", NS).data
    print(data["x"], data["y"], data["z"])
    core.delete_namespaced_config_map("p", NS)


def candidate(name, led):
    """A process that stands for election until it is killed."""
    config.load_kube_config()
    leaderelection.LeaderElection(electionconfig.Config(
        ConfigMapLock("election", NS, name), lease_duration=4, renew_deadline=3, retry_period=1,
        onstarted_leading=lambda: (led.put(name), time.sleep(60)), onstopped_leading=lambda: None)).run()


def elect():
    led = multiprocessing.Queue()
    first, second = (multiprocessing.Process(target=candidate, args=(n, led), daemon=True) for n in ("first", "second"))
    first.start()
    assert led.get(timeout=20) == "first"
    second.start()
    time.sleep(6)
    assert led.empty()
    first.kill()
    assert led.get(timeout=30) == "second"
    second.kill()
    print("first led, second took over")


def missing():
    try:
        core.read_namespaced_pod("nope", NS)
    except ApiException as e:
        print(e.status, json.loads(e.body)["reason"])


COMMANDS = {"list": list_pods, "watch": watch_maps, "exec": run_exec, "streams": streams, "stdin": stdin, "patch": patch,
            "elect": elect, "missing": missing}
COMMANDS[sys.argv[1]](*sys.argv[2:])
