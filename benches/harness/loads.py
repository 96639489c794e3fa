"""The loads: what is measured, against whom, for how long."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Load:
    """One row of figures. `key` names it in the results."""

    key: str
    title: str
    kind: str
    clients: int
    pipeline: int = 1
    #: Compared with the sidecar: "direct", "peers" and "floor", which answers by itself.
    against: tuple = ("direct",)
    #: More arguments of the load generator.
    args: tuple = ()
    #: Stock before each run; the upstream is emptied then. None: nothing is changed.
    stock: int = None
    #: Which of the sidecars it goes through; see measure.SIDECARS.
    sidecar: str = "sidecar"
    #: A run that is not ended by its number of requests takes so long.
    seconds: float = 1.2
    #: Refusals are what is measured, not a fault.
    refused: bool = False


PLENTY = 1_000_000_000
ENDED = ("--requests", "200000")
# So that a run does not fill the memory: a reservation stays for minutes.
RESERVED = ("--requests", "2000000")
BIG = ("--value-bytes", "100000", "--keys", "100")


def reserve(key, clients, pipeline=1, **more):
    title = f"reserve, {clients:,} client{'s' if clients > 1 else ''}" + (f" × {pipeline}" if pipeline > 1 else "")
    return Load(key, title, "reserve", clients, pipeline, args=RESERVED, stock=PLENTY, **more)


def sold_out(key, title, clients, pipeline, sidecar):
    return Load(key, title, "reserve", clients, pipeline, stock=0, sidecar=sidecar, refused=True)


def through(kind, clients, pipeline=1, **more):
    title = f"{kind.upper()}, {clients:,} client{'s' if clients > 1 else ''}" + (f" × {pipeline}" if pipeline > 1 else "")
    return Load(f"{kind}_{clients}x{pipeline}", title, kind, clients, pipeline, against=("direct", "peers", "floor"), **more)


INVENTORY = [
    reserve("reserve_50x16", 50, 16),
    reserve("reserve_200", 200),
    reserve("reserve_1000", 1000),
    reserve("reserve_50", 50),
    reserve("reserve_8", 8),
    reserve("reserve_1", 1),
    Load("commit_50x16", "commit, 50 clients × 16", "commit", 50, 16, args=ENDED, stock=PLENTY),
    Load("commit_any_50x16", "commit in any order, 50 × 16", "commit", 50, 16, args=(*ENDED, "--shuffle"), stock=PLENTY),
    Load("rollback_50x16", "rollback, 50 clients × 16", "rollback", 50, 16, args=ENDED, stock=PLENTY),
    sold_out("sold_out_off_50x16", "sold out, 50 × 16, no cache", 50, 16, "sold-out-off"),
    sold_out("sold_out_on_50x16", "sold out, 50 × 16, cache", 50, 16, "sold-out-on"),
    sold_out("sold_out_on_200", "sold out, 200 clients, cache", 200, 1, "sold-out-on"),
]

PASS_THROUGH = [
    through("get", 1),
    through("get", 50),
    through("get", 50, 16),
    through("get", 200),
    through("set", 200),
    through("get", 1000),
    through("set", 1000),
    Load("set_100k", "SET of 100 kB, 50 clients", "set", 50, 1, ("direct", "peers"), BIG),
    Load("get_100k", "GET of 100 kB, 50 clients", "get", 50, 1, ("direct", "peers"), BIG),
]

#: The same load through a sidecar of one worker and one of two.
WORKERS = [
    Load("workers_get_200", "GET, 200 clients", "get", 200),
    Load("workers_get_50x16", "GET, 50 clients × 16", "get", 50, 16),
    Load("workers_reserve_50x16", "reserve, 50 clients × 16", "reserve", 50, 16, args=RESERVED, stock=PLENTY),
]
