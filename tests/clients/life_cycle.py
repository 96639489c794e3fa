"""The life cycle of a reservation through redis-py, over RESP2 and RESP3: life_cycle.py HOST PORT [CA].

With the file of an authority, over TLS.

Exits non-zero with what was expected and what came.
"""

import sys
import time

import redis


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: wanted {wanted!r}, got {got!r}")


def expect_error(what, word, call):
    try:
        got = call()
    except redis.ResponseError as error:
        if str(error).split(" ")[0] != word:
            sys.exit(f"{what}: wanted -{word}, got {error}")
        return str(error)
    sys.exit(f"{what}: wanted -{word}, got {got!r}")


def as_map(reply):
    """A map as RESP3 gives it, or the flat list of RESP2."""
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2]))


def life_cycle(host, port, protocol, **tls):
    client = redis.Redis(host=host, port=port, protocol=protocol, decode_responses=True, socket_timeout=10, **tls)
    inv = client.execute_command
    sku = f"py-{protocol}"

    expect("PING", client.ping(), True)
    expect("INV.SETSTOCK", inv("INV.SETSTOCK", sku, 10), "OK")
    expect("INV.SETSTOCK NX", inv("INV.SETSTOCK", sku, 5, "NX"), None)
    expect("INV.ADDSTOCK", inv("INV.ADDSTOCK", sku, 2), 12)
    expect("SET", client.set(f"{sku}:plain", "1"), True)

    reservation = inv("INV.RESERVE", sku, 3, "EX", 60, "ID", f"{sku}-order-1")
    expect("INV.RESERVE again", inv("INV.RESERVE", sku, 3, "EX", 60, "ID", f"{sku}-order-1"), reservation)
    expect_error("INV.RESERVE other", "CONFLICT", lambda: inv("INV.RESERVE", sku, 4, "ID", f"{sku}-order-1"))
    got = as_map(inv("INV.GET", reservation))
    expect("INV.GET", (got["sku"], got["quantity"], got["state"], got["customer"]), (sku, 3, "open", None))
    stock = as_map(inv("INV.STOCK", sku))
    numbers = ("total", "available", "reserved", "committed", "protected", "limit")
    expect("INV.STOCK", [stock[name] for name in numbers], [12, 9, 3, 0, 0, None])
    expires = inv("INV.EXTEND", reservation, "EX", 120)
    expect("INV.EXTEND", as_map(inv("INV.GET", reservation))["expires_ms"], expires)
    expect("GET", client.get(f"{sku}:plain"), "1")

    expect("INV.COMMIT", inv("INV.COMMIT", reservation, "REF", "invoice-1"), "OK")
    expect("INV.COMMIT same REF", inv("INV.COMMIT", reservation, "REF", "invoice-1"), "OK")
    expect_error("second INV.COMMIT", "ALREADYCOMMITTED", lambda: inv("INV.COMMIT", reservation))
    expect_error("INV.ROLLBACK of a sale", "ALREADYCOMMITTED", lambda: inv("INV.ROLLBACK", reservation))

    other = inv("INV.RESERVE", sku, 9)
    refusal = expect_error("INV.RESERVE too many", "INSUFFICIENTSTOCK", lambda: inv("INV.RESERVE", sku, 1))
    if "requested=1 available=0 retry_ms=" not in refusal:
        sys.exit(f"the refusal does not say how much and when: {refusal}")
    expect("INV.ROLLBACK", inv("INV.ROLLBACK", other), "OK")
    expect("INV.ROLLBACK again", inv("INV.ROLLBACK", other), "OK")
    expect_error("INV.COMMIT after rollback", "ROLLEDBACK", lambda: inv("INV.COMMIT", other))

    brief = inv("INV.RESERVE", sku, 9, "PX", 20)
    deadline = time.monotonic() + 10
    while as_map(inv("INV.GET", brief))["state"] != "expired":
        if time.monotonic() > deadline:
            sys.exit("a reservation of 20 ms did not expire within 10 s")
    expect_error("INV.COMMIT after expiry", "EXPIRED", lambda: inv("INV.COMMIT", brief))
    expect("the stock is back", as_map(inv("INV.STOCK", sku))["available"], 9)

    expect("INV.PROTECT", inv("INV.PROTECT", sku), 1)
    expect("INV.ISPROTECTED", inv("INV.ISPROTECTED", sku, f"{sku}-not"), [1, 0])
    expect("INV.UNPROTECT", inv("INV.UNPROTECT", sku), 1)
    expect_error("INV.COMMIT of nothing", "NOTFOUND", lambda: inv("INV.COMMIT", "0-nothing"))
    expect("INV.GET of nothing", inv("INV.GET", "0-nothing"), None)

    pipe = client.pipeline(transaction=False)
    for n in range(50):
        pipe.execute_command("INV.RESERVE", f"{sku}-many", 1, "ID", f"{sku}-many-{n}")
        pipe.set(f"{sku}:{n}", n)
        pipe.get(f"{sku}:{n}")
    expect("INV.SETSTOCK", inv("INV.SETSTOCK", f"{sku}-many", 40), "OK")
    replies = pipe.execute(raise_on_error=False)
    won = [reply for reply in replies[::3] if isinstance(reply, str)]
    expect("pipelined winners", len(won), 40)
    expect("pipelined GETs", replies[2::3], [str(n) for n in range(50)])

    transaction = client.pipeline(transaction=True)
    transaction.set(f"{sku}:tx", "in")
    transaction.get(f"{sku}:tx")
    expect("MULTI/EXEC", transaction.execute(), [True, "in"])


if __name__ == "__main__":
    tls = {"ssl": True, "ssl_ca_certs": sys.argv[3]} if len(sys.argv) > 3 else {}
    for version in (2, 3):
        life_cycle(sys.argv[1], int(sys.argv[2]), version, **tls)
    print("redis-py", redis.__version__, "ok")
