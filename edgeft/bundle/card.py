"""A bundle's README.md: what the model is, what was measured, and how it is run.

The head is metadata as the Hugging Face hub reads it (huggingface.co/docs/hub/model-cards), `model-index` included.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from ..core.metric import Metric
from ..plugins import BACKENDS, TASKS

FILE = "README.md"
#: names of labels that are listed; a card is read by people
_LISTED = 20


def text(manifest: Mapping[str, Any], board: str, isa: str) -> str:
    """README.md of a bundle with this manifest (`files` may be absent), for the board with the title `board` and the
    instruction set `isa`."""
    head, summary, use = _head(manifest), _summary(manifest, board), _use(manifest, isa)
    return "\n\n".join([head, summary, _figures(manifest), use, _tensors(manifest), _origin(manifest)]) + "\n"


def _head(manifest: Mapping[str, Any]) -> str:
    figures, tag = manifest["figures"], TASKS.get(manifest["task"]).hub_tag
    kind = {"type": tag or "other", "name": manifest["task"]}
    value = {"type": figures["metric"].lower(), "name": figures["metric"], "value": figures["quantized"]}
    dataset = {"type": "private", "name": f"test split, sha256 {manifest['provenance']['data'][:12]}"}
    index = [{"name": manifest["name"], "results": [{"task": kind, "dataset": dataset, "metrics": [value]}]}]
    table: dict[str, Any] = {
        "library_name": "edgeft",
        **({"pipeline_tag": tag} if tag else {}),
        "tags": ["edgeft", manifest["scheme"]["format"], manifest["backend"], manifest["target"]],
        "model-index": index,
    }

    # JSON is YAML, and needs no package that writes it.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
    return "\n".join(["---", *lines, "---"])


def _summary(manifest: Mapping[str, Any], board: str) -> str:
    recipe, runtime = manifest["provenance"]["recipe"], BACKENDS.get(manifest["backend"]).title
    model = f"`{recipe['model']['name']}` ({recipe['model']['source']})"
    return (
        f"# {_plain(manifest['name'])} ({board})\n\n"
        f"A model for the task `{manifest['task']}`, in {manifest['scheme']['format']} for {runtime} "
        f"{manifest['runtime']['version']}. Network: {model}. Written by edgeft {manifest['provenance']['edgeft']}."
    )


def _figures(manifest: Mapping[str, Any]) -> str:
    figures, metric = manifest["figures"], Metric(**manifest["metric_record"])
    return (
        "## Measured\n\n"
        f"| {metric.name} of {figures['n']:,} test samples | |\n| --- | --- |\n"
        f"| float | {metric.format(figures['float'])} |\n"
        f"| this artifact, in its runtime | {metric.format(figures['quantized'])} |\n\n"
        "The samples are of the data set that the model was tuned with; on other data the figures may differ. "
        "`report.html` has every gate with its statistics. `edgeft verify` measures again."
    )


def _use(manifest: Mapping[str, Any], isa: str) -> str:
    on_board = BACKENDS.get(manifest["backend"]).board_install(isa)
    install = f"pip install numpy {shlex.join(on_board.requirements)}\n" if on_board else ""
    return (
        "## Use\n\n```sh\n"
        f"{install}"
        "python run.py --help       # without edgeft\n"
        "edgeft predict . INPUT     # with edgeft\n"
        "edgeft verify .\n```"
    )


def _tensors(manifest: Mapping[str, Any]) -> str:
    rows = [
        f"| {graph['file']} | {side} `{_plain(tensor['name'])}` | {tensor['dtype']} | {tensor['shape']} |"
        for graph in manifest["graphs"]
        if not graph.get("personalize") and not graph.get("stream")
        for side, tensors in (("input", graph["inputs"]), ("output", graph["outputs"]))
        for tensor in tensors
    ]
    labels = [f"`{_plain(label)}`" for label in manifest["labels"][:_LISTED]]
    more = len(manifest["labels"]) - len(labels)
    listed = ", ".join(labels) + (f" and {more:,} more" if more > 0 else "")
    head = ["## Tensors", "", "| file | tensor | type | shape (-1: any) |", "| --- | --- | --- | --- |"]

    return "\n".join([*head, *rows]) + (f"\n\nLabels: {listed}." if labels else "")


def _origin(manifest: Mapping[str, Any]) -> str:
    provenance = manifest["provenance"]
    recipe, weights = provenance["recipe"], provenance.get("weights") or {}
    begun = f" It began with the weights `{weights['name']}`." if weights.get("name") else ""
    trained = provenance["method"] == "qat"
    method = "quantization-aware training" if trained else "calibration (post-training quantization)"

    return (
        "## Origin\n\n"
        f"Quantized by {method}; data format `{recipe['data']['format']}`, "
        f"content sha256 `{provenance['data']}`.{begun} `manifest.json` has the recipe and all versions, "
        "`bom.cdx.json` the bill of materials (CycloneDX)."
    )


def _plain(name: Any) -> str:
    """A name of a user as one line that Markdown leaves as it is."""
    return " ".join(str(name).split()).replace("|", "\\|").replace("`", "'")
