"""A crowd of redis-py clients, connected all at once: crowd.py HOST PORT COUNT.

Half of them own their connection, half have taken theirs out of a pool. Says "ready" when each has written and read while
all are connected, goes on when it is told a line, and exits non-zero with what was expected and what came.
"""

import sys

import redis
from redis.exceptions import RedisError

# As tests/clients.rs counts them: user, database and protocol.
KINDS = (
    {"protocol": 2},
    {"protocol": 3, "client_name": "crowd"},
    {"protocol": 3, "username": "app", "password": "secret"},
    {"protocol": 2, "username": "app", "password": "secret"},
    {"protocol": 2, "db": 1},
)


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: wanted {wanted!r}, got {got!r}")


class Owner:
    """A client with one connection, which it keeps."""

    def __init__(self, address, kind):
        self.client = redis.Redis(single_connection_client=True, decode_responses=True, **address, **kind)

    def call(self, *words):
        return self.client.execute_command(*words)

    def close(self):
        self.client.close()


class Guest:
    """A connection out of a pool, as a command of a busy application has it."""

    def __init__(self, pool):
        self.pool = pool
        self.connection = pool.get_connection()

    def call(self, *words):
        self.connection.send_command(*words)
        return self.connection.read_response()

    def close(self):
        self.pool.release(self.connection)


def write_and_read(clients, what):
    for index, client in enumerate(clients):
        answer = client.call("SET", f"py:{index}", f"{what} {index}")
        expect("SET", answer in (True, "OK"), True)
    for index, client in enumerate(clients):
        expect(f"GET by client {index}", client.call("GET", f"py:{index}"), f"{what} {index}")


def crowd(host, port, count):
    address = {"host": host, "port": port, "socket_timeout": 20, "socket_connect_timeout": 20}
    pools = [
        redis.BlockingConnectionPool(max_connections=count, decode_responses=True, **address, **kind) for kind in KINDS
    ]
    clients = []
    for index in range(count):
        kind = index // 2 % len(KINDS)
        clients.append(Guest(pools[kind]) if index % 2 else Owner(address, KINDS[kind]))
    write_and_read(clients, "first")
    print("ready", flush=True)
    sys.stdin.readline()
    write_and_read(clients, "second")
    for client in clients:
        client.close()
    for pool in pools:
        pool.disconnect()


if __name__ == "__main__":
    try:
        crowd(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    except RedisError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print("redis-py", redis.__version__, "ok")
