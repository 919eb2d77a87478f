"""What learns, and what it is worth: every update policy, layer-wise rates and gradual unfreezing on three small tasks.

    python benchmarks/policies.py --out DIR [--only pneumonia cells voices] [--seeds 0 1]

`EDGEFT_DATA` names the folder with the data. Pictures (48 px, an EfficientNet-Lite0 of ImageNet): 400 training images of
PneumoniaMNIST, and 300 of the blood cells of BCCD: little data, where it matters what learns. Voices: a DS-CNN that
knows three speakers of FSDD learns the fourth one's digits from 50 recordings, each speaker in turn; tested on that
speaker, and on the three it knew.

Each row takes the best of three learning rates, by the mean over the seeds; the test split chooses nothing. Of pictures
those of the training split that the small sets leave out decide (`selection`): 57 validation pictures often decide alike
at both rates. Of voices the validation split does, of equal rates the loss on it. The head learns at 5e-3 in every row. Seconds of the float stage are in the JSON only: on a
machine with other work they compare nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np

RATES = (3e-4, 2e-3, 5e-3)
HEAD_RATE = 5e-3
SPEAKERS = ("jackson", "nicolas", "theo", "yweweler")
#: row -> its words, and what differs from training everything at one rate
ROWS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "full": ("everything (`full`)", {}),
    "statistics": ('everything, `norm_stats = "update"`', {"train": {"norm_stats": "update"}}),
    "decay": ("everything, `layer_decay = 0.7`", {"train": {"layer_decay": 0.7}}),
    "unfreeze": ("everything, `unfreeze = 1`", {"train": {"unfreeze": 1}}),
    "last": ("`last`", {"update": {"policy": "last"}}),
    "norm": ("`norm`", {"update": {"policy": "norm"}}),
    "bias": ("`bias`", {"update": {"policy": "bias"}}),
    "lora": ("`lora`, rank 8", {"update": {"policy": "lora"}}),
    "head": ("`head`", {"update": {"policy": "head"}}),
}
TITLES = {
    "pneumonia": "PneumoniaMNIST, 400 training images",
    "cells": "blood cells (BCCD), 300 training images",
    "voices": "a new voice (FSDD), 50 recordings",
}


def picture_sets(root: Path, out: Path) -> dict[str, dict[str, Any]]:
    """Recipes without what the rows differ in."""
    medical = root / "01_image_medical"
    small = out / "pneumonia.npz"
    if not small.exists():
        whole = np.load(medical / "pneumoniamnist_28.npz")
        kept = {"train": slice(0, None, 11), "val": slice(0, None, 4), "test": slice(None)}
        arrays = {
            f"{split}_{kind}": whole[f"{split}_{kind}"][at][: 400 if split == "train" else None]
            for split, at in kept.items()
            for kind in ("images", "labels")
        }
        np.savez(small, **arrays)

    cells = out / "cells"
    for part, every in (("train", 2), ("test", 1)):
        for kind in sorted((medical / "bccd_cells" / part).iterdir()):
            for number, file in enumerate(sorted(kind.iterdir()) if kind.is_dir() else ()):
                link = cells / part / kind.name / file.name
                link.parent.mkdir(parents=True, exist_ok=True)
                if number % every == 0 and not link.exists():
                    link.symlink_to(file.resolve())

    shared = {
        "task": "classify",
        "model": {"source": "builtin", "name": "efficientnet_lite0", "weights": "pip:efficientnet-lite0"},
        "train": {"batch_size": 32, "head_lr": HEAD_RATE, "norm_stats": "freeze", "epochs": 4},
    }
    left_out(medical, out)

    return {
        "pneumonia": {**shared, "data": {"format": "npz", "path": str(small), "size": 48, "channels": 1}},
        "cells": {**shared, "data": {"format": "image-folder", "path": str(cells), "size": 48}},
    }


def left_out(medical: Path, out: Path) -> None:
    """Two sets whose test split are training pictures that the small sets of `picture_sets` do not have."""
    small = out / "pneumonia-left.npz"
    if not small.exists():
        whole = np.load(medical / "pneumoniamnist_28.npz")
        arrays = {f"test_{kind}": whole[f"train_{kind}"][5::11] for kind in ("images", "labels")}
        arrays |= {f"train_{kind}": whole[f"train_{kind}"][::11] for kind in ("images", "labels")}
        np.savez(small, **arrays)

    for kind in sorted((medical / "bccd_cells" / "train").iterdir()):
        for number, file in enumerate(sorted(kind.iterdir()) if kind.is_dir() else ()):
            link = out / "cells-left" / ("test" if number % 2 else "train") / kind.name / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(file.resolve())


def voice(root: Path, folder: Path, **parts: Any) -> str:
    """A folder train/ val/ test/ of links to the recordings that `parts` choose by (split, speaker, take)."""
    for file in sorted((root / "05_speech" / "fsdd").glob("*/*.wav")):
        _, speaker, take = file.stem.split("_")
        for part, chosen in parts.items():
            if chosen(file.parent.name, speaker, int(take)):
                (folder / part).mkdir(parents=True, exist_ok=True)
                link = folder / part / file.name
                if not link.exists():
                    link.symlink_to(file.resolve())
    return str(folder)


def sound_recipe(path: str, **train: Any) -> dict[str, Any]:
    return {
        "task": "keyword",
        "model": {"source": "builtin", "name": "ds_cnn"},
        "data": {"format": "wav-folder", "path": path, "pattern": "{label}_{speaker}_{take}", "group": "take"},
        "train": {"batch_size": 32, "lr": 3e-3, **train},
    }


def voice_sets(root: Path, out: Path, names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(speaker, recipe of learning that voice, folder to test on the other three)."""
    import edgeft

    for name in names:
        strangers = voice(
            root,
            out / f"without-{name}",
            train=lambda split, who, take, name=name: split == "train" and who != name,
            test=lambda split, who, take, name=name: split == "test" and who != name,
        )
        known = out / f"known-{name}"
        if not (known / "summary.json").exists():
            edgeft.tune({**sound_recipe(strangers, epochs=15), "quantize": {"method": "none"}}, known, overwrite=True)

        def few(split: str, who: str, take: int, name: str = name) -> bool:
            return split == "train" and who == name and take < 10

        own = voice(
            root,
            out / f"only-{name}",
            train=few,
            val=lambda split, who, take, name=name: split == "train" and who == name and take >= 10,
            test=lambda split, who, take, name=name: split == "test" and who == name,
        )
        others = voice(
            root, out / f"others-{name}", train=few, test=lambda split, who, take, n=name: split == "test" and who != n
        )
        made = sound_recipe(own, epochs=10, head_lr=HEAD_RATE, norm_stats="freeze", batch_size=10)
        made["model"]["weights"] = str(known / "float.safetensors")
        yield name, made, others


def run(base: dict[str, Any], row: str, rate: float, seed: int, folder: Path, others: str = "") -> dict[str, Any]:
    """Tune one recipe (once: its figures are kept beside it)."""
    import torch

    import edgeft

    kept = folder.with_name(f"{folder.name}.json")
    if kept.exists():
        found = json.loads(kept.read_text())
        if not {"loss", "selection"} & set(found):
            found |= judged(folder)
            kept.write_text(json.dumps(found))
        return found

    tables = ROWS[row][1]
    made = {**base, "name": row, "quantize": {"method": "none"}, "update": tables.get("update", {})}
    made["train"] = {**base["train"], "lr": rate, "seed": seed, **tables.get("train", {})}
    summary = edgeft.tune(made, folder, overwrite=True)
    state = folder / "checkpoints" / "float.pt"
    stage = torch.load(state, weights_only=True) if state.exists() else {"best": 0.0, "seconds": 0.0}  # no epoch
    found = {
        "rate": rate,
        "seed": seed,
        "validation": float(stage["best"]),
        "seconds": float(stage["seconds"]),
        "bytes": int(summary["peak_training_bytes"]),
        **{key: summary[key] for key in ("float", "n", "updated_parameters", "total_parameters")},
    }
    found |= judged(folder)

    if others:
        asked = {**base, "data": {**base["data"], "path": others}, "quantize": {"method": "none"}}
        asked["model"] = {**base["model"], "weights": str(folder / "float.safetensors")}
        asked["train"] = {"epochs": 0}
        found["others"] = edgeft.tune(asked, folder.with_name(folder.name + "-others"), overwrite=True)["float"]

    kept.write_text(json.dumps(found))
    print(f"{folder.name}: {found}", flush=True)
    return found


def judged(run: Path) -> dict[str, float]:
    """What a learning rate is chosen by: `selection`, the accuracy on left-out pictures of what a run kept, or where
    there are none `loss`, its mean loss on the validation split."""
    import torch
    from safetensors.torch import load_file

    from edgeft.config import recipe
    from edgeft.session.calibration_data import as_tuple
    from edgeft.session.session import open_session

    made = recipe.as_table(recipe.load(run / "recipe.toml"))
    path = Path(made["data"]["path"])
    left = path.with_name(f"{path.stem}-left{path.suffix}")
    if left.exists():
        made["data"]["path"] = str(left)

    session = open_session(recipe.from_table(made, str(run)))
    module, objective = session.built.module, session.learning
    module.load_state_dict(load_file(run / "float.safetensors"))
    module.eval()
    if left.exists():
        split = session.dataset.split("test")
        said = objective.predict(module, split, session.spec)
        return {"selection": float((np.argmax(said, 1) == np.asarray(split.targets)).mean())}
    total = count = 0.0
    with torch.no_grad():
        for inputs, targets in objective.loader(session.dataset.split("val"), session.spec, 32):
            total += float(objective.loss(module(*as_tuple(inputs)), targets)) * len(targets)
            count += len(targets)
    return {"loss": total / count}


def chosen(base: dict[str, Any], row: str, seeds: list[int], prefix: Path, others: str = "") -> dict[str, Any]:
    """All seeds at the better learning rate (see `judged`), by the means over the seeds; means of the rest too."""
    tried = []
    for rate in RATES if row != "head" else RATES[:1]:  # its only rate is the head's
        runs = [run(base, row, rate, seed, Path(f"{prefix}-{row}-{rate:g}-{seed}"), others) for seed in seeds]
        keys = [key for key in ("float", "validation", "selection", "loss", "others") if key in runs[0]]
        means = {key: float(np.mean([found[key] for found in runs])) for key in keys}
        tried.append({**runs[0], **means, "seconds": min(found["seconds"] for found in runs), "runs": runs})

    def merit(found: dict[str, Any]) -> tuple[float, float]:
        if "selection" in found:
            return round(found["selection"], 9), 0.0
        return round(found["validation"], 9), -found["loss"]

    return max(tried, key=merit)


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share of n samples (Wilson, 1927)."""
    z = 1.96
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def pooled(found: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of several speakers: means, the sample sizes added up."""
    keys = ("float", "others", "validation", "updated_parameters", "bytes")
    means = {key: float(np.mean([one[key] for one in found])) for key in keys}
    total = {key: sum(one[key] for one in found) for key in ("n", "seconds")}
    return {**found[0], **means, **total, "rate": [one["rate"] for one in found], "runs": found}


def measure(
    names: list[str], chosen_rows: list[str], seeds: list[int], speakers: list[str], root: Path, out: Path
) -> dict[str, dict[str, Any]]:
    results: dict[str, dict[str, Any]] = {}
    for name, base in picture_sets(root, out).items():
        if name in names:
            results[name] = {row: chosen(base, row, seeds, out / name) for row in chosen_rows}
    if "voices" in names:
        rows: dict[str, list[dict[str, Any]]] = {row: [] for row in chosen_rows}
        before = []
        for speaker, base, others in voice_sets(root, out, speakers):
            untouched = {**base, "train": {**base["train"], "epochs": 0}}
            before.append(run(untouched, "head", RATES[0], 0, out / f"before-{speaker}", others))
            for row in chosen_rows:
                rows[row].append(chosen(base, row, seeds[:1], out / f"voice-{speaker}", others))
        results["voices"] = {"before": pooled(before), **{row: pooled(found) for row, found in rows.items()}}
    return results


def told_rate(row: str, rate: Any) -> str:
    """The rate that validation chose; of several speakers each one's own."""
    if row == "head":
        return f"{HEAD_RATE:g}"
    return ", ".join(f"{each:g}" for each in sorted(set(rate if isinstance(rate, list) else [rate])))


def table(found: dict[str, Any]) -> str:
    voices = "before" in found
    head = ["what learns", "test accuracy [95 %]", "parameters moved", "step memory", "learning rate"]
    head += ["the three other voices"] if voices else []

    cells = []
    for row, one in found.items():
        low, high = wilson(one["float"], one["n"])
        title = "nothing: before" if row == "before" else ROWS[row][0]
        moved = 0 if row == "before" else one["updated_parameters"]
        share = moved / one["total_parameters"]
        cells.append(
            [
                title,
                f"{100 * one['float']:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
                f"{moved:,.0f} ({100 * share:.1f} %)",
                ""
                if row == "before"
                else f"{one['bytes'] / 1e6:.0f} MB"
                if one["bytes"] >= 1e7
                else f"{one['bytes'] / 1e6:.1f} MB",
                "" if row == "before" else told_rate(row, one["rate"]),
                *([f"{100 * one['others']:.1f}"] if voices else []),
            ]
        )
    return common.table(head, cells)


def picture(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Test accuracy against the share of the parameters that moved, a panel a set."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "edgeft"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(results), figsize=(3.7 * len(results), 3.4), squeeze=False)
    for axis, (name, found) in zip(axes[0], results.items()):
        for row, one in found.items():
            if row == "before":
                axis.axhline(100 * one["float"], color="0.6", lw=1, ls=":")
                continue
            low, high = wilson(one["float"], one["n"])
            if "others" in one:  # hollow: what is left of what was known
                moved = 100 * one["updated_parameters"] / one["total_parameters"]
                axis.plot(moved, 100 * one["others"], "o", ms=5, mfc="none", color="0.4")
            at, value = 100 * one["updated_parameters"] / one["total_parameters"], 100 * one["float"]
            axis.plot([at, at], [100 * low, 100 * high], color="0.85", lw=4, solid_capstyle="round", zorder=1)
            axis.plot(
                at,
                value,
                "o",
                ms=5,
                color="tab:blue" if row in ("full", "statistics", "decay", "unfreeze") else "tab:orange",
            )
            side = -1 if row in ("full", "statistics", "decay", "unfreeze") else 1
            axis.annotate(
                row,
                (at, value),
                (5 * side, 0),
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                va="center",
                fontsize=7,
            )
        axis.set_xscale("log")
        axis.set_xlabel("parameters that moved, %", fontsize=8)
        axis.set_title(TITLES[name], fontsize=9)
        axis.tick_params(labelsize=7)
    axes[0][0].set_ylabel("test accuracy, % (bars: 95 %)", fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs (resumable)")
    parser.add_argument("--only", nargs="*", choices=TITLES, default=list(TITLES))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--speakers", nargs="*", choices=SPEAKERS, default=list(SPEAKERS))
    parser.add_argument(
        "--rows", nargs="*", choices=ROWS, help="run these only and publish nothing: a part of the work"
    )
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    host = common.machine()
    rows = arguments.rows or list(ROWS)
    root = Path(os.environ["EDGEFT_DATA"])
    results = measure(arguments.only, rows, arguments.seeds, arguments.speakers, root, arguments.out)
    if arguments.rows:
        return
    used = common.versions("torch")
    section = "## What learns\n\n"
    section += (
        "Accuracy in per cent of the test split, the mean over seeds "
        f"{', '.join(map(str, arguments.seeds))} (voices: seed {arguments.seeds[0]}, of {', '.join(arguments.speakers)}), "
        "with the 95 % interval of that many test samples. Each row has the best of three learning rates: by training pictures that are left out, of voices by validation. "
        "Step memory: what autograd keeps of a batch, with gradients, AdamW's moments and the weights that move."
    )
    for name, found in results.items():
        section += f"\n\n### {TITLES[name]}, n = {found['full']['n']}\n\n{table(found)}"
    section += f"\n\n{common.footing(host, used)}"
    picture(results, common.HERE.parent / "docs" / "pictures" / "policies.svg")
    common.publish("policies", section, {"machine": host, "versions": used, "results": results})


if __name__ == "__main__":
    main()
