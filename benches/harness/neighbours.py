"""Question: how much slower are one tenant's requests while another one floods the sidecar?

A tenant's unpipelined clients are measured while it is alone, and while another tenant floods: deep pipelines of GET and SET,
of INV.RESERVE, and wrong passwords against a costly hash. Beside each stands the same flood through a sidecar of its own in
front of the same upstream: what the machine's cores and the upstream cost, the sidecar being no part of it. All within one
run, taking turns, for the absolutes are the machine's.

Command: cargo build --release && cargo bench --no-run && python3 benches/harness/neighbours.py LOAD [ROUNDS]
where LOAD is the load program (target/release/deps/load-*). 
"""

import contextlib
import json
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIDECAR = ROOT / "target/release/inventory-sentinel"
LOAD = sys.argv[1]
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
SECONDS = 1.0
# Of "right": 19 MiB, two passes, the usual minimum.
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$5tXCdHqd6p0MSaPTBPEKXcKyCm3DhHlcRdyqfE+IDQg"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on {port}")


def sidecar(directory, upstream):
    """One with two tenants, each with a listener; their ports, and that of both."""
    flood, quiet, common = free_port(), free_port(), free_port()
    config = directory / f"{common}.toml"
    config.write_text(
        f'[[tenants]]\nname = "flood"\ntcp = "127.0.0.1:{flood}"\n'
        f'[[tenants]]\nname = "quiet"\ntcp = "127.0.0.1:{quiet}"\n'
        f'[[tenants]]\nname = "hashed"\npassword_hash = "{HASH}"\n'
    )
    listen = ["--listen", f"127.0.0.1:{common}", "--admin", "", "--upstream", f"redis://127.0.0.1:{upstream}"]
    log = open(directory / f"{common}.log", "w")
    process = subprocess.Popen([SIDECAR, "run", "--config", config, *listen], stderr=log)
    wait_for(common)
    return process, flood, quiet, common


def load(kind, port, clients, pipeline, seconds=SECONDS, *more):
    command = [LOAD, kind, "--addr", f"127.0.0.1:{port}", "--clients", clients, "--pipeline", pipeline]
    command += ["--seconds", seconds, "--requests", 100_000_000, *more]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)


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


FLOODS = {
    "GET, 20 clients × 256": ("get", 20, 256),
    "SET, 20 clients × 256": ("set", 20, 256),
    "reservations, 20 clients × 64": ("reserve", 20, 64),
}


def measure(kind, port):
    answer = json.loads(load(kind, port, 4, 1).communicate()[0])
    return answer["p50_us"], answer["p99_us"]


def flooded(flood, port, common, kind, quiet):
    """What the quiet one is told while the flood goes on."""
    if flood == "wrong passwords":
        ended = threading.Event()
        threads = storm(common, ended)
        time.sleep(0.2)
        found = measure(kind, quiet)
        ended.set()
        [thread.join() for thread in threads]
        return found
    what, clients, pipeline = FLOODS[flood]
    more = ["--stock", 1_000_000_000] if what == "reserve" else []
    flooding = load(what, port, clients, pipeline, SECONDS + 0.6, *more)
    time.sleep(0.3)
    found = measure(kind, quiet)
    flooding.communicate()
    return found


def main():
    directory = pathlib.Path(tempfile.mkdtemp())
    port = free_port()
    redis = ["redis-server", "--port", port, "--save", "", "--appendonly", "no", "--dir", directory]
    processes = [subprocess.Popen(list(map(str, redis)), stdout=subprocess.DEVNULL)]
    try:
        wait_for(port)
        process, flood, quiet, common = sidecar(directory, port)
        other_process, other_flood, _, other_common = sidecar(directory, port)
        processes += [process, other_process]
        for kind in ["get", "reserve"]:
            more = ["--stock", 1_000_000_000] if kind == "reserve" else []
            load(kind, quiet, 1, 1, 0.3, *more).communicate()
            print(f"{kind} of the quiet one, 4 clients × 1: p50/p99 in us, of the quiet p99")
            for name in [*FLOODS, "wrong passwords"]:
                found = {"alone": [], "flood": [], "beside": []}
                for _ in range(ROUNDS):
                    found["alone"].append(measure(kind, quiet))
                    found["flood"].append(flooded(name, flood, common, kind, quiet))
                    found["beside"].append(flooded(name, other_flood, other_common, kind, quiet))
                middle = {way: [statistics.median(x) for x in zip(*values)] for way, values in found.items()}
                alone = middle["alone"][1]
                shown = "  ".join(
                    f"{way} {p50:.0f}/{p99:.0f} ({p99 / alone:.2f}×)" for way, (p50, p99) in middle.items()
                )
                print(f"  {name:32} {shown}", flush=True)
    finally:
        for process in processes:
            process.terminate()


if __name__ == "__main__":
    main()
