"""Recommendation end to end: users of four kinds, a tiny net, three runtimes: tune, export, verify, predict."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from end_to_end import tuned
from interactions_data import write_ratings
from shapes_run import failed, gate

import edgeft
from edgeft.core.errors import UsageError

for _package in ("torch", "onnxruntime", "onnxscript", "openvino", "litert_torch"):
    pytest.importorskip(_package, reason=f"{_package} is not installed")

TARGETS = ("host", "host-openvino", "host-litert")
#: what a board does not have
HOST = ("torch", "torchao", "litert_torch", "accelerate", "safetensors", "onnx", "onnxscript")
ALL = pytest.mark.parametrize("name", TARGETS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, dict[str, Any]]]:
    """(the ratings, the run's summary, reports by target)."""
    root = tmp_path_factory.mktemp("recommend")
    ratings = write_ratings(root / "ratings.csv")
    table = {
        "task": "recommend",
        "name": "blocks",
        "model": {"name": "neumf", "args": {"factors": 8, "hidden": [16, 8]}},
        "data": {"format": "ratings", "path": str(ratings)},
        "train": {"epochs": 8, "lr": 2e-2, "batch_size": 4},
        "quantize": {"epochs": 1, "lr": 1e-3, "calibration": "minmax", "keep_float": ["head"], "embeddings": "int8"},
        "export": {"targets": list(TARGETS)},
        "gates": {"max_drop": 0.05, "min_speedup": 0.0},
    }
    whole = tuned(root, table, TARGETS)
    return ratings, whole.run, whole.reports


def test_the_model_beats_popularity_and_keeps_it_in_int8(made) -> None:
    _, summary, _ = made
    assert summary["metric"] == "HR@10" and summary["n"] == 60
    assert summary["float"] > 0.8 and summary["quantized"] > 0.8 > 0.4 > summary["chance"]


@ALL
def test_each_runtime_keeps_the_ranking(made, name) -> None:
    report = made[2][name]
    assert report["verdict"] == "pass", failed(report)
    accuracy = gate(report, "accuracy")
    assert accuracy["n"] == 60 and accuracy["quantized"] > 0.8
    assert gate(report, "integer", "int8_weights_share")["n"] == 6, "four tables, the first layers of user and item"
    assert set(report["per_class"]) <= {"popular items", "other items"}
    page = (Path(report["path"]) / "report.html").read_text()
    assert "HR@10" in page and "candidate 3" not in page, "items stand there by name"


def test_other_tables_than_the_run_learned_with_are_refused_with_the_command(made, tmp_path) -> None:
    run = Path(made[2]["host"]["path"]).parent.parent / "run"
    with pytest.raises(UsageError, match=r"no model for the scheme affine\S* of host-litert") as caught:
        edgeft.export(run, ["host-litert"], tmp_path / "b", overrides=["quantize.embeddings=float"])
    assert "--set quantize.embeddings=float, or pass --ptq" in caught.value.remedy


@ALL
def test_int8_tables_make_the_file_smaller(made, name) -> None:
    """Four tables of 8 columns: even here, where their scales and the ops of each lookup weigh as much as anything."""
    path = Path(made[2][name]["path"])
    weights = path / "model.bin" if name == "host-openvino" else path / bundle_file(path)
    before = path / "baseline" / weights.name
    assert weights.stat().st_size < before.stat().st_size
    assert edgeft.load(path).manifest["scheme"]["embeddings"] == "int8"


def bundle_file(path: Path) -> str:
    return str(edgeft.load(path).graph()["file"])


@ALL
def test_the_graph_takes_ids(made, name) -> None:
    bundle = edgeft.load(made[2][name]["path"])
    inputs = {t["name"]: t for t in bundle.graph()["inputs"]}
    assert list(inputs) == ["user", "items"] and all(t["dtype"].startswith("int") for t in inputs.values())
    assert inputs["items"]["shape"][1] == bundle.preprocess["candidates"] == 67
    assert bundle.graph()["outputs"][0]["shape"][1] == 67


def test_verify_names_users_and_items_that_it_never_saw(made, tmp_path, capfd) -> None:
    from edgeft.cli.entry import run

    known = made[0].read_text()
    for user, items, said in (("new one", range(5), "1 of 61 users are new"), ("u3", ("i0", "x"), "1 item(s)")):
        more = [f"{user},{i if isinstance(i, str) else f'i{i}'},3,{2000 + k}" for k, i in enumerate(items)]
        (tmp_path / "ratings.csv").write_text(known + "\n".join(more) + "\n")
        argv = ["verify", str(made[2]["host-litert"]["path"]), "--data", str(tmp_path / "ratings.csv")]
        assert run(argv) == 3
        err = capfd.readouterr().err
        assert said in err and "Traceback" not in err and ("'new one'" in err or "'x'" in err)


def test_verify_with_data_judges_the_same_rows_again(made) -> None:
    ratings, _, reports = made
    found = edgeft.verify(reports["host-litert"]["path"], ratings)
    assert found["verdict"] == "pass", failed(found)
    before, now = gate(reports["host-litert"], "accuracy"), gate(found, "accuracy")
    assert (now["n"], now["float"], now["quantized"]) == (60, before["float"], before["quantized"])


@ALL
def test_a_board_predicts_by_name_without_the_host_half(made, tmp_path, name) -> None:
    path = made[2][name]["path"]
    taken = [line.split(",")[1] for line in made[0].read_text().splitlines() if line.startswith("u3,")]
    (tmp_path / "ask.json").write_text(json.dumps({"user": "u3", "without": taken[:-2]}))
    argv = ["predict", path, "u3", "u3:i0,i3,i1,i2", str(tmp_path / "ask.json"), "--json"]
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HOST!r}))\n"  # None there: importing it is an ImportError
        "from edgeft.cli.entry import run\n"
        f"sys.exit(run({argv!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    whole, four, rest = json.loads(done.stdout)["predictions"]
    quarter = {f"i{k}" for k in range(3, 80, 4)}
    assert {each["item"] for each in whole["top"]} <= quarter and len(whole["top"]) == 5
    assert four["label"] == "i3" and sorted(each["item"] for each in four["top"]) == ["i0", "i1", "i2", "i3"]
    assert not {each["item"] for each in rest["top"]} & set(taken[:-2])
    assert {each["item"] for each in rest["top"]} <= quarter


def test_an_unknown_user_is_no_traceback(made, capfd) -> None:
    from edgeft.cli.entry import run

    assert run(["predict", str(made[2]["host"]["path"]), "u99x"]) == 3
    assert "the model knows no user 'u99x'" in capfd.readouterr().err
