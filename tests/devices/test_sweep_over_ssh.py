"""`edgeft sweep --device ssh://...`: trials are trained here and their latency is measured on the board."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sshd

pytest.importorskip("torch")
pytest.importorskip("optuna")
pytest.importorskip("onnxscript")

import shapes_run

import edgeft
from edgeft.config import recipe
from edgeft.core.errors import EdgeftError

pytestmark = pytest.mark.slow
SPACE = ("train.lr=loguniform(1e-4, 1e-2)",)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sshd.Server]:
    with sshd.board(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def asked(tmp_path: Path) -> recipe.Recipe:
    data = shapes_run.write_data(tmp_path / "shapes.npz", counts={"train": 24, "val": 12, "test": 12})
    table = shapes_run.recipe_of(data, train={"epochs": 1}, export={"targets": ["host"]})
    return recipe.override(recipe.from_table(table, "the test"), ["quantize.method=ptq"])


def test_the_latency_is_that_of_the_board(server: sshd.Server, asked: recipe.Recipe, tmp_path: Path) -> None:
    options = {"overrides": SPACE, "minimize": ["latency"], "device": server.url}
    result = edgeft.sweep(asked, tmp_path / "sweep", trials=1, **options)
    (row,) = result["trials"]
    assert row["state"] == "done" and row["p50_ms"] > 0
    assert any(path.name == "feeds.npz" for path in (server.root / "data").rglob("*")), "the board got what it timed"
    again = edgeft.sweep(out=tmp_path / "sweep", resume=True, trials=2)
    assert len(again["trials"]) == 2 and all(row["p50_ms"] > 0 for row in again["trials"])
    # trials that begin with the same weights have the same model, which is carried once
    assert len(list((server.root / "data").iterdir())) == 1


def test_a_board_that_is_gone_leaves_the_trial_to_the_next(
    server: sshd.Server, asked: recipe.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeft.sweep import cost

    def gone(*given: object) -> object:
        server.hang_up()
        server.process.kill()
        return whole(*given)  # type: ignore[arg-type]

    whole = cost.cost
    monkeypatch.setattr(cost, "cost", gone)
    options = {"overrides": SPACE, "minimize": ["latency"], "device": server.url}
    with pytest.raises(EdgeftError):
        edgeft.sweep(asked, tmp_path / "sweep", trials=1, **options)
    assert (tmp_path / "sweep" / "sweep.toml").is_file()
