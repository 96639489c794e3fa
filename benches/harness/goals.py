"""What is to be reached, and whether it was. Ratios are medians of the ratios within each round."""

from dataclasses import dataclass
from statistics import median

PEERS = ("nutcracker", "haproxy", "envoy")


@dataclass
class Row:
    """One goal. `met` is None where nothing can be said: what it takes was not measured, or there is no goal."""

    load: str
    goal: str
    measured: str
    met: bool = None


class Figures:
    """The results, read."""

    def __init__(self, results):
        self.results = results

    def runs(self, key, who):
        return self.results["loads"].get(key, {}).get(who, [])

    def rate(self, key, who):
        runs = self.runs(key, who)
        return median(run["rate"] for run in runs) if runs else None

    def ratio(self, key, who="sidecar", to="direct"):
        pairs = list(zip(self.runs(key, who), self.runs(key, to)))
        return median(one["rate"] / other["rate"] for one, other in pairs) if pairs else None

    def wavers(self, key):
        """The ratio differs by more than 30 % between rounds."""
        ratios = [a["rate"] / b["rate"] for a, b in zip(self.runs(key, "sidecar"), self.runs(key, "direct"))]
        return len(ratios) > 1 and max(ratios) - min(ratios) > 0.3 * median(ratios)

    def cpu(self, key, who, process):
        spent = [run["cpu_us"][process] for run in self.runs(key, who) if process in run["cpu_us"]]
        return median(spent) if spent else None

    def latency(self, key, who, which):
        runs = self.runs(key, who)
        return median(run[which] for run in runs) if runs else None

    def peers(self, key):
        return [name for name in PEERS if self.runs(key, name)]


def rows(results):
    """All goals in order."""
    figures = Figures(results)
    return [*reservations(figures), *bytes_a_reservation(figures), *pass_through(figures), *latencies(figures),
            *process(figures), *workers(figures), *fairness(figures)]


def at_least(bound, value):
    return None if value is None else value >= bound


def at_most(bound, value):
    return None if value is None else value <= bound


def both(*verdicts):
    if False in verdicts:
        return False
    return None if None in verdicts else True


def times(value, wavers=False):
    return "–" if value is None else f"{value:.2f} ×{' ~' if wavers else ''}"


def micro(value):
    return "–" if value is None else f"{value:,.{0 if value >= 100 else 2}f} µs"


def reservations(figures):
    def row(key, load, least, redis_most=None, word=""):
        ratio, redis = figures.ratio(key), figures.cpu(key, "sidecar", "redis")
        goal = f"≥ {least:g} × direct" + (f"; Redis CPU ≤ {redis_most:g} µs" if redis_most else "") + word
        met = both(at_least(least, ratio), *([at_most(redis_most, redis)] if redis_most else []))
        measured = f"{times(ratio, figures.wavers(key))}; CPU: Redis {micro(redis)}, sidecar {micro(figures.cpu(key, 'sidecar', 'proxy'))}"
        return Row(load, goal, measured, met) if ratio is not None else Row(load, goal, "not measured")

    yield row("reserve_50x16", "reserve, 50 clients × 16", 10, 0.7)
    yield row("reserve_200", "reserve, 200 clients", 2.5)
    yield row("reserve_1000", "reserve, 1,000 clients", 2.5)
    yield row("reserve_50", "reserve, 50 clients", 2.2)
    yield row("reserve_8", "reserve, 8 clients", 1.25)
    yield row("reserve_1", "reserve, 1 client", 0.6)
    more = difference(figures, "reserve_1")
    yield Row("reserve, 1 client, median", "≤ 12 µs over direct", micro(more), at_most(12, more))
    yield row("commit_50x16", "commit, 50 clients × 16", 5)
    any_order = figures.ratio("commit_any_50x16")
    yield Row("commit in any order, 50 clients × 16", "stated", f"{times(any_order)} direct")
    yield row("rollback_50x16", "rollback, 50 clients × 16", 5)
    yield row("sold_out_on_50x16", "sold out, 50 clients × 16, cache", 5, 0.05)
    yield row("sold_out_on_200", "sold out, 200 clients, cache", 1.5, 0.05)
    yield row("sold_out_off_50x16", "sold out, 50 clients × 16, no cache", 4)


def difference(figures, key):
    through, direct = figures.latency(key, "sidecar", "p50_us"), figures.latency(key, "direct", "p50_us")
    return None if None in (through, direct) else through - direct


def bytes_a_reservation(figures):
    for name, load, most in (("batched", "a reservation in Redis, batched", 64), ("alone", "a reservation in Redis, alone", 256)):
        of = figures.results.get("reservation_bytes", {}).get(name)
        yield Row(load, f"≤ {most} bytes", f"{of['bytes']:.0f} bytes" if of else "not measured", at_most(most, of and of["bytes"]))


def pass_through(figures):
    def row(key, load, cpu_most, least, than_peer=None):
        cpu, ratio = figures.cpu(key, "sidecar", "proxy"), figures.ratio(key)
        goal, met = f"CPU ≤ {cpu_most:g} µs; ≥ {least:g} × direct", both(at_most(cpu_most, cpu), at_least(least, ratio))
        floor = figures.cpu(key, "floor", "proxy")
        measured = micro(cpu) + (f" (floor {micro(floor)})" if floor else "") + f"; {times(ratio, figures.wavers(key))}"
        if than_peer:
            peer = figures.ratio(key, to=than_peer)
            goal += f"; ≥ {than_peer}"
            measured += f"; {times(peer)} {than_peer}"
            met = both(met, at_least(1, peer))
        best = max(((figures.ratio(key, name), name) for name in figures.peers(key)), default=None)
        if best:
            measured += f" (best peer, {best[1]}: {times(best[0])})"
        return Row(load, goal, measured, met)

    yield row("get_50x1", "GET, 50 clients", 2.8, 1.05, "nutcracker")
    yield row("get_50x16", "GET, 50 clients × 16", 0.30, 0.65)
    for kind in ("get", "set"):
        yield row(f"{kind}_200x1", f"{kind.upper()}, 200 clients", 3.0, 1.1)
        yield row(f"{kind}_1000x1", f"{kind.upper()}, 1,000 clients", 3.8, 1.1)
    for kind in ("set", "get"):
        ratio = figures.ratio(f"{kind}_100k", to="haproxy")
        yield Row(f"{kind.upper()} of 100 kB, 50 clients", "≥ 0.8 × haproxy (TCP)", times(ratio), at_least(0.8, ratio))


def latencies(figures):
    more = difference(figures, "get_1x1")
    yield Row("GET, 1 client, median", "≤ 10 µs over direct", micro(more), at_most(10, more))
    mine = figures.latency("get_50x1", "sidecar", "p99_us")
    best = min(((figures.latency("get_50x1", name, "p99_us"), name) for name in figures.peers("get_50x1")), default=(None, ""))
    met = None if None in (mine, best[0]) else mine <= best[0]
    yield Row("GET, 50 clients, p99", "≤ the best peer's", f"{micro(mine)} (best peer, {best[1] or 'none'}: {micro(best[0])})", met)


def process(figures):
    memory = figures.results.get("memory", {})
    for name, most in (("idle", 6), ("after 1,000", 14), ("with 10,000", 90)):
        mib = memory.get(name)
        text = "idle" if name == "idle" else f"{name} clients"
        yield Row(f"memory, {text}", f"≤ {most} MiB", "not measured" if mib is None else f"{mib:.1f} MiB", at_most(most, mib))
    left, full = memory.get("when they left"), memory.get("with 10,000")
    met = None if None in (left, full) else left <= full / 2
    yield Row("memory, when they left", "falls back: at most half", "not measured" if left is None else f"{left:.1f} MiB", met)
    starts = figures.results.get("starts", {})
    mine = median(starts["sidecar"]) if "sidecar" in starts else None
    others = ", ".join(f"{name} {median(ms):.1f}" for name, ms in starts.items() if name != "sidecar")
    measured = "not measured" if mine is None else f"{mine:.1f} ms" + (f" ({others})" if others else "")
    yield Row("start to the first PONG", "≤ 5 ms", measured, at_most(5, mine))


def workers(figures):
    of = figures.results.get("workers", {})
    for key, load in (("workers_get_200", "GET, 200 clients"), ("workers_get_50x16", "GET, 50 clients × 16"), ("workers_reserve_50x16", "reserve, 50 clients × 16")):
        runs = of.get(key)
        if not runs:
            continue
        pairs = zip(runs["two workers"], runs["one worker"])
        ratio = median(two["cpu_us"]["proxy"] / one["cpu_us"]["proxy"] for two, one in pairs)
        slowest = min(run["slowest_share"] for run in runs["two workers"])
        measured = f"{times(ratio)}; the slowest client {100 * slowest:.0f} % of the mean"
        yield Row(f"two workers, {load}", "CPU ≤ 1.1 × one worker's; no client below 10 % of the mean", measured, ratio <= 1.1 and slowest >= 0.1)


def fairness(figures):
    of = figures.results.get("fairness", {})

    def p99(name):
        runs = of.get(name)
        return median(run["p99_us"] for run in runs) if runs else None

    for load, name, beside in (
        ("reserve, 199 clients beside one with a pipeline of 1,000, p99 of the 199", "199", "beside a pipeline"),
        ("reserve, 8 clients beside 50 × 16 on a hot SKU of their cell, p99 of the 8", "8 in the same cell", "beside a hot SKU"),
        ("reserve, 8 clients beside 50 × 16 on a hot SKU of another cell, p99 of the 8", "8 in another cell", "beside a hot SKU"),
    ):
        alone, together = p99(f"{name} alone"), p99(f"{name} {beside}")
        if alone is not None and together is not None:
            yield Row(load, "stated", f"{together / 1000:.2f} ms (alone {alone / 1000:.2f} ms)")
