"""Is a new voice accepted whatever the seed, and what does it cost? Verdicts, gains and losses of personalization.

    python benchmarks/acceptance.py --out DIR [--speakers jackson nicolas] [--seeds 0 1 2 3 4]

DS-CNN is tuned on all speakers of FSDD but one, and its head is personalized to that one from five recordings a digit,
once a seed, in ONNX Runtime. A second model is tuned without the next speaker too, who stays unheard: the third voice.
What is in use afterwards is judged on the test split, which neither learning nor judging has seen. Runs and bundles
are kept in `--out`. Needs `EDGEFT_DATA`.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import common
import numpy as np
import personalization
from policies import SPEAKERS, sound_recipe, voice

#: folder of test recordings -> whose they are
PARTS = {"few": "new voice", "known": "old voices", "third": "third voice"}


def exported(root: Path, folder: Path, new: str, third: str = "") -> Path:
    """The bundle of a model that has heard neither `new` nor `third`; folders of `new` (few), the others (known), `third`."""
    import edgeft

    known = voice(
        root,
        folder / "known",
        train=lambda split, speaker, take: split == "train" and speaker not in (new, third),
        test=lambda split, speaker, take: split == "test" and speaker not in (new, third),
    )
    voice(
        root,
        folder / "few",
        train=lambda split, speaker, take: split == "train" and speaker == new and take < 10,
        test=lambda split, speaker, take: split == "test" and speaker == new,
    )
    if third:
        voice(root, folder / "third", test=lambda split, speaker, take: split == "test" and speaker == third)

    recipe = sound_recipe(known, epochs=20)
    recipe |= {"quantize": {"epochs": 2}, "export": {"targets": ["host"]}, "gates": {"min_speedup": 0.0}}
    if not (folder / "run" / "summary.json").exists():
        edgeft.tune({**recipe, "personalize": {"tail": "head"}}, folder / "run", overwrite=True)

    bundle = folder / "b" / "host"
    if not (bundle / "manifest.json").exists():
        edgeft.export(folder / "run", ["host"], folder / "b", overwrite=True)

    return bundle


def measured(bundle: Path, folder: Path, seed: int) -> dict[str, Any]:
    """One personalization: its verdict and figures, and what was right before and after on the test split of each part."""
    import edgeft

    done = folder / f"seed-{seed}.json"
    if done.is_file():
        return dict(json.loads(done.read_text()))

    state = folder / f"seed-{seed}.npz"
    state.unlink(missing_ok=True)
    result = edgeft.personalize(bundle, folder / "few" / "train", state=state, seed=seed)
    kept = state if state.exists() else None
    row = {key: result[key] for key in ("verdict", "gain", "gain_ci95", "forgetting", "confidence_loss", "share")}
    for key in PARTS:
        if (folder / key).is_dir():
            row[key] = [personalization.right(bundle, str(folder / key), one) for one in (None, kept)]

    done.write_text(json.dumps(row))
    return row


def change(rows: list[dict[str, Any]], key: str) -> str:
    """Points gained over all seeds, least to most."""
    points = [100 * (sum(row[key][1]) - sum(row[key][0])) / len(row[key][0]) for row in rows]
    return f"{sum(points) / len(points):+.1f} ({min(points):+.1f} to {max(points):+.1f}), n = {len(rows[0][key][0])}"


def pooled(voices: dict[str, list[dict[str, Any]]], key: str) -> str:
    """Points gained over all voices, with the 95 % interval of a bootstrap over recordings (each the mean of its seeds)."""
    gains = np.concatenate(
        [np.mean([np.subtract(row[key][1], row[key][0]) for row in rows], axis=0) for rows in voices.values()]
    )
    draws = gains[np.random.default_rng(0).integers(0, len(gains), (4000, len(gains)))].mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{100 * gains.mean():+.1f} [{100 * low:+.1f}, {100 * high:+.1f}], n = {len(gains)}"


def table(voices: dict[str, list[dict[str, Any]]]) -> str:
    """A row a new voice, and one of all of them."""
    parts = [key for key in PARTS if all(key in row for rows in voices.values() for row in rows)]
    body, every = [], [row for rows in voices.values() for row in rows]
    for who, rows in voices.items():
        low = min(row["gain_ci95"][0] for row in rows)
        accepted = sum(row["verdict"] == "pass" for row in rows)
        body.append([who, f"{accepted} of {len(rows)}", f"{100 * low:.1f}", *(change(rows, key) for key in parts)])

    accepted = sum(row["verdict"] == "pass" for row in every)
    low = min(row["gain_ci95"][0] for row in every)
    body.append(["all", f"{accepted} of {len(every)}", f"{100 * low:.1f}", *(pooled(voices, key) for key in parts)])
    head = ["new voice", "accepted", "lowest bound of a gain", *(f"{PARTS[key]}, test split" for key in parts)]

    return common.table(head, body)


def section(found: dict[str, dict[str, list[dict[str, Any]]]], host: dict[str, Any], used: dict[str, str]) -> str:
    return f"""## Acceptance of a new voice

FSDD, five recordings a digit of the new voice, the head of DS-CNN in ONNX Runtime; points of accuracy, mean over seeds (least to most).
The lowest bound is that of the 95 % intervals of cross-validated gains, which the verdict asks to be above 0. The row of all voices has
the 95 % interval of a bootstrap over recordings. What was not accepted is not in use and changes nothing.

{table(found["voices"])}

Models of two speakers, and a third voice that neither tuning nor personalization heard:

{table(found["third"])}

{common.footing(host, used)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and bundles (resumable)")
    parser.add_argument("--speakers", nargs="*", choices=SPEAKERS, default=list(SPEAKERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    arguments = parser.parse_args()
    root, host = Path(os.environ["EDGEFT_DATA"]), common.machine()
    found: dict[str, dict[str, list[dict[str, Any]]]] = {"voices": {}, "third": {}}

    for who in arguments.speakers:
        after = SPEAKERS[(SPEAKERS.index(who) + 1) % len(SPEAKERS)]
        for name, third in (("voices", ""), ("third", after)):
            folder = arguments.out / (f"one-{who}" if name == "voices" else f"two-{who}-{third}")
            bundle = exported(root, folder, who, third)
            rows = found[name][f"{who}, third {third}" if third else who] = [
                measured(bundle, folder, seed) for seed in arguments.seeds
            ]
            print(folder.name, json.dumps([row["verdict"] for row in rows]), flush=True)

    used = common.versions("torch", "onnxruntime", "numpy")
    common.publish("acceptance", section(found, host, used), {"machine": host, "versions": used, **found})


if __name__ == "__main__":
    main()
