# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests against a real API server have in common: a directory that goes when they end, servers that do not outlive them, and lines
that tests/run.sh counts."""
import atexit
import os
import shutil
import signal
import sys
import tempfile

from server import Server

BINARY = os.path.abspath(os.path.join(os.environ.get("B", "build"), "bin", "keelson-apiserver"))
failures = []


def check(ok, text, *context):
    """Prints the line; context only when it failed."""
    if not ok:
        failures.append(text)
    print(("ok - " if ok else "not ok - ") + text, *(() if ok else context), flush=True)
    return ok


def directory(name):
    """A new directory, removed at the end (after the servers have ended)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    path = tempfile.mkdtemp(prefix=f"keelson-{name}.")
    atexit.register(shutil.rmtree, path, True)
    return path


def serve(certificates, data, options=()):
    """A server that has been started; it is killed at the end if it is still there."""
    server = Server(BINARY, certificates, data, options)
    atexit.register(server.end, signal.SIGKILL)
    server.start()
    return server


def finish():
    sys.exit(1 if failures else 0)
