"""`tune` end to end on a tiny data set: what it writes, what it returns, what it says, what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tune_data
from safetensors.torch import load_file
from shapes_run import HOST
from torch import nn

from edgeft import data as data_room
from edgeft import tasks
from edgeft.config import recipe
from edgeft.core.errors import DataError, ModelError, RecipeError
from edgeft.core.metric import Metric
from edgeft.report import html, text
from edgeft.tune.run import tune

SUMMARY = (
    "schema", "task", "metric", "float", "ptq", "quantized", "n", "chance", "updated_parameters", "total_parameters",
    "peak_training_bytes", "seconds", "steps", "seed", "schemes", "versions",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tune_data.write(tmp_path_factory.mktemp("data") / "shapes.npz", (96, 24, 60))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[str]]:
    """One run of both stages for two targets, long enough to be clearly right."""
    out, said = tmp_path_factory.mktemp("runs") / "one", []
    made = tune_data.recipe_for(data, "train.epochs=6", "export.targets=['host', 'jetson']")
    return out, tune(made, out, say=said.append), said


def test_where_the_time_will_go_is_said_before_the_first_step(
    finished: tuple[Path, dict[str, Any], list[str]],
) -> None:
    _, _, said = finished
    first = next(i for i, line in enumerate(said) if line.startswith("expected time: about "))
    parts = said[first + 1 : first + 4]
    assert first + 4 <= next(i for i, line in enumerate(said) if "before training" in line)
    assert {part.split("  ")[1] for part in parts} == {"float training", "QAT", "evaluation"}
    assert any(re.search(r"6 epochs of 6 steps of [\d.e-]+ s", part) for part in parts), parts
    assert any("2 epochs, 2 schemes" in part for part in parts) and any("24 samples an epoch" in part for part in parts)


def test_the_run_directory_holds_what_the_contract_names(finished: tuple[Path, dict[str, Any], list[str]]) -> None:
    out, result, _ = finished
    names = {p.name for p in out.iterdir()}
    schemes = set(result["schemes"])
    assert len(schemes) == 2 and HOST in schemes
    assert names == {"recipe.toml", "float.safetensors", "summary.json", "metrics.jsonl", "checkpoints"} | {
        f"quantized.{s}.safetensors" for s in schemes
    }
    assert json.loads((out / "summary.json").read_text()) == json.loads(json.dumps(result))
    assert recipe.load(out / "recipe.toml").train.epochs == 6
    for scheme in schemes:
        state = load_file(out / f"quantized.{scheme}.safetensors")
        assert "conv1.weight" in state and any(k.endswith("log_scale") for k in state)


def test_the_summary_tells_what_happened(finished: tuple[Path, dict[str, Any], list[str]]) -> None:
    _, result, said = finished
    assert set(SUMMARY) <= set(result)
    assert result["task"] == "classify" and result["metric"] == "accuracy"
    assert result["n"] == 60 and result["chance"] == pytest.approx(1 / 3)
    assert result["float"] > 0.8, "it learned"
    assert result["ptq"] > 0.75 and result["quantized"] > 0.75
    first = result["schemes"][HOST]
    assert (first["ptq"], first["quantized"]) == (result["ptq"], result["quantized"])
    assert result["steps"] == 6 * 6 + 2 * (2 * 6)
    assert result["updated_parameters"] == result["total_parameters"] > 70_000
    assert result["peak_training_bytes"] > 16 * result["total_parameters"]
    assert result["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert any(line.startswith("float 6/6: loss") for line in said)


def test_metrics_are_one_json_object_a_line(finished: tuple[Path, dict[str, Any], list[str]]) -> None:
    out, result, _ = finished
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [(r["stage"], r["epoch"]) for r in rows[:7]] == [("float", i) for i in range(7)]
    assert {r["stage"] for r in rows} == {"float", *result["schemes"]}
    assert all({"loss", "validation", "lr", "step"} <= set(r) for r in rows if r["epoch"])
    assert rows[6]["loss"] < rows[1]["loss"]


def test_the_same_seed_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    short = ("train.epochs=1", "quantize.epochs=1", "train.augment='light'")
    for name in ("a", "b"):
        tune(tune_data.recipe_for(data, *short), tmp_path / name)
    tune(tune_data.recipe_for(data, *short, "train.seed=8"), tmp_path / "c")
    a, b, c = (load_file(tmp_path / n / f"quantized.{HOST}.safetensors") for n in "abc")
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["fc.weight"], c["fc.weight"])


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    made = tune_data.recipe_for(data, "update.policy='head'", "export.targets=['host', 'jetson-nano']")
    plan = tune(made, tmp_path / "run", dry_run=True)
    assert not (tmp_path / "run").exists()
    assert plan["samples"] == {"train": 96, "val": 24, "test": 60}
    assert plan["learns"] == ["fc.bias", "fc.weight"]
    assert plan["updated_parameters"] == 64 * 3 + 3 < plan["total_parameters"]
    assert plan["moving_bytes"] == (64 * 3 + 3) * 4 * 4
    assert set(plan["objections"]) == {"host", "jetson-nano"} and plan["objections"]["host"] == []
    assert plan["labels"] == list(tune_data.LABELS)


@pytest.mark.parametrize("method, epochs", [("ptq", 3), ("qat", 0), ("none", 3)])
def test_without_quantization_aware_training(method: str, epochs: int, data: Path, tmp_path: Path) -> None:
    made = tune_data.recipe_for(data, f"quantize.method='{method}'", f"quantize.epochs={epochs}", "train.epochs=1")
    result = tune(made, tmp_path / "run")
    assert result["steps"] == 6
    if method == "none":
        assert result["ptq"] is None and result["quantized"] is None
        assert not list((tmp_path / "run").glob("quantized.*"))
    else:
        assert result["ptq"] == result["quantized"]
        assert [row["method"] for row in result["schemes"].values()] == ["ptq"]
        assert "trained (QAT)" not in text.tuned(result) and "PTQ kept" not in text.tuned(result)


def test_training_that_made_every_epoch_worse_is_not_shown_as_taken(
    finished: tuple[Path, dict[str, Any], list[str]], data: Path, tmp_path: Path
) -> None:
    out, before, _ = finished
    shutil.copytree(out, tmp_path / "run")
    allowed = "gates.max_drop=0.99"  # so that no first epoch counts as diverging
    made = tune_data.recipe_for(data, "train.epochs=6", "quantize.lr=0.5", allowed)
    said: list[str] = []
    result = tune(made, tmp_path / "run", resume=True, say=said.append)
    row = result["schemes"][HOST]
    assert row["method"] == "ptq" and row["best_epoch"] == 0 and row["quantized"] == row["ptq"] == before["ptq"]
    assert f"{HOST}: {row['why']}" in said and "none of 2 epochs was better on the validation split" in row["why"]
    for page in (text.tuned(result), html.render_run(result)):
        assert "trained (QAT)" not in page and "QAT did not improve on PTQ, so the PTQ model is used" in page
    trained = before["schemes"][HOST]
    assert trained["method"] == ("qat" if trained["best_epoch"] else "ptq")


def test_reconstructed_rounding_is_told_and_calibrated_with(
    finished: tuple[Path, dict[str, Any], list[str]], data: Path, tmp_path: Path
) -> None:
    out, before, _ = finished
    shutil.copytree(out, tmp_path / "run")
    preset = ("quantize.method='ptq'", "quantize.calibration='reconstruct'")
    said: list[str] = []
    result = tune(tune_data.recipe_for(data, "train.epochs=6", *preset), tmp_path / "run", resume=True, say=said.append)
    (line,) = [line for line in said if "reconstructed" in line]
    ratios = [float(ratio) for ratio in re.findall(r"([\d.]+) dB", line)]
    assert line.startswith(f"{HOST}: 10 layers were reconstructed") and len(ratios) == 2
    assert (ratios[0] > ratios[1]) or "stay as calibrated" in line
    assert abs(result["ptq"] - before["float"]) <= 0.1


def test_training_that_diverges_begins_again_at_a_lower_rate(
    finished: tuple[Path, dict[str, Any], list[str]], data: Path, tmp_path: Path
) -> None:
    out, before, _ = finished
    shutil.copytree(out, tmp_path / "run")
    made = tune_data.recipe_for(data, "train.epochs=6", "quantize.lr=0.02")
    said: list[str] = []
    result = tune(made, tmp_path / "run", resume=True, say=said.append)

    row = result["schemes"][HOST]
    first = row["retries"][0]
    assert first["lr"] == 0.02 and first["validation"] < before["validation"] - 4 / 24
    assert f"{HOST}: QAT diverged: {first['why']}; it begins again at lr = 0.002" in said
    assert "lr" in row and row["lr"] < 0.02 and row["method"] == "qat" and row["best_epoch"]
    sentence = f"QAT diverged and began again at lr = {row['lr']:g}: at lr = 0.02 the accuracy on the validation"
    for page in (text.tuned(result), html.render_run(result)):
        assert sentence in page
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    abandoned = [row for row in rows if row["stage"] == f"{HOST}, lr 0.02"]
    assert [row["epoch"] for row in abandoned] == [0, 1], "no epoch of it is trained that cannot help"
    assert [row["epoch"] for row in rows if row["stage"] == HOST] == [0, 1, 2]
    start, stands = abandoned[0]["validation"], [row["validation"] for row in rows if row["stage"] == HOST]
    assert stands[0] == start and max(stands) >= start, "it begins where the first attempt began"

    again: list[str] = []
    resumed = tune(made, tmp_path / "run", resume=True, say=again.append)
    assert resumed["schemes"] == result["schemes"] and resumed["steps"] == result["steps"]
    assert not [line for line in again if line.startswith(f"{HOST} ")], "neither attempt is trained again"


def test_training_that_diverges_at_every_rate_leaves_the_calibrated_model(
    finished: tuple[Path, dict[str, Any], list[str]], data: Path, tmp_path: Path
) -> None:
    out, before, _ = finished
    shutil.copytree(out, tmp_path / "run")
    made = tune_data.recipe_for(data, "train.epochs=6", "quantize.lr=10")
    said: list[str] = []
    result = tune(made, tmp_path / "run", resume=True, say=said.append)

    row = result["schemes"][HOST]
    assert row["method"] == "ptq" and row["best_epoch"] == 0 and row["quantized"] == row["ptq"] == before["ptq"]
    assert [attempt["lr"] for attempt in row["retries"]] == [10, 1, 0.1] and "lr" not in row
    assert row["why"].startswith("QAT diverged, so the PTQ model is used: at lr = 10 the ")
    for page in (text.tuned(result), html.render_run(result)):
        assert row["why"].split(":")[0] in page and "trained (QAT)" not in page


@pytest.mark.parametrize(("lr", "at_chance"), [("1e-9", True), ("0.01", False)])
def test_a_float_model_at_chance_is_told_before_more_time_goes_into_it(
    lr: str, at_chance: bool, data: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    settings = (f"train.lr={lr}", "train.epochs=4", "quantize.method='ptq'")
    tune(tune_data.recipe_for(data, *settings), tmp_path / "run", say=lines.append)
    warnings = [line for line in lines if "no better than chance" in line]
    assert len(warnings) == at_chance, lines
    if warnings:
        assert warnings[0].startswith("warning: the float model's validation accuracy is"), warnings
    refused = [line for line in lines if "an export of this run would be refused: " in line]
    assert len(refused) == at_chance and all("nothing that quantization could lose" in line for line in refused), lines


def test_progress_shows_the_validation_split_alone(finished: tuple[Path, dict[str, Any], list[str]]) -> None:
    out, result, said = finished
    metric = Metric("accuracy", "fraction")
    assert result["metric_record"] == tasks.get("classify").metric.as_dict()
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    shown = [metric.format(row["validation"]) for row in rows]
    stages = ("float", *result["schemes"])
    lines = [line for line in said if "validation" in line and line.startswith(stages)]
    assert [re.search(r"validation (\S+ %)", line)[1] for line in lines] == shown  # type: ignore[index]
    assert not [line for line in said if re.search(r"PTQ \d", line)]


def test_the_head_policy_trains_the_head_alone(data: Path, tmp_path: Path) -> None:
    start = tune(tune_data.recipe_for(data, "train.epochs=0", "quantize.method='ptq'"), tmp_path / "start")
    result = tune(tune_data.recipe_for(data, "update.policy='head'"), tmp_path / "head")
    assert result["updated_parameters"] == 195 and start["updated_parameters"] == start["total_parameters"]
    for name in ("float.safetensors", f"quantized.{HOST}.safetensors"):
        a, b = load_file(tmp_path / "start" / name), load_file(tmp_path / "head" / name)
        same = {k for k in a if not k.startswith("act_fq") and torch.equal(a[k], b[k])}
        head = {"fc.weight", "fc.bias"}
        assert not head & same
        # the scale of the head's weight learns with it
        others = {k.split(".")[0] for k in a if not k.startswith("act_fq")} - {k.split(".")[0] for k in same} - {"fc"}
        assert len(others) <= (1 if "quantized" in name else 0), others


def test_uneven_classes_are_reported_and_can_be_weighed(tmp_path: Path) -> None:
    path = tune_data.write(tmp_path / "even.npz", (72, 12, 30))
    arrays = dict(np.load(path))
    kept = np.flatnonzero((arrays["train_labels"] != 2) | (np.cumsum(arrays["train_labels"] == 2) <= 4))
    arrays |= {f"train_{kind}": arrays[f"train_{kind}"][kept] for kind in ("images", "labels")}
    np.savez(path, **arrays)
    recipe_ = tune_data.recipe_for(path, "train.class_weights='balanced'", "quantize.distill=false")
    plan = tune(recipe_, tmp_path / "run", dry_run=True)
    (warning,) = plan["data"]["imbalance"]
    assert "classes are unbalanced" in warning and 'train.class_weights = "balanced"' in warning
    assert plan["class_weights"] == pytest.approx({"disc": 52 / 72, "square": 52 / 72, "cross": 52 / 12})
    losses = {}
    for kind in ("none", "balanced"):
        out, lines = tmp_path / kind, list[str]()
        recipe_ = tune_data.recipe_for(path, f"train.class_weights='{kind}'", "quantize.distill=false")
        tune(recipe_, out, say=lines.append)
        assert f"warning: {warning}" in lines
        losses[kind] = [json.loads(line).get("loss") for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert losses["none"][1] != losses["balanced"][1], "the float stage weighs"
    assert losses["none"][-1] != losses["balanced"][-1], "and so does training without a teacher"


def test_what_cannot_learn_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    observed = rng.standard_normal((60, 4)).astype(np.float32)
    path = tmp_path / "run.npz"
    np.savez(path, obs=observed, acts=observed[:, :2], episode_starts=np.arange(60) % 10 == 0)
    made = recipe.from_table(
        {
            "task": "control",
            "model": {"name": "mlp", "args": {"hidden": [8]}},
            "data": {"format": "trajectories", "path": str(path)},
            "train": {"class_weights": "balanced"},
        },
        "test",
    )
    for dry in (True, False):
        with pytest.raises(RecipeError, match="'control' has no classes to weigh"):
            tune(made, tmp_path / "run", dry_run=dry)
    lora = recipe.override(made, ["train.class_weights=none", "update.policy=lora", 'update.layers=["deep"]'])
    with pytest.raises(RecipeError, match="'deep' matches no"):
        tune(lora, tmp_path / "run")
    assert not (tmp_path / "run").exists(), "refused before anything is written"


def test_a_mean_that_is_not_the_weights_own_is_warned_about(data: Path, tmp_path: Path) -> None:
    tune(tune_data.recipe_for(data, "train.epochs=0", "quantize.method='none'"), tmp_path / "run")
    said: list[str] = []
    overrides = ("train.epochs=0", "quantize.method='none'", f"model.weights='{tmp_path}/run/float.safetensors'")
    tune(tune_data.recipe_for(data, *overrides), tmp_path / "same", say=said.append)
    assert not [line for line in said if "data.mean" in line]
    other = tune_data.recipe_for(data, *overrides, data={"mean": [0.1, 0.2, 0.3], "std": [0.229, 0.224, 0.225]})
    tune(other, tmp_path / "other", say=said.append)
    (line,) = (line for line in said if "data.mean" in line)
    assert not [line for line in said if "data.std" in line], "that one is the weights' own"
    assert line.startswith("warning:") and "0.485" in line and "[0.1, 0.2, 0.3]" in line


def test_one_class_only_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    one = np.zeros(12, np.int64)
    path = tmp_path / "one.npz"
    np.savez(path, train_images=np.zeros((12, 32, 32, 3), np.uint8), train_labels=one, labels=np.array(["only"]))
    with pytest.raises(DataError, match="one class"):
        tune(tune_data.recipe_for(path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_callers_own_module_and_data(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(5),
        nn.Flatten(),
        nn.Linear(200, 3),
    )
    made = tune_data.recipe_for(data, "data.size=32", "train.epochs=1", "quantize.epochs=1")
    result = tune(made, tmp_path / "run", model=net, dataset=data_room.open(made.data))
    assert result["total_parameters"] == sum(p.numel() for p in net.parameters())
    assert result["schemes"][HOST]["integer_weights"] == 2


def test_fewer_samples_than_a_batch_are_one_batch(tmp_path: Path) -> None:
    path = tune_data.write(tmp_path / "few.npz", (9, 6, 6))
    result = tune(tune_data.recipe_for(path, "train.batch_size=64"), tmp_path / "run")
    assert result["steps"] == 4


def test_a_picture_that_is_too_small_for_the_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n"
        "def deep(n_classes):\n"
        "    body = [nn.Conv2d(3, 4, 7), nn.MaxPool2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()]\n"
        "    return nn.Sequential(*body, nn.Linear(4, n_classes))\n"
    )
    made = tune_data.recipe_for(
        tune_data.write(tmp_path / "d.npz"),
        model={"source": "python", "name": f"{tmp_path}/net.py:deep"},
        data={"size": 12},
    )
    with pytest.raises(ModelError, match=r"cannot take a sample of shape \(3, 12, 12\).*\n.*data\.size"):
        tune(made, tmp_path / "run", allow_code=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_layer_to_keep_float_that_has_no_weights_is_refused_before_training(
    data: Path, tmp_path: Path, dry_run: bool
) -> None:
    said: list[str] = []
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    made = tune_data.recipe_for(data, "quantize.keep_float=['1*']", "train.epochs=1")
    with pytest.raises(RecipeError, match="matches no layer with weights, only 1 ") as caught:
        tune(made, tmp_path / "run", model=net, dry_run=dry_run, say=said.append)
    assert "'0'" in str(caught.value.remedy)
    assert not (tmp_path / "run").exists() and not any("epoch" in line for line in said)
