"""Draw the pictures of docs/ from results/*.json: `python benchmarks/pictures.py [recommend control]`. Needs matplotlib."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common

PICTURES = common.HERE.parent / "docs" / "pictures"
COLOURS = {"plain": "#b8bcc4", "float": "#5b7fa6", "int8": "#d98032"}


def _axes(width: float, height: float) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg")
    # the same figures give the same file
    matplotlib.rcParams.update({"svg.hashsalt": "edgeft", "font.size": 9, "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)

    axes.tick_params(axis="y", length=0)
    return figure, axes


def _bars(axes: Any, rows: list[tuple[str, float, str, float]], digits: int) -> None:
    """Horizontal bars from the top: (name, value, kind, half of its 95 % interval or 0)."""
    for place, (name, value, kind, half) in enumerate(rows):
        axes.barh(place, value, color=COLOURS[kind], height=0.7, xerr=half or None, ecolor="#444", capsize=2)
        put = {"va": "center", "textcoords": "offset points", "xytext": (5, 0)}
        axes.annotate(f"{value:.{digits}f}", (value + half, place), **put)
        axes.annotate(name, (0, place), color="white" if kind != "plain" else "black", **put)
    axes.set_yticks([])
    axes.invert_yaxis()


def recommend(found: dict[str, Any]) -> Any:
    """HR@10 of popularity and of each net, float and int8 (ONNX Runtime), with binomial intervals."""
    figure, axes = _axes(6.4, 2.6)
    first = found["rows"][0]["summary"]
    n = first["n"]
    rows = [("popularity: the same list for everyone", first["chance"], "plain")]

    for row in found["rows"]:
        if row["seed"] == found["rows"][0]["seed"]:
            name = {"neumf": "neural matrix factorization", "two_tower": "two towers"}[row["net"]]
            r = row["runtimes"]["litert"]
            rows += [(f"{name}, {kind}", r[kind]["HR@10"], kind) for kind in ("float", "int8")]

    _bars(axes, [(*row, 1.96 * math.sqrt(row[1] * (1 - row[1]) / n)) for row in rows], 3)
    axes.axvline(1.2 * first["chance"], color="#444", linestyle=":", linewidth=1)
    axes.text(1.2 * first["chance"], -0.75, "20 % above popularity", ha="center", fontsize=8)
    axes.set_xlim(0, 0.85)
    axes.set_xlabel(f"HR@10 among 99 negatives, {n} users, MovieLens latest-small; bars are 95 % intervals")

    return figure


def control(found: dict[str, Any]) -> Any:
    """The return of CartPole-v1 with each artifact at the stick."""
    figure, axes = _axes(6.4, 2.6)
    (row,) = (r for r in found["rows"] if r["name"] == "cartpole")
    rows = []
    for name, r in row["runtimes"].items():
        rows += [(f"{common.RUNTIMES[name]}, {kind}", r[f"{kind}_return"], kind, 0.0) for kind in ("float", "int8")]

    _bars(axes, rows, 1)
    axes.set_xlim(0, 560)
    axes.set_xlabel("mean return of CartPole-v1, the same 50 episodes for every artifact (500 is the most)")
    return figure


def keywords(found: dict[str, Any]) -> Any:
    """Accuracy on the test recordings, and on each speaker that was left out of the training recordings."""
    figure, axes = _axes(6.4, 3.4)
    first = found["rows"][0]
    rows = [("voices that were learned from, float", first["summary"]["float"], "float", first["summary"]["n"])]
    int8 = min(r["quantized"] for r in first["runtimes"].values())
    rows += [("voices that were learned from, int8 (the worst of three runtimes)", int8, "int8", first["summary"]["n"])]

    for row in found["unheard"]:
        name = f"the speaker {row['speaker']}, never heard before"
        rows += [(f"{name}, float", row["float"], "float", row["n"]), (f"{name}, int8", row["ptq"], "int8", row["n"])]

    _bars(axes, [(a, 100 * v, kind, 196 * math.sqrt(v * (1 - v) / n)) for a, v, kind, n in rows], 1)
    axes.set_xlim(0, 112)
    axes.set_xlabel("accuracy in per cent, 200 recordings each, Free Spoken Digit Dataset; bars are 95 % intervals")
    return figure


def main() -> None:
    drawings: dict[str, Callable[[dict[str, Any]], Any]] = {
        "recommend": recommend,
        "control": control,
        "keywords": keywords,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(drawings))

    for name in parser.parse_args().names:
        found = json.loads((common.RESULTS / f"{name}.json").read_text())
        PICTURES.mkdir(exist_ok=True)
        path: Path = PICTURES / f"{name}.svg"
        drawings[name](found).savefig(path, metadata={"Date": None})
        print(path)


if __name__ == "__main__":
    main()
