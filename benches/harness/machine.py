"""Processes, ports and figures of the machine: what the harness stands on. Ends only what it started itself."""

import contextlib
import os
import platform
import random
import resource
import shutil
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Failed(Exception):
    """A measurement that cannot be had; its text says why."""


def free_port():
    """Below the range from which outgoing connections take theirs."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def raise_file_limit():
    """For 10,000 clients; what is started from now on inherits it. Returns how many files may be open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


class Resp:
    """One connection, one question at a time."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.file = self.socket.makefile("rb")

    def call(self, *args):
        parts = [str(arg).encode() for arg in args]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self.reply()

    def reply(self):
        line = self.file.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:].decode()
        if kind == b"-":
            raise Failed(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return rest

    def close(self):
        self.file.close()
        self.socket.close()


class Process:
    """A server of ours on a port of 127.0.0.1."""

    def __init__(self, name, argv, port, log):
        self.name, self.argv, self.port, self.log = name, argv, port, log
        self.child = None

    def start(self):
        """Returns the seconds from its start to its first PONG."""
        with open(self.log, "ab") as log:
            begun = time.perf_counter()
            self.child = subprocess.Popen(self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        while not self.answers():
            if self.child.poll() is not None or time.perf_counter() - begun > 20:
                self.stop()
                raise Failed(f"{self.name} did not come up; see {self.log}")
            time.sleep(0.0002)
        return time.perf_counter() - begun

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(b"*1\r\n$4\r\nPING\r\n")
                return probe.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self):
        if self.child and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.child = None

    @property
    def pid(self):
        return self.child.pid

    def cpu_seconds(self):
        """Of all its threads, user and system, as the scheduler counts them."""
        spent = 0
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{self.pid}/task/{thread}/schedstat") as schedstat:
                spent += int(schedstat.read().split()[0])
        return spent / 1e9

    def resident_mib(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024


def redis_server(out):
    server = shutil.which("redis-server") or shutil.which("valkey-server")
    if not server:
        raise Failed("neither redis-server nor valkey-server is on PATH (make server installs it)")
    port = free_port()
    argv = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--maxclients", "12000", "--tcp-backlog", "4096"]
    return Process("redis", argv, port, f"{out}/redis.log")


def sidecar(binary, redis, out, settings=(), namespace="bench"):
    """In front of `redis`, with everything on that is on by default; `settings` are `table.key=value`."""
    port = free_port()
    argv = [binary, "run", "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{free_port()}",
            "--upstream", f"redis://127.0.0.1:{redis.port}", "--namespace", namespace,
            "--set", "listen.clients_max=12000"]
    for setting in settings:
        argv += ["--set", setting]
    return Process("sidecar", argv, port, f"{out}/sidecar.log")


def host_cpu():
    """Seconds that all cores together were busy, and that the hypervisor took."""
    with open("/proc/stat") as stat:
        fields = [int(word) for word in stat.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS, fields[7] / TICKS


def describe(redis_port):
    """The machine and the versions, for whoever reads the result."""
    def first_line(*argv):
        try:
            return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=20).stdout.split("\n")[0].strip()
        except (OSError, subprocess.TimeoutExpired):
            return ""
    model = "unknown processor"
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.lower().startswith(("model name", "hardware")):
                model = line.split(":", 1)[1].strip()
                break
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux") if os.path.exists("/etc/os-release") else "Linux"
    connection = Resp(redis_port)
    server = dict(line.split(":", 1) for line in connection.call("INFO", "server").split("\r\n") if ":" in line)
    connection.close()
    engine = f"Valkey {server['valkey_version']}" if "valkey_version" in server else f"Redis {server['redis_version']}"
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{system}, Linux {platform.release()}",
        "engine": engine,
        "compiler": first_line("rustc", "--version"),
        "commit": first_line("git", "describe", "--always", "--dirty"),
    }
