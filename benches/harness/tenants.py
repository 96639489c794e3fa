"""Question: what does a tenant cost: the CPU of rewriting its requests, and the start, the memory and the idle time of a thousand?

Rewriting: the same GETs through a sidecar without tenants (plain pass-through), through a tenant with `passthrough = "full"` (the
gate alone: who may do what, whose turn it is) and through an isolated one (keys behind the prefix, errors told otherwise). They
take turns within each round, another first in each, so what is told is the difference within a round, at its median.

A thousand: sidecars with one tenant and with 1,001, each with a password; and the same with a listener for each tenant. What a
tenant takes is the difference between the two.

Command: make tenants, which writes benches/results/tenants.md
"""

import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

from machine import ROOT, Failed, Process, Resp, describe, free_port, raise_file_limit, redis_server
from main import build
from measure import rest
from report import MARKS, table

SECONDS = 0.6
MANY = 1_000
IDLE_SECONDS = 4
REWRITING_US, START_SECONDS, EACH_KB = 0.4, 1.0, 20.0
#: Way → its tenants. Without a password the tenant `default` is whoever says nothing.
WAYS = {
    "no tenants": "",
    "full": '[[tenants]]\nname = "default"\npassthrough = "full"\n',
    "isolated": '[[tenants]]\nname = "default"\npassthrough = "isolated"\n',
}
LOADS = {"GET, 50 clients": 1, "GET, 50 clients × 16": 16}


class Tenanted(Process):
    """A sidecar with this configuration, on a port of its own."""

    def __init__(self, binary, upstream, directory, config):
        port = free_port()
        path = directory / f"{port}.toml"
        path.write_text(config)
        argv = [binary, "run", "--config", path, "--listen", f"127.0.0.1:{port}", "--admin", ""]
        argv += ["--upstream", f"redis://127.0.0.1:{upstream.port}"]
        super().__init__("sidecar", list(map(str, argv)), port, directory / f"{port}.log")

    def answers(self):
        """Whoever has not said who it is is told NOAUTH."""
        with contextlib.suppress(OSError):
            try:
                probe = Resp(self.port)
                probe.call("PING")
            except Failed as refusal:
                return str(refusal).startswith("NOAUTH")
            return True
        return False


# ---------------------------------------------------------------- rewriting


def cpu_us(generator, process, pipeline, seconds=SECONDS):
    """Of the sidecar, for each GET."""
    argv = [generator, "get", "--addr", f"127.0.0.1:{process.port}", "--clients", 50, "--pipeline", pipeline]
    argv += ["--seconds", seconds, "--requests", 100_000_000, "--watch", f"sidecar={process.pid}"]
    argv += ["--fill"] if seconds == 0 else []
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"GET: {done.stderr.strip()}")
    report = json.loads(done.stdout)
    if report["replies"]["errors"] or report["replies"]["refused"]:
        raise Failed(f"GET: not what was asked for: {report['replies']}")
    return 1e6 * report["cpu"]["sidecar"] / max(1, report["requests"])


def rewriting(binary, generator, redis, directory, rounds):
    """Load → way → the figures of each round."""
    processes = {way: Tenanted(binary, redis, directory, config) for way, config in WAYS.items()}
    try:
        for process in processes.values():
            process.start()
            cpu_us(generator, process, 1, seconds=0)
        found = {load: {way: [] for way in WAYS} for load in LOADS}
        for load, pipeline in LOADS.items():
            for number in range(rounds):
                ways = list(WAYS)[number % len(WAYS):] + list(WAYS)[:number % len(WAYS)]
                for way in ways:
                    found[load][way].append(cpu_us(generator, processes[way], pipeline))
        return found
    finally:
        for process in processes.values():
            process.stop()


def more(figures, way):
    """What a way takes more than plain pass-through, round by round: the median, and the middle half of the rounds."""
    within = [this - plain for this, plain in zip(figures[way], figures["no tenants"])]
    low, middle, high = statistics.quantiles(within, n=4) if len(within) > 1 else within * 3
    return middle, f"{middle:+.2f} ({low:+.2f} to {high:+.2f})"


def rewriting_rows(found):
    body, goals = [], []
    for load, figures in found.items():
        medians = [f"{statistics.median(figures[way]):.2f}" for way in WAYS]
        _, full = more(figures, "full")
        isolated, shown = more(figures, "isolated")
        body.append([load, *medians, full, shown])
        goals.append([f"rewriting, {load}", f"≤ {REWRITING_US} µs CPU over plain pass-through", f"{isolated:+.2f} µs",
                      MARKS[isolated <= REWRITING_US]])
    return body, goals


# ---------------------------------------------------------------- a thousand tenants


class Crowd:
    """So many tenants of one sidecar, and what they cost it and its upstream."""

    def __init__(self, binary, redis, directory, count, have_listeners):
        self.count, self.redis, self.have_listeners = count, redis, have_listeners
        self.ports = {free_port() for _ in range(count)}
        while len(self.ports) < count:
            self.ports.add(free_port())
        self.ports, entries = list(self.ports), []
        for number in range(count):
            door = f'tcp = "127.0.0.1:{self.ports[number]}"' if have_listeners else f'password = "p{number}"'
            entries.append(f'[[tenants]]\nname = "t{number}"\n{door}\n')
        self.process = Tenanted(binary, redis, directory, "".join(entries))

    def visit(self, clients=1):
        """So many clients of each tenant, one after the other; each asks for a key, and leaves."""
        for number in range(self.count):
            for _ in range(clients):
                client = Resp(self.ports[number] if self.have_listeners else self.process.port)
                if not self.have_listeners:
                    client.call("AUTH", f"t{number}", f"p{number}")
                client.call("GET", "k")
                client.close()

    def measure(self):
        found, begun = {}, time.perf_counter()
        found["first"] = self.process.start()
        try:
            self.visit()
            found["all"] = time.perf_counter() - begun
        finally:
            self.process.stop()
        # Of another process: no tenant had a client in this one yet.
        self.process.start()
        try:
            found["idle_kib"] = 1024 * rest(self.process)
            found["cpu"] = self.idle_cpu()
            # As many clients, however many tenants.
            self.visit((MANY + 1) // self.count)
            found["visited_kib"] = 1024 * rest(self.process)
            found["visited_cpu"] = self.idle_cpu()
        finally:
            self.process.stop()
        return found

    def idle_cpu(self):
        """Of the sidecar and of its upstream, ms each second."""
        both, begun = (self.process, self.redis), time.perf_counter()
        before = [process.cpu_seconds() for process in both]
        time.sleep(IDLE_SECONDS)
        after, took = [process.cpu_seconds() for process in both], time.perf_counter() - begun
        return [1000 * (now - then) / took for then, now in zip(before, after)]


def crowd_rows(few, many):
    """A row for each figure, and the goals'."""
    def each(name):
        return 1.024 * (many[name] - few[name]) / MANY

    body = [
        ["start to the first answer", *(f"{1000 * of['first']:.0f} ms" for of in (few, many)), ""],
        ["start until each tenant was answered", *(f"{1000 * of['all']:.0f} ms" for of in (few, many)), ""],
        ["memory, nobody was there yet", *(f"{of['idle_kib'] / 1024:.1f} MiB" for of in (few, many)), f"{each('idle_kib'):.1f} kB"],
        ["memory, 1,001 clients have come and gone", *(f"{of['visited_kib'] / 1024:.1f} MiB" for of in (few, many)),
         f"{each('visited_kib'):.1f} kB"],
    ]
    for name, what in (("cpu", "nobody was there yet"), ("visited_cpu", "1,001 clients have come and gone")):
        for place, whose in ((0, "sidecar"), (1, "Redis")):
            (a, b) = (of[name][place] for of in (few, many))
            body.append([f"idle CPU a second, {whose}, {what}", f"{a:.1f} ms", f"{b:.1f} ms", f"{1000 * (b - a) / MANY:.1f} µs"])
    met = many["all"] < START_SECONDS, each("idle_kib") < EACH_KB, each("visited_kib") < EACH_KB
    goals = [
        ["start until each was answered", f"< {START_SECONDS:.0f} s", f"{many['all']:.2f} s", MARKS[met[0]]],
        ["memory of a tenant, nobody was there yet", f"< {EACH_KB:.0f} kB", f"{each('idle_kib'):.1f} kB", MARKS[met[1]]],
        ["memory of a tenant that had a client", f"< {EACH_KB:.0f} kB", f"{each('visited_kib'):.1f} kB", MARKS[met[2]]],
    ]
    return body, goals


# ---------------------------------------------------------------- all


def measure(options, binary, generator, directory):
    """The page's parts: the goals first."""
    redis = redis_server(directory)
    redis.start()
    try:
        machine, parts, goals = describe(redis.port), [], []
        if "rewriting" in options.only:
            body, reached = rewriting_rows(rewriting(binary, generator, redis, directory, options.rounds))
            head = ["CPU of the sidecar, µs a GET", *WAYS, "full over none", "isolated over none"]
            parts += ["## Rewriting", "", table(head, body)]
            goals += reached
        for name, have_listeners in (("password", False), ("listener", True)):
            if "crowd" not in options.only:
                break
            few, many = (Crowd(binary, redis, directory, count, have_listeners).measure() for count in (1, MANY + 1))
            body, reached = crowd_rows(few, many)
            parts += [f"## {MANY + 1:,} tenants, each with a {name}", "", table(["", "1 tenant", f"{MANY + 1:,}", "each"], body)]
            goals += [[f"{MANY + 1:,} tenants with a {name} each: {goal[0]}", *goal[1:]] for goal in reached]
    finally:
        redis.stop()
    return machine, ["## Goals", "", table(["What", "Goal", "Measured", ""], goals), *parts]


def page(machine, parts, rounds):
    return "\n".join([
        "# What a tenant costs", "",
        "Written by `make tenants`. CPU is user and system of the process, as the scheduler counts it.", "",
        "Rewriting: *no tenants* is plain pass-through, *full* passes the gate and nothing is rewritten, *isolated* has its keys "
        "behind the prefix. *Over none* is the difference to *no tenants* within a round: at the median of the rounds, and in "
        "brackets where the middle half of them lies.", "",
        f"A tenant's memory is the difference between sidecars with {MANY + 1:,} and with 1, after as many clients. A tenant is "
        "*answered* when a client of Python's has connected, said its password where it needs one, and has the reply to a GET; "
        "tenant by tenant, so that the time is the clients' too.", "",
        f"Measured on {time.strftime('%Y-%m-%d')} at {machine['commit']}: {machine['processor']}, {machine['cores']} cores that all "
        f"share, {machine['system']}, {machine['engine']}; {rounds} interleaved rounds of {SECONDS} s.", "", *parts,
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12, help="of GETs each way")
    parser.add_argument("--only", nargs="*", default=["rewriting", "crowd"], choices=["rewriting", "crowd"])
    parser.add_argument("--binary", help="a sidecar that is built already, with --generator")
    parser.add_argument("--generator")
    parser.add_argument("--store", action="store_true", help="into benches/results/tenants.md")
    options = parser.parse_args()
    binary, generator = (options.binary, options.generator) if options.generator else build()
    raise_file_limit()
    with tempfile.TemporaryDirectory() as directory:
        machine, parts = measure(options, binary, generator, pathlib.Path(directory))
    text = page(machine, parts, options.rounds)
    print(text)
    if options.store:
        pathlib.Path(f"{ROOT}/benches/results/tenants.md").write_text(text)


if __name__ == "__main__":
    main()
