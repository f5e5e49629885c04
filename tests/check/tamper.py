# SPDX-License-Identifier: GPL-2.0-or-later
"""
Lies put between a server and a reader, each once in a history: what the checker must find, so that its silence means something.
"""
import json

EVENTS = ("drop", "double", "reorder", "stale", "early-bookmark")
LISTS = ("lose-item", "old-list")
LIES = (*EVENTS, *LISTS)


class Tamper:
    """One for a history; lie None: the truth. `begun` when it lies, `told` when the reader has taken it all."""

    def __init__(self, lie):
        self.lie, self.begun, self.told = lie, False, False

    def lines(self, response, may_lie):
        """The lines of a watch. A lie is told only where another event follows, by which it can be known."""
        if self.lie not in EVENTS or not may_lie:
            yield from iter(response.readline, b"")
            return
        last = None
        for line in iter(response.readline, b""):
            if self.told or not line.endswith(b"\n"):
                yield from (x for x in (last, line) if x)
                last = None
                continue
            lie = self.between(last, line)
            if lie:
                self.begun = True
                yield from lie
                self.told = True
                last = None
            else:
                if last:
                    yield last
                last = line
        if last:
            yield last

    def between(self, last, line):
        """What is let through instead of two lines in a row; None: the truth."""
        a, b = json.loads(last or "{}"), json.loads(line)
        if not last or not {a["type"], b["type"]} <= {"ADDED", "MODIFIED", "DELETED"}:
            return None
        if self.lie == "drop":
            return [line]
        if self.lie == "double":
            return [last, last, line]
        if self.lie == "reorder":
            return [line, last]
        if self.lie == "early-bookmark":
            mark = {"kind": b["object"]["kind"], "metadata": {"resourceVersion": b["object"]["metadata"]["resourceVersion"]}}
            return [last, json.dumps({"type": "BOOKMARK", "object": mark}).encode() + b"\n", line]
        a["object"]["metadata"].setdefault("labels", {})["op"] = "t0"
        return [json.dumps(a).encode() + b"\n", line]

    def page(self, answer):
        """An answer to a list."""
        if self.lie not in LISTS or self.told or len(answer["items"] or ()) < 2:
            return answer
        self.begun = self.told = True
        if self.lie == "lose-item":
            answer["items"].pop(0)
        else:
            answer["items"][-1]["metadata"]["labels"] = {"op": "t0"}
        return answer
