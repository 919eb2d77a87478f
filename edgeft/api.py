"""The public functions: what the commands do, for scripts and notebooks. Each imports what it needs when called.

Errors are those of `edgeft.core.errors`; nothing here prints unless `say` is given, and nothing exits.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import places
from .core.errors import RecipeError, UsageError, need

if TYPE_CHECKING:
    from .bundle.reader import Bundle
    from .config.recipe import Recipe

Say = Callable[[str], None]


def _silent(text: str) -> None:
    del text


def _need_host_half() -> None:
    """Raise `Missing` (with the pip command) before anything is written where the host half is not installed."""
    for package in ("torch", "accelerate", "safetensors"):
        if importlib.util.find_spec(package) is None:
            need(package, "tune")


def read_recipe(
    recipe: Recipe | str | os.PathLike[str] | Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> Recipe:
    """A recipe from a file, a table, nothing at all (the embedded one), or one already made, with overrides applied.

    `overrides` are "table.key=value" with a TOML value. Raises `RecipeError` naming file, line and nearest key.
    """
    from .config import recipe as recipes

    if recipe is None:
        made = recipes.embedded()
    elif isinstance(recipe, recipes.Recipe):
        made = recipe
    elif isinstance(recipe, Mapping):
        made = recipes.from_table(dict(recipe), "the table given")
    else:
        made = recipes.load(Path(recipe))
    return recipes.override(made, list(overrides)) if overrides else made


def read_run_recipe(run: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Recipe:
    """The resolved recipe that a run directory keeps; raises `RunError`-like `RecipeError` where there is none."""
    path = Path(run) / "recipe.toml"
    if not path.is_file():
        raise RecipeError("no run here: it has no recipe.toml", where=str(run), remedy="edgeft tune --out ...")
    return read_recipe(path, overrides)


def tune(
    recipe: Recipe | str | os.PathLike[str] | Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    allow_code: bool = False,
    model: Any = None,
    dataset: Any = None,
    progress: bool = False,
    say: Say | None = None,
) -> dict[str, Any]:
    """Fine-tune: the float baseline, then quantization-aware training on what the update policy allows.

    `recipe` is a path, a table or a `Recipe`; None is the embedded one. `out` is the run directory (a new one below
    `runs/` when None); it must be absent or empty unless `overwrite`, or with `resume` an earlier run. `model` (a
    `torch.nn.Module`) and `dataset` (an `edgeft.data.Dataset`) replace those of the recipe. Returns summary.json's
    content with `run`, its directory; with `dry_run` the plan, and nothing is written.

    Raises `RecipeError`, `DataError`, `ModelError`, `UsageError` (an `out` that is not empty), `SystemFailure`.
    """
    from .core.files import claim_out, no_empty_folder

    _need_host_half()
    made = read_recipe(recipe, overrides)
    folder = Path(out) if out is not None else places.new_run(made.name)
    with no_empty_folder(folder):
        # one process of a distributed run claims the folder; the others would find it taken
        if not resume and not dry_run and os.environ.get("RANK", "0") == "0":
            claim_out(folder, overwrite=overwrite)
        from .tune.run import tune as run

        result = run(
            made,
            folder,
            resume=resume,
            allow_code=allow_code,
            dry_run=dry_run,
            model=model,
            dataset=dataset,
            progress=progress,
            say=say or _silent,
        )
    return dict(result) if dry_run else {**result, "run": str(folder)}


def export(
    run: str | os.PathLike[str] | None = None,
    targets: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    *,
    ptq: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
    allow_code: bool = False,
    model: Any = None,
    dataset: Any = None,
    say: Say | None = None,
) -> list[dict[str, Any]]:
    """Lower a run (the latest when None) to each target's runtime, verify it there, and write one bundle a target.

    `targets` are names or aliases; none means those of the run's recipe. `out` is the folder of the bundles;
    `model` and `dataset` are the caller's own, where the run was tuned with them. Returns the reports, each with
    `path`, its bundle. A gate that fails is a verdict in the report, not an exception.

    Raises `UsageError` (an unknown target, a bundle that exists), `RunError`, `Missing` (a runtime's extra).
    """
    if run is not None and Path(run).suffix == ".onnx":
        raise UsageError(
            "exporting a third-party .onnx model is not in this version",
            where=str(run),
            remedy="export a run of `edgeft tune`",
        )
    from .config import target as profiles

    names = list(dict.fromkeys(targets))
    for name in names:  # a misspelt name is refused before anything heavy is imported
        profiles.load(name)
    _need_host_half()
    folder = Path(run) if run is not None else places.latest_run()
    if not names:
        names = list(read_run_recipe(folder, overrides).export.targets)
    from .export.run import export as lower

    return lower(
        folder,
        names,
        Path(out) if out is not None else places.BUNDLES,
        ptq=ptq,
        strict=strict,
        overwrite=overwrite,
        overrides=list(overrides),
        allow_code=allow_code,
        model=model,
        dataset=dataset,
        say=say or _silent,
    )


def verify(
    bundle: str | os.PathLike[str] | Bundle,
    data: str | os.PathLike[str] | None = None,
    *,
    threads: int | None = None,
    state: str | os.PathLike[str] | None = None,
    device: str | None = None,
    samples: int | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Re-check a bundle on this machine: files, parity on its own samples, latency; with `data` accuracy and agreement.

    `device` is another place where that happens (`ssh://user@host[:port]`, `emulate:TARGET`); `state` is then a path on
    it. `samples` limits how many of `data` are judged.
    Returns report.json's content with `path`. Raises `BundleError`, `DataError`, `Missing` (the runtime's extra).
    """
    from .verify.run import run

    opened = load(bundle)
    place = Path(state) if state is not None else None
    if device:
        from .devices import registry as devices
        from .verify import isolated

        there = devices.get(device, say or _silent)
        carried = there.carry(Path(data)) if data is not None else None
        options = {"data": carried, "threads": threads, "state": state and str(state), "where": there.where}
        found = isolated.on_device(opened, there, **options, most=samples)
        return {**found, "path": str(opened.path), "device": there.name}
    found = run(
        opened,
        data=Path(data) if data is not None else None,
        threads=threads,
        state=place,
        most=samples,
        say=say or _silent,
    )
    return {**found, "path": str(opened.path)}


def personalize(
    bundle: str | os.PathLike[str] | Bundle,
    data: str | os.PathLike[str] | None = None,
    *,
    stream: Iterable[tuple[Any, Any]] | None = None,
    steps: int | None = None,
    rate: float | None = None,
    state: str | os.PathLike[str] | None = None,
    seed: int = 0,
    threads: int | None = None,
    device: str | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Let a bundle's tail learn from new samples on this device, without torch; keep it only where it is better.

    `data` is a folder or file in the recipe's own format; a `stream` gives (raw sample, label) pairs instead: a raw
    sample is what the task reads (pixels, {"sound": ..., "rate": ...}, text, numbers), a label a class's name or the
    values of a control. `steps` and `rate` None are the recipe's. `state` is the file that keeps what was learned, None
    the one in the bundle's folder. `device` is another place where it learns (`ssh://...`; needs `data`): what is
    learned stays there. Returns `verdict` ("pass": the new version is in use; "fail": the old one still is),
    `why`, `version`, and figures before and after. Raises `DataError`, `BundleError`, `SystemFailure`; whatever
    happens, the version in use stays whole.
    """
    if device:
        from .devices import registry as devices
        from .personalize import elsewhere

        if data is None or stream is not None:
            raise UsageError("a stream cannot be sent to a device", where=device, remedy="give data, a folder or file")
        there = devices.get(device, say or _silent)
        options = {"steps": steps, "rate": rate, "state": state and str(state), "seed": seed, "threads": threads}
        return elsewhere.run(there, load(bundle).path, Path(data), options)
    from .personalize.run import run
    from .report import learned

    result = run(
        load(bundle),
        Path(data) if data is not None else None,
        stream=stream,
        steps=steps,
        rate=rate,
        state=Path(state) if state is not None else None,
        seed=seed,
        threads=threads,
        say=say or _silent,
    )
    learned.write(result, say or _silent)
    return result


def bench(
    bundle: str | os.PathLike[str] | Bundle,
    against: str | os.PathLike[str] | Bundle | None = None,
    *,
    accept: bool = False,
    calibrate: bool = False,
    tolerance: float | None = None,
    threads: int | None = None,
    seconds: float | None = None,
    baselines: str | os.PathLike[str] | None = None,
    cross_host: bool = False,
    device: str | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Latency of a bundle's artifact on this machine, or a regression verdict of two.

    With `against`, or where the store `baselines` (a folder; None is `baselines/`) holds an accepted bundle of the same
    name, target and runtime for this kind of host: a comparison in fresh processes, `tolerance` in per cent (None: 2),
    of at most about `seconds` (None: 60). Else single calls, batch 1, on the bundle's own first sample, for `seconds`
    (None: 3). `accept` makes the bundle the baseline; `calibrate` measures how far it differs from itself, and keeps it
    in the store. `threads` None takes the number that the manifest records. `device` is where it runs: None is this
    machine, else `ssh://user@host[:port]`.

    Returns a bench result with `path`, `target`, `backend`. Raises `BundleError`, `Missing` (the runtime's extra),
    `InvalidInput` (a baseline of another kind of host, unless `cross_host`: then the verdict is advisory).
    """
    from .devices import bench as benches
    from .devices import registry as devices

    return benches.bench(
        load(bundle),
        None if against is None else load(against),
        accept=accept,
        calibrate=calibrate,
        tolerance=tolerance,
        threads=threads,
        seconds=seconds,
        baselines=Path(baselines) if baselines is not None else places.BASELINES,
        cross_host=cross_host,
        device=devices.get(device, say or _silent),
        say=say or _silent,
    )


def search(
    bundle: str | os.PathLike[str] | Bundle,
    *,
    threads: int | None = None,
    seconds: float | None = None,
    baselines: str | os.PathLike[str] | None = None,
    device: str | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Try the runtime's own options on the machine that a bundle is for; write what is faster into its manifest.

    A value is kept where the outputs on the bundle's samples are the same bits and it is faster by more than 1 % (more
    threads: 10 %), or than the machine's A/A spread in the store `baselines`. The bundle is verified again with the
    setting before it is replaced; where that fails it stays as it is. `threads` fixes their number, `seconds` (None:
    120) limits the search.

    Returns `devices.search.search`'s result with `path`, `target`, `backend`, `verdict` ("fail": not adopted) and,
    where something changed, `report`. Raises `UsageError` on a machine that is not the bundle's target.
    """
    from . import adopt as adopting
    from .core.verdict import PASS
    from .devices import registry as devices
    from .devices import search as searching
    from .measure import store

    opened, there = load(bundle), devices.get(device, say or _silent)
    adopting.adoptable(opened)
    root = Path(baselines) if baselines is not None else places.BASELINES
    found = searching.search(
        opened,
        device=there,
        threads=threads,
        seconds=seconds,
        spread=lambda machine, count: store.spread(root, machine, opened.backend, count),
        say=say or _silent,
    )
    about = {"path": str(opened.path), "target": opened.target, "backend": opened.backend}
    if not found["changed"]:
        return {**found, **about, "verdict": PASS}
    report = adopting.adopt(opened, found, there)
    return {**found, **about, "verdict": report["verdict"], "report": report}


def load(bundle: str | os.PathLike[str] | Bundle) -> Bundle:
    """Open a bundle and check every file of it; raises `BundleError` naming what is wrong."""
    from .bundle import reader as bundles

    return bundle if isinstance(bundle, bundles.Bundle) else bundles.open(Path(bundle))


def check_target(
    target: str, run: str | os.PathLike[str], *, allow_code: bool = False, say: Say | None = None
) -> dict[str, Any]:
    """What the model of a run directory or recipe file cannot do on one board, before anything is trained.

    Returns {"target", "refused" (bool), "objections" [{severity, op, why, remedy}]}. Raises `UsageError` for an
    unknown target, and what `tune` raises for the recipe.
    """
    from dataclasses import replace

    from .config import target as profiles

    name = profiles.load(target).name
    recipe = read_run_recipe(run) if Path(run).is_dir() else read_recipe(run)
    recipe = replace(recipe, export=replace(recipe.export, targets=(name,)))
    plan = tune(recipe, dry_run=True, allow_code=allow_code, say=say)
    found = plan["objections"][name]
    return {"target": name, "refused": any(o["severity"] == "refuse" for o in found), "objections": found}
