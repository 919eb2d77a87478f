"""Personalization on the device: what it gains and forgets on real data, how fast a step is, what the process needs.

    python benchmarks/personalization.py --out DIR [--only voices cells classes steps board]

`EDGEFT_DATA` names the folder with the data.
voices   DS-CNN tuned on three speakers of FSDD, then personalized to the fourth from 5 recordings a digit, each in turn.
cells    ResNet-8 tuned on the blood cells of BCCD, personalized to a dimmer, bluer light from 10 pictures a class.
classes  DS-CNN that knows nine digits learns the tenth from 10 recordings; each of three digits in turn.
steps    a training step in each runtime against the same step in torch eager, one thread, in turns in one process.
board    the peak memory of the whole process, and what its packages take on disk.

All accuracies are those of artifacts in the runtime, on test samples that neither learning nor judging has seen; the
ceiling is full fine-tuning on the host with all old training data beside the new samples, in float.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np
from personalization_board import board
from personalization_tables import TARGETS, tables
from policies import SPEAKERS, sound_recipe, voice

#: one sample of the ninety that judge is more than a hundredth
FORGET = 0.02
TAILS = {"head": "head", "last": "last", "means": "last"}
NEW_DIGITS = ("3", "7", "9")


def exported(recipe: dict[str, Any], folder: Path, tail: str, targets: Sequence[str], **more: Any) -> Path:
    """The bundles of a recipe with this tail (tuned and exported once)."""
    import edgeft

    if not (folder / "run" / "summary.json").exists():
        edgeft.tune({**recipe, "personalize": {"tail": "head"}}, folder / "run", overwrite=True)

    out = folder / f"bundles-{tail}"
    lacking = [name for name in targets if not (out / name / "manifest.json").exists()]
    if lacking:
        settings = {"tail": TAILS.get(tail, tail), "max_forget": FORGET, **more}
        settings |= {"loss": "prototype"} if tail == "means" else {}
        overrides = [f"personalize.{key}={json.dumps(value)}" for key, value in settings.items()]
        edgeft.export(folder / "run", lacking, out, overwrite=True, overrides=overrides)

    return out


def right(bundle: Path, data: str, state: Path | None = None) -> list[int]:
    """1 for each sample of the test split at `data` that the bundle, with its state if there is one, decides rightly."""
    from edgeft import data as datasets
    from edgeft.bundle import reader as bundles
    from edgeft.bundle.manifest import recorded
    from edgeft.inputs.batches import outputs_of, preprocessed
    from edgeft.personalize import run as personal

    opened = bundles.open(bundle)
    own = personal.session(opened, state) if state else None
    source = datasets.source(Path(data), recorded(opened.manifest, "data"))
    split = datasets.open(dataclasses.replace(source, split=datasets.WHOLE, group=""))  # of however few classes
    labels = own.labels if own else opened.labels
    test = split.split("test")
    (outputs,) = outputs_of(
        [own.session if own else opened.session()], preprocessed(opened.task, opened.preprocess, test)
    )
    known = [i for i, label in enumerate(split.labels) if label in labels]
    number = {i: labels.index(split.labels[i]) for i in known}
    said = opened.task.decisions(outputs)

    return [int(said[i] == number.get(int(t), -2)) for i, t in enumerate(test.targets)]


def accuracy(bundle: Path, data: str, state: Path | None = None) -> tuple[float, int]:
    """(accuracy, n) on the test split at `data`."""
    found = right(bundle, data, state)
    return float(np.mean(found)), len(found)


def learned(bundle: Path, data: str, tests: dict[str, str], kept: Path, **options: Any) -> dict[str, Any]:
    """Personalize once and judge on the tests; the version is judged as it was made, kept or not."""
    import edgeft

    kept.unlink(missing_ok=True)
    found = edgeft.personalize(bundle, data, state=kept, **options)
    state = kept if kept.exists() else None
    return {
        "verdict": found["verdict"],
        "why": found["why"],
        "share": found["share"],
        "held back": found["new"],
        "reference": {k: v for k, v in found["reference"].items() if k != "per_class"},
        **{name: accuracy(bundle, path, state) for name, path in tests.items()},
    }


def rows(
    recipe: dict[str, Any],
    folder: Path,
    few: str,
    tests: dict[str, str],
    ceiling: dict[str, Any],
    targets: Sequence[str],
) -> dict[str, Any]:
    """Every row of a table, by runtime where there are several."""
    done = folder / "rows.json"
    if done.exists():
        return json.loads(done.read_text())

    found: dict[str, Any] = {}
    for name in targets:
        head, last, means = (exported(recipe, folder, tail, targets) / name for tail in TAILS)
        found[name] = {
            "none": {key: accuracy(head, path) for key, path in tests.items()},
            "prototype": learned(head, few, tests, folder / f"{name}-prototype.npz", steps=0),
            "head": learned(head, few, tests, folder / f"{name}-head.npz"),
            "last": learned(last, few, tests, folder / f"{name}-last.npz"),
            "means": learned(means, few, tests, folder / f"{name}-means.npz"),
        }

    found["ceiling"] = tuned(recipe, folder, tests, **ceiling)
    done.write_text(json.dumps(found, indent=1))
    print(folder.name, json.dumps(found), flush=True)
    return found


def tuned(
    recipe: dict[str, Any], folder: Path, tests: dict[str, str], data: str, epochs: int, lr: float
) -> dict[str, Any]:
    """Full fine-tuning on the host, in float: (accuracy, n) on each test."""
    import edgeft

    base = {**recipe, "quantize": {"method": "none"}}
    base["model"] = {**recipe["model"], "weights": str(folder / "run" / "float.safetensors")}
    whole = {**base, "data": {**recipe["data"], "path": data}}
    whole["train"] = {**recipe["train"], "epochs": epochs, "lr": lr}
    run = folder / "ceiling"
    if not (run / "summary.json").exists():
        edgeft.tune(whole, run, overwrite=True)

    found = {}
    for name, path in tests.items():
        judge = {**base, "data": {**recipe["data"], "path": path}, "train": {"epochs": 0}}
        judge["model"] = {**base["model"], "weights": str(run / "float.safetensors")}
        summary = edgeft.tune(judge, folder / f"ceiling-{name}", overwrite=True)
        found[name] = (summary["float"], summary["n"])

    return found


def voices(root: Path, out: Path) -> dict[str, Any]:
    found = {}
    for who in SPEAKERS:

        def part(split: str, mine: bool | None, takes: int = 99, who: str = who) -> Callable[[str, str, int], bool]:
            return lambda s, w, t: s == split and mine in (None, w == who) and (w != who or t < takes)

        folder = out / f"voice-{who}"
        known = voice(root, folder / "known", train=part("train", False), test=part("test", False))
        few = voice(root, folder / "few", train=part("train", True, 10), test=part("test", True))
        both = voice(root, folder / "both", train=part("train", None, 10), test=part("test", None))
        recipe = sound_recipe(known, epochs=20)
        recipe |= {"quantize": {"epochs": 2}, "export": {"targets": TARGETS}, "gates": {"min_speedup": 0.0}}
        targets = TARGETS if who == SPEAKERS[0] else TARGETS[-1:]
        tests = {"new": few, "old": known}
        found[who] = rows(recipe, folder, f"{few}/train", tests, {"data": both, "epochs": 10, "lr": 1e-3}, targets)

    return found


def dimmed(source: Path, target: Path) -> None:
    """The picture in a dimmer, bluer light."""
    from PIL import Image

    pixels = np.asarray(Image.open(source).convert("RGB"), np.float32) / 255
    light = np.array([0.45, 0.6, 0.85], np.float32)
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(255 * (pixels * light) ** 1.2).astype(np.uint8)).save(target)


def cells(root: Path, out: Path) -> dict[str, Any]:
    source, folder = root / "01_image_medical" / "bccd_cells", out / "cells"
    few, both = folder / "few", folder / "both"
    if not both.exists():
        for part, count in (("train", 10), ("test", 10**6)):
            for kind in sorted(p for p in (source / part).iterdir() if p.is_dir()):
                for number, file in enumerate(sorted(kind.iterdir())):
                    if number < count:
                        dimmed(file, few / part / kind.name / f"{file.stem}.png")
                    if part == "train":
                        (both / part / kind.name).mkdir(parents=True, exist_ok=True)
                        (both / part / kind.name / file.name).symlink_to(file.resolve())
        for file in sorted((few / "train").rglob("*.png")):
            (both / "train" / file.parent.name / f"dim-{file.name}").symlink_to(file.resolve())
        (both / "test").symlink_to((source / "test").resolve())

    recipe: dict[str, Any] = {
        "task": "classify",
        "model": {"source": "builtin", "name": "resnet8"},
        "data": {"format": "image-folder", "path": str(source), "size": 32},
        "train": {"epochs": 20, "lr": 5e-3, "batch_size": 32},
        "quantize": {"epochs": 2},
        "export": {"targets": TARGETS},
        "gates": {"min_speedup": 0.0},
    }
    tests = {"new": str(few), "old": str(source)}
    ceiling = {"data": str(both), "epochs": 10, "lr": 1e-3}

    return {"cells": rows(recipe, folder, str(few / "train"), tests, ceiling, TARGETS)}


def classes(root: Path, out: Path) -> dict[str, Any]:
    found = {}
    for digit in NEW_DIGITS:
        folder = out / f"class-{digit}"
        done = folder / "rows.json"
        if done.exists():
            found[digit] = json.loads(done.read_text())
            continue
        known, few = digits(root, folder, digit)
        recipe = sound_recipe(str(known), epochs=20)
        recipe |= {"quantize": {"epochs": 2}, "export": {"targets": TARGETS}, "gates": {"min_speedup": 0.0}}
        bundle, means = (
            exported(recipe, folder, tail, TARGETS[-1:], spare_classes=1) / TARGETS[-1] for tail in ("head", "means")
        )
        tests = {"new": str(few), "old": str(known)}
        found[digit] = {
            "none": {key: accuracy(bundle, path) for key, path in tests.items()},
            "prototype": learned(bundle, str(few / "train"), tests, folder / "prototype.npz", steps=0),
            "head": learned(bundle, str(few / "train"), tests, folder / "head.npz"),
            "means": learned(means, str(few / "train"), tests, folder / "means.npz"),
        }
        done.write_text(json.dumps(found[digit], indent=1))

    return found


def digits(root: Path, folder: Path, digit: str) -> tuple[Path, Path]:
    """Links: nine digits (train, test), and ten recordings (train) and all test recordings of the tenth."""
    known, few = folder / "known", folder / "few"
    for file in sorted((root / "05_speech" / "fsdd").glob("*/*.wav")):
        label, _, take = file.stem.split("_")
        part = file.parent.name
        if label == digit and part == "train" and int(take) >= 8:
            continue  # two or three recordings of each of the four speakers
        target = (few if label == digit else known) / part / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(file.resolve())

    extra = sorted((few / "train").glob("*.wav"))[10:]
    for path in extra:
        path.unlink()

    return known, few


def step_speed(folder: str, target: str) -> dict[str, Any]:
    """In a process of its own: the runtime's step against torch eager on the same tail, in turns."""
    import torch
    import torch.nn.functional as F

    from edgeft.bundle import reader as bundles
    from edgeft.measure.quads import compare
    from edgeft.personalize import graphs
    from edgeft.personalize import plan as plans
    from edgeft.personalize import run as personal_run

    torch.set_num_threads(1)
    opened = bundles.open(Path(folder) / target)
    plan = plans.of(opened)
    start = personal_run.start_of(opened, plan)
    step = graphs.load(opened, "step")
    rng = np.random.default_rng(0)
    at = rng.integers(0, len(start.reference[1]), plan.batch)
    latents = [v[at] for v in start.reference[0]]
    outputs = len(opened.labels) + plan.spare
    targets = np.eye(outputs, dtype=np.float32)[start.reference[1][at]]
    feeds = {
        **graphs.step_feeds(plan, start.parameters, graphs.fresh_state(plan), latents, targets),
        "rate": np.full(1, plan.rate, np.float32),
    }
    tail, initial = eager_tail(Path(folder), target)
    parameters = [torch.nn.Parameter(p.clone()) for p in initial]
    optimizer = torch.optim.SGD(parameters, lr=plan.rate, momentum=0.9)
    seen = [torch.from_numpy(graphs.real(v, one)) for v, one in zip(latents, plan.latents)]
    truth = torch.from_numpy(start.reference[1][at])

    def eager() -> None:
        optimizer.zero_grad()
        F.cross_entropy(tail(*seen, *parameters)[0], truth).backward()
        optimizer.step()

    found = compare(eager, lambda: step.run(feeds), max_seconds=8.0)
    return {"ratio": 1 / found.estimate, "ci99": [1 / found.high, 1 / found.low], "batch": plan.batch}


def eager_tail(folder: Path, target: str) -> Any:
    """The tail as torch's own ops, cut from the run's quantized graph, and its parameters as torch has them."""
    from safetensors.torch import load_file

    from edgeft.config import recipe
    from edgeft.config import target as targets
    from edgeft.quantize.parts import insert_parts
    from edgeft.session.session import open_session
    from edgeft.training_step import cut
    from edgeft.training_step.trainable_tail import tail_parameters

    run, name = folder.parent / "run", folder.name.removeprefix("bundles-")
    session = open_session(recipe.load(run / "recipe.toml"))
    session.built.module.load_state_dict(load_file(run / "float.safetensors"))
    parts = insert_parts(session.capture(session.built.module), targets.load(target).scheme, ())
    (graph,) = parts.graphs.values()
    known = {n for n, _ in graph.module.named_parameters()}
    made = cut.cut(graph, tail_parameters(session.built.module, session.built.head, name, known))

    return made.tail, list(made.parameters.values())


def steps(root: Path, out: Path) -> dict[str, Any]:
    """{tail: {runtime: ...}} of the bundles that `voices` and `cells` have made."""
    done = out / "steps.json"
    if done.exists():
        return json.loads(done.read_text())

    found: dict[str, Any] = {}
    for title, folder in (
        ("DS-CNN, head", out / f"voice-{SPEAKERS[0]}" / "bundles-head"),
        ("DS-CNN, last block and head", out / f"voice-{SPEAKERS[0]}" / "bundles-last"),
        ("ResNet-8, head", out / "cells" / "bundles-head"),
        ("ResNet-8, last block and head", out / "cells" / "bundles-last"),
    ):
        found[title] = {
            backend: common.child(__file__, "--step", str(folder), target) for backend, target in common.TARGETS.items()
        }
        print(title, found[title], flush=True)

    done.write_text(json.dumps(found, indent=1))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for runs and bundles (resumable)")
    parser.add_argument("--only", nargs="*", default=["voices", "cells", "classes", "steps", "board"])
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--board", default="", help="Python of an environment with tflite-runtime and edgeft alone")
    arguments = parser.parse_args()

    if arguments.step:
        print(json.dumps(step_speed(*arguments.step)))
        return

    root, host, out = Path(os.environ["EDGEFT_DATA"]), common.machine(), arguments.out
    out.mkdir(parents=True, exist_ok=True)
    measures = {"voices": voices, "cells": cells, "classes": classes, "steps": steps}
    measures["board"] = lambda root, out: board(root, out, arguments.board)
    found = {name: measure(root, out) for name, measure in measures.items() if name in arguments.only}
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch", "numpy")
    section = (
        "## Personalization\n\nThe tail learns in the runtime, without torch; every accuracy is that of the artifact on "
        "test samples that neither learning nor judging has seen. `max_forget` is "
        f"{FORGET:g}.\n\n{tables(found)}\n\n{common.footing(host, used)}"
    )
    common.publish("personalization", section, {"machine": host, "versions": used, **found})


if __name__ == "__main__":
    main()
