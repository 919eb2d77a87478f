"""What an export takes: a finished run opened once, with one quantized graph per scheme of its targets."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from .. import data
from ..config import recipe, target
from ..config.recipe import Recipe
from ..config.scheme import Scheme
from ..config.target import Target
from ..core import strict_json
from ..core.errors import DataError, EdgeftError, RunError, UsageError
from ..data import worlds
from ..graph.step_form import StepForm
from ..learning import Learning
from ..quantize.lower import IntegerWeight
from ..quantize.parts import MAIN, CapturedParts, QuantizedParts, insert_parts
from ..session import mixed_precision, streaming
from ..session.calibration_data import calibrated
from ..session.session import LEARNED, Session, open_session
from ..training_step.trainable_tail import TrainableTail, trainable_tail
from .candidates import chooses, expanded

Say = Callable[[str], None]
#: tables of a run's recipe that may still be changed at export: none of them changes what was trained
OVERRIDABLE = ("gates", "export", "quantize", "personalize")


@dataclass(frozen=True)
class QuantizedScheme:
    """The graphs of one scheme, ready to be lowered; `method` is how they came to be ("qat", "ptq").

    `tail` is the part that may be trained on a device, `stream` the streaming form, each None where the recipe asks for
    none. `auto` is the record of a search for layers in float (`mixed_precision.Mixed`), None where the recipe asks for
    none.
    """

    graphs: QuantizedParts
    method: str
    weights: tuple[IntegerWeight, ...]
    tail: TrainableTail | None = None
    stream: StepForm | None = None
    auto: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return self.graphs.scheme.name

    @property
    def keep_float(self) -> tuple[str, ...]:
        """The layers that a search returned to float."""
        return tuple((self.auto or {}).get("keep_float") or ())


@dataclass(frozen=True)
class QuantizedRun:
    """Quantized graphs by scheme, and the data and the task that they are judged by.

    `spec` is the manifest's `preprocess` table, `input_names` are the feeds that the task makes, in the order of the
    model's inputs. `summary` and `history` are summary.json and the rows of metrics.jsonl, empty where the
    model was not trained here; `learning` is the learning half of the task, which only models of several graphs and of
    padded inputs need. `refused` has the errors of the schemes that could not be made, where the fastest candidate is
    chosen of several.
    """

    recipe: Recipe
    task: Any
    dataset: data.Dataset
    spec: dict[str, Any]
    input_names: tuple[str, ...]
    captured: CapturedParts
    targets: tuple[Target, ...]
    schemes: dict[str, QuantizedScheme]
    summary: dict[str, Any] = field(default_factory=dict)
    history: tuple[dict[str, Any], ...] = ()
    learning: Learning | None = None
    refused: Mapping[str, EdgeftError] = field(default_factory=dict)

    @property
    def test(self) -> data.Split:
        return self.dataset.split("test")

    def scheme_of(self, profile: Target) -> QuantizedScheme:
        return self.schemes[profile.scheme.name]


def open_run(
    folder: Path,
    targets: Sequence[Target],
    names: Sequence[str],
    *,
    ptq: bool,
    overrides: Sequence[str],
    allow_code: bool,
    allow_download: bool = False,
    model: nn.Module | None,
    dataset: data.Dataset | None,
    say: Say,
) -> QuantizedRun:
    """Open the run in `folder` for `targets`, which the user called `names`; `ptq` calibrates its schemes anew.

    Raises `RunError` for a run that is unfinished, damaged or of other data, `UsageError` for a scheme that it lacks.
    """
    summary = _summary(folder)
    asked = _overridden(recipe.load(folder / "recipe.toml"), overrides)
    profiles = _requested(targets, asked)
    session = open_session(
        _for_targets(asked, names),
        allow_code=allow_code,
        allow_download=allow_download,
        model=model,
        dataset=dataset,
        learned=folder / LEARNED,
        trained=True,
        say=say,
    )

    # a profile may be given as a file; a manifest tells its name
    session.recipe = _for_targets(session.recipe, [profile.name for profile in targets])
    _refuse_other_data(session, summary, folder, say)

    # what the run was trained with, also where statistics of the data as it is now would give another table
    session.spec = dict(summary.get("preprocess") or session.spec)
    session.point_to_learned()
    _load_state(session.built.module, folder / "float.safetensors")
    captured = session.capture(session.built.module)

    def quantized(profile: Target) -> QuantizedScheme:
        lacking = not (folder / _state_file(profile.scheme.name)).is_file()
        calibrate = ptq or (chooses(asked) and lacking)
        graphs, auto = _graphs_of(session, captured, profile, profiles, folder, calibrate, say, summary)
        method = "ptq" if calibrate else _method_of(profile.scheme.name, summary, session.recipe)
        return _quantized(session, graphs, method, say, auto)

    schemes, refused = _schemes(profiles, quantized, tolerant=chooses(asked))
    return _opened(session, captured, profiles, schemes, refused, summary, _history(folder))


def open_model(
    asked: Recipe,
    targets: Sequence[Target],
    names: Sequence[str],
    *,
    allow_code: bool = False,
    say: Say,
) -> QuantizedRun:
    """The finished model of a recipe, calibrated for `targets`, which the user called `names`; nothing is trained.

    Raises the errors of recipe, data and model.
    """
    profiles = _requested(targets, asked)
    session = open_session(_for_targets(asked, names), allow_code=allow_code, say=say)
    session.recipe = _for_targets(asked, [profile.name for profile in targets])
    captured = session.capture(session.built.module)

    def quantized(profile: Target) -> QuantizedScheme:
        graphs, auto = _calibrated(session, captured, profile.scheme, say)
        return _quantized(session, graphs, "ptq", say, auto)

    schemes, refused = _schemes(profiles, quantized, tolerant=chooses(asked))
    summary = {"data": data.fingerprint(session.dataset), "labels": list(session.dataset.labels)}
    return _opened(session, captured, profiles, schemes, refused, summary, ())


def _requested(targets: Sequence[Target], asked: Recipe) -> tuple[Target, ...]:
    """The targets in the format that the recipe asks for, or all candidates of each where the fastest is chosen."""
    if chooses(asked):
        return expanded(targets, asked.quantize)
    return tuple(target.requested(profile, asked.quantize.format, asked.quantize.embeddings) for profile in targets)


def _for_targets(asked: Recipe, names: Sequence[str]) -> Recipe:
    return dataclasses.replace(asked, export=dataclasses.replace(asked.export, targets=tuple(names)))


def _schemes(
    profiles: Sequence[Target], quantized: Callable[[Target], QuantizedScheme], *, tolerant: bool
) -> tuple[dict[str, QuantizedScheme], dict[str, EdgeftError]]:
    """The schemes of all targets by name; with `tolerant` also the errors of those that could not be made."""
    schemes: dict[str, QuantizedScheme] = {}
    refused: dict[str, EdgeftError] = {}
    for profile in profiles:
        name = profile.scheme.name
        if name in schemes or name in refused:
            continue
        try:
            schemes[name] = quantized(profile)
        except EdgeftError as error:
            if not tolerant:
                raise
            refused[name] = error

    return schemes, refused


def _opened(
    session: Session,
    captured: CapturedParts,
    profiles: tuple[Target, ...],
    schemes: dict[str, QuantizedScheme],
    refused: dict[str, EdgeftError],
    summary: dict[str, Any],
    history: tuple[dict[str, Any], ...],
) -> QuantizedRun:
    return QuantizedRun(
        session.recipe,
        session.task,
        session.dataset,
        session.spec,
        session.input_names,
        captured,
        profiles,
        schemes,
        summary,
        history,
        session.learning,
        refused,
    )


def _method_of(scheme: str, summary: Mapping[str, Any], asked: recipe.Recipe) -> str:
    """How the run quantized a scheme ("ptq" or "qat"): what its summary recorded, else what its recipe asks for."""
    return str(summary.get("schemes", {}).get(scheme, {}).get("method") or asked.quantize.method)


def _quantized(
    session: Session, graphs: QuantizedParts, method: str, say: Say, auto: dict[str, Any] | None
) -> QuantizedScheme:
    """The graphs of a scheme with their weights as they are stored, and the trainable tail that the recipe asks for."""
    table = session.recipe.personalize
    tail = None if table is None else trainable_tail(session, graphs, table, say)
    stream = None
    if session.recipe.export.stream:
        stream = streaming.form_of(session.recipe, session.spec, graphs.graphs[MAIN])
    return QuantizedScheme(graphs, method, tuple(graphs.integer_weights()), tail, stream, auto)


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / "summary.json"
    if not path.is_file():
        raise RunError(
            "is not a finished run", where=str(folder), remedy=f"edgeft tune --resume {shlex.quote(str(folder))}"
        )
    return dict(strict_json.loads(path.read_text()))


def _overridden(trained: Recipe, overrides: Sequence[str]) -> Recipe:
    for item in overrides:
        if item.split(".")[0] not in OVERRIDABLE:
            raise UsageError(f"--set {item}: at export only {', '.join(OVERRIDABLE)} can be set", remedy="edgeft tune")
    asked = recipe.override(trained, list(overrides)) if overrides else trained
    if asked.gates.environment:  # one that cannot be made is named before anything is converted
        worlds.make(asked.gates.environment, "gates.environment").close()
    return asked


def _refuse_other_data(session: Session, summary: dict[str, Any], folder: Path, say: Say) -> None:
    labels = list(session.dataset.labels)
    if summary.get("labels") != labels:
        raise RunError(
            f"the data's labels {labels} are not those of the run {summary.get('labels')}", where=str(folder)
        )
    if summary.get("data") != data.fingerprint(session.dataset):
        say("warning: the data is not what the run was trained on; figures are those of the data as it is now")


def _graphs_of(
    session: Session,
    captured: CapturedParts,
    profile: Target,
    profiles: Sequence[Target],
    folder: Path,
    ptq: bool,
    say: Say,
    summary: Mapping[str, Any],
) -> tuple[QuantizedParts, dict[str, Any] | None]:
    """The run's graphs for the target's scheme, and the record of a search for layers in float, None without one.

    They are calibrated anew with `ptq`. The float model is in every run.
    """
    scheme = profile.scheme
    path = folder / _state_file(scheme.name)
    if ptq or not scheme.quantized:
        return _calibrated(session, captured, scheme, say)
    if not path.is_file():
        raise _lacks_scheme(session.recipe, profile, profiles, folder)

    of_scheme = summary.get("schemes", {}).get(scheme.name, {})
    graphs = insert_parts(captured, scheme, of_scheme.get("keep_float", session.recipe.quantize.keep_float))
    graphs.set_mode("quantize")
    _load_state(graphs.module, path)

    return graphs, of_scheme.get("auto")


def _calibrated(
    session: Session, captured: CapturedParts, scheme: Scheme, say: Say
) -> tuple[QuantizedParts, dict[str, Any] | None]:
    """The graphs calibrated, with `quantize.method = "auto"` as many layers in float as the gates need, and the record
    of that search. The float model needs none of it."""
    if not scheme.quantized:
        return insert_parts(captured, scheme, session.recipe.quantize.keep_float), None

    say(f"{scheme.name}: calibrating")
    graphs = calibrated(session, captured, scheme, say)
    if session.recipe.quantize.method != "auto":
        return graphs, None

    try:
        judge = mixed_precision.judge_of(session, captured)
    except DataError as error:
        say(f"{scheme.name}, auto: {error.message}; the calibrated model stays as it is")
        mixed = mixed_precision.undecided(graphs, session.recipe.quantize.keep_float, error)
    else:
        mixed = mixed_precision.search(session, captured, graphs, judge, say)

    return mixed.graph, mixed.record


def _lacks_scheme(asked: Recipe, profile: Target, profiles: Sequence[Target], folder: Path) -> UsageError:
    """The error of a scheme that was not trained, with the command that adds it to the run."""
    lacking = [
        missing_profile.name
        for missing_profile in profiles
        if not (folder / _state_file(missing_profile.scheme.name)).is_file()
    ]
    trained = recipe.load(folder / "recipe.toml")
    names = list(dict.fromkeys([*trained.export.targets, *lacking]))
    setting = shlex.quote(f"export.targets={json.dumps(names)}")

    for key in ("embeddings", "format"):
        if (value := getattr(asked.quantize, key)) != getattr(trained.quantize, key):
            setting += f" --set quantize.{key}={value}"

    return UsageError(
        f"the run has no model for the scheme {profile.scheme.name} of {profile.name}",
        where=str(folder),
        remedy=f"edgeft tune --resume {shlex.quote(str(folder))} --set {setting}, or pass --ptq",
    )


def _state_file(scheme: str) -> str:
    """The file of a run that holds the model of a scheme."""
    return f"quantized.{scheme}.safetensors"


def _history(folder: Path) -> tuple[dict[str, Any], ...]:
    path = folder / "metrics.jsonl"
    return tuple(strict_json.loads(line) for line in path.read_text().splitlines()) if path.is_file() else ()


def _load_state(module: nn.Module, path: Path) -> None:
    """Load a run's safetensors strictly; raises `RunError` for a damaged file or one of another model."""
    try:
        module.load_state_dict(load_file(path), strict=True)
    except (SafetensorError, OSError) as error:
        raise RunError(f"cannot be read ({error})", where=str(path), remedy="tune again") from error
    except RuntimeError as error:
        raise RunError(
            f"holds another model than the recipe's: {str(error).splitlines()[-1].strip()[:200]}",
            where=str(path),
            remedy="export with the recipe and the versions that the run was made with",
        ) from error
