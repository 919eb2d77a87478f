"""Whether a pass can be bought: sabotaged bundles, killed commands, mutated inputs.

    python benchmarks/trust.py [--bundles 44] [--kills 2] [--inputs 200] [--work DIR] [--seed 0] [--kinds NAME...]

- Bundles of each runtime are altered in the ways of trust_attacks.py, trust_red_team.py and trust_more.py, every digest is made anew, and
  `edgeft verify` judges them (without timing) as they are, those that pass with the data of the export too, and all with
  the key that signed the original. `--bundles` is how many in all.
- `sign`, `bench --accept`, `personalize`, `export` and `tune` are killed `--kills` times each at random moments.
- Each reader gets `--inputs` mutated copies of a real file.

The run and the bundles are those of the recipe "classify" of tiny_recipes.py. `--work` keeps them, and
what was measured: a call with larger numbers goes on behind the last one. It needs model-signing (`edgeft sign --setup`).
With `--kinds` those kinds of sabotage alone are run, one bundle a runtime, and stand in a table of their own.
Goals: no pass where a key signs, nothing lost, nothing foreign.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np
import trust_attacks
import trust_kills
import trust_more
import trust_mutations
import trust_red_team
from tiny_recipes import RECIPES

KINDS = {**trust_attacks.KINDS, **trust_red_team.KINDS, **trust_more.KINDS}
TARGETS = {
    "host": "ONNX Runtime",
    "host-openvino": "OpenVINO",
    "host-litert": "LiteRT",
    "host-executorch": "ExecuTorch",
}


def trained(work: Path, name: str, targets: Sequence[str]) -> tuple[list[str], Path]:
    """The command that tunes a recipe of tiny_recipes.py, and the folder of its run and bundles, which are made once."""
    place, recipe = work / name, RECIPES[name]
    data = place / "data.npz"
    command = trust_kills.edgeft("tune", place / "recipe.toml", "--set", f'data.path="{data}"')

    if not (place / "run" / "summary.json").exists():
        place.mkdir(parents=True, exist_ok=True)
        (place / "recipe.toml").write_text(recipe.toml())
        recipe.data(data)
        must([*command, "--out", str(place / "run")])

    for target in targets:
        if not (place / "bundles" / target).exists():
            words = ["export", place / "run", "--target", target, "--out", place / "bundles"]
            code = trust_kills.done(trust_kills.edgeft(*words)).returncode
            print(f"{name}, {target}: export ended with {code}", file=sys.stderr, flush=True)

    return command, place


def base(work: Path) -> trust_kills.Base:
    """The run, a bundle a runtime that can be exported here, and keys; made once."""
    command, place = trained(work, "classify", list(TARGETS))
    keys = work / "keys"

    if not keys.exists():
        (keys / "public").mkdir(parents=True)
        for name in ("first", "second"):
            must(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(keys / f"{name}.pem")])
            public = str(keys / "public" / f"{name}.pub")
            must(["openssl", "ec", "-in", str(keys / f"{name}.pem"), "-pubout", "-out", public])

    bundles = place / "bundles"
    return trust_kills.Base(place / "run", command, bundles / "host", keys, bundles)


def must(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")


def verdict(bundle: Path, trust: Path | None = None, data: Path | None = None) -> tuple[str, str]:
    """(pass, fail, inconclusive or refused; the gates or the error that decided) of `edgeft verify` without timing.

    Of a pass what it is told with: gates that decide nothing here and do not pass.
    """
    from edgeft import load
    from edgeft.core.errors import EdgeftError
    from edgeft.verify import isolated

    options = {"data": str(data)} if data else {}
    try:
        report = isolated.checked(load(bundle, trust), measure_latency=False, ask_compiler=False, **options)
    except EdgeftError as error:
        return "refused", textwrap.shorten(error.message.partition(":")[0], 80, placeholder=" ...")

    decides = report["verdict"] != "pass"
    shown = [g for g in report["gates"] if g["required"] == decides and g["verdict"] != "pass"]
    named = [f"{g['name']} ({g['metric']})" for g in shown]
    return report["verdict"], ", ".join(dict.fromkeys(named))


def judged(bundle: Path, made: trust_kills.Base, usual: str) -> dict[str, str]:
    """The verdicts on an altered bundle; of a pass what names the alteration: gates that the original's pass (`usual`) is
    not told with, then what decides with the data."""
    plain, named = verdict(bundle)
    with_data = plain, named
    if plain == "pass":
        with_data = verdict(bundle, data=made.run.parent / "data.npz")
        told = [name for name in named.split(", ") if name not in usual.split(", ")]
        told += [f"with --data: {with_data[1]}"] if with_data[0] != "pass" else []
        named = ", ".join(told)

    signed, _ = verdict(bundle, made.keys / "public")
    return {"verdict": plain, "named": named, "with_data": with_data[0], "signed": signed}


def sabotaged(work: Path, made: trust_kills.Base, count: int, seed: int) -> list[dict[str, Any]]:
    """A row for each sabotaged bundle: runtime, kind, verdict and what named it, with the data and with the key."""
    folder, log = work / "sabotaged", work / f"sabotaged-{seed}.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    originals = [made.bundles / target for target in TARGETS if (made.bundles / target).exists()]

    usual = {}
    for original in originals if len(rows) < count else ():
        before, named = verdict(original)
        usual[original] = named
        if before != "pass":  # what does not pass as it is says nothing of what is done to it
            raise SystemExit(f"{original}, as it was exported: {before}, {named}")
        must(trust_kills.edgeft("sign", original, "--key", made.keys / "first.pem"))

    plan = [(original, kind) for kind in KINDS for original in originals]
    for number in range(rows[-1]["number"] + 1 if rows else 0, count):
        original, kind = plan[number % len(plan)]
        shutil.rmtree(folder, ignore_errors=True)
        bundle = Path(shutil.copytree(original, folder / "bundle"))
        row = {"number": number, "runtime": TARGETS[original.name], "kind": kind}
        if KINDS[kind](bundle, np.random.default_rng([seed, number])) is False:
            row |= {"verdict": "none", "named": "", "with_data": "none", "signed": "none"}
        else:
            row |= judged(bundle, made, usual[original])
        rows.append(row)
        with log.open("a") as handle:
            handle.write(json.dumps(row) + "\n")
        print(f"{number + 1}/{count} {row}", file=sys.stderr, flush=True)

    return [row for row in rows if row["verdict"] != "none"]


def of_kinds(work: Path, made: trust_kills.Base, kinds: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """A row for each of these kinds and runtime, as those of `sabotaged`."""
    rows = []
    for kind, target in ((kind, target) for kind in kinds for target in TARGETS if (made.bundles / target).exists()):
        shutil.rmtree(work / "kinds", ignore_errors=True)
        bundle = Path(shutil.copytree(made.bundles / target, work / "kinds" / "bundle"))
        if KINDS[kind](bundle, np.random.default_rng([seed, 0])) is False:
            continue
        usual = verdict(made.bundles / target)[1]
        rows.append({"runtime": TARGETS[target], "kind": kind, **judged(bundle, made, usual)})
        print(rows[-1], file=sys.stderr, flush=True)

    return rows


def later(record: dict[str, Any]) -> str:
    """The section of kinds that were run by themselves; "" of none."""
    if not (kinds := record.get("kinds")):
        return ""

    columns = ("kind", "runtime", "verdict", "with_data", "signed", "named")
    body = [[row[key] for key in columns] for row in kinds["rows"]]
    heads = ["kind", "runtime", "verdict", "with --data", "with the key", "named by"]
    return f"""
**Kinds that were run by themselves, later** (seed {kinds["seed"]}); rows of the same kinds above are older.

{common.table(heads, body)}

{common.footing(kinds["machine"], kinds["versions"])}
"""


def section(record: dict[str, Any]) -> str:
    rows, kinds = record["sabotaged"], {}
    for row in rows:
        kinds.setdefault(row["kind"], []).append(row)

    passed = {kind: [row for row in group if row["verdict"] == "pass"] for kind, group in kinds.items()}
    body = [
        [
            kind,
            len(group),
            len(passed[kind]),
            sum(row["with_data"] == "pass" for row in group),
            sum(row["signed"] == "pass" for row in group),
            "; ".join(name for name, _ in Counter(row["named"] for row in group if row["named"]).most_common(2)),
        ]
        for kind, group in kinds.items()
    ]
    wrong = sum(len(group) for group in passed.values())
    with_data = sum(row["with_data"] == "pass" for row in rows)
    with_key = sum(row["signed"] == "pass" for row in rows)
    runtimes = ", ".join(dict.fromkeys(row["runtime"] for row in rows))
    kills = [
        [f"`{name}`", row["kills"], row["in_time"], len(row["faults"]), "; ".join(row["faults"])[:200]]
        for name, row in record["kills"].items()
    ]
    mutations = [
        [
            name,
            row["inputs"],
            sum(n for outcome, n in row["outcomes"].items() if outcome.startswith("signal")),
            sum(n for outcome, n in row["outcomes"].items() if outcome.startswith("foreign")),
            row["outcomes"].get("refused", 0),
            f"{row['slowest']:.2f} s",
        ]
        for name, row in record["mutations"].items()
    ]

    return f"""## Trust: sabotage, kills, mutated inputs

A ResNet-8 on drawn shapes ({runtimes}). Seed {record["seed"]}.

**{len(rows)} sabotaged bundles**, every digest made anew. {wrong} pass `edgeft verify` as "integrity only"
({", ".join(kind for kind, group in passed.items() if group) or "none"}), of those {with_data} also with the data of the export (`--data`);
{with_key} pass with the key that signed the original.

{common.table(["kind", "bundles", "pass", "pass with --data", "pass with the key", "named by"], body)}

**Killed commands** (SIGKILL at a random moment; "in time": before they had ended). What is left has to be whole, and the
command has to succeed afterwards, leave nothing behind, and for `tune` give the same weights to the bit.

{common.table(["command", "kills", "in time", "faults", ""], kills)}

**Mutated inputs** of readers. The row "runtime" gives the file to the native library in a process with limits, where a
signal is counted and named; the others are edgeft's own code, with 512 MiB of memory.

{common.table(["reader", "inputs", "crashes", "foreign exceptions", "refused", "slowest"], mutations)}

{common.footing(record["machine"], record["versions"])}
{later(record)}"""


def versions() -> dict[str, str]:
    return common.versions("numpy", "onnxruntime", "openvino", "ai-edge-litert", "executorch")


def measure_kinds(work: Path, arguments: argparse.Namespace) -> None:
    """Lay the rows of `--kinds` beside the published record."""
    rows = of_kinds(work, base(work, 0), arguments.kinds, arguments.seed)
    record = json.loads((common.RESULTS / "trust.json").read_text())
    record["kinds"] = {"rows": rows, "seed": arguments.seed, "machine": common.machine(), "versions": versions()}
    common.publish("trust", section(record), record)


def measure(work: Path, arguments: argparse.Namespace) -> None:
    """All three; what is done is published after each, so that a run that is cut short shows what it measured."""
    made = base(work)
    record: dict[str, Any] = {
        "machine": common.machine(),
        "versions": versions(),
        "seed": arguments.seed,
        "sabotaged": sabotaged(work, made, arguments.bundles, arguments.seed),
        "kills": {},
        "mutations": {},
    }
    common.publish("trust", section(record), record)

    rng = np.random.default_rng(arguments.seed)
    for name in trust_kills.COMMANDS:
        shutil.rmtree(work / "killed", ignore_errors=True)
        log = work / "kills" / f"{name.replace(' ', '-')}-{arguments.seed}.json"
        if row := trust_kills.killed(name, made, work / "killed", arguments.kills, rng, log):
            record["kills"][name] = row
        print(f"{name}: {row}", file=sys.stderr, flush=True)
        common.publish("trust", section(record), record)

    shutil.rmtree(work / "mutated", ignore_errors=True)
    for target in TARGETS:
        bundle, place = made.bundles / target, work / "mutated" / target
        for title, (name, file) in trust_mutations.inputs(bundle, place).items() if bundle.exists() else ():
            if title not in record["mutations"]:
                log = work / "mutations" / f"{title.replace(' ', '-')}-{arguments.seed}.json"
                backend, tries = trust_attacks.manifest(bundle)["backend"], arguments.inputs
                row = trust_mutations.count(name, backend, file, tries, arguments.seed, log)
                record["mutations"][title] = row
                print(f"{title}: {row}", file=sys.stderr, flush=True)

    common.publish("trust", section(record), record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=int, default=44)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--inputs", type=int, default=200)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS))
    arguments = parser.parse_args()

    if arguments.work and arguments.kinds:
        measure_kinds(arguments.work.resolve(), arguments)
    elif arguments.work:
        measure(arguments.work.resolve(), arguments)
    else:
        with tempfile.TemporaryDirectory(prefix="edgeft-trust-") as folder:
            measure(Path(folder), arguments)


if __name__ == "__main__":
    main()
