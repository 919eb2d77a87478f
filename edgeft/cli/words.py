"""Results as a few lines for people. Figures are written by `report.words`, so that every place says them alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.verdict import FAIL
from ..report import text, words
from ..report.searched import changes

#: members of a list that are shown: the ids of a catalogue are no lines for people
_MOST = 20


def pairs(table: Mapping[str, Any]) -> str:
    """`key  value` lines of everything in `table` that is known; nested tables as `key.inner`."""
    rows: list[tuple[str, str]] = []

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                add(f"{prefix}.{key}" if prefix else str(key), inner)
        elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value, 1):
                add(f"{prefix}.{number}", item)
        elif isinstance(value, (list, tuple)):
            if value:
                more = f", ... ({len(value)} in all)" if len(value) > _MOST else ""
                rows.append((prefix, ", ".join(words.line(item) for item in value[:_MOST]) + more))
        elif value not in (None, ""):
            rows.append((prefix, words.line(value)))

    add("", table)
    return "\n".join(text.table([], rows))


def plan(result: Mapping[str, Any]) -> str:
    """What `--dry-run` reports: counts and memory, then the targets' compatibility problems."""
    shown_elsewhere = (
        *("objections", "learns", "moving_bytes", "updated_parameters", "total_parameters", "notes"),
        *("data", "samples", "labels", "task", "page"),
    )
    learned = f"{result['updated_parameters']:,} of {result['total_parameters']:,} in {len(result['learns'])} tensors"
    figures = {
        **{key: value for key, value in result.items() if key not in shown_elsewhere},
        **{key: _rounded(result[key]) for key in ("learning_rates", "class_weights") if result.get(key)},
        "trainable parameters": learned,
        "memory of trainable parameters": words.size(result["moving_bytes"]),
    }
    tables_of_problems = [
        objections({"target": name, "objections": problems}) for name, problems in result["objections"].items()
    ]
    page = [f"page: {result['page']}"] if result.get("page") else []

    return "\n".join(
        [
            *understood(result["data"]),
            "",
            pairs(figures),
            *map(words.line, result.get("notes", ())),
            *tables_of_problems,
            *page,
        ]
    )


def data(result: Mapping[str, Any]) -> str:
    """What `edgeft data check` reports: what was understood, then what a user should know of it."""
    return "\n".join([*understood(result), *([f"page: {result['page']}"] if result.get("page") else [])])


def understood(result: Mapping[str, Any]) -> list[str]:
    """The lines of an overview of data, see `data.overview`."""
    splits = ", ".join(f"{name} {count:,}" for name, count in result["splits"].items())
    figures: dict[str, Any] = {"data": result["path"], "format": f"{result['format']}, for {result['task']}"}
    if result.get("recognized_by"):
        figures["recognized by"] = result["recognized_by"]

    figures |= {"splits": splits, **({"samples": result["inputs"]} if result.get("inputs") else {})}
    lines = text.table([], [(key, words.line(value)) for key, value in figures.items()])
    lines += ["", *_label_table(result)] if result["counts"]["by_label"] else []

    for title, key in (("left out", "left_out"), ("imbalance", "imbalance"), ("leaks", "leaks"), ("notes", "notes")):
        if result[key]:
            lines += ["", f"{title}:", *(f"  {words.line(line)}" for line in result[key])]

    if not (result["leaks"] or result["imbalance"]):
        lines += ["", "no leaks between splits and no imbalance that a user should know of"]

    return lines


def _label_table(result: Mapping[str, Any]) -> list[str]:
    """The labels, most frequent first, with their counts in each split."""
    by_label, splits = result["counts"]["by_label"], list(result["splits"])
    order = sorted(by_label, key=lambda label: -sum(by_label[label].values()))
    rows = [
        (words.line(label)[:40], *(f"{by_label[label].get(name, 0):,}" for name in splits)) for label in order[:_MOST]
    ]
    more = [f"... and {len(order) - _MOST} more labels"] if len(order) > _MOST else []
    return [*text.table((result["counts"]["unit"].upper(), *splits), rows), *more]


def _rounded(values: Mapping[str, float]) -> dict[str, str]:
    return {key: f"{value:.3g}" for key, value in values.items()}


def learns(result: Mapping[str, Any]) -> str:
    """The trainable tensors, one a line."""
    return "\n".join(["trainable tensors:", *(f"  {words.line(name)}" for name in result["learns"])])


def objections(result: Mapping[str, Any]) -> str:
    """One line for each problem: the target cannot run what is marked `refuse` and runs badly what is marked `warn`.

    What the compiler of the target's vendor made of the model follows, or that it was not asked.
    """
    lines = [f"{result['target']}:" if result["objections"] else f"{result['target']}: no compatibility problems"]
    for item in result["objections"]:
        remedy = f" → {item['remedy']}" if item.get("remedy") else ""
        lines.append(f"  {item['severity']:6}  {item['op']}: {item['why']}{remedy}")

    lines += [
        f"  {what}: {value}" + (f" ({remark})" if remark else "")
        for what, value, remark in words.compiler_rows(result.get("compiler") or {})
    ]

    for compiler_name in result.get("unverified", ()):
        remedy = f" → {result['remedy']}" if result["remedy"] else ""
        lines.append(f"  unverified: the compiler {compiler_name} was not asked{remedy}")

    return "\n".join(lines)


def boards(entries: Sequence[Mapping[str, Any]]) -> str:
    """One line a board."""
    rows = []
    for item in entries:
        also = f" ({', '.join(item['aliases'])})" if item["aliases"] else ""
        judges = (_compiler_of(item), _verified_by(item))
        rows.append((item["name"], item["backend"], *judges, item["scheme"]["name"], item["title"] + also))
    return "\n".join(text.table(("NAME", "RUNTIME", "COMPILER", "VERIFIED BY", "SCHEME", "BOARD"), rows))


def _verified_by(item: Mapping[str, Any]) -> str:
    """What models were verified by for a board: its compiler, or its runtime, which is not all where there is one."""
    if item["verified_by"]:
        return str(item["verified_by"])
    return f"{item['runtime_title']} alone" if item["compiler"] else str(item["runtime_title"])


def _compiler_of(item: Mapping[str, Any]) -> str:
    """The compiler of a board and whether edgeft can ask it: "vela (not set up)"."""
    remark = {"set up": "", "not run": "not run by edgeft"}
    state = remark.get(item["compiler_state"], item["compiler_state"])
    return f"{item['compiler']} ({state})" if state and item["compiler"] else str(item["compiler"])


def board(entry: Mapping[str, Any]) -> str:
    """Every known key of one profile."""
    return pairs(entry)


def machine(result: Mapping[str, Any]) -> str:
    """Where a bench result was measured."""
    return pairs({"measured on": result["fingerprint"]})


def calibrated(result: Mapping[str, Any]) -> str:
    """What a calibration found."""
    return (
        f"{words.line(result['path'])} differs from itself by up to {result['spread_pct']:.2f} % here "
        f"({len(result['pairs_pct'])} pairs of processes, {result['quads']} quads, {result['clock']} clock)\n"
        f"The spread is stored in {words.line(result['kept'])}; later comparisons on this machine use at least this "
        "tolerance."
    )


def _new(result: Mapping[str, Any]) -> dict[str, Any]:
    was, current = ({"threads": side["threads"], **side["options"]} for side in (result["was"], result["setting"]))
    return {key: value for key, value in current.items() if was.get(key) != value}


def searched(result: Mapping[str, Any]) -> str:
    """What a search of the runtime's options tried, and what the bundle runs with now."""
    rows = [(changes(trial["change"]), trial["verdict"], words.line(trial["why"])) for trial in result["tried"]]
    lines = text.table(("OPTION", "VERDICT", "WHY"), rows) if rows else ["this runtime has no options to try"]
    final, place = result["final"], words.line(result["path"])

    if result["changed"] and result["verdict"] != FAIL:
        end = (
            f"{place} now runs with {changes(_new(result))}: {final['speedup']:.2f}x as fast as before, verified again"
        )
    elif result["changed"]:
        end = f"{place} is unchanged: with {changes(_new(result))} it fails verification"
        lines.append(words.sentence(result["report"]))
    else:
        end = f"{place} is unchanged: no setting is faster by more than {result['margin_pct']:.1f} %"

    return "\n".join([*lines, "", end])


def device(result: Mapping[str, Any]) -> str:
    """One device as `edgeft device setup` and `check` found it."""
    machine, heat = result["fingerprint"], result["heat"]
    hot = ", ".join(f"{name} {value:.0f} °C" for name, value in heat["celsius"].items())
    runtimes = ", ".join(f"{name} {version}" for name, version in result["runtimes"].items())
    rows = {
        "device": result["name"],
        "cpu": f"{machine['cpu']} ({machine['isa']}, {machine['cores']} cores)",
        "runtimes": runtimes or "no runtime loads",
        "python": f"{machine['python']} ({result['python']})",
        "temperature": hot or "not reported",
        "throttled": "not reported" if heat["now"] is None else ", ".join(heat["now"]) or "no",
        "power mode": heat["power_mode"] or "not reported",
        "governor": machine["governor"] or "not reported",
    }

    return "\n".join(text.table([], [(key, words.line(value)) for key, value in rows.items()]))


def emulated(record: Mapping[str, Any]) -> str:
    """One emulated board: what runs on which CPU."""
    runtimes = ", ".join(f"{name} {version}" for name, version in record["runtimes"].items())
    rows = {"device": record["name"], "cpu": f"{record['cpu']} ({record['isa']}, emulated)", "runtimes": runtimes}
    return "\n".join(text.table([], [(key, words.line(value)) for key, value in rows.items()]))


def compiler(record: Mapping[str, Any]) -> str:
    """One compiler that is set up: its version and where it is."""
    packages = ", ".join(f"{name} {version}" for name, version in (record.get("packages") or {}).items())
    rows = {"compiler": record["name"], "version": record["version"], "packages": packages, "python": record["python"]}
    return "\n".join(text.table([], [(key, words.line(value)) for key, value in rows.items()]))


def devices(records: Sequence[Mapping[str, Any]]) -> str:
    """One line a device."""
    if not records:
        return "no device has been set up yet: edgeft device setup ssh://user@host --target NAME"
    rows = []
    for record in records:
        runtimes = ", ".join(f"{name} {version}" for name, version in (record.get("runtimes") or {}).items())
        rows.append((record["name"], record.get("machine") or "", runtimes, record.get("set_up") or ""))
    return "\n".join(text.table(("DEVICE", "MACHINE", "RUNTIMES", "SET UP"), rows))


def side_by_side(results: Sequence[Mapping[str, Any]]) -> str:
    """One line a device: what was found there, or why nothing was; then how many came to what."""
    from ..devices.fleet import counts

    rows = []
    for result in results:
        device, attempts = words.line(result["device"]), words.plain(result.get("attempts"))
        if "exit_code" in result:
            rows.append((device, "error", "", attempts, words.line(result["message"])))
            continue
        machine = words.table(result.get("fingerprint"))
        about = machine.get("cpu") or result.get("why") or ""
        rows.append((device, result["verdict"], words.figure(result.get("p50_ms"), "ms"), attempts, words.line(about)))

    table = text.table(("DEVICE", "VERDICT", "P50", "ATTEMPTS", "CPU, OR WHY"), rows)
    number = counts(results)
    kinds = ", ".join(f"{n} {kind}" for kind, n in number.items() if kind != "boards" and n)
    return "\n".join([*table, f"{number['boards']} devices: {kinds}"])


def predictions(results: Sequence[Mapping[str, Any]]) -> str:
    """One line an input: its name, then what the task decoded; numbers beside a confidence are in the words."""
    rows = []
    for result in results:
        rest = [
            words.figure(value, "fraction") if key == "confidence" else words.line(value)
            for key, value in result.items()
            if key not in ("input", "similarity", "score") and not isinstance(value, (list, Mapping))
        ]
        rows.append([words.line(result["input"]), *rest])

    return "\n".join(text.table([], rows))


def detection(event: Mapping[str, Any]) -> str:
    """Where in a stream a label was detected, and its probability."""
    return f"{event['seconds']:9.3f} s  {words.line(event['label'])}  {words.figure(event['confidence'], 'fraction')}"


def stream(result: Mapping[str, Any]) -> str:
    """How much of a stream was heard; where the truth is known, how right the detections are."""
    count = len(result["detections"])
    lines = [f"{words.line(result['input'])}: {result['seconds']:.1f} s heard, {count} detections"]
    if judged := result.get("judged"):
        low, high = judged["false_alarms_per_hour_interval"]
        rate = words.figure(judged["detection_rate"], "fraction")
        rates = " to ".join(words.figure(bound, "fraction") for bound in judged["detection_rate_interval"])
        lines += [
            f"detected {judged['detected']} of {judged['events']}: {rate} (95 % {rates})",
            f"false alarms {judged['false_alarms']} in {judged['hours']:.3g} h: "
            f"{judged['false_alarms_per_hour']:.3g} an hour (95 % {low:.3g} to {high:.3g})",
            "",
            *text.table(
                ("LABEL", "SPOKEN", "DETECTED", "FALSE ALARMS"),
                [
                    (words.line(name), *(str(row[key]) for key in ("events", "detected", "false_alarms")))
                    for name, row in judged["per_label"].items()
                ],
            ),
        ]

    return "\n".join(lines)


def personalized(result: Mapping[str, Any]) -> str:
    """The verdict of a personalization, and before and after per class where there are classes."""
    state_text = f"version {result['version']} is in use" if result["version"] else "the model as exported is in use"
    head = "accepted" if result["verdict"] == "pass" else "NOT accepted"
    lines = [f"{head}: {words.line(result['why'])}", f"{state_text} ({words.line(result['state'])})"]

    for key, title in (("new", "new samples held out"), ("reference", "reference samples")):
        classes = (result[key] or {}).get("per_class") or {}
        rows = [(words.line(k), str(v["n"]), f"{v['before']:.3g}", f"{v['after']:.3g}") for k, v in classes.items()]
        if rows:
            lines += ["", *text.table((title.upper(), "N", "BEFORE", "AFTER"), rows)]

    return "\n".join(lines)
