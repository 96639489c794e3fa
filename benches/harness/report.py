"""The results as Markdown: the goals, all figures, the machine."""

from goals import Figures, rows
from loads import INVENTORY, PASS_THROUGH
from statistics import median

MARKS = {True: "met", False: "**not met**", None: ""}


def table(head, body):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(line) + " |" for line in body]) + "\n"


def goal_table(results):
    return table(["Load", "Goal", "Measured", ""], [[r.load, r.goal, r.measured, MARKS[r.met]] for r in rows(results)])


def where(results):
    m = results["machine"]
    return (f"Measured on {results['when']} at {m['commit']}: {m['processor']}, {m['cores']} cores that clients, proxies and "
            f"server share, {m['system']}, {m['engine']}, {m['compiler']}; medians of {results['rounds']} interleaved "
            f"round{'s' if results['rounds'] > 1 else ''}.")


def figures_table(results):
    figures, body = Figures(results), []
    for load in INVENTORY + PASS_THROUGH:
        for who, runs in results["loads"].get(load.key, {}).items():
            ratio = "" if who == "direct" else f"{figures.ratio(load.key, who):.2f}"
            proxy = figures.cpu(load.key, who, "proxy")
            body.append([
                load.title, who, f"{figures.rate(load.key, who):,.0f}", ratio,
                "" if proxy is None else f"{proxy:.2f}", f"{figures.cpu(load.key, who, 'redis'):.2f}",
                f"{median(run['own_cpu_us'] for run in runs):.2f}",
                f"{figures.latency(load.key, who, 'p50_us'):,.0f} / {figures.latency(load.key, who, 'p99_us'):,.0f}",
            ])
    head = ["Load", "Through", "Requests/s", "× direct", "Proxy CPU µs", "Redis CPU µs", "Client CPU µs", "p50 / p99 µs"]
    return table(head, body)


def noise(results):
    others = [busy for busy, _ in results["others"]]
    stolen = [share for _, share in results["others"]]
    if not others:
        return ""
    return (f"Beside it other processes used {median(others):.2f} cores at the median and {max(others):.2f} at most; the "
            f"hypervisor took {max(stolen):.2f} cores at most. `~`: the ratio differs by more than 30 % between rounds.")


def page(results):
    """The whole report."""
    notes = "".join(f"- {note}\n" for note in results["notes"])
    return "\n".join([
        "# Benchmark results", "", "Written by `make bench`; how to read them is in the README.", "", where(results), "",
        noise(results), "", notes, "![Throughput and CPU](latest.svg)", "", "## Goals", "", goal_table(results),
        "## All figures", "",
        "Direct is the same load without a proxy; for the inventory that is one EVALSHA a request of a plain script "
        "(benches/lua), which has no tokens, no expiry and no bounds. CPU is user and system, of each process, for each "
        "request. Latency is that of a whole pipeline. Floor is a server that reads and answers by itself: what the system calls "
        "of one side cost on this machine, with no upstream beside; a proxy's CPU for a request cannot be less.", "",
        figures_table(results),
    ])


def readme_part(results):
    """What stands between the README's markers."""
    return "\n".join([
        "![Throughput against direct, and CPU for each operation](benches/results/latest.svg)", "", where(results), "",
        noise(results), "", goal_table(results),
        "All figures: [benches/results/latest.md](benches/results/latest.md).",
    ])
