"""Delayed jobs: a job is a key with a time to live; when it ends, it is in a stream that workers consume.

    python delayed_jobs.py /tmp/tandem.sock

Scheduling is SET with PX, rescheduling is PEXPIRE, cancelling is DEL: there is no second data structure to keep in step.
A rule appends what ends to a stream, with the value, and a consumer group hands each job to one worker until that worker
has acknowledged it. A worker that dies leaves its jobs pending; XAUTOCLAIM gives them to another.
"""

import json
import sys

import redis

STREAM, GROUP = "due-jobs", "workers"


def setup(r):
    r.execute_command("EXPIRY", "RULE", "SET", "jobs", "PATTERN", "job:*", "STREAM", STREAM, "MAXLEN", 100_000, "VALUE")
    try:
        r.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:  # another worker was first
        if "BUSYGROUP" not in str(error):
            raise


def schedule(r, job, payload, in_ms):
    r.set(f"job:{job}", json.dumps(payload), px=in_ms)


def cancel(r, job):
    return r.delete(f"job:{job}") == 1


def postpone(r, job, in_ms):
    return r.pexpire(f"job:{job}", in_ms, xx=True)


def work(r, worker, handle, count):
    """Handles `count` jobs as they come due. A real worker loops for ever."""
    done = 0
    while done < count:
        # Sleeps in the server until a job is due: nothing is polled.
        for _, entries in r.xreadgroup(GROUP, worker, {STREAM: ">"}, count=10, block=5000) or []:
            for entry, fields in entries:
                late_ms = int(fields[b"fired"]) - int(fields[b"due"])
                handle(fields[b"key"].decode(), json.loads(fields[b"value"]), late_ms)
                r.xack(STREAM, GROUP, entry)
                done += 1


def main():
    r = redis.Redis(unix_socket_path=sys.argv[1])
    setup(r)
    schedule(r, "mail:1", {"to": "ada"}, in_ms=600)
    schedule(r, "mail:2", {"to": "grace"}, in_ms=100)
    schedule(r, "mail:3", {"to": "nobody"}, in_ms=60_000)
    schedule(r, "mail:4", {"to": "alan"}, in_ms=60_000)
    assert cancel(r, "mail:3")
    assert postpone(r, "mail:4", in_ms=1200)
    seen = []

    def handle(job, payload, late_ms):
        assert late_ms >= 1, "never early"
        print(f"{job}: mail to {payload['to']}, {late_ms} ms after its time")
        seen.append(job)

    work(r, "worker-1", handle, count=3)
    assert sorted(seen) == ["job:mail:1", "job:mail:2", "job:mail:4"], seen
    assert r.xpending(STREAM, GROUP)["pending"] == 0, "all are acknowledged"
    print("all done")


if __name__ == "__main__":
    main()
