"""The chart: throughput against direct, and CPU for each operation, as SVG for light and dark pages."""

from html import escape
from math import log

from goals import Figures
from loads import INVENTORY, PASS_THROUGH

ORDER = ("direct", "sidecar", "nutcracker", "haproxy", "envoy")
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .small { font-size: 10px } .title { font-size: 14px; font-weight: 600 } .end { text-anchor: end } .mid { text-anchor: middle }
  .grid { stroke: #d0d7de } .one { stroke: #57606a; stroke-dasharray: 3 3 }
  .direct { fill: #8c959f } .sidecar { fill: #0969da } .nutcracker { fill: #bf8700 } .haproxy { fill: #1a7f37 } .envoy { fill: #8250df }
  .redis { opacity: .45 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .grid { stroke: #30363d } .one { stroke: #8b949e }
    .direct { fill: #6e7681 } .sidecar { fill: #58a6ff } .nutcracker { fill: #d29922 } .haproxy { fill: #3fb950 } .envoy { fill: #bc8cff }
  }
"""
WIDTH, NAMES, GAP, MARGIN = 1000, 190, 45, 85
PANEL = (WIDTH - NAMES - GAP - MARGIN) / 2
BAR, SPACE, TOP = 9, 8, 70


class Canvas:
    def __init__(self):
        self.parts = []

    def text(self, x, y, text, kind=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>')

    def bar(self, x, y, width, kind):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{BAR - 1}" rx="1" class="{kind}"/>')

    def line(self, x, top, bottom, kind):
        self.parts.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" class="{kind}"/>')


def groups(results):
    """Of each load that was measured: its name and, for each way, ratio, CPU of the proxy, CPU of Redis."""
    figures = Figures(results)
    for load in INVENTORY + PASS_THROUGH:
        ways = []
        for who in ORDER:
            if figures.runs(load.key, who):
                ratio = 1.0 if who == "direct" else figures.ratio(load.key, who)
                ways.append((who, ratio, figures.cpu(load.key, who, "proxy") or 0.0, figures.cpu(load.key, who, "redis")))
        if ways:
            yield load.title, ways


def chart(results):
    """The text of the SVG."""
    of = list(groups(results))
    canvas = Canvas()
    bottom = TOP + sum(len(ways) * BAR + SPACE for _, ways in of)
    left, right = NAMES, NAMES + PANEL + GAP
    ratios = [ratio for _, ways in of for _, ratio, _, _ in ways]
    low, high = min([0.5, *ratios]) * 0.9, max([2, *ratios]) * 1.1
    # The two that need far more of it reach the edge: their figures say how much.
    small = [ways for title, ways in of if "100 kB" not in title and ", 1 client" not in title]
    most = ceiling([proxy + redis for ways in small for _, _, proxy, redis in ways])

    def across(ratio):
        return left + PANEL * log(ratio / low) / log(high / low)

    canvas.text(left, 20, "Throughput, × direct (logarithmic)", "title")
    canvas.text(right, 20, "CPU for each operation, µs (pale: Redis)", "title")
    legend(canvas, [who for who in ORDER if any(way[0] == who for _, ways in of for way in ways)])
    for ratio in (0.25, 0.5, 1, 2, 5, 10, 20):
        if low <= ratio <= high:
            canvas.line(across(ratio), TOP - 6, bottom, "one" if ratio == 1 else "grid")
            canvas.text(across(ratio), TOP - 10, f"{ratio:g}", "small mid")
    for step in range(5):
        x = right + PANEL * step / 4
        canvas.line(x, TOP - 6, bottom, "grid")
        canvas.text(x, TOP - 10, f"{most * step / 4:g}", "small mid")
    y = TOP
    for title, ways in of:
        canvas.text(NAMES - 10, y + len(ways) * BAR / 2 + 4, title, "end")
        for who, ratio, proxy, redis in ways:
            canvas.bar(left, y, across(ratio) - left, who)
            canvas.text(across(ratio) + 4, y + 8, f"{ratio:.2f}", "small")
            scale = PANEL / most
            wide = min(proxy * scale, PANEL)
            canvas.bar(right, y, wide, who)
            canvas.bar(right + wide, y, min(redis * scale, PANEL - wide), f"{who} redis")
            canvas.text(right + min((proxy + redis) * scale, PANEL) + 4, y + 8, f"{proxy:.2f} + {redis:.2f}" if proxy else f"{redis:.2f}", "small")
            y += BAR
        y += SPACE
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 10}" role="img" '
            f'aria-label="Throughput against direct and CPU for each operation, by load">\n<style>{STYLE}</style>\n'
            + "\n".join(canvas.parts) + "\n</svg>\n")


def legend(canvas, ways):
    x = NAMES
    for who in ways:
        canvas.bar(x, 32, 12, who)
        canvas.text(x + 17, 41, who)
        x += 40 + 7 * len(who)


def ceiling(values):
    """A round number that is not below any of them."""
    most = max([1, *values])
    return next(bound for bound in (1, 2, 4, 8, 12, 16, 20, 40, 80, 200, 10**6) if bound >= most)
