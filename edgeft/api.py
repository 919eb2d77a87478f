"""The public functions: what the commands do, for scripts and notebooks. Each imports what it needs when called.

Errors are those of `edgeft.core.errors`; nothing here prints unless `say` is given, and nothing exits.

Longer than 400 lines because the public functions are known by the name of this module (in pickles and in `help`), and
half of it is signatures and docstrings.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import places
from .core.errors import RecipeError, UsageError, need
from .core.files import claim_out, no_empty_folder, user_path
from .core.leftovers import alone_in
from .core.progress import phase, shown_unless_already

if TYPE_CHECKING:
    from .bundle.reader import Bundle
    from .config.recipe import Recipe

Say = Callable[[str], None]


def _silent(text: str) -> None: ...


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
    from .config import starting_recipes

    if recipe is None:
        resolved = starting_recipes.embedded()
    elif isinstance(recipe, recipes.Recipe):
        resolved = recipe
    elif isinstance(recipe, Mapping):
        resolved = recipes.from_table(dict(recipe), "the table given")
    else:
        resolved = recipes.load(user_path(recipe))
    return recipes.override(resolved, list(overrides)) if overrides else resolved


def read_run_recipe(run: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Recipe:
    """The resolved recipe that a run directory keeps; raises `RunError`-like `RecipeError` where there is none."""
    path = user_path(run) / "recipe.toml"
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
    page: str | os.PathLike[str] | None = None,
    allow_code: bool = False,
    allow_download: bool = False,
    model: Any = None,
    dataset: Any = None,
    progress: bool = False,
    say: Say | None = None,
) -> dict[str, Any]:
    """Fine-tune: the float baseline, then quantization-aware training on what the update policy allows.

    `recipe` is a path, a table or a `Recipe`; None is the embedded one. `out` is the run directory (a new one below
    `runs/` when None); it must be absent or empty unless `overwrite`, or with `resume` an earlier run. `model` (a
    `torch.nn.Module`) and `dataset` (an `edgeft.data.Dataset`) replace those of the recipe. Returns summary.json's
    content with `run`, its directory; with `dry_run` the plan, and only `page` (samples with labels) is written.

    Raises `RecipeError`, `DataError`, `ModelError`, `UsageError` (an `out` that is not empty), `SystemFailure`.
    """
    _need_host_half()
    resolved = read_recipe(recipe, overrides)
    folder = user_path(out) if out is not None else places.new_run(resolved.name)
    with no_empty_folder(folder):
        # one process of a distributed run claims the folder; the others would find it taken
        writes = not dry_run and os.environ.get("RANK", "0") == "0"
        if writes and not resume:
            claim_out(folder, overwrite=overwrite)
        file = None if page is None else places.claim_file(user_path(page), overwrite=overwrite)
        lock = alone_in(folder) if writes and folder.is_dir() else contextlib.nullcontext()
        with lock, shown_unless_already(say, progress):
            with phase("loading libraries"):
                from .export.trial import trial
                from .tune.run import tune as run

            result = run(
                resolved,
                folder,
                resume=resume,
                allow_code=allow_code,
                allow_download=allow_download,
                dry_run=dry_run,
                page=file,
                model=model,
                dataset=dataset,
                say=say or _silent,
                try_conversion=trial,
            )
    return dict(result) if dry_run else {**result, "run": str(folder)}


def sweep(
    recipe: Recipe | str | os.PathLike[str] | Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    overrides: Sequence[str] = (),
    space: str | os.PathLike[str] | None = None,
    resume: bool = False,
    trials: int = 20,
    seconds: float | None = None,
    target: str | None = None,
    device: str | None = None,
    minimize: Sequence[str] = (),
    sampler: str = "tpe",
    seed: int = 0,
    stop: bool = True,
    allow_code: bool = False,
    allow_download: bool = False,
    say: Say | None = None,
) -> dict[str, Any]:
    """Search keys of a recipe: every trial is a run below `out/trials`, judged on the validation split alone.

    `overrides` are "table.key=value", or a distribution in the value's place: "train.lr=loguniform(1e-5, 1e-2)",
    uniform, int, logint (each of two bounds), choice(A, B, ...); `space` is a TOML file of the same. `minimize` names
    further objectives, "latency" (ms) and "size" (bytes) of the quantized model for `target` (None: the recipe's
    first). The latency is measured on `device` ("ssh://pi@rpi5.local", set up before; None: on this machine). `stop`
    ends trials that are behind the median of the others. `sampler` is "tpe" or "random".

    With `resume` the sweep in `out` goes on, by its own settings; several processes may do so at once. It ends with
    `trials` trials in all (0: none is begun) or after `seconds`. Returns sweep.json's content: "trials" (each with
    "number", "state", "values", "validation", "pareto"), "best", "counts", "objectives", "space".

    Raises `UsageError` (a distribution, an objective that cannot be measured), `RecipeError`, `RunError` (no sweep),
    `Missing` (the extra `sweep`), and the error of a trial that all trials have.
    """
    if out is None:
        raise UsageError("a sweep needs a folder", remedy="edgeft.sweep(recipe, out)")
    if target is not None:
        _known_targets([target])
    _need_host_half()
    folder = user_path(out)
    with no_empty_folder(folder), shown_unless_already(say):
        with phase("loading libraries"):
            from .sweep import run as sweeps
            from .sweep import space as spaces

        if not resume:
            dimensions, plain = spaces.split(overrides)
            dimensions += spaces.read(user_path(space)) if space is not None else []
            base = read_recipe(recipe, plain)
            spaces.check(base, dimensions)
            claim_out(folder, overwrite=False)
            options: dict[str, Any] = {"target": target or "", "device": device or "", "minimize": minimize}
            sweeps.begin(folder, base, dimensions, **options, stops=stop, sampler=sampler, seed=seed)
        permissions = {"allow_code": allow_code, "allow_download": allow_download}
        return sweeps.go_on(folder, trials=trials, seconds=seconds, **permissions, say=say or _silent)


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
    allow_download: bool = False,
    model: Any = None,
    dataset: Any = None,
    data: str | os.PathLike[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    auto: bool = False,
    device: str | None = None,
    seconds: float | None = None,
    say: Say | None = None,
) -> list[dict[str, Any]]:
    """Lower a run (the latest when None) to each target's runtime, verify it there, and write one bundle a target.

    `run` may also be a finished `.onnx` file, which is quantized as it is with the pictures or arrays in `data`:
    without labels its agreement with the float model is judged, with class folders accuracy too. `preprocessing` has
    the fields of `edgeft.export.finished.Preprocessing`: `mean`, `std`, `scale`, `size`, `layout`, `output`, `names`.

    `targets` are names or aliases; none means those of the run's recipe. `out` is the folder of the bundles;
    `model` and `dataset` are the caller's own, where the run was tuned with them. Returns the reports, each with
    `path`, its bundle. A gate that fails is a verdict in the report, not an exception.

    With `auto` (or `export.choose = "fastest"` in the recipe) every candidate of a target is made: the runtimes of its
    profile in the number formats that they write, the float model among them. They are timed in pairs of fresh
    processes on `device` (None: this machine; `ssh://user@host[:port]`) for about `seconds` a target (None: 120), and
    the fastest that passes the gates is written, as `edgeft.measure.choose` says; `choice` in its report has all.

    Raises `UsageError` (an unknown target, a bundle that exists), `RunError`, `Missing` (a runtime's extra).
    """
    names = _known_targets(targets)  # a misspelt name is refused before anything heavy is imported
    _need_host_half()
    bundles = user_path(out) if out is not None else places.BUNDLES
    overrides = [*overrides, *(["export.choose=fastest"] if auto else [])]
    timing = {"device": device, "seconds": seconds}

    if run is not None and user_path(run).suffix.lower() == ".onnx":
        return _export_file(user_path(run), names, bundles, data, preprocessing, overwrite, overrides, timing, say)
    if data is not None or preprocessing:
        raise UsageError(
            "--data and its preprocessing belong to a finished .onnx file; a run has its own",
            remedy="edgeft export MODEL.onnx --data DIR --target NAME",
        )
    options = {"ptq": ptq, "strict": strict, "overwrite": overwrite, "overrides": list(overrides)}
    options |= {"allow_code": allow_code, "allow_download": allow_download, "model": model, "dataset": dataset}
    return _export_run(user_path(run) if run is not None else places.latest_run(), names, bundles, options, timing, say)


def _export_run(
    folder: Path,
    names: list[str],
    bundles: Path,
    options: Mapping[str, Any],
    timing: Mapping[str, Any],
    say: Say | None,
) -> list[dict[str, Any]]:
    """`export` of a run; `options` are those of `edgeft.export.run.export`."""
    overrides = options["overrides"]
    names = names or list(read_run_recipe(folder, overrides).export.targets)
    _check_timing(timing, None if timing == NO_TIMING else read_run_recipe(folder, overrides))
    with shown_unless_already(say):
        with phase("loading libraries"):
            from .export.run import export as lower

        return lower(folder, names, bundles, **options, measurement=_measurement(timing, say), say=say or _silent)


def sensitivity(
    run: str | os.PathLike[str] | None = None,
    target: str | None = None,
    *,
    samples: int | None = None,
    ptq: bool = False,
    overrides: Sequence[str] = (),
    allow_code: bool = False,
    allow_download: bool = False,
    say: Say | None = None,
) -> dict[str, Any]:
    """What quantizing each layer of a run (the latest when None) costs, on at most `samples` validation samples (32).

    `target` names the board whose scheme is measured, None the first of the run's recipe; `ptq` calibrates it anew.
    Returns {"scheme", "method", "metric", "split", "n", "float": {"metric", "loss"}, "layers": [...]}, the most
    sensitive layer first. Each has "name" (as `quantize.keep_float` takes it), "macs" (multiply-accumulates of a
    sample), "parameters", "sqnr_db" (the outputs' ratio of signal to the noise of its weights and activations together)
    and "weights" and "activations": {"sqnr_db", "metric", "loss"} with these alone on their grid, the rest in float.
    None stands where there is no noise, or nothing that is computed from the outputs of single samples.

    Raises `RunError`, `UsageError` (a target or a scheme that the run lacks), `DataError` (no validation samples).
    """
    if target is not None:
        _known_targets([target])
    _need_host_half()
    folder = user_path(run) if run is not None else places.latest_run()
    name = target or read_run_recipe(folder, overrides).export.targets[0]
    with shown_unless_already(say):
        with phase("loading libraries"):
            from .export import sensitivity as measured
            from .session.sensitivity import SAMPLES

        options: dict[str, Any] = {"ptq": ptq, "overrides": list(overrides), "say": say or _silent}
        options |= {"allow_code": allow_code, "allow_download": allow_download}
        return measured.of_run(folder, name, samples=samples or SAMPLES, **options)


#: the options of `export` that say where candidates are timed, where none is given
NO_TIMING: dict[str, Any] = {"device": None, "seconds": None}


def _check_timing(timing: Mapping[str, Any], recipe: Recipe | None) -> None:
    """Raise `UsageError` where an option says how candidates are timed, and none are made."""
    given = [key for key, value in timing.items() if value is not None]
    if recipe is not None and given and recipe.export.choose != "fastest":
        raise UsageError(
            f"--{given[0]} is about timing candidates, and an export of what was asked for makes none",
            remedy="pass --auto, or leave it out",
        )
    if (seconds := timing["seconds"]) is not None and not 0 < seconds < 86_400:
        raise UsageError(f"{seconds:g} seconds are no time to measure in", where="--seconds", remedy="for example 120")


def _measurement(timing: Mapping[str, Any], say: Say | None) -> Any:
    """`edgeft.export.fastest.Measurement`; raises what opening the device raises."""
    from .devices import registry as devices
    from .export.fastest import SECONDS, Measurement

    return Measurement(devices.get(timing["device"], say or _silent), timing["seconds"] or SECONDS)


def _known_targets(names: Sequence[str]) -> list[str]:
    from .config import target as profiles

    known = list(dict.fromkeys(names))
    for name in known:
        profiles.load(name)
    return known


def _export_file(
    file: Path,
    targets: Sequence[str],
    out: Path,
    data: str | os.PathLike[str] | None,
    preprocessing: Mapping[str, Any] | None,
    overwrite: bool,
    overrides: Sequence[str],
    timing: Mapping[str, Any],
    say: Say | None,
) -> list[dict[str, Any]]:
    """`export` of a finished file."""
    if data is None:
        raise UsageError("an .onnx file needs pictures or arrays to calibrate on", where=str(file), remedy="--data DIR")
    if not targets:
        raise UsageError("name a board to export for", where=str(file), remedy="--target NAME (see edgeft targets)")
    with shown_unless_already(say):
        with phase("loading libraries"):
            from .export import finished
            from .export.run import export_model

        table = finished.Preprocessing(**(preprocessing or {}))
        recipe, assumed = finished.recipe_of(file, user_path(data), targets, table, overrides)
        _check_timing(timing, recipe)
        for line in assumed:
            (say or _silent)(line)
        measurement = _measurement(timing, say)
        return export_model(recipe, targets, out, overwrite=overwrite, measurement=measurement, say=say or _silent)


def verify(
    bundle: str | os.PathLike[str] | Bundle,
    data: str | os.PathLike[str] | None = None,
    *,
    threads: int | None = None,
    state: str | os.PathLike[str] | None = None,
    device: str | None = None,
    samples: int | None = None,
    trust: str | os.PathLike[str] | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Re-check a bundle on this machine: files, parity on its own samples, latency; with `data` accuracy and agreement.

    `device` is another place where that happens (`ssh://user@host[:port]`, `emulate:TARGET`); `state` is then a path on
    it. `samples` limits how many of `data` are judged. `trust`: as `load` takes it.
    Returns report.json's content with `path` and `trust`: {"status": "signed" or "integrity only", "signed": whether
    there is a signature, and of a checked one "key" (its fingerprint) and "file"}. Raises `BundleError`, `DataError`,
    `Missing` (the runtime's extra).
    """
    from .devices import registry as devices
    from .verify import isolated

    opened, origin = _opened(bundle, trust)
    machine = devices.get(device, say or _silent)
    carried = machine.carry(user_path(data)) if data is not None else None
    if state is not None:
        state = os.fspath(state) if device else str(user_path(state))
    options = {"data": carried, "threads": threads, "state": state, "where": machine.where, "most": samples}
    with shown_unless_already(say), phase(f"verifying on {machine.name}" if device else "verifying"):
        report = isolated.checked(opened, machine, **options)
    return {**report, "trust": origin, "path": str(opened.path), **({"device": machine.name} if device else {})}


def sign(bundle: str | os.PathLike[str], key: str | os.PathLike[str]) -> dict[str, Any]:
    """Sign a bundle with a private key on an elliptic curve (a PEM file); the signature goes into its folder.

    It covers the manifest, every file that it lists, and the reports. Returns {"bundle", "signature" (its file), "key"
    (the fingerprint), "files" (how many it covers), "verdict" (that of the report)}. Raises `BundleError`, `UsageError`
    (a key that cannot be used), `Missing` (the package model-signing).
    """
    from .trust import signature

    return signature.sign(user_path(bundle), user_path(key))


def personalize(
    bundle: str | os.PathLike[str] | Bundle,
    data: str | os.PathLike[str] | None = None,
    *,
    stream: Iterable[tuple[Any, Any]] | None = None,
    steps: int | None = None,
    rate: float | None = None,
    state: str | os.PathLike[str] | None = None,
    rollback: bool = False,
    seed: int = 0,
    threads: int | None = None,
    device: str | None = None,
    trust: str | os.PathLike[str] | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Train a bundle's tail on new samples on this device, without torch; keep the update only where it is better.

    `data` is a folder or file in the recipe's own format; a `stream` yields (raw sample, label) pairs instead: a raw
    sample is what the task reads (pixels, {"sound": ..., "rate": ...}, text, numbers), a label the name of a class or
    the values of a control. `steps` and `rate` (learning rate) None are the recipe's. `state` is the file that keeps
    the trained parameters, None the one in the bundle's folder. With `rollback` nothing is trained: the version before
    the one in use takes its place. `device` (`ssh://...`; needs `data`) is another machine that trains and keeps the
    state. `trust`: as `load` takes it.

    Returns `verdict` ("pass": the new version is in use; "fail": the old one still is), `why`, `version`, and the
    metric before and after. Raises `UsageError`, `DataError`, `BundleError`, `SystemFailure`; whatever happens, the
    version in use stays intact.
    """
    if rollback and (data is not None or stream is not None):
        raise UsageError("A rollback trains nothing and takes no data.", where="--data", remedy="leave out one of them")
    if device and not rollback and (data is None or stream is not None):
        raise UsageError("A device trains on files only.", where=device, remedy="pass data, a folder or file")
    opened, path = load(bundle, trust), None if state is None else Path(state) if device else user_path(state)
    options: dict[str, Any] = {"steps": steps, "rate": rate, "seed": seed, "threads": threads}
    options["state"] = None if path is None else str(path)
    if device:
        from .devices import registry as devices
        from .personalize import elsewhere

        machine = devices.get(device, say or _silent)
        if data is None:
            return elsewhere.rollback(machine, opened.path, path)
        with shown_unless_already(say), phase(f"training on {machine.name}"):
            return elsewhere.run(machine, opened.path, user_path(data), options)
    from .personalize import run as on_device

    if rollback:
        return on_device.rollback(opened, path)
    from .report import learned

    folder = user_path(data) if data is not None else None
    with shown_unless_already(say):
        result = on_device.run(opened, folder, stream=stream, **options, say=say or _silent)
    learned.write(result, say or _silent)
    return result


def predict(
    bundle: str | os.PathLike[str] | Bundle,
    inputs: Sequence[str | os.PathLike[str]],
    *,
    top: int = 5,
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    state: str | os.PathLike[str] | None = None,
    trust: str | os.PathLike[str] | None = None,
    untrusted: bool = False,
) -> list[dict[str, Any]]:
    """Run a bundle on real inputs (files, or texts and rows as the task reads them): one decoded result each, in order.

    A result holds `input` and what the bundle's task decodes (`label`, `confidence`, the `top` best, ...), as JSON
    values. With `out`, a new or empty folder, the task's pictures of an input (overlay and mask of a segmentation) are
    written there as PNG, and `files` names them. `state` is the file of a personalization, None the one in the bundle's
    folder; results then have `version`. `trust`: as `load` takes it. An input that cannot be read has `input` and
    `error` (class, message, where, remedy, exit_code) in place of a prediction. With `untrusted` all of that happens in
    a process of its own with limits of memory and time; what they stop is a `RuntimeStopped`.

    Raises the first input's `DataError` where none can be read, `BundleError`, `Missing` (the runtime's extra), and
    `UsageError` for no input or for `out` of a task that makes no pictures.
    """
    from .predict import apart
    from .predict import predict as directly

    options: dict[str, Any] = {"top": top, "threads": threads, "overwrite": overwrite}
    out, state = (None if path is None else str(user_path(path)) for path in (out, state))
    run = apart if untrusted else directly
    return run(load(bundle, trust), [os.fspath(name) for name in inputs], out=out, state=state, **options)


def listen(
    bundle: str | os.PathLike[str] | Bundle,
    sound: str | os.PathLike[str] | Iterable[Any],
    *,
    rate: int | None = None,
    step: float | None = None,
    smoothing: float | None = None,
    threshold: float | None = None,
    refractory: float | None = None,
    ignore: Sequence[str] = (),
    threads: int | None = None,
    state: str | os.PathLike[str] | None = None,
    trust: str | os.PathLike[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Listen to a sound with a bundle of keywords or of speech: an iterator of detections, as soon as they are certain.

    `sound` is a file, "-" (standard input: a .wav, or 16-bit samples of one channel) or an iterable of chunks, int16 or
    float32 (T,) at `rate` hertz, of any lengths. The model answers every `step` seconds (0.1) for a window of its
    length; probabilities are averaged over `smoothing` seconds (0.5). A label is detected where its average is the
    largest of all and reaches `threshold` (0.7); then nothing is for `refractory` seconds (0.75). Labels in `ignore`
    are no keywords, nor are background, noise, other, silence and unknown. Of speech a detection is a word, from the
    bundle's streaming graph (`export.stream`), and these options are refused.

    A detection has `seconds` (where in the sound), `label` and `confidence`. What comes later in the sound changes no
    detection, and the sizes of the chunks change nothing. Raises `UsageError` (a task without streams, a value out of
    range), `BundleError`, `Missing`, and while it iterates `DataError` for what is no sound.
    """
    from .streams import listen as run

    values = {"step": step, "smoothing": smoothing, "threshold": threshold, "refractory": refractory}
    options = {key: value for key, value in values.items() if value is not None} | {"ignore": tuple(ignore)}
    source = os.fspath(sound) if isinstance(sound, (str, os.PathLike)) else sound
    state = None if state is None else user_path(state)
    return run(load(bundle, trust), source, rate=rate, threads=threads, state=state, options=options)


def report(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write bundles, run directories and stores of baselines as one self-contained offline HTML page; returns its path.

    `out` None is `report.html` in the folder of `paths` where there is one, which replaces that of an earlier call, and
    in the current folder where there are several. Raises `UsageError` where another `out` exists (unless `overwrite`)
    and where the page would lie in a signed bundle, whose signature covers it, `BundleError` or `RunError` for a folder
    that is none of the three or is damaged, `SystemFailure`.
    """
    from .report import write
    from .trust.signature import refuse_signed

    folders = [user_path(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    inside = out is None and len(folders) == 1
    page = folders[0] / "report.html" if inside else user_path(out or "report.html")
    refuse_signed(page.parent, what="another page in it", remedy="name a file elsewhere with --out")
    write(folders, page if inside else places.claim_file(page, overwrite=overwrite))
    return page


def bench(
    bundle: str | os.PathLike[str] | Bundle,
    against: str | os.PathLike[str] | Bundle | None = None,
    *,
    accept: bool = False,
    calibrate: bool = False,
    search: bool = False,
    tolerance: float | None = None,
    threads: int | None = None,
    seconds: float | None = None,
    baselines: str | os.PathLike[str] | None = None,
    cross_host: bool = False,
    device: str | None = None,
    trust: str | os.PathLike[str] | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Latency of a bundle's artifact on this machine, a regression verdict of two, or a search for faster settings.

    With `against`, or where the store `baselines` (a folder; None is `baselines/`) holds an accepted bundle of the same
    name, target and runtime for this kind of host: a comparison in fresh processes, `tolerance` in per cent (None: 2),
    of at most about `seconds` (None: 60). Else single calls, batch 1, on the bundle's own first sample, for `seconds`
    (None: 3). `accept` makes the bundle the baseline; `calibrate` measures how far it differs from itself, and keeps it
    in the store. `threads` None takes the number that the manifest records. `device` is where it runs: None is this
    machine, else `ssh://user@host[:port]`. `trust`: as `load` takes it, of both bundles.

    With `search` the runtime's own options are tried, for at most `seconds` (None: 120). A value is kept where the
    outputs on the bundle's samples are the same bits and it is faster by more than 1 % (more threads: 10 %), or by more
    than the machine's A/A spread in `baselines`. It is written into the manifest after the bundle has been verified
    with it; where that fails the bundle is unchanged, and the verdict is "fail".

    Returns a bench result (of a search: what was tried and changed, and `report`, the new one) with `path`, `target`,
    `backend`. Raises `BundleError`, `Missing` (the runtime's extra), `InvalidInput` (a baseline of another kind of
    host, unless `cross_host`: then the verdict is advisory), `UsageError` (a search on another machine than the
    bundle's target).
    """
    from . import adopt
    from .devices import bench as benches
    from .devices import registry as devices

    root = user_path(baselines) if baselines is not None else places.BASELINES
    machine = devices.get(device, say or _silent)
    if search and (against is not None or accept or calibrate or tolerance is not None):
        raise UsageError("A search takes no baseline and no tolerance.", where="search", remedy="leave them out")
    options: dict[str, Any] = {"device": machine, "threads": threads, "seconds": seconds, "baselines": root}
    options["say"] = say or _silent
    with shown_unless_already(say):
        if search:
            return adopt.search(load(bundle, trust), **options)
        return benches.bench(
            load(bundle, trust),
            None if against is None else load(against, trust),
            accept=accept,
            calibrate=calibrate,
            tolerance=tolerance,
            cross_host=cross_host,
            **options,
        )


def load(bundle: str | os.PathLike[str] | Bundle, trust: str | os.PathLike[str] | None = None) -> Bundle:
    """Open a bundle and check every file of it; raises `BundleError` naming what is wrong.

    `trust` is a public key, or a folder of them, one of which has to have signed the bundle. None: the keys that the
    variable EDGEFT_TRUST or the folder `trust` of the user's settings names; without them no signature is asked for.
    """
    return _opened(bundle, trust)[0]


def _opened(
    bundle: str | os.PathLike[str] | Bundle, trust: str | os.PathLike[str] | None
) -> tuple[Bundle, dict[str, Any]]:
    """The checked bundle, and what is known of its origin (`trust.signature.check`)."""
    from .bundle import reader as bundles
    from .trust import signature

    opened = bundle if isinstance(bundle, bundles.Bundle) else bundles.open(user_path(bundle))
    return opened, signature.check(opened, None if trust is None else user_path(trust))


def check(
    target: str,
    recipe: Recipe | str | os.PathLike[str] | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    allow_code: bool = False,
    allow_download: bool = False,
    say: Say | None = None,
) -> dict[str, Any]:
    """The problems that a model has on one board, before anything is trained: `edgeft targets check`.

    `recipe` is a run directory, or a recipe as `tune` takes it. The compiler of the board's vendor is asked too where
    it is set up, with the untrained model. Returns {"target", "refused" (bool), "objections" [{severity, op, why,
    remedy}], "compiler" (the table of report.json without `simulated`, None where it was not asked), "unverified" (the
    name of a compiler that is not set up) and "remedy" (the command that sets it up)}. Raises `UsageError` for an
    unknown target, `Missing` for a damaged environment of its compiler, and what `tune` raises for the recipe.
    """
    from dataclasses import replace

    from .compilers import compilation, environment
    from .config import target as profiles
    from .verify import compiler_gate

    profile = profiles.load(target)
    name = profile.name
    compilation.environment_of(profile)  # a damaged one ends the check before data and model are read
    if isinstance(recipe, (str, os.PathLike)) and user_path(recipe).is_dir():
        resolved = read_run_recipe(recipe, overrides)
    else:
        resolved = read_recipe(recipe, overrides)
    resolved = replace(resolved, export=replace(resolved.export, targets=(target,)))
    plan = tune(resolved, dry_run=True, allow_code=allow_code, allow_download=allow_download, say=say)
    problems = plan["objections"][name]

    answer = None
    if not any(problem["severity"] == "refuse" for problem in problems):
        from .export import ahead

        answer = ahead.ask(resolved, profile, allow_code=allow_code, allow_download=allow_download, say=say or _silent)
        problems = [*problems, *(objection.as_dict() for objection in (answer.objections if answer else ()))]

    unasked = [profile.compiler] if profile.compiler and answer is None else []
    return {
        "target": name,
        "refused": any(problem["severity"] == "refuse" for problem in problems),
        "objections": problems,
        "compiler": answer.compilation.as_dict() if answer and answer.compilation else None,
        "unverified": unasked,
        "remedy": compiler_gate.remedy(profile) if environment.state_of(profile) == "not set up" else "",
    }
