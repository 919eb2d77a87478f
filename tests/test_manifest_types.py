"""Each key of a manifest replaced by each type of JSON: its readers give a value or one of our errors."""

from __future__ import annotations

import copy
import json
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle

from edgeft import predict, tasks
from edgeft.bundle import manifest, reader
from edgeft.core.errors import EdgeftError
from edgeft.inputs import columns
from edgeft.personalize import plan
from edgeft.verify.run import run

FIXTURES = Path(__file__).parent / "fixtures"
VALUES = (
    *(None, True, 0, -1, 7, 10**15, 0.5, 1e300, "", "x", "../x"),
    *([], [1], [None], [[1]], {}, {"a": 1}, {"a": {}}),
)
#: keys that nothing computes with, or that have thousands of entries of one kind
PASSED_OVER = ("provenance", "files", "integer_weights", "requires", "gates")
_DELETED = object()


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value below, of long lists that of the first two."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, below in inner:
        if at or key not in PASSED_OVER:
            yield from places(below, (*at, key))


def altered(table: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for at in places(table):
        for value in (*VALUES, _DELETED):
            changed: Any = copy.deepcopy(table)
            holder = changed
            for key in at[:-1]:
                holder = holder[key]
            if value is _DELETED:
                del holder[at[-1]]
            else:
                holder[at[-1]] = value
            yield f"{'.'.join(map(str, at))} = {'nothing' if value is _DELETED else repr(value)}", changed


def foreign(read: Callable[..., Any], *given: Any, **options: Any) -> BaseException | None:
    """What is no error of ours of all that `read` raises."""
    try:
        with np.errstate(all="ignore"):
            read(*given, **options)
    except EdgeftError:
        return None
    except Exception as error:
        return error
    return None


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """A size that asks for all memory is refused by the system, not taken from the machine."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numbers beyond float32 in a table of preprocessing
@pytest.mark.parametrize("name", ["tiny", "0.1.0/host", "chirps", "people"])
def test_every_key_of_every_type(name: str, tmp_path: Path) -> None:
    path = tiny_bundle.build(tmp_path) if name == "tiny" else FIXTURES / name
    opened = reader.open(path)
    samples = opened.samples()
    raw = reader.raws(samples)[0]
    outputs = {k[7:]: v[:1] for k, v in samples.items() if k.startswith("output/") and k.count("/") == 1}

    def read(table: dict[str, Any]) -> None:
        manifest.check(table)
        changed = reader.Bundle(path, table, opened.digest)
        task, spec = changed.task, changed.preprocess
        task.preprocess(raw, spec)
        tasks.tell(task, outputs, raw, spec, changed.labels, top=5)
        _ = changed.scheme, changed.exact
        if "personalize" in table:
            plan.of(changed)

    kinds = [(where, error) for where, table in altered(opened.manifest) if (error := foreign(read, table))]
    assert kinds == []


def test_columns_of_wrong_types() -> None:
    table = {"kind": "number", "name": "a", "mean": 0.0, "std": 1.0, "missing": False}
    spec = {"kind": "columns", "columns": [table], "size": [1], "input": "x"}
    columns.check(spec)
    raw = {"names": np.array(["a"]), "values": np.array(["1"])}
    kinds = [(where, e) for where, changed in altered(spec) if (e := foreign(columns.preprocess, raw, changed))]
    assert kinds == []


def test_the_runtime_meets_what_the_checks_let_through(tmp_path: Path) -> None:
    """Of the tensors' names, whose wrong ones are plain texts: through `verify` and `predict`."""
    bundle = tiny_bundle.build(tmp_path)
    table = json.loads((bundle / "manifest.json").read_text())
    np.save(tmp_path / "x.npy", tiny_bundle.pixels(0))
    for kind in ("inputs", "outputs"):
        for value in ("x", "logits", "../x", "\u00e9"):
            changed = copy.deepcopy(table)
            changed["graphs"][0][kind][0]["name"] = value
            copied = Path(shutil.copytree(bundle, tmp_path / "copy"))
            tiny_bundle.forge(copied, changed)
            assert foreign(run, copied, measure_latency=False, ask_compiler=False) is None, value
            assert foreign(predict, copied, [str(tmp_path / "x.npy")]) is None, value
            shutil.rmtree(copied)
