#!/usr/bin/env python3
"""Reads a lab's day from outside: what the farm's events say happened, beside what people did.

    grove events --all -o json | lab_day.py DEEDS

DEEDS has a JSON object a line, written by those who did it. Every job that ended must have a reason, and somebody or
something must have given that reason; a board must never be in two jobs; what was acknowledged must be in the events.
Prints the ends by cause, as JSON; what does not hold is written to stderr, and the exit code is 1.
"""

import json
import re
import sys
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone

# A board that was switched off is noticed later than that.
LATER = timedelta(seconds=60)
WORKER = re.compile(r"worker ([0-9a-f-]{36})")
UNTIL = re.compile(r"until (\S+)")
TERMINAL = {"done", "failed", "cancelled", "timeout", "invalid"}

wrong = []


def time(text):
    # Python reads no more than six digits of a second.
    head, _, digits = text.rstrip("Z").partition(".")
    at = datetime.fromisoformat(head).replace(tzinfo=timezone.utc)
    return at + timedelta(seconds=float("0." + digits) if digits else 0)


def check(holds, what):
    if not holds:
        wrong.append(what)


class Deeds:
    """What people did."""

    def __init__(self, path):
        self.of_request = defaultdict(list)
        self.of_worker = defaultdict(list)
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                deed = json.loads(line)
                if "request" in deed:
                    self.of_request[deed["request"]].append(deed)
                elif "worker" in deed:
                    self.of_worker[deed["worker"]].append(deed)

    def did(self, request, what):
        return [deed for deed in self.of_request[request] if deed["deed"] == what]

    def did_to(self, worker, *what):
        return [deed for deed in self.of_worker[worker] if deed["deed"] in what]


class Request:
    def __init__(self, number):
        self.number = number
        self.state = "waiting"
        self.worker = None
        self.until = None
        self.opened = None
        self.end = None


def read(events):
    """Follows every request through the events; no board may be held by two at once."""
    requests, holder = {}, {}
    for expected, event in enumerate(events, 1):
        check(event["seq"] == expected, f"event {expected} is missing or double")
        kind, _, number = event["subject"].partition("/")
        if kind != "request":
            continue
        number = int(number)
        if event["kind"] == "request.created":
            check(number not in requests, f"request {number} was created twice")
            requests[number] = Request(number)
            continue
        request = requests[number]
        note = event["note"] or ""
        if event["kind"] == "job.prolonged":
            request.until = time(UNTIL.search(note).group(1)) if UNTIL.search(note) else None
        worker = WORKER.search(note)
        if event["kind"] == "request.reserved":
            worker = worker.group(1)
            check(worker not in holder, f"{worker} was given to {number} while {holder.get(worker)} had it")
            holder[worker], request.worker = number, worker
        if event["kind"] == "request.requeued":
            check(holder.pop(request.worker, None) == number, f"request {number} gave back what it did not have")
            request.worker = None
        if event["kind"] != "request.state":
            continue
        check(event["before"] == request.state, f"events of request {number} do not follow each other: {event}")
        check(request.state not in TERMINAL, f"request {number} ended twice: {event}")
        request.state = event["after"]
        if event["after"] == "in_progress":
            check(holder.get(request.worker) == number, f"job {number} is on a board that it does not hold")
            check(worker and worker.group(1) == request.worker, f"job {number} is not on its board: {event}")
            request.opened = time(event["at"])
            request.until = time(UNTIL.search(note).group(1))
        elif event["after"] in TERMINAL:
            request.end = event
            if request.worker:
                check(holder.pop(request.worker, None) == number, f"request {number} lost its board to another")
    return requests


def cause(request, deeds):
    """Why it ended: the kind of cause, if there is one that is true."""
    end, number = request.end, request.number
    note, actor, at = end["note"] or "", end["actor"], time(end["at"])
    of_user = actor.startswith("user:")
    closed = [deed for deed in deeds.did(number, "close") if (deed["reason"] or "") == note and deed["answer"] != "refused"]
    if of_user and closed:
        return "closed by its user"
    if request.opened is None:
        if end["after"] == "timeout" and actor == "core" and deeds.did(number, "deadline"):
            return "got no board before its deadline"
        if of_user and deeds.did(number, "run"):
            return "its user would not wait"
        return None
    runs = deeds.did(number, "run")
    if of_user and end["after"] == "done":
        for run in runs:
            if run["exit"] == run["own"]:
                return "its command ended" if not note or "ended" in note else None
            if run["signal"] and run["exit"] == 128 + run["signal"]:
                return "its user interrupted it" if "interrupt" in note else None
            if run["exit"] == 121 and note and disturbed(request, deeds, at):
                return "its connection was lost under its command"
        return None
    if "time is up" in note and actor == "core":
        return "its time was up" if request.until and at >= request.until else None
    if "heartbeat" in note or "silent" in note or "nothing was heard" in note:
        # A client that could not give its board back, because nobody answered, says so.
        silent = deeds.did(number, "silent") or any(run["signal"] == 9 or "closes it when" in run["said"] for run in runs)
        return "its client went silent" if silent and actor == "core" else None
    for deed in deeds.did_to(request.worker, "broken"):
        if deed["reason"] in note and deed["answer"] != "refused":
            return "its board was reported broken"
    if deeds.did_to(request.worker, "maintenance") and "maintenance" in note:
        return "its board was taken to maintenance"
    if end["after"] == "failed" and note and off(request, deeds, at):
        return "its board failed"
    return None


def off(request, deeds, at):
    """Whether its board was off while the job ran, or just before."""
    return any(
        time(deed["from"]) <= at and time(deed["until"]) + LATER >= request.opened
        for deed in deeds.did_to(request.worker, "reboot")
    )


def disturbed(request, deeds, at):
    """Whether something cut its connection: its board was off, or the controller away."""
    away = any(
        time(deed["from"]) <= at and time(deed["until"]) + LATER >= request.opened
        for deed in deeds.did_to("controller", "restart")
    )
    return away or off(request, deeds, at)


def main():
    events = json.load(sys.stdin)["items"]
    deeds = Deeds(sys.argv[1])
    requests = read(events)
    ends = Counter()
    for request in requests.values():
        if request.end is None:
            check(False, f"request {request.number} never ended: {request.state}")
            continue
        why = cause(request, deeds)
        check(why, f"request {request.number} ended without a true reason: {request.end}; its worker {request.worker}; people: "
              f"{deeds.of_request[request.number]} {deeds.of_worker[request.worker]}")
        ends[why or "?"] += 1
    for number, done in deeds.of_request.items():
        check(number in requests, f"request {number} was acknowledged, and no event tells of it")
        for deed in done:
            if deed["deed"] == "close" and deed["answer"] == "ok" and number in requests:
                end = requests[number].end
                check(end and (end["note"] or "") == (deed["reason"] or ""), f"an acknowledged close is not in the events: {deed} {end}")
            # The exit code tells what the events tell.
            if deed["deed"] == "run" and number in requests and requests[number].end:
                note, after = requests[number].end["note"] or "", requests[number].end["after"]
                told = {
                    121: after == "failed" or note != "",
                    122: "maintenance" in note or "closed" in note,
                    124: "time is up" in note,
                }
                good = deed["exit"] == deed["own"] or (deed["signal"] and deed["exit"] == 128 + deed["signal"])
                check(good or told.get(deed["exit"], False), f"the exit code tells something else: {deed} {requests[number].end}")
    print(json.dumps({"events": len(events), "requests": len(requests), "ends": ends}, indent=1))
    for what in wrong:
        print(what, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
