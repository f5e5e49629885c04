#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Lists and gets at every resourceVersion there is to ask for, and continue tokens, against a real API server whose event window
is small, so that it forgets. usage: list_test.py; B (build) is the build directory.
"""
import base64
import json
import os
import sys
import threading
import time
from urllib.parse import urlencode

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/check"))
sys.dont_write_bytecode = True
from server import Client, make_certificates  # pylint: disable=wrong-import-position
from trial import check, directory, finish, serve  # pylint: disable=wrong-import-position

DIR = directory("list")

def start():
    make_certificates(DIR)
    return serve(DIR, f"{DIR}/store", ("--watch-window-events", "60"))


MAPS = "/api/v1/namespaces/default/configmaps"
LABEL = {"labelSelector": "list=here"}


class Place:
    """The ConfigMaps of the test and what they were at which revision."""

    def __init__(self, client):
        self.client, self.then = client, {}

    def ask(self, query=None, path=MAPS, method="GET", body=None):
        return self.client.request(method, path, body, query=query)

    def write(self, name, value):
        o = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"list": "here"}}, "data": {"v": value}}
        status, answer = self.ask(method="POST", body=o)
        if status == 409:
            status, answer = self.ask(method="PUT", path=f"{MAPS}/{name}", body=o)
        assert status in (200, 201), answer
        self.note(int(answer["metadata"]["resourceVersion"]), name, value)
        return int(answer["metadata"]["resourceVersion"])

    def delete(self, name):
        assert self.ask(method="DELETE", path=f"{MAPS}/{name}")[0] == 200
        revision = int(self.ask(LABEL)[1]["metadata"]["resourceVersion"])
        self.note(revision, name, None)
        return revision

    def note(self, revision, name, value):
        last = dict(self.then[max(self.then)]) if self.then else {}
        last.pop(name, None)
        if value is not None:
            last[name] = value
        self.then[revision] = last

    def now(self):
        return self.then[max(self.then)]


def content(answer):
    return {o["metadata"]["name"]: o["data"]["v"] for o in answer["items"]}


def invalid(*causes):
    """A Status of ListOptions with these (field, reason, body)."""
    texts = [f"{field}: {body}" for field, _, body in causes]
    message = 'ListOptions.meta.k8s.io "" is invalid: ' + (texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]")

    def holds(status, answer):
        got = [(c.get("field"), c["reason"], c["message"]) for c in answer.get("details", {}).get("causes", [])]
        return status == 422 and answer["reason"] == "Invalid" and answer["message"] == message and got == list(causes)
    return holds


def refused(code, reason, message):
    return lambda status, answer: (status, answer.get("reason"), answer.get("message")) == (code, reason, message)


M, S = "resourceVersionMatch", "sendInitialEvents"
NO_RV = (M, "FieldValueForbidden", "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided")
NO_CONTINUE = (M, "FieldValueForbidden", "Forbidden: resourceVersionMatch is forbidden when continue is provided")
UNKNOWN = (M, "FieldValueNotSupported", 'Unsupported value: "Foo": supported values: "Exact", "NotOlderThan", ""')
UNKNOWN_WATCH = (M, "FieldValueNotSupported", 'Unsupported value: "Foo": supported values: "NotOlderThan"')
EXACT_WATCH = (M, "FieldValueNotSupported", 'Unsupported value: "Exact": supported values: "NotOlderThan"')
EXACT_0 = (M, "FieldValueForbidden", 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
NO_INITIAL = (S, "FieldValueForbidden", "Forbidden: sendInitialEvents is forbidden for list")
ONLY_INITIAL = (M, "FieldValueForbidden", "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
NEEDS_MATCH = (M, "FieldValueForbidden", "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")


def bad(text, why, before="invalid resource version: "):
    return refused(400, "BadRequest", f'{before}resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {why}')


def test_refusals(place):
    table = [
        ({M: "Exact"}, invalid(NO_RV)),
        ({M: "NotOlderThan"}, invalid(NO_RV)),
        ({M: "Foo"}, invalid(NO_RV, UNKNOWN)),
        ({M: "Foo", "resourceVersion": "1"}, invalid(UNKNOWN)),
        ({M: "Exact", "resourceVersion": "0"}, invalid(EXACT_0)),
        ({M: "Exact", "continue": "x"}, invalid(NO_RV, NO_CONTINUE)),
        ({M: "NotOlderThan", "resourceVersion": "1", "continue": "x"}, invalid(NO_CONTINUE)),
        ({S: "true"}, invalid(NO_INITIAL)),
        ({S: "false"}, invalid(NO_INITIAL)),
        ({S: "true", M: "Foo"}, invalid(NO_RV, UNKNOWN, NO_INITIAL)),
        ({"resourceVersion": "abc"}, bad("abc", "invalid syntax")),
        ({"resourceVersion": "-1"}, bad("-1", "invalid syntax")),
        ({"resourceVersion": "99999999999999999999"}, bad("99999999999999999999", "value out of range")),
        ({"resourceVersion": "abc", M: "Exact"}, bad("abc", "invalid syntax")),
        ({"limit": "x"}, refused(400, "BadRequest", 'strconv.ParseInt: parsing "x": invalid syntax')),
        ({"timeoutSeconds": "1s"}, refused(400, "BadRequest", 'strconv.ParseInt: parsing "1s": invalid syntax')),
        ({"watch": "1", M: "NotOlderThan"}, invalid(ONLY_INITIAL)),
        ({"watch": "1", M: "Exact"}, invalid(ONLY_INITIAL, EXACT_WATCH)),
        ({"watch": "1", S: "true"}, invalid(NEEDS_MATCH)),
        ({"watch": "1", S: "false"}, invalid(NEEDS_MATCH)),
        ({"watch": "1", S: "true", M: "Exact"}, invalid(NEEDS_MATCH, EXACT_WATCH)),
        ({"watch": "1", S: "true", M: "Foo"}, invalid(NEEDS_MATCH, UNKNOWN_WATCH)),
        ({"watch": "1", S: "true", M: "NotOlderThan", "continue": "x"}, invalid(NO_CONTINUE)),
        ({"watch": "1", "resourceVersion": "abc"}, bad("abc", "invalid syntax", "")),
        ({"fieldSelector": "spec.color=red"}, refused(400, "BadRequest", "field label not supported: spec.color")),
    ]
    for query, holds in table:
        answer = place.ask(query)
        check(holds(*answer), f"refused: {query}", answer)
    answer = place.ask({"resourceVersion": "x"}, f"{MAPS}/a")
    check(bad("x", "invalid syntax", "")(*answer), "refused: a get with resourceVersion x", answer)


def test_future(place):
    current = max(place.then)
    answers = []

    def ask(query, path):
        begin = time.monotonic()
        status, answer = Client(place.client.server).request("GET", path, query=query)
        answers.append((query, path, status, answer, time.monotonic() - begin))
    asked = str(current + 1000000)
    queries = [({}, f"{MAPS}/a"), ({}, MAPS), ({M: "Exact"}, MAPS), ({M: "NotOlderThan"}, MAPS), ({"limit": "1"}, MAPS),
               ({"watch": "1"}, MAPS), ({"watch": "1", S: "true", M: "NotOlderThan"}, MAPS)]
    threads = [threading.Thread(target=ask, args=({**q, "resourceVersion": asked}, p)) for q, p in queries]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for query, path, status, answer, took in answers:
        details = answer.get("details", {})
        good = status == 504 and answer["reason"] == "Timeout" and details["retryAfterSeconds"] == 1 and took >= 2.9
        good = good and answer["message"].startswith(f"Timeout: Too large resource version: {asked}, current: ")
        good = good and [(c["reason"], c["message"]) for c in details["causes"]] == [("ResourceVersionTooLarge", "Too large resource version")]
        check(good, f"a future revision is waited for, then 504: {path} {query}", answer, took)
    check(len(answers) == len(queries), "every request for a future revision was answered")
    # One that comes true meanwhile is served.
    revision = max(place.then) + 1
    t = threading.Thread(target=ask, args=({"resourceVersion": str(revision)}, f"{MAPS}/soon"))
    t.start()
    time.sleep(0.3)
    while place.write("soon", "now") < revision:
        pass
    t.join()
    check(answers[-1][2] == 200, "a revision that is reached in time is served", answers[-1])


def test_every_revision(place):
    """Lists of each kind at each revision that was, and what they show."""
    revisions = sorted(place.then)
    oldest = revisions[-40]  # well within the window
    for rv in revisions[-40:]:
        for query in ({M: "Exact"}, {"limit": "500"}, {M: "Exact", "limit": "500"}):
            status, answer = place.ask({**LABEL, **query, "resourceVersion": str(rv)})
            if status != 200 or content(answer) != place.then[rv] or answer["metadata"]["resourceVersion"] != str(rv):
                check(False, f"a list of exactly {rv}: {query}", status, answer)
                return
    check(True, "lists of exactly a past revision show what was there then")
    for rv in (oldest, revisions[-1]):
        for query in ({}, {M: "NotOlderThan"}, {M: "NotOlderThan", "limit": "500"}):
            status, answer = place.ask({**LABEL, **query, "resourceVersion": str(rv)})
            check(status == 200 and int(answer["metadata"]["resourceVersion"]) >= rv and content(answer) == place.now(),
                  f"not older than {rv}: {query}", answer)
    for query in ({}, {"resourceVersion": ""}, {"resourceVersion": "0"}, {"resourceVersion": "0", M: "NotOlderThan"}, {"limit": "-3"}):
        status, answer = place.ask({**LABEL, **query})
        check(status == 200 and content(answer) == place.now(), f"the present: {query}", answer)
    # Past the window.
    for query in ({M: "Exact"}, {"limit": "2"}):
        answer = place.ask({**query, "resourceVersion": "2"})
        check(refused(410, "Expired", "The resourceVersion for the provided list is too old.")(*answer), f"past the window: {query}", answer)
    for query in ({}, {M: "NotOlderThan"}):
        status, answer = place.ask({**LABEL, **query, "resourceVersion": "2"})
        check(status == 200 and content(answer) == place.now(), f"not older than 2: {query}", answer)
    status, answer = place.ask({"resourceVersion": "2"}, f"{MAPS}/a")
    check(status == 200, "a get not older than 2", answer)


def token_of(text):
    return base64.urlsafe_b64encode(json.dumps(text).encode() if not isinstance(text, str) else text.encode()).decode().rstrip("=")


def test_pages(place):
    """All pages show the revision of the first one, while objects change."""
    before, names, pages, token = dict(place.now()), [], 0, None
    counts = []
    while True:
        status, answer = place.ask({"limit": "3", **({"continue": token} if token else {})}, "/api/v1/configmaps")
        if status != 200:
            check(False, "a page", answer)
            return
        pages += 1
        revision = answer["metadata"]["resourceVersion"] if pages == 1 else revision
        if answer["metadata"]["resourceVersion"] != revision:
            check(False, "a page of another revision", answer["metadata"], revision)
        names += [(o["metadata"]["name"], o["data"].get("v")) for o in answer["items"] if o["metadata"].get("labels", {}).get("list")]
        counts.append((len(answer["items"]), answer["metadata"].get("remainingItemCount")))
        token = answer["metadata"].get("continue")
        if not token:
            break
        place.write("a", f"page {pages}")
        place.delete("p2" if pages % 2 else "p3")
        place.write("p2" if pages % 2 else "p3", "again")
    check(dict(names) == before and len(names) == len(before), "all pages together show the revision of the first", names, before)
    total = sum(n for n, _ in counts)
    left = [total - sum(n for n, _ in counts[:i + 1]) for i in range(len(counts))]
    check([r for _, r in counts] == [*left[:-1], None], "remainingItemCount counts what is left", counts)
    status, answer = place.ask({**LABEL, "limit": "1"})
    check("remainingItemCount" not in answer["metadata"] and answer["metadata"].get("continue"), "with a selector nothing is counted", answer["metadata"])
    status, answer = place.ask({"limit": "1", "fieldSelector": "metadata.name=a"})
    check("continue" not in answer["metadata"] and len(answer["items"]) == 1, "a page that has all has no token", answer["metadata"])
    status, again = place.ask({"limit": "1", "resourceVersion": "0"})
    check(status == 200 and len(again["items"]) == 1, "resourceVersion 0 with a limit", again)


def test_tokens(place):
    status, first = place.ask({**LABEL, "limit": "2"})
    token = first["metadata"]["continue"]
    answer = place.ask({**LABEL, "continue": token, "resourceVersion": first["metadata"]["resourceVersion"]})
    check(refused(400, "BadRequest", "specifying resource version is not allowed when using continue")(*answer), "a token with a revision", answer)
    status, answer = place.ask({**LABEL, "continue": token, "resourceVersion": "0"})
    check(status == 200, "a token with resourceVersion 0", answer)
    head = "invalid continue token: continue key is not valid"
    rv = int(first["metadata"]["resourceVersion"])
    v = "meta.k8s.io/v1"
    table = [
        ("nonsense", "***"), ("truncated", token[:-7]), ("empty JSON", token_of({})), ("a list", token_of([])),
        ("no JSON", token_of("{")), ("another version", token_of({"v": "v2", "rv": rv, "start": "a"})),
        ("revision 0", token_of({"v": v, "rv": 0, "start": "a"})), ("no start", token_of({"v": v, "rv": rv, "start": ""})),
        ("a number for a start", token_of({"v": v, "rv": rv, "start": 7})), ("deep", token_of("[" * 100000)),
        ("a text for a revision", token_of({"v": v, "rv": "1", "start": "a"})), ("a huge revision", token_of('{"v":"%s","rv":1e400,"start":"a"}' % v)),
    ]
    for what, bad_token in table:
        status, answer = place.ask({"continue": bad_token}) if len(bad_token) < 50000 else place.ask({"continue": bad_token[:40000]})
        check(status == 400 and answer["message"].startswith(head) and len(answer["message"]) < 2000, f"a token that is {what}", status, answer)
    status, answer = place.ask({"continue": token}, "/api/v1/secrets")
    check(status == 400 and answer["message"].startswith(head), "a token of another resource", answer)
    status, answer = place.ask({"continue": token_of({"v": v, "rv": rv, "start": "default/zzzz"})})
    check(status == 200 and not answer["items"], "a token that does not name its resource, behind everything", answer)
    status, answer = place.ask({"continue": token_of({"v": v, "rv": rv + 10 ** 9, "start": "a"})})
    check(status == 504, "a token of a revision that never was", answer)


def test_forgotten_token(place):
    """A token whose revision is forgotten: 410 with one that goes on at the present."""
    _, first = place.ask({**LABEL, "limit": "2"})
    token = first["metadata"]["continue"]
    seen = [o["metadata"]["name"] for o in first["items"]]
    for i in range(70):
        place.write("p1", f"more {i}")
    status, answer = place.ask({**LABEL, "limit": "2", "continue": token})
    message = ("The provided continue parameter is too old to display a consistent list result. You can start a new list without the "
               "continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing "
               "with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the "
               "time the first chunk was returned and now may show up in the list.")
    check(refused(410, "Expired", message)(status, answer), "a forgotten token", answer)
    token = answer["metadata"]["continue"]
    check(json.loads(base64.urlsafe_b64decode(token + "=="))["rv"] == -1, "and its successor is of no revision", token)
    revisions = []
    while token:
        status, answer = place.ask({**LABEL, "limit": "2", "continue": token})
        if status != 200:
            check(False, "the rest of the list", answer)
            return
        seen += [o["metadata"]["name"] for o in answer["items"]]
        revisions.append(answer["metadata"]["resourceVersion"])
        token = answer["metadata"].get("continue")
        place.write("p9", f"between {len(revisions)}")
    check(sorted(seen) == sorted(place.now()) and len(revisions) > 1, "which lists the rest", seen, place.now())
    check(len(set(revisions)) == 1, "at one revision again", revisions)


def main():
    server = start()
    place = Place(Client(server))
    for i in range(70):
        place.write(f"p{i % 10}", f"value {i}")
        if i % 7 == 0:
            place.write("a", f"value {i}")
        if i % 11 == 10:
            place.delete(f"p{(i - 3) % 10}")
            place.write(f"p{(i - 3) % 10}", "back")
    test_refusals(place)
    test_every_revision(place)
    test_pages(place)
    test_tokens(place)
    test_forgotten_token(place)
    test_future(place)
    check(server.end() == 0, "the server ends in order")
    finish()


main()
