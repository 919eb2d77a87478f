"""The samples that a bundle carries: are all there that export stored, and does the float baseline answer as then?

Without this, a bundle could carry the one sample on which both artifacts agree, or a baseline that was made worse so
that nothing is lost to it. What export writes and a bundle lacks is a fail for the same reason: without it there is
nothing to be compared with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..bundle import reader as bundles
from ..bundle.manifest import of_model
from ..bundle.reader import Bundle
from ..core import files
from ..core.verdict import ADVISORY, FAIL, PASS, UNVERIFIED, Verdict
from .parity import Steps, samples_parity
from .recorded_gates import LATER

#: samples that an export stores, or all where the test split has fewer
MOST = 16
_MOST_RUNNER = 1 << 20
#: samples from which on the same one again and again cannot be what export chose
_SEVERAL = 4


def stored_count(opened: Bundle, samples: Mapping[str, np.ndarray]) -> Verdict:
    """As many samples as were stored at export, each with its tensors.

    The number is the manifest's `samples.n`, else that of the test split (`provenance.run.n`), 16 at most; where the
    manifest has neither, a fail of what export wrote, and unverified of what somebody made by hand.
    """
    n, expected = len(bundles.raws(samples)), _expected(opened.manifest)
    lengths = {"targets": len(samples["targets"])} if "targets" in samples else {}
    several = len(of_model(opened.manifest)) > 1
    prefixes = ("input/", "output/", "graph/", "baseline/")
    lengths |= {
        name: len(values)
        for name, values in samples.items()
        if name.startswith(prefixes) and values.ndim and not (several and name.count("/") > 1)
    }
    wrong = next((name for name, count in lengths.items() if count != n), None)
    base: dict[str, Any] = {"metric": "number of samples", "n": n}

    if wrong is not None:
        why = f"samples.npz holds {n} samples and {lengths[wrong]} rows of {wrong!r}"
        return Verdict("parity", FAIL, why, **base)
    if lacks := _lacks(opened, samples):
        return Verdict("parity", FAIL, f"samples.npz lacks the outputs of {lacks}, which every export stores", **base)

    if expected is None and (opened.manifest["provenance"].get("recipe") or _of_later(opened.manifest)):
        why = f"samples.npz holds {n} samples, and the manifest's record of how many were stored is gone"
        return Verdict("parity", FAIL, why, **base)
    if expected is None:
        why = f"samples.npz holds {n} samples; the manifest has no record of an export that says how many there were"
        return Verdict("parity", UNVERIFIED, why, required=False, **base)
    if n >= _SEVERAL and _all_alike(bundles.raws(samples)):
        return Verdict("parity", FAIL, f"the {n} samples of samples.npz are one and the same", **base)
    if n != expected:
        return Verdict("parity", FAIL, f"samples.npz holds {n} samples, {expected} were stored at export", **base)

    return Verdict("parity", PASS, f"samples.npz holds the {n} samples that were stored at export", **base)


def _of_later(manifest: Mapping[str, Any]) -> bool:
    return any(key in manifest for key in LATER)


def _lacks(opened: Bundle, samples: Mapping[str, np.ndarray]) -> str:
    """Whose outputs are not among the samples though every export stores them; "" where none are missing."""
    names = {name.partition("/")[0] for name in samples}
    if opened.manifest.get("integer_weights") and "graph" not in names:
        return "the quantized graph"
    return "the float baseline" if _of_later(opened.manifest) and "baseline" not in names else ""


def _all_alike(raws: Sequence[Any]) -> bool:
    def content(raw: Any) -> Any:
        fields = raw if isinstance(raw, Mapping) else {"": raw}
        return {key: (np.asarray(value).shape, np.asarray(value).tobytes()) for key, value in fields.items()}

    return all(content(raw) == content(raws[0]) for raw in raws[1:])


def labels_as_named(opened: Bundle, samples: Mapping[str, np.ndarray]) -> Verdict:
    """The samples' labels by name (`target_names`, stored at export) against the manifest's label map."""
    names, numbers = samples.get("target_names"), samples.get("targets")
    base: dict[str, Any] = {"metric": "label map", "required": names is not None}
    if names is None or numbers is None:
        why = "the samples carry no label names: the label map is only checked with data"
        return Verdict("parity", ADVISORY, why, **base)

    base["n"] = len(names)
    for name, number in zip(names.tolist(), numbers.tolist()):
        if not 0 <= number < len(opened.labels) or opened.labels[number] != str(name):
            current = repr(opened.labels[number]) if 0 <= number < len(opened.labels) else "no label"
            why = f"the label map differs from the one at export: class {number} was {name!r} and is {current}"
            return Verdict("parity", FAIL, why, **base)

    return Verdict("parity", PASS, f"{len(names)} samples keep their labels", **base)


def own_runner(opened: Bundle) -> Verdict:
    """Whether `run.py` is what this edgeft writes for such a bundle. Advisory where it is not: another version may have
    written it, and edgeft never runs it."""
    base: dict[str, Any] = {"metric": "run.py", "n": 1}
    path = opened.path / bundles.RUNNER
    with files.open_regular(path, follow=False) as handle:
        text = handle.read(_MOST_RUNNER)

    if text == bundles.runner_of({**opened.manifest, "task": opened.task.name}):  # `Missing` for an absent package
        return Verdict("parity", PASS, "run.py is the one that this edgeft writes", required=False, **base)

    why = "run.py is not the one that this edgeft writes for this bundle: another version wrote it, or it was altered. "
    why += "It is code, which edgeft does not run; `edgeft predict` gives the same answers without it"
    return Verdict("parity", ADVISORY, why, required=False, **base)


def _expected(manifest: Mapping[str, Any]) -> int | None:
    recorded = manifest.get("samples")
    if isinstance(recorded, Mapping) and type(recorded.get("n")) is int:
        return int(recorded["n"])
    run = manifest.get("provenance", {}).get("run")
    judged = run.get("n") if isinstance(run, Mapping) else None
    return min(MOST, judged) if type(judged) is int and judged > 0 else None


def baseline_outputs(
    opened: Bundle, stored: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray], steps: Steps
) -> list[Verdict]:
    """The float baseline's outputs on the samples against those that export stored (`baseline/<name>`), within the
    limits of parity; nothing where a bundle has none."""
    if not stored:
        return []
    verdict = samples_parity(opened.task, stored, opened.session(baseline=True).run(inputs), steps, same=False)
    why = verdict.why if verdict.verdict == PASS else f"the float baseline answers otherwise: {verdict.why}"
    return [dataclasses.replace(verdict, metric="outputs of the float baseline", why=why)]
