"""English to German (Multi30k) through the public commands: BLEU of float and int8, each bundle in its own runtime.

    python benchmarks/translation.py --out DIR [--run DIR] [--recipe FILE] [--no-publish]

`--run` is a run of `edgeft tune`; one that was stopped is taken up where it stands. Without it the recipe is tuned into
DIR/run: that of examples/translation, whose data `EDGEFT_DATA` names, or `--recipe`, which knows its own. Each test
sentence is translated by the float and by the int8 artifact of each runtime, greedily or with the recipe's beam; the
drop of BLEU has a paired bootstrap over sentences. Test sentences choose nothing. Where the run holds no model for this
machine's scheme, it is calibrated at export, which the table says.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import common

EXAMPLE = common.HERE.parent / "examples" / "translation" / "recipe.toml"
RUNTIMES = tuple(common.TARGETS.values())
#: points of BLEU that int8 may lose against float
MOST_DROP = 1.0


def tuned(run: Path, recipe: Path | None) -> dict[str, Any]:
    """The summary of the run in folder `run`, which is begun or taken up where it is not finished."""
    import edgeft
    from edgeft.api import read_recipe

    summary = run / "summary.json"
    if not summary.is_file():
        say = lambda text: print(f"  {text}", flush=True)  # noqa: E731
        if (run / "recipe.toml").is_file():
            edgeft.tune(run / "recipe.toml", run, resume=True, say=say)
        else:
            settings = [f"export.targets={json.dumps(RUNTIMES)}"]
            if recipe is None:
                settings.append(f"data.path={Path(os.environ['EDGEFT_DATA']) / '07_translation' / 'multi30k'}")
            edgeft.tune(read_recipe(recipe or EXAMPLE, settings), run, say=say)

    return json.loads(summary.read_text())


def exported(run: Path, out: Path) -> list[tuple[str, dict[str, Any]]]:
    """(method, report) of each runtime: what the run was trained to where it was, calibrated where it was not."""
    import edgeft
    from edgeft.config import recipe, target

    made = recipe.load(run / "recipe.toml").quantize
    found = []
    for name in RUNTIMES:
        scheme = target.with_embeddings(target.load(name), made.embeddings).scheme.name
        calibrate = not (run / f"quantized.{scheme}.safetensors").is_file()
        say = lambda text, name=name: print(f"  {name}: {text}", flush=True)  # noqa: E731
        (report,) = edgeft.export(run, [name], out, ptq=calibrate, overwrite=True, say=say)
        found.append(("ptq" if calibrate else made.method, report))

    return found


def judged(method: str, report: dict[str, Any]) -> dict[str, Any]:
    """The figures of one bundle's report."""
    gates = {g["name"]: g for g in reversed(report["gates"])}
    accuracy = gates["accuracy"]
    return {
        "method": method,
        **{key: accuracy[key] for key in ("float", "quantized", "drop", "ci95", "n")},
        "chrF": report["extra_metrics"]["chrF"],
        "agreement": gates["agreement"]["quantized"],
        "latency": {
            key: report["latency"][key] for key in ("float_ms", "quantized_ms", "speedup", "ci99", "steady", "why")
        },
        "int8_share": report["int8_share"],
        "size": report["size"],
        "per_class": report["per_class"],
        "verdict": report["verdict"],
        "failed": [f"{g['name']}: {g['why']}" for g in report["gates"] if g["required"] and g["verdict"] != "pass"],
    }


def speed(latency: dict[str, Any]) -> str:
    """The ratio and whether the machine was quiet enough for it to be quoted."""
    if latency["speedup"] is None:
        return "not measured"
    return f"{latency['speedup']:.2f}" + ("" if latency["steady"] else " (unsteady)")


def table(runtimes: dict[str, dict[str, Any]]) -> str:
    head = (
        "runtime", "int8 by", "BLEU float", "BLEU int8", "drop [95 %]", f"within {MOST_DROP:g}", "chrF float / int8",
        "same sentence", "int8 speed over float", "int8 share", "MB float / int8", "verdict",
    )  # fmt: skip
    rows = []

    for name, r in runtimes.items():
        low, high = r["ci95"]
        rows.append(
            (
                common.RUNTIMES[name],
                r["method"].upper(),
                f"{r['float']:.2f}",
                f"{r['quantized']:.2f}",
                f"{r['drop']:+.2f} [{low:+.2f}, {high:+.2f}]",
                common.mark(r["drop"], most=MOST_DROP),
                f"{r['chrF']['float']:.2f} / {r['chrF']['quantized']:.2f}",
                f"{100 * r['agreement']:.1f} %",
                speed(r["latency"]),
                f"{100 * r['int8_share']:.0f} %",
                f"{r['size']['float_bytes'] / 1e6:.2f} / {r['size']['quantized_bytes'] / 1e6:.2f}",
                r["verdict"],
            )
        )

    return common.table(head, rows)


def section(name: str, summary: dict[str, Any], runtimes: dict[str, dict[str, Any]]) -> str:
    in_torch = ", ".join(
        f"{title} {summary[key]:.2f}"
        for title, key in (("float", "float"), ("PTQ", "ptq"), ("QAT", "quantized"))
        if summary.get(key) is not None
    )
    beam = summary["preprocess"]["beam"]
    search = "greedy search" if beam == 1 else f"a beam of {beam}"
    lines = [
        f"## Translation\n\n{name}: BLEU (sacrebleu) of {summary['n']} test sentences by {search}; drop in points against the "
        "float artifact of the same runtime, with its paired 95 % interval over sentences. `same sentence` is the share "
        "that both translate to the letter. A sentence is timed as the encoder and one step of the decoder for every "
        f"token of the source, with one thread. In torch: {in_torch}; one sentence for all has {summary['chance']:.2f}. "
        f"{summary['steps']} steps.\n\n{table(runtimes)}"
    ]

    for runtime, r in runtimes.items():
        if r["failed"]:
            lines.append(f"Not met by {common.RUNTIMES[runtime]}: {'; '.join(r['failed'])}.")

    unsteady = {r["latency"]["why"] for r in runtimes.values() if not r["latency"]["steady"]}
    if unsteady:
        lines.append(f"Speeds marked as unsteady are no figures to quote: {'; '.join(sorted(unsteady))}.")

    return "\n\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the run and the bundles")
    parser.add_argument("--run", type=Path, help="a run of edgeft tune; otherwise one is tuned in --out")
    parser.add_argument("--recipe", type=Path, help="another recipe than the example's, for a run of --out")
    parser.add_argument("--no-publish", action="store_true", help="print the section, change no results")
    arguments = parser.parse_args()
    if arguments.run is not None and not (arguments.run / "recipe.toml").is_file():
        raise SystemExit(f"{arguments.run} is no run: it holds no recipe.toml")

    host = common.machine()
    run = arguments.run or arguments.out / "run"
    summary = tuned(run, arguments.recipe)
    if summary["task"] != "translate":
        raise SystemExit(f"{run} is a run of the task {summary['task']!r}, expected 'translate'")

    runtimes = {
        report["backend"]: judged(method, report) for method, report in exported(run, arguments.out / "bundles")
    }
    used = common.versions(
        "torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch", "tokenizers", "sacrebleu"
    )
    text = f"{section(summary['name'], summary, runtimes)}\n\n{common.footing(host, used)}"

    if arguments.no_publish:
        print(text)
        return

    kept = ("name", "float", "ptq", "quantized", "n", "chance", "steps", "seconds", "seed", "total_parameters")
    record = {"machine": host, "versions": used, "summary": {k: summary[k] for k in kept}, "runtimes": runtimes}
    common.publish("translation", text, record)


if __name__ == "__main__":
    main()
