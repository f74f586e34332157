"""redis-py as Debian ships it (4.3: RESP2 only) as one of the clients; see talk.go."""

import json
import sys
import threading
import time

import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

target = json.loads(sys.argv[1])
nodes = [(a.rsplit(":", 1)[0], int(a.rsplit(":", 1)[1])) for a in target["addrs"]]
lock = threading.Lock()
stopped = threading.Event()


def say(line):
    with lock:
        sys.stdout.write(line.replace("\n", " ") + "\n")
        sys.stdout.flush()


def key(name):
    return f"{target['prefix']}:{name}"


def open_client(i):
    if target["persona"] == "cluster":
        return RedisCluster(startup_nodes=[ClusterNode(*n) for n in nodes], decode_responses=True)
    if target["persona"] == "sentinel":
        return Sentinel(nodes).master_for(target["master"], decode_responses=True)
    return redis.Redis(*nodes[i], decode_responses=True)


def like(expected, got):
    if expected != got:
        raise AssertionError(f"expected {expected!r}, got {got!r}")


def check(name, run):
    try:
        run()
        say(f"ok {name}")
    except Exception as err:  # whatever a client throws
        say(f"fail {name} {type(err).__name__} {err}")


def checks(c):
    def strings():
        like(True, c.set(key("s"), "a\r\n\0b", ex=60))
        like("a\r\n\0b", c.get(key("s")))
        like(None, c.get(key("none")))
        like(5, c.incrby(key("n"), 5))
        like(["5", None], c.mget(key("n"), key("none")))

    def big():
        text = "0123456789" * 300000
        c.set(key("big"), text)
        like(True, text == c.get(key("big")))

    def hashes():
        like(2, c.hset(key("h"), mapping={"a": 1, "b": 2}))
        like({"a": "1", "b": "2"}, c.hgetall(key("h")))

    def lists():
        like(3, c.rpush(key("l"), "a", "b", "c"))
        like(["a", "b", "c"], c.lrange(key("l"), 0, -1))

    def sets():
        like(2, c.sadd(key("set"), "a", "b"))
        like({"a", "b"}, c.smembers(key("set")))

    def zsets():
        like(2, c.zadd(key("z"), {"a": 1.5, "b": -1}))
        like([("b", -1.0), ("a", 1.5)], c.zrange(key("z"), 0, -1, withscores=True))

    def streams():
        c.xgroup_create(key("st"), "g", "$", mkstream=True)
        entry = c.xadd(key("st"), {"f": "v"})
        got = c.xreadgroup("g", "c", {key("st"): ">"}, block=1000)
        like([[key("st"), [(entry, {"f": "v"})]]], got)
        like(1, c.xack(key("st"), "g", entry))

    def pipeline():
        p = c.pipeline() if target["persona"] == "cluster" else c.pipeline(transaction=False)
        for i in range(300):
            p.set(key("p"), i)
            p.get(key("p"))
        like([str(i) for i in range(300)], p.execute()[1::2])

    def transaction():
        p = c.pipeline(transaction=True)
        like([True, 2], p.set(key("tx"), 1).incr(key("tx")).execute())
        p.watch(key("tx"))
        c.incr(key("tx"))
        p.multi()
        p.set(key("tx"), "lost")
        try:
            p.execute()
            raise AssertionError("WATCH noticed nothing")
        except redis.WatchError:
            pass

    def script():
        text = f"return redis.call('INCRBY', KEYS[1], ARGV[1]) -- {target['prefix']}"
        if target["persona"] == "cluster":
            like(3, c.eval(text, 1, key("sc"), 3))
            return
        s = c.register_script(text)
        like(3, s(keys=[key("sc")], args=[3]))
        like(6, s(keys=[key("sc")], args=[3]))

    def blocking():
        b = open_client(0)
        threading.Timer(0.1, lambda: c.rpush(key("bl"), "x")).start()
        like((key("bl"), "x"), b.blpop(key("bl"), timeout=10))
        like(None, b.blpop(key("bl"), timeout=1))

    def pubsub():
        s = c.pubsub()
        s.subscribe(key("ch"))
        like("subscribe", s.get_message(timeout=5)["type"])
        if target["persona"] == "cluster":
            c.execute_command("PUBLISH", key("ch"), "hello")
        else:
            like(1, c.publish(key("ch"), "hello"))
        like("hello", s.get_message(timeout=5)["data"])
        s.close()

    def scan():
        for i in range(300):
            c.set(key(f"scan{i}"), i)
        like(300, len(set(c.scan_iter(match=key("scan*"), count=20))))

    check("connect", lambda: like(True, c.ping()))
    for run in (strings, big, hashes, lists, sets, zsets, streams, pipeline, script, blocking, pubsub, scan):
        check(run.__name__, run)
    if target["persona"] != "cluster":  # its cluster client has no MULTI
        check("transaction", transaction)
    say("lacks caching not in this version")


def again(loop, c, err):
    """4.3's cluster client cannot look for nodes again ("cannot pickle"): a new one can."""
    time.sleep(0.02)
    if isinstance(err, redis.exceptions.RedisClusterException):
        try:
            return open_client(loop)
        except Exception:
            pass
    return c


def pushes(loop, c):
    n = 0
    while not stopped.is_set():
        try:
            c.rpush(key(f"acked:{loop}"), n)
            say(f"acked {loop} {n}")
            time.sleep(0.002)
        except Exception as err:
            say(f"error {loop} push: {type(err).__name__} {err}")
            c = again(loop, c, err)
        n += 1


def pops(loop, c):
    while not stopped.is_set():
        try:
            got = c.blpop(key(f"queue:{loop}"), timeout=1)
            if got:
                say(f"popped {loop} {got[1]}")
        except Exception as err:
            say(f"error {loop} pop: {type(err).__name__} {err}")
            c = again(loop, c, err)


def listens(loop, c):
    while not stopped.is_set():
        try:
            if target["persona"] == "cluster":
                c = open_client(loop)
            s = c.pubsub(ignore_subscribe_messages=True)
            s.subscribe(f"{target['prefix']}:news")
            while not stopped.is_set():
                m = s.get_message(timeout=0.5)
                if m:
                    say(f"heard {loop} {m['data']}")
        except Exception:  # the user of a broken subscription begins anew
            time.sleep(0.05)


clients = [open_client(i) for i in range(len(nodes) if target["persona"] == "plain" else 1)]
checks(clients[0])
threads = []
for loop, client in enumerate(clients):
    threads.append(threading.Thread(target=pushes, args=(loop, client), daemon=True))
    threads.append(threading.Thread(target=pops, args=(loop, open_client(loop)), daemon=True))
    threads.append(threading.Thread(target=listens, args=(loop, open_client(loop)), daemon=True))
for t in threads:
    t.start()
say("load")
sys.stdin.read()
stopped.set()
for t in threads:
    t.join(5)
