"""`edgeft bench --search`: faster runtime options go into a bundle that is verified again with them, or not at all."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .bundle import reader as bundles
from .bundle.manifest import SIGNATURE
from .bundle.reader import Bundle
from .core import files, leftovers, strict_json
from .core.errors import BundleError, UsageError
from .core.verdict import ADVISORY, FAIL, PASS, Verdict
from .devices import search as searching
from .devices.device import Device
from .measure import store
from .personalize.state import FILE as STATE
from .report import html, sources
from .trust import signature
from .verify import isolated
from .verify.document import clean, merge


def search(
    bundle: Bundle,
    *,
    device: Device,
    threads: int | None,
    seconds: float | None,
    baselines: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Search the runtime's options on the device and adopt what is faster, as `edgeft.bench(search=True)` describes."""
    adoptable(bundle)
    result = searching.search(
        bundle,
        device=device,
        threads=threads,
        seconds=seconds,
        spread=lambda machine, count: store.spread(baselines, machine, bundle.backend, count),
        say=say,
    )

    about = {"path": str(bundle.path), "target": bundle.target, "backend": bundle.backend}
    if not result["changed"]:
        return {**result, **about, "verdict": PASS}

    report = adopt(bundle, result, device)
    return {**result, **about, "verdict": report["verdict"], "report": report}


def adopt(bundle: Bundle, found: Mapping[str, Any], device: Device) -> dict[str, Any]:
    """Write the setting of `devices.search.search` and its evidence (`runtime.search`) into the bundle's manifest.

    The bundle is made anew beside itself, verified on the device in its runtime with the new options, and moved into
    place in one rename. Returns the report's content; where it is a `fail` the bundle stays as it was. Gates that need
    data are carried over: the search kept only what gives the same bits.
    """
    runtime = bundle.manifest["runtime"]
    evidence = {"at": store.now(), **{key: found[key] for key in found if key not in ("changed", "setting")}}
    manifest = {key: value for key, value in bundle.manifest.items() if key != "files"}
    manifest["runtime"] = {**runtime, **found["setting"], "search": clean(evidence)}
    leftovers.sweep(bundle.path.parent, re.escape(bundle.path.name))
    staging = bundle.path.with_name(f".{bundle.path.name}.{secrets.token_hex(4)}.tmp")

    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, staging, ignore_errors=True)
        with files.system_errors(staging):
            staging.mkdir()
            stack.enter_context(leftovers.alone_in(staging))
            for name in (*bundle.manifest["files"], "report.json"):
                if (bundle.path / name).is_file():
                    (staging / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(bundle.path / name, staging / name)

        bundles.write(staging, manifest)
        report = _verified(staging, device)
        if report["verdict"] != FAIL:
            files.write_json(staging / "report.json", report)
            page = html.document([sources.of_bundle(bundles.open(staging, check_files=False))])
            files.write_text(staging / "report.html", page)
            files.publish(staging, bundle.path)

        return report


def adoptable(bundle: Bundle) -> None:
    """Raise `UsageError` where a new manifest would break the bundle's signature, or orphan the state of a device,
    which is bound to it."""
    signature.refuse_signed(
        bundle.path, what="a search", remedy=f"remove {SIGNATURE}, search, and sign it again with edgeft sign"
    )
    if (bundle.path / STATE).exists():
        raise UsageError(
            "the personalized state of this bundle belongs to its present options",
            where=str(bundle.path / STATE),
            remedy="search first, personalize after; or move the state file away",
        )


def _verified(staging: Path, device: Device) -> dict[str, Any]:
    fresh = isolated.run(staging, device=device, where=device.where)
    file = staging / "report.json"
    try:
        before = strict_json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"gates": []}
        gates = [Verdict(**{**gate, "ci95": gate["ci95"] and tuple(gate["ci95"])}) for gate in before["gates"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError("cannot be read", where=str(file), remedy="export it again") from error

    # Of what the search could not change, the old figures hold: its setting gives the same bits. A fail stays a fail.
    fresh["gates"] = [gate for gate in fresh["gates"] if not gate.get("recorded") or gate["verdict"] != ADVISORY]
    measured = {(gate["name"], gate["metric"]) for gate in fresh["gates"]}
    needs_data = ("accuracy", "agreement")
    carried = [gate for gate in gates if gate.name in needs_data or (gate.name, gate.metric) not in measured]
    known = {key: value for key, value in fresh.items() if value is not None}

    return merge({**before, **known}, carried)
