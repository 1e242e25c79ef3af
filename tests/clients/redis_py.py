"""What an application does with redis-py, over the unix socket given as the argument. Called by tests/clients.rs."""

import asyncio
import sys
import time

import redis
import redis.asyncio

SOCKET = sys.argv[1]


def strings(r):
    assert r.ping()
    assert r.set("name", "tandem") and r.get("name") == b"tandem"
    assert r.set("name", "other", nx=True) is None
    assert r.set("name", "new", get=True) == b"tandem"
    assert r.mset({f"m{i}": i for i in range(100)})
    assert r.mget([f"m{i}" for i in range(100)] + ["none"]) == [str(i).encode() for i in range(100)] + [None]
    assert r.incrby("n", 5) == 5 and r.decr("n") == 4 and r.incrbyfloat("f", 0.5) == 0.5
    assert r.append("name", "!") == 4 and r.strlen("name") == 4 and r.getrange("name", 0, 1) == b"ne"
    blob = bytes(range(256)) * 8192
    assert r.set("blob", blob) and r.get("blob") == blob
    assert r.setbit("bits", 7, 1) == 0 and r.bitcount("bits") == 1
    assert r.bitfield("bf").set("u8", 0, 200).incrby("u8", 0, 100, "SAT").execute() == [0, 255]
    assert r.getdel("n") == b"4" and not r.exists("n")


def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for i in range(5000):
            pipe.set(f"p:{i}", i).get(f"p:{i}")
        replies = pipe.execute()
    assert len(replies) == 10000 and replies[9999] == b"4999"
    assert sorted(r.scan_iter("p:*", count=100)) == sorted(f"p:{i}".encode() for i in range(5000))
    assert r.delete(*[f"p:{i}" for i in range(5000)]) == 5000


def errors(r):
    r.set("text", "abc")
    try:
        r.incr("text")
    except redis.ResponseError as error:
        assert "not an integer" in str(error), error
    else:
        raise AssertionError("INCR on text must fail")
    assert r.get("text") == b"abc", "the connection is usable after an error"


def channels(r):
    sub = r.pubsub(ignore_subscribe_messages=False)
    sub.subscribe("news")
    sub.psubscribe("n*")
    kinds = [sub.get_message(timeout=5)["type"] for _ in range(2)]
    assert kinds == ["subscribe", "psubscribe"], kinds
    for i in range(500):
        assert r.publish("news", f"item {i}") == 2
    got = [sub.get_message(timeout=5) for _ in range(1000)]
    for kind in ("message", "pmessage"):
        assert [m["data"] for m in got if m["type"] == kind] == [f"item {i}".encode() for i in range(500)]
    assert dict(r.pubsub_numsub("news")) == {b"news": 1} and r.pubsub_numpat() == 1
    sub.close()


def expiry_events(r):
    """Each key's expiry is told exactly once, and soon."""
    sub = r.pubsub(ignore_subscribe_messages=True)
    sub.subscribe("__keyevent@0__:expired")
    sub.get_message(timeout=5)
    due = {}
    for i in range(200):
        ms = 50 + i
        r.set(f"e:{i}", "v", px=ms)
        due[f"e:{i}".encode()] = time.monotonic() + ms / 1000
    seen, deadline = [], time.monotonic() + 10
    while len(seen) < 200 and time.monotonic() < deadline:
        message = sub.get_message(timeout=1)
        if message:
            assert time.monotonic() > due[message["data"]] - 0.05, "not before its time"
            seen.append(message["data"])
    assert sorted(seen) == sorted(due), f"{len(seen)} of 200 events, {len(set(seen))} different"
    assert sub.get_message(timeout=0.2) is None, "no event twice"
    assert r.exists(*due) == 0
    assert r.ttl("text") == -1 and r.expire("text", 100) and 0 < r.ttl("text") <= 100 and r.persist("text")
    sub.close()


def server(r):
    assert r.client_setname("py") and r.client_getname() in ("py", b"py")
    assert any(c["name"] == "py" for c in r.client_list())
    assert r.config_set("maxclients", "5000") and r.config_get("maxclients") == {"maxclients": "5000"}
    assert r.info("server")["redis_mode"] == "standalone"
    assert r.command_count() > 50
    assert r.dbsize() > 0 and r.flushdb() and r.dbsize() == 0


async def concurrently(protocol):
    r = redis.asyncio.Redis(unix_socket_path=SOCKET, protocol=protocol, max_connections=50)

    async def count(i):
        for _ in range(50):
            await r.incr("shared")
            await r.set(f"own:{i}", i)
        return await r.get(f"own:{i}")

    answers = await asyncio.gather(*(count(i) for i in range(40)))
    assert answers == [str(i).encode() for i in range(40)]
    assert await r.get("shared") == b"2000"
    await r.flushdb()
    await r.aclose()


for protocol in (2, 3):
    client = redis.Redis(unix_socket_path=SOCKET, protocol=protocol)
    for work in (strings, pipelines, errors, channels, expiry_events, server):
        work(client)
        print(f"RESP{protocol} {work.__name__}: done")
    asyncio.run(concurrently(protocol))
    print(f"RESP{protocol} concurrently: done")
print("all done")
