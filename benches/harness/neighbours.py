"""Question: how much slower are one tenant's requests while another one floods the sidecar, and by whose doing?

A quiet tenant's unpipelined clients are measured alone, and while another tenant floods: deep pipelines of GET and SET, of
INV.RESERVE, GETs bounded by `requests_per_second`, and wrong passwords against a costly hash. The same flood then goes another
way: through a sidecar of its own to the same upstream (what it costs there is the upstream's and the machine's), and through a
sidecar of its own to an upstream of its own (the machine's alone, its generator among it). All take turns within one run, for
the absolutes are the machine's.

Command: make neighbours, which writes benches/results/neighbours.md
"""

import argparse
import contextlib
import json
import pathlib
import socket
import statistics
import subprocess
import tempfile
import threading
import time

from machine import ROOT, describe, free_port
from main import build
from report import table

SECONDS = 0.6
QUIET_CLIENTS = 4
# Of "right": 19 MiB, two passes, the usual minimum.
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$5tXCdHqd6p0MSaPTBPEKXcKyCm3DhHlcRdyqfE+IDQg"
BOUND = 50_000
PASSWORDS = "wrong passwords, 100 clients"
# What, how many clients, how deep, and whose listener of the flooding side.
FLOODS = {
    "GET, 20 clients × 256": ("get", 20, 256, "flood"),
    "SET, 20 clients × 256": ("set", 20, 256, "flood"),
    "reservations, 20 clients × 64": ("reserve", 20, 64, "flood"),
    f"GET, 20 clients × 16, {BOUND:,} a second allowed": ("get", 20, 16, "bounded"),
    PASSWORDS: None,
}
WAYS = {
    "alone": "alone",
    "here": "beside the flood",
    "upstream": "flood through a sidecar of its own",
    "machine": "and to an upstream of its own",
}


def wait_for(port):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on {port}")


class Scene:
    """Two upstreams and three sidecars, each sidecar with the same tenants, of which each has a listener."""

    def __init__(self, binary, generator, directory):
        self.binary, self.generator, self.directory = binary, generator, directory
        self.processes = []
        self.redis = self.upstream()
        self.ports = {"here": self.sidecar(self.redis), "upstream": self.sidecar(self.redis)}
        self.ports["machine"] = self.sidecar(self.upstream())

    def start(self, command, name):
        log = open(self.directory / f"{name}.log", "w")
        self.processes.append(subprocess.Popen(list(map(str, command)), stdout=log, stderr=log))

    def upstream(self):
        port = free_port()
        self.start(["redis-server", "--port", port, "--save", "", "--appendonly", "no", "--dir", self.directory], port)
        wait_for(port)
        return port

    def sidecar(self, upstream):
        ports = {name: free_port() for name in ["flood", "bounded", "quiet", "common"]}
        entries = [f'[[tenants]]\nname = "hashed"\npassword_hash = "{HASH}"\n']
        for name in ["flood", "bounded", "quiet"]:
            bound = f"requests_per_second = {BOUND}\n" if name == "bounded" else ""
            entries.append(f'[[tenants]]\nname = "{name}"\ntcp = "127.0.0.1:{ports[name]}"\n{bound}')
        config = self.directory / f"{ports['common']}.toml"
        config.write_text("".join(entries))
        listen = ["--listen", f"127.0.0.1:{ports['common']}", "--admin", "", "--upstream", f"redis://127.0.0.1:{upstream}"]
        self.start([self.binary, "run", "--config", config, *listen], ports["common"])
        wait_for(ports["common"])
        return ports

    def load(self, kind, port, clients, pipeline, seconds):
        command = [self.generator, kind, "--addr", f"127.0.0.1:{port}", "--clients", clients, "--pipeline", pipeline]
        command += ["--seconds", seconds, "--requests", 100_000_000]
        command += ["--stock", 1_000_000_000] if kind == "reserve" else []
        return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)

    def measure(self, kind):
        """p50 and p99 of the quiet one, in microseconds."""
        answer = json.loads(self.load(kind, self.ports["here"]["quiet"], QUIET_CLIENTS, 1, SECONDS).communicate()[0])
        return answer["p50_us"], answer["p99_us"]

    def flooded(self, flood, kind, way):
        """What the quiet one is told while the flood goes this way; and of the flood, what was answered a second."""
        ports = self.ports[way]
        if flood == PASSWORDS:
            ended = threading.Event()
            threads = storm(ports["common"], ended)
            time.sleep(0.2)
            found = self.measure(kind)
            ended.set()
            [thread.join() for thread in threads]
            return *found, 0
        what, clients, pipeline, tenant = FLOODS[flood]
        flooding = self.load(what, ports[tenant], clients, pipeline, SECONDS + 0.5)
        time.sleep(0.25)
        found = self.measure(kind)
        answer = json.loads(flooding.communicate()[0])
        return *found, answer["requests"] / answer["seconds"]

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()


def storm(port, ended):
    """Clients that guess, and come again."""
    guess = b"*3\r\n$4\r\nAUTH\r\n$6\r\nhashed\r\n$5\r\nguess\r\n"

    def guesses():
        while not ended.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as client:
                client.sendall(guess)
                client.recv(100)

    threads = [threading.Thread(target=guesses, daemon=True) for _ in range(100)]
    for thread in threads:
        thread.start()
    return threads


def lines(scene, kind, floods, rounds):
    for flood in floods:
        found = {way: [] for way in WAYS}
        for _ in range(rounds):
            found["alone"].append(scene.measure(kind))
            for way in ["here", "upstream", "machine"]:
                found[way].append(scene.flooded(flood, kind, way))
        middle = {way: [statistics.median(x) for x in zip(*values)] for way, values in found.items()}
        alone = middle["alone"][1]
        shown = [f"{middle['alone'][0]:.0f} / {alone:.0f}"]
        for way in list(WAYS)[1:]:
            p50, p99, flooded = middle[way]
            of_flood = f"; {flooded / 1000:,.0f}" if flooded else ""
            shown.append(f"{p50:.0f} / {p99:.0f} ({p99 / alone:.2f} ×){of_flood}")
        print(f"{kind:8} {flood:45} " + "  ".join(shown), flush=True)
        yield [flood, *shown]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="*", default=["get", "reserve"], help="what the quiet tenant asks")
    parser.add_argument("--floods", nargs="*", type=int, help="which of the floods, from 0 on")
    parser.add_argument("--binary", help="a sidecar that is built already, with --generator")
    parser.add_argument("--generator")
    parser.add_argument("--store", action="store_true", help="into benches/results/neighbours.md")
    options = parser.parse_args()
    binary, generator = (options.binary, options.generator) if options.generator else build()
    floods = list(FLOODS) if options.floods is None else [list(FLOODS)[at] for at in options.floods]
    with tempfile.TemporaryDirectory() as directory:
        scene = Scene(binary, generator, pathlib.Path(directory))
        try:
            machine, parts = describe(scene.redis), []
            scene.load("reserve", scene.ports["here"]["quiet"], 1, 1, 0.2).communicate()
            for kind in options.kinds:
                body = list(lines(scene, kind, floods, options.rounds))
                head = ["The other tenant floods with", *WAYS.values()]
                name = "GET" if kind == "get" else "INV.RESERVE"
                parts += [f"## {name}, {QUIET_CLIENTS} clients × 1 of the quiet tenant", "", table(head, body)]
        finally:
            scene.stop()
    page = "\n".join([
        "# Neighbours", "",
        "Written by `make neighbours`. p50 / p99 of a quiet tenant in µs, and its p99 as a multiple of that when it is alone. What the "
        "flood costs it through a sidecar of its own is the upstream's and the machine's doing, to an upstream of its own the "
        "machine's alone, the generator's among it; only what is above these is the sidecar's. Goal: at most 2 × beside the flood, where the "
        "machine has room for both. Behind the semicolon: what the flood was answered, in thousands a second.", "",
        f"Measured on {time.strftime('%Y-%m-%d')} at {machine['commit']}: {machine['processor']}, {machine['cores']} cores that all "
        f"share, {machine['system']}, {machine['engine']}; medians of {options.rounds} interleaved rounds.", "", *parts,
    ])
    if options.store:
        pathlib.Path(f"{ROOT}/benches/results/neighbours.md").write_text(page)


if __name__ == "__main__":
    main()
