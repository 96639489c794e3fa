"""Runs the loads in interleaved rounds, and what else is to be known of the sidecar. Its results are plain data."""

import json
import subprocess
import time

from loads import INVENTORY, PASS_THROUGH, PLENTY, WORKERS, Load
from machine import Failed, Process, Resp, free_port, host_cpu, sidecar
from peers import say

#: The sidecars by name: their settings beyond the defaults.
SIDECARS = {
    "sidecar": (),
    "sold-out-off": ("inventory.sold_out_cache_ms=0",),
    "sold-out-on": ("inventory.sold_out_cache_ms=100",),
    "two workers": ("sidecar.workers=2",),
    "cells": ("inventory.cells=8",),
}
#: A run ends at the latest after so many seconds.
RUN_LIMIT = 60
STARTS = 9
MANY = 10_000


class Bench:
    def __init__(self, binary, generator, redis, peers, rounds, out):
        self.binary, self.generator, self.redis, self.peers = binary, generator, redis, peers
        self.rounds, self.out = rounds, out
        self.running, self.notes, self.others = {}, [], []
        self.knows_sold_out = self.knows("inventory.sold_out_cache_ms=100")

    def knows(self, setting):
        return subprocess.run([self.binary, "check", "--set", setting], capture_output=True).returncode == 0

    def start_peers(self):
        """One that does not come up is left out, as one that is not there."""
        for peer in list(self.peers):
            try:
                peer.start()
            except Failed as failure:
                self.peers.remove(peer)
                self.notes.append(f"{failure}: left out.")
                say(self.notes[-1])

    # ------------------------------------------------------------ sidecars
    def sidecar(self, name):
        """The sidecar of that name, started where it does not run yet."""
        if name not in self.running:
            settings = SIDECARS[name]
            if "sold-out" in name and not self.knows_sold_out:
                settings = ()
            # The number of cells is remembered upstream, so those need a namespace of their own.
            process = sidecar(self.binary, self.redis, self.out, settings, "cells" if name == "cells" else "bench")
            process.start()
            self.running[name] = process
        return self.running[name]

    def floor(self):
        """What answers by itself: no proxy's CPU for a request is below its."""
        if "floor" not in self.running:
            port = free_port()
            argv = [self.generator, "answer", "--addr", f"127.0.0.1:{port}"]
            process = Process("floor", argv, port, f"{self.out}/floor.log")
            process.start()
            self.running["floor"] = process
        return self.running["floor"]

    def stop(self, name):
        process = self.running.pop(name, None)
        if process:
            process.stop()

    def stop_all(self):
        for name in list(self.running):
            self.stop(name)

    # ------------------------------------------------------------ one run
    def run(self, load, target, plain=False, args=()):
        """One run of the load generator against `target`; what it reports."""
        if load.stock is not None:
            self.empty()
        argv = [self.generator, load.kind, "--addr", f"127.0.0.1:{target.port}", "--clients", str(load.clients),
                "--pipeline", str(load.pipeline), "--seconds", str(load.seconds), "--watch", f"redis={self.redis.pid}"]
        argv += [*load.args, *args]
        if target is not self.redis:
            argv += ["--watch", f"proxy={target.pid}"]
        if load.stock is not None:
            argv += ["--stock", str(load.stock)]
        if plain:
            argv.append("--plain")
        (busy, stolen), begun = host_cpu(), time.perf_counter()
        done = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_LIMIT)
        if done.returncode != 0:
            raise Failed(f"{load.title}, {target.name}: {done.stderr.strip()}")
        report = json.loads(done.stdout)
        busy_after, stolen_after = host_cpu()
        seconds = time.perf_counter() - begun
        replies = report["replies"]
        if replies["errors"] or (replies["refused"] and not load.refused):
            raise Failed(f"{load.title}, {target.name}: not what was asked for: {replies}")
        requests = report["requests"]
        report["rate"] = requests / report["seconds"]
        report["cpu_us"] = {name: 1e6 * spent / requests for name, spent in report["cpu"].items()}
        report["own_cpu_us"] = 1e6 * report["own_cpu"] / requests
        ours = (sum(report["cpu"].values()) + report["own_cpu"]) / report["seconds"] * seconds
        self.others.append([max(0.0, (busy_after - busy - ours) / seconds), (stolen_after - stolen) / seconds])
        return report

    def empty(self):
        connection = Resp(self.redis.port)
        connection.call("FLUSHALL", "SYNC")
        connection.close()

    def fill(self, load):
        """The keys that a GET reads."""
        argv = [self.generator, "get", "--addr", f"127.0.0.1:{self.redis.port}", "--clients", "1", "--requests", "1",
                "--warmup", "0", "--fill", *load.args]
        subprocess.run(argv, capture_output=True, timeout=RUN_LIMIT, check=True)

    # ------------------------------------------------------------ rounds
    def rounds_of(self, load, contenders, args=()):
        """`contenders`: name → (process, whether by plain scripts). Each in turn within each round, and each round begins
        with another."""
        if load.kind == "get":
            self.empty()
            self.fill(load)
        runs = {name: [] for name in contenders}
        names = list(contenders)
        for number in range(self.rounds):
            for name in names[number % len(names):] + names[:number % len(names)]:
                process, plain = contenders[name]
                runs[name].append(self.run(load, process, plain, args))
        rates = "  ".join(f"{name} {sorted(run['rate'] for run in of)[len(of) // 2]:,.0f}/s" for name, of in runs.items())
        say(f"{load.title:32} {rates}")
        return runs

    def loads(self):
        results = {}
        for load in INVENTORY + PASS_THROUGH:
            if load.sidecar == "sold-out-on" and not self.knows_sold_out:
                continue
            contenders = {"direct": (self.redis, load.kind in ("reserve", "commit", "rollback"))}
            contenders["sidecar"] = (self.sidecar(load.sidecar), False)
            if "peers" in load.against:
                contenders.update({peer.name: (peer, False) for peer in self.peers})
            if "floor" in load.against:
                contenders["floor"] = (self.floor(), False)
            results[load.key] = self.rounds_of(load, contenders)
            if load.sidecar != "sidecar":
                self.stop(load.sidecar)
        if not self.knows_sold_out:
            self.notes.append("This sidecar has no inventory.sold_out_cache_ms: what is sold out is measured without it alone.")
        return results

    def workers(self):
        results = {}
        for load in WORKERS:
            contenders = {"one worker": (self.sidecar("sidecar"), False), "two workers": (self.sidecar("two workers"), False)}
            results[load.key] = self.rounds_of(load, contenders)
        self.stop("two workers")
        return results

    # ------------------------------------------------------------ fairness
    def fairness(self):
        """The p99 of clients with one request each, alone and beside what could starve them."""
        results = {}
        deep = ("--beside-clients", "1", "--beside-pipeline", "1000")
        load = Load("199", "199 clients, one request each", "reserve", 199, stock=PLENTY)
        one = {"sidecar": (self.sidecar("sidecar"), False)}
        results["199 alone"] = self.rounds_of(load, one)["sidecar"]
        results["199 beside a pipeline"] = self.rounds_of(load, one, deep)["sidecar"]
        cells = {"sidecar": (self.sidecar("cells"), False)}
        hot, same, other = skus(8)
        for name, sku in (("8 in the same cell", same), ("8 in another cell", other)):
            load = Load(name, name, "reserve", 8, args=("--sku", sku), stock=PLENTY)
            beside = ("--beside-clients", "50", "--beside-pipeline", "16", "--beside-sku", hot)
            results[f"{name} alone"] = self.rounds_of(load, cells)["sidecar"]
            results[f"{name} beside a hot SKU"] = self.rounds_of(load, cells, beside)["sidecar"]
        self.stop("cells")
        return results

    # ------------------------------------------------------------ memory, start
    def memory(self, file_limit):
        """Of a sidecar that has just been started, in MiB, through what comes to it."""
        process = sidecar(self.binary, self.redis, self.out)
        process.start()
        results = {}
        try:
            time.sleep(1)
            results["idle"] = process.resident_mib()
            self.fill(PASS_THROUGH[0])
            self.run(Load("memory", "memory, 1,000 clients", "get", 1000), process)
            results["after 1,000"] = process.resident_mib()
            clients = min(MANY, file_limit - 200)
            if clients < MANY:
                self.notes.append(f"Only {clients} clients may be open here (ulimit -n): the memory is that with so many.")
            argv = [self.generator, "hold", "--addr", f"127.0.0.1:{process.port}", "--clients", str(clients)]
            holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            try:
                if holder.stdout.readline().strip() != "held":
                    raise Failed(f"memory, {clients} clients: {holder.stderr.read().strip()}")
                results["with 10,000"] = process.resident_mib()
            finally:
                holder.communicate(timeout=RUN_LIMIT)
            results["when they left"] = rest(process)
        finally:
            process.stop()
        say("memory, MiB: " + ", ".join(f"{name} {mib:.1f}" for name, mib in results.items()))
        return results

    def reservation_bytes(self):
        """What a reservation takes in Redis, made in batches and one by one."""
        results = {}
        through = self.sidecar("sidecar")
        for name, clients, pipeline in (("batched", 50, 16), ("alone", 1, 1)):
            args = ("--requests", "100000", "--warmup", "0")
            load = Load(name, f"bytes a reservation, {name}", "reserve", clients, pipeline, args=args, stock=PLENTY, seconds=50)
            self.empty()
            asking = Resp(self.redis.port)
            before = used_memory(asking)
            self.run(load, through)
            inventory = Resp(through.port)
            stock = inventory.call("INV.STOCK", "hot")
            reserved = dict(zip(stock[::2], stock[1::2]))["reserved"]
            results[name] = {"bytes": (used_memory(asking) - before) / reserved, "reservations": reserved}
            inventory.close()
            asking.close()
        say("bytes a reservation: " + ", ".join(f"{name} {of['bytes']:.0f}" for name, of in results.items()))
        return results

    def starts(self):
        """Milliseconds from the start to the first PONG, the upstream being up."""
        mine = sidecar(self.binary, self.redis, self.out)
        contenders = [mine] + [Process(p.name, p.argv, p.port, p.log) for p in self.peers]
        for peer in self.peers:
            peer.stop()
        results = {process.name: [] for process in contenders}
        for _ in range(STARTS):
            for process in contenders:
                try:
                    results[process.name].append(1000 * process.start())
                finally:
                    process.stop()
        for peer in self.peers:
            peer.start()
        say("start, ms: " + ", ".join(f"{name} {sorted(ms)[len(ms) // 2]:.1f}" for name, ms in results.items()))
        return results


def rest(process):
    """The memory once it does not fall any more."""
    lowest, since = process.resident_mib(), time.monotonic()
    begun = since
    while time.monotonic() - since < 2 and time.monotonic() - begun < 20:
        time.sleep(0.2)
        now = process.resident_mib()
        if now < lowest - 0.2:
            lowest, since = now, time.monotonic()
    return lowest


def used_memory(connection):
    lines = connection.call("INFO", "memory").split("\r\n")
    return next(int(line.split(":")[1]) for line in lines if line.startswith("used_memory:"))


def skus(cells):
    """A hot SKU, another of its cell, and one of another cell."""
    def cell(sku):
        crc = 0
        for byte in sku.encode():
            crc ^= byte << 8
            for _ in range(8):
                crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
        return crc % 16384 % cells
    names = [f"cold{number}" for number in range(100)]
    hot = cell("hot")
    return "hot", next(n for n in names if cell(n) == hot), next(n for n in names if cell(n) != hot)
