#!/usr/bin/env python3
"""From a worker to a job over HTTP v2, with the standard library only.

Usage: GROVE_SERVER=http://127.0.0.1:8487 python3 client.py
The worker is a simulated one, so the job opens but leads nowhere.
"""

import json
import os
import uuid
from urllib.error import HTTPError
from urllib.request import Request, urlopen

API = os.environ.get("GROVE_SERVER", "http://127.0.0.1:8487") + "/api/v2"
WORKER = "0190a1b2-0000-7000-8000-000000000002"


class Problem(Exception):
    """A refusal: RFC 9457, with a stable `code` and a `hint` at what to do."""

    def __init__(self, body):
        super().__init__(f"{body['detail']} ({body.get('hint', body['code'])})")
        self.code = body["code"]


def call(method, path, body=None, **headers):
    """Makes a call; what was answered, and its ETag."""
    data = None if body is None else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(API + path, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urlopen(request, timeout=90) as answer:
            return json.load(answer), answer.headers.get("ETag")
    except HTTPError as error:
        raise Problem(json.load(error)) from None


def wait_for(path, states):
    """Asks until the state is one of these: each call answers at the next change, or after 30 seconds."""
    resource, _ = call("GET", path)
    while resource["state"] not in states:
        resource, _ = call("GET", f"{path}?wait=30s&revision={resource['revision']}")
    return resource


def main():
    # A worker registers. Its admin adds a remark, but only to what was just seen.
    path = f"/workers/{WORKER}"
    registration = {"driver": "simulated", "capabilities": {"board": "rpi4", "uart": "2"}}
    _, etag = call("PUT", path, registration)
    call("PATCH", path, {"notes": "of the example"}, If_Match=etag)
    call("POST", f"{path}/state", {"state": "idle"})
    wait_for(path, {"idle"})
    print(f"worker {WORKER} is idle")

    # A request. Sent again with the same key, it is not made twice.
    wish = {"wants": ["board=rpi4", "uart=2.."], "for": "10m"}
    key = str(uuid.uuid4())
    request, _ = call("POST", "/requests", wish, Idempotency_Key=key)
    again, _ = call("POST", "/requests", wish, Idempotency_Key=key)
    assert again["id"] == request["id"]
    number = request["id"]
    print(f"request {number} waits")

    wait_for(f"/requests/{number}", {"in_progress"})
    print(f"request {number} runs")

    # The way in; without a key of our own, the farm has made a pair.
    access = call("GET", f"/jobs/{number}")[0]["access"]
    assert access["private_key"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    print(f"ssh -p {access['port']} -i KEY {access['user']}@{access['host']}")

    # The board goes back.
    closed, _ = call("POST", f"/requests/{number}/close", {"reason": "the example is over"})
    print(f"request {number} is {closed['state']}")
    try:
        call("POST", f"/requests/{number}/prolong")
    except Problem as problem:
        assert problem.code == "no_job", problem
    else:
        raise AssertionError("an ended job was prolonged")


main()
