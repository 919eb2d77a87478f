"""The text of manifest.json: strict JSON in, a checked table out. Every refusal names the key.

Keys may be added by later minor versions and are kept; none that is listed here may be missing or change its type.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from .. import backends
from ..config.recipe import CHOICES, RANGES, Gates, Recipe
from ..core import strict_json
from ..core.errors import BundleError
from ..plugins import BACKENDS
from . import stream_table
from .manifest_values import CONTROL, WORDS, as_object, check_line, check_sha, check_shape, fail, get, short

SCHEMA = "1.0"
#: the signature, in Sigstore's bundle format
SIGNATURE = "bundle.sigstore.json"
#: files of a bundle that are not listed in `files`: the manifest itself, the reports, and what is written later: the
#: signature, `state.npz` (the state of a device) and its lock
UNLISTED = (
    "manifest.json", "manifest.sha256", "report.json", "report.html", "state.npz", "state.html", ".state.npz.lock",
    SIGNATURE,
)  # fmt: skip

_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "task": (str,),
    "target": (str,),
    "backend": (str,),
    "files": (dict,),
    "graphs": (list,),
    "preprocess": (dict,),
    "labels": (list,),
    "scheme": (dict,),
    "runtime": (dict,),
    "requires": (dict,),
    "provenance": (dict,),
}
_GATE_TYPES: dict[str, type] = {"float": float, "int": int, "str": str, "None": type(None)}
_TABLES = (
    *(field.name for field in dataclasses.fields(Recipe) if dataclasses.is_dataclass(field.default_factory)),
    "personalize",
)
#: more threads than any machine that a bundle is meant for; runtimes take numbers by which they crash
MOST_THREADS = 1024
#: a name of a profile, which is never opened as a path
_TARGET = re.compile(r"(?!.*\.toml$)\w[\w.+ -]{0,99}")
#: a version of a runtime, which is written into build files as it stands
_VERSION = re.compile(r"[\w.+ -]{1,100}", re.ASCII)
#: what a runtime's tensors hold, by numpy's names
_DTYPES = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float16", "float32",
           "float64")  # fmt: skip
#: kinds of characters that nobody sees: marks of direction and of width, separators of lines
_UNSEEN = ("Cf", "Zl", "Zp")


def parse(data: bytes, where: str) -> dict[str, Any]:
    """The object in `data`; raises `BundleError` for anything but one strict JSON object (NaN, twice the same key)."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(items)
        if len(table) != len(items):
            raise ValueError(f"the key {Counter(key for key, _ in items).most_common(1)[0][0]!r} occurs twice")
        return table

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text} is not a finite number")
        return value

    hooks: dict[str, Any] = {"parse_constant": number, "parse_float": number, "parse_int": strict_json.whole}
    try:
        table = json.loads(data.decode(), object_pairs_hook=pairs, **hooks)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"is not valid JSON ({error})", where=where, remedy="export the bundle again") from error

    if not isinstance(table, dict):
        raise BundleError("is not a JSON object", where=where, remedy="export the bundle again")
    return table


def of_model(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The graphs that the model itself is made of, in order: neither its streaming form nor those of its
    personalization."""
    return [graph for graph in manifest["graphs"] if not (graph.get("personalize") or graph.get("stream"))]


def recorded(manifest: Mapping[str, Any], table: str) -> dict[str, Any]:
    """The recipe's table that export recorded under `provenance.recipe`, or {}.

    Of [data] the range of pixel values is the one that was found then: other data are read with it.
    """
    recipe = manifest.get("provenance", {}).get("recipe")
    value = recipe.get(table) if isinstance(recipe, Mapping) else None
    settings = dict(value) if isinstance(value, Mapping) else {}
    value_range = (manifest.get("preprocess") or {}).get("value_range")
    return {**settings, "value_range": value_range} if settings and table == "data" and value_range else settings


def check_schema(schema: Any) -> None:
    """Raise `BundleError` unless `schema` is "major.minor" with a major this version of edgeft reads."""
    match = re.fullmatch(r"(\d{1,6})\.(\d{1,6})", schema) if isinstance(schema, str) else None
    if match is None:
        raise BundleError(f"is {schema!r}, expected text such as {SCHEMA!r}", where="manifest.json: schema")

    if int(match[1]) > int(SCHEMA.split(".")[0]):
        raise BundleError(
            f"the bundle has schema {schema}, this edgeft reads up to {SCHEMA.split('.')[0]}.x",
            where="manifest.json: schema",
            remedy="read it with the version of edgeft that wrote it, or a newer one",
        )


def check(table: Mapping[str, Any]) -> None:
    """Raise `BundleError` naming the first key of the manifest that is missing or not what it must be."""
    check_schema(get(table, "schema", (str,), ""))
    for key, types in _TYPES.items():
        get(table, key, types, "")

    for key in ("name", "task", "target", "backend"):
        check_line(table[key], key)

    if not _TARGET.fullmatch(table["target"]):
        raise fail("target", f"is {short(table['target'])}, expected the name of a target")

    _check_files(table["files"])
    _check_graphs(table["graphs"], table["files"], table["backend"])
    _check_preprocess(table["preprocess"], table["files"])
    _check_labels(table["labels"])
    _check_runtime(table["runtime"], table["backend"])
    _check_gates(table.get("gates", {}), "gates")
    _check_provenance(table["provenance"])
    _check_task(table)
    _check_measured(table)
    if "stream" in table:
        stream_table.check(get(table, "stream", (dict,), ""), table["graphs"])

    if "integer_weights" in table:
        for name, entry in get(table, "integer_weights", (dict,), "").items():
            where = f"integer_weights.{name}"
            check_sha(get(as_object(entry, where), "sha256", (str,), where), f"{where}.sha256")
            check_shape(get(entry, "shape", (list,), where), f"{where}.shape")


def relative(name: Any, where: str) -> str:
    """`name` when it is a plain relative path in its shortest form, without any step out of the folder."""
    if isinstance(name, str) and name and not CONTROL.search(name) and "\\" not in name:
        pure = PurePosixPath(name)
        if any(unicodedata.category(letter) in _UNSEEN for letter in name):
            raise fail(where, f"the path {name!a} holds characters that cannot be seen")
        if not pure.is_absolute() and ".." not in pure.parts and str(pure) == name and name != ".":
            return name
    raise fail(where, f"the path {short(name)} points outside the folder or is not in its plain form")


def _check_files(files: dict[str, Any]) -> None:
    places: dict[str, str] = {}
    for name, entry in files.items():
        where = f"files[{name!r}]"
        if relative(name, "files") in UNLISTED:
            raise fail("files", f"{name!r} cannot be listed")
        place = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if place in places:
            raise fail("files", f"{name!r} and {places[place]!r} are one file to some file systems")
        places[place] = name
        check_sha(get(as_object(entry, where), "sha256", (str,), where), f"{where}.sha256")
        if get(entry, "bytes", (int,), where) < 0:
            raise fail(f"{where}.bytes", "is negative")


def _check_graphs(graphs: list[Any], files: Mapping[str, Any], backend: str) -> None:
    if not any(isinstance(graph, dict) and not (graph.get("personalize") or graph.get("stream")) for graph in graphs):
        raise fail("graphs", "is empty")

    names: set[str] = set()
    record = backends.get(backend) if backend in BACKENDS else None
    for number, graph in enumerate(graphs):
        where = f"graphs[{number}]"
        name = get(as_object(graph, where), "name", (str,), where)
        check_line(name, f"{where}.name")
        if name in names:
            raise fail(f"{where}.name", f"{name!r} occurs twice")
        names.add(name)
        for key in ("file", "baseline"):
            if key == "baseline" and graph.get(key) is None:
                continue
            file = relative(get(graph, key, (str,), where), f"{where}.{key}")
            if file not in files:
                raise fail(f"{where}.{key}", f"{file!r} is not in files")
            # some runtimes open files beside it unasked, e.g. those of its weights
            for companion in record.files_of(file) if record else ():
                if companion not in files:
                    raise fail(f"{where}.{key}", f"{companion!r}, which the runtime opens with it, is not in files")
        for key in ("inputs", "outputs"):
            _check_tensors(get(graph, key, (list,), where), f"{where}.{key}")


def _check_tensors(tensors: list[Any], where: str) -> None:
    if not tensors:
        raise fail(where, "is empty")

    for number, tensor in enumerate(tensors):
        place = f"{where}[{number}]"
        check_line(get(as_object(tensor, place), "name", (str,), place), f"{place}.name")
        check_shape(get(tensor, "shape", (list,), place), f"{place}.shape")
        if get(tensor, "dtype", (str,), place) not in _DTYPES:
            raise fail(f"{place}.dtype", f"is {short(tensor['dtype'])}, expected a type of numbers such as 'float32'")
        optional: dict[str, tuple[type, ...]] = {
            "layout": (str, type(None)),
            "scale": (float, int, type(None)),
            "zero_point": (int, type(None)),
        }
        for key, types in optional.items():
            if key in tensor:
                get(tensor, key, types, place)
        if "rounding" in tensor:
            pair = get(tensor, "rounding", (list,), place)
            if len(pair) != 2 or not all(type(v) in (int, float) and v >= 0 for v in pair):
                raise fail(f"{place}.rounding", f"is {short(pair)}, expected two numbers from 0")
        for key in ("scale", "step"):
            if tensor.get(key) is not None and not _positive(tensor[key], several=key == "step"):
                raise fail(f"{place}.{key}", f"is {short(tensor[key])}, expected a number above 0")

    names = [tensor["name"] for tensor in tensors]
    if len(set(names)) != len(names):
        raise fail(where, "two tensors have the same name")


def _positive(value: Any, *, several: bool) -> bool:
    """Whether it is a number above 0, or with `several` a list of those."""
    if several and isinstance(value, list):
        return bool(value) and all(_positive(item, several=False) for item in value)
    return type(value) in (int, float) and value > 0


def _check_preprocess(preprocess: Mapping[str, Any], files: Mapping[str, Any]) -> None:
    """What preprocessing reads is listed like every other file."""
    if "kind" in preprocess:
        check_line(preprocess["kind"], "preprocess.kind")
    if "files" not in preprocess:
        return
    for key, name in get(preprocess, "files", (dict,), "preprocess").items():
        if relative(name, f"preprocess.files.{key}") not in files:
            raise fail(f"preprocess.files.{key}", f"{name!r} is not in files")


def _check_labels(labels: list[Any]) -> None:
    for number, label in enumerate(labels):
        check_line(label, f"labels[{number}]")
    if len(set(labels)) != len(labels):
        raise fail("labels", f"{Counter(labels).most_common(1)[0][0]!r} occurs twice")


def _check_runtime(runtime: Mapping[str, Any], backend: str) -> None:
    check_line(get(runtime, "name", (str,), "runtime"), "runtime.name")
    if not _VERSION.fullmatch(get(runtime, "version", (str,), "runtime")):
        raise fail("runtime.version", f"is {short(runtime['version'])}, expected letters, digits and any of '.+ -'")
    if runtime["name"] != backend:
        raise fail("runtime.name", f"is {short(runtime['name'])}, and the backend is {backend!r}")
    if not 1 <= get(runtime, "threads", (int,), "runtime") <= MOST_THREADS:
        raise fail("runtime.threads", f"must be from 1 to {MOST_THREADS}")

    for key, value in get(runtime, "options", (dict,), "runtime").items():
        # a list holds tensor names, by position
        values = value if isinstance(value, list) else [value]
        if not all(item is None or isinstance(item, (str, int, float)) for item in values):
            raise fail(f"runtime.options.{key}", "must be text, a number, true, false, null or a list of those")


def _check_gates(gates: Any, where: str) -> None:
    """Limits have the types and ranges of the recipe's."""
    for field in dataclasses.fields(Gates):
        value = as_object(gates, where).get(field.name, field.default)
        types = tuple(kind for name, kind in _GATE_TYPES.items() if name in str(field.type).split(" | "))
        if value is not field.default and type(value) not in types and not (type(value) is int and float in types):
            expected = " or ".join(WORDS[kind] for kind in types)
            raise fail(f"{where}.{field.name}", f"is {short(value)}, expected {expected}")
        if value not in (choices := CHOICES.get(f"gates.{field.name}", (value,))):
            raise fail(f"{where}.{field.name}", f"is {short(value)}, expected {' or '.join(map(repr, choices))}")
        low, high = RANGES.get(f"gates.{field.name}", (-math.inf, math.inf))
        if type(value) in (int, float) and not low <= value <= high:
            raise fail(f"{where}.{field.name}", f"is {short(value)}, expected {low:g} to {high:g}")


def _check_task(table: Mapping[str, Any]) -> None:
    """The task is that of the recipe: another one would read the same outputs in its own way. So is the name."""
    recipe = table["provenance"].get("recipe") or {}
    for key in ("task", "name"):
        if recipe.get(key) is not None and recipe[key] != table[key]:
            raise fail(key, f"is {short(table[key])}, {short(recipe[key])} in the recipe that it was exported by")


def _check_measured(table: Mapping[str, Any]) -> None:
    """What export measured, where it is there, are figures and counts: later ones are compared with them."""
    for key in ("figures", "samples"):
        if key in table and get(get(table, key, (dict,), ""), "n", (int,), key) < 1:
            raise fail(f"{key}.n", f"is {short(table[key]['n'])}, expected a whole number above 0")
    if "figures" in table:
        get(table["figures"], "metric", (str,), "figures")
        for key in ("float", "quantized"):
            get(table["figures"], key, (float, int, type(None)), "figures")


def _check_provenance(provenance: Mapping[str, Any]) -> None:
    for key in ("recipe", "run", "versions", "fingerprint"):
        if provenance.get(key) is not None:
            as_object(provenance[key], f"provenance.{key}")
    recipe = provenance.get("recipe") or {}
    for key, value in recipe.items():
        if key in _TABLES and value is not None:
            as_object(value, f"provenance.recipe.{key}")
    _check_gates(recipe.get("gates") or {}, "provenance.recipe.gates")
