"""The plot of results/peers.json: accuracy against latency, a panel a runtime, a colour a tool, a marker a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import common

COLOURS = {
    "float": "#888888",
    "edgeft": "#d62728",
    "onnxruntime": "#1f77b4",
    "nncf": "#2ca02c",
    "litert_quantizer": "#9467bd",
    "torchao": "#ff7f0e",
}
NAMES = {
    "onnxruntime": "quantize_static",
    "nncf": "NNCF",
    "litert_quantizer": "litert-quantizer",
    "torchao": "torchao PT2E",
}
#: of the vertical axis, in points
TICKS = (-60, -40, -20, -10, -5, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3)
MARKERS = "osD^vP*Xh<"


def plot(record: Mapping[str, Any], path: Path) -> None:
    """Write the picture; its format follows from the suffix."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "peers"
    from matplotlib import pyplot, ticker

    differences = [row["metric"] - result["float"] for result in record["nets"].values() for row in result["rows"]]
    low, high = min(1.2 * min(differences), -1), max(1.2 * max(differences), 1)
    figure, axes = pyplot.subplots(1, len(common.RUNTIMES), figsize=(14, 5.2), sharey=True, layout="constrained")

    for axis, (runtime, title) in zip(axes, common.RUNTIMES.items()):
        for marker, result in zip(MARKERS, record["nets"].values()):
            for row in result["rows"]:
                if row["runtime"] == runtime and row.get("ms"):
                    gained = row["metric"] - result["float"]
                    axis.scatter(
                        row["ms"],
                        gained,
                        s=70 if row["tool"] == "edgeft" else 45,
                        marker=marker,
                        facecolors=COLOURS[row["tool"]] if row["tool"] in ("edgeft", "float") else "none",
                        edgecolors=COLOURS[row["tool"]],
                        linewidths=1.5,
                        zorder=3 if row["tool"] == "edgeft" else 2,
                    )
        axis.set(title=title, xscale="log", xlabel="ms a sample, one thread")
        axis.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(ticker.FormatStrFormatter("%g"))
        axis.xaxis.set_minor_locator(ticker.LogLocator(subs=(2, 5)))
        axis.set_yscale("symlog", linthresh=1)
        axis.set_yticks([value for value in TICKS if low <= value <= high], minor=False)
        axis.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.yaxis.set_minor_locator(ticker.NullLocator())
        axis.set_ylim(low, high)
        axis.axhline(0, color="#cccccc", zorder=0)
        axis.grid(alpha=0.25)

    axes[0].set_ylabel("top-1 less float's, points (logarithmic beyond 1)")

    def handle(marker: str, colour: str, label: str) -> Any:
        return pyplot.Line2D([], [], marker=marker, linestyle="", color=colour, label=label)

    tools = [handle("s", colour, NAMES.get(tool, tool)) for tool, colour in COLOURS.items()]
    shown = [handle(marker, "#000000", r["title"]) for marker, r in zip(MARKERS, record["nets"].values())]
    figure.legend(handles=tools + shown, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
