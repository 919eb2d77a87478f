"""`edgeft init --data`: a task's commented recipe with the [data] that was recognized at a path."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .config import recipe, starting_recipes, tables, target
from .core.errors import InternalError, RecipeError
from .data.understand import Understood, stated_label, understand
from .plugins import DATA_FORMATS, MODEL_SOURCES, TASKS

Say = Callable[[str], None]


def silent(text: str) -> None:
    del text


def for_data(
    path: Path,
    task: str = "",
    targets: Sequence[str] = (),
    format_name: str = "",
    overrides: Sequence[str] = (),
    say: Say = silent,
) -> tuple[str, Understood]:
    """(TOML of a commented recipe, what was understood of the data at `path`); the recipe loads as it is.

    `task`, `targets`, `format_name` and `overrides` ("table.key=value"), where they are given, are the user's word.
    Raises `DataError` for data that no format recognizes, `UsageError` for an unknown task or one without a template,
    `RecipeError` for a wrong setting.
    """
    understood = understand(path, task, format_name, stated_label(overrides))
    text = starting_recipes.template(understood.task)
    table = recipe.from_table(_parsed(text), "the template", text=text)

    # what is written is found from any folder that the recipe is used in
    place = str(path) if path.is_absolute() else os.path.abspath(path)
    settings: dict[str, Any] = {"format": understood.data.format, "path": place, **understood.keys}

    for key, value in understood.keys.items():
        if isinstance(value, Mapping):  # a template may have further settings in the same table
            settings[key] = {**getattr(table.data, key, {}), **value}

    if "label" in DATA_FORMATS.get(understood.data.format).keys:
        settings.setdefault("label", understood.data.label)  # a template may have another name for it

    text = with_values(text, "data", settings)
    text = with_values(text, "", {"name": _name(path)})

    try:
        recipe.from_table(_parsed(text), "the new recipe", text=text)
    except RecipeError as error:
        raise InternalError(f"the recipe for {path} is broken: {error}") from error

    text = for_source(for_targets(text, understood.task, targets, say), understood.task, overrides)
    return with_overrides(text, overrides), understood


def for_targets(text: str, task: str, targets: Sequence[str], say: Say = silent) -> str:
    """A task's commented recipe with `targets` (empty: those of the template), and with the model that suits them.

    `say` hears which settings differ from the template's for their sake, and which targets take no model of the task.
    Raises `TargetError` for an unknown target.
    """
    if not targets:
        return text

    text = with_values(text, "export", {"targets": tuple(targets)})
    record = TASKS.get(task)
    embeddings = recipe.from_table(_parsed(text), "the new recipe", text=text).quantize.embeddings
    profiles = [target.with_embeddings(target.load(name), embeddings) for name in targets]
    without = [profile.name for profile in profiles if profile.scheme.embeddings != embeddings]
    settings = record.float_tables if without else ()
    integer_only = [profile.name for profile in profiles if profile.full_integer and record.embeddings]

    if integer_only:
        say(
            f"warning: {' and '.join(integer_only)}: integer ops only, and every model of {task} looks up embeddings, "
            "which stay float there: `edgeft tune` will refuse the target (`edgeft targets list` shows the others)"
        )
    elif settings:
        say(
            f"{' and '.join(without)}: tables of embeddings stay float there, and the default model of {task} has "
            f"little else to quantize: the recipe has {', '.join(settings)}"
        )

    return with_overrides(text, settings)


def for_source(text: str, task: str, overrides: Sequence[str]) -> str:
    """A task's commented recipe for the source of models that `overrides` name, where it is not the template's.

    What the template says of its own network (arguments, weights, and the name where the source reads it of a folder)
    is commented out, and the settings that models of such a folder take are put in place (`Task.auto_settings`).
    """
    table = recipe.from_table(_parsed(text), "the new recipe", text=text)
    asked = recipe.override(table, [setting for setting in overrides if setting.startswith("model.")])
    if asked.model.source in (table.model.source, "") or asked.model.source not in MODEL_SOURCES:
        return text

    from_folder = MODEL_SOURCES.get(asked.model.source).own_files
    keys = ("args", "weights", "name") if from_folder else ("args", "weights")
    lines, within = [], ""
    for line in text.split("\n"):
        within = line.strip() if line.startswith("[") else within
        of_network = within == "[model]" and line.partition("=")[0].strip() in keys
        lines.append(f"# {line}" if of_network else line)

    text = "\n".join(lines)
    return with_overrides(text, TASKS.get(task).auto_settings) if from_folder else text


def with_overrides(text: str, overrides: Sequence[str]) -> str:
    """TOML with "table.key=value" settings in place; raises `RecipeError` or `UsageError` for a wrong one."""
    plain = recipe.as_table(recipe.override(recipe.from_table(_parsed(text), "the new recipe", text=text), overrides))
    for setting in overrides:
        table, *keys = (part.strip() for part in setting.partition("=")[0].split("."))
        if keys:
            text = with_values(text, table, {keys[0]: plain[table][keys[0]]})
        else:
            text = with_values(text, "", {table: plain[table]})
    return text


def _parsed(text: str) -> dict[str, Any]:
    return tables.parse(tables.Source("recipe.toml", text, RecipeError))


def with_values(text: str, table: str, values: Mapping[str, Any]) -> str:
    """TOML with `values` in the table `table` ("": above all tables); comments and all other lines stay.

    A key is replaced where it stands, also where it is commented out; a new one follows the table's last plain key.
    """
    lines = text.split("\n")
    first = next((i + 1 for i, line in enumerate(lines) if line.split("#")[0].strip() == f"[{table}]"), 0)
    if table and not first:
        return "\n".join([*lines, f"[{table}]", *(f"{key} = {tables.value_text(v)}" for key, v in values.items()), ""])

    for key, value in values.items():
        end = next((i for i in range(first, len(lines)) if lines[i].startswith("[")), len(lines))
        keyed = [i for i in range(first, end) if re.match(rf"(# )?{re.escape(key)}\s*=", lines[i])]
        plain = [i for i in range(first, end) if re.match(r"\w+\s*=", lines[i])]
        assignment = f"{tables.key_text(key)} = {tables.value_text(value)}"
        if keyed:
            lines[keyed[0]] = _replaced(lines[keyed[0]], assignment)
        else:
            lines.insert(max(plain, default=first - 1) + 1, assignment)

    return "\n".join(lines)


def _replaced(line: str, assignment: str) -> str:
    """The line's comment behind another assignment, at the same column where there is room."""
    body = line.removeprefix("# ")
    match = re.search(r"\s+# ", body)
    if match is None:
        return assignment

    column = match.end() - 2 + len(line) - len(body)
    return f"{assignment:<{column}}{'' if len(assignment) < column else '  '}{body[match.end() - 2 :]}"


def _name(path: Path) -> str:
    """The name of the data in portable letters."""
    place = path.resolve()
    stem = place.name if path.is_dir() else place.name.split(".")[0]
    return re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII).strip("-._").lower() or "my-model"
