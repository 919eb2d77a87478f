"""Recorded control: episodes in an .npz, Donkeycar tubs, and what can be wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError


def episodes(path: Path, **changed: Any) -> Data:
    """Twelve episodes of ten steps; the observation names its step and episode. One observation more an episode."""
    seen = np.array([[e, t] for e in range(12) for t in range(11)], np.float32)
    arrays = {
        "obs": seen,
        "acts": np.array([e * 10 + t for e in range(12) for t in range(10)], np.float32),
        "indices": np.arange(10, 120, 10),
    }
    arrays |= changed
    np.savez(path / "run.npz", **{k: v for k, v in arrays.items() if v is not None})
    return Data(format="trajectories", path=str(path / "run.npz"))


def test_episodes_stay_whole_and_actions_belong_to_their_observation(tmp_path) -> None:
    made = data.open(episodes(tmp_path))
    assert made.labels == ("action",) and made.facts["kind"] == "vector" and made.facts["inputs"] == 2
    homes: dict[int, set[str]] = {}
    for name, split in made.splits.items():
        for i in range(len(split)):
            episode, step = split.raw(i)
            assert split.targets[i] == episode * 10 + step
            homes.setdefault(int(episode), set()).add(name)
    assert len(homes) == 12 and all(len(names) == 1 for names in homes.values())
    assert sum(map(len, made.splits.values())) == 120
    rows = np.array([made.split("train").raw(i) for i in range(len(made.split("train")))])
    assert np.allclose(made.facts["mean"], rows.mean(axis=0)) and np.allclose(made.facts["std"], rows.std(axis=0))
    assert made.split("test").classes is None
    assert data.fingerprint(made) == data.fingerprint(data.open(episodes(tmp_path)))
    assert [line for line in data.check(made) if "leak" in line] == []


def test_numbers_of_episodes_part_them(tmp_path: Path) -> None:
    made = data.open(episodes(tmp_path, indices=None, episode=np.repeat(np.arange(12), 10)))
    assert not [note for note in made.notes if "does not mark" in note]
    homes: dict[int, set[str]] = {}
    for name, split in made.splits.items():
        for i in range(len(split)):
            homes.setdefault(int(split.raw(i)[0]), set()).add(name)
    assert len(homes) == 12 and all(len(names) == 1 for names in homes.values())
    with pytest.raises(DataError, match="119 numbers of episodes do not fit 120 actions"):
        data.open(episodes(tmp_path, indices=None, episode=np.zeros(119)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"acts": None}, "has no acts"),
        ({"obs": np.zeros((100, 2), np.float32)}, "100 observations do not fit 120 actions"),
        ({"indices": np.array([10, 500])}, "an episode may begin at"),
        ({"acts": np.full(120, np.nan, np.float32)}, "not finite"),
        ({"obs": np.full((132, 2), np.inf, np.float32)}, "not finite"),
        ({"indices": np.array([60])}, "too few|cannot be divided|do not fit"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changed, message) -> None:
    with pytest.raises(DataError, match=message):
        data.open(episodes(tmp_path, **changed))


def test_files_that_are_none(tmp_path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no archive")
    for path in (tmp_path / "broken.npz", tmp_path / "absent.npz", tmp_path):
        with pytest.raises(DataError, match=r"npz|no such|tub"):
            data.open(Data(format="trajectories", path=str(path)))
    with pytest.raises(DataError, match="no recording"):
        data.open(Data(format="trajectories"))


def tub(path: Path, n: int = 300, lines: dict[int, str] | None = None) -> Data:
    pillow = pytest.importorskip("PIL.Image")
    (path / "images").mkdir(parents=True)
    rows = []
    for i in range(n):
        pillow.fromarray(np.full((6, 8, 3), i % 256, np.uint8)).save(path / "images" / f"{i}.png")
        row = {"_index": i, "cam/image_array": f"{i}.png", "user/angle": i / n, "user/throttle": 0.5}
        rows.append((lines or {}).get(i, json.dumps(row)))
    (path / "catalog_0.catalog").write_text("\n".join(rows))
    (path / "._catalog_0.catalog").write_bytes(b"\xff\xfe")
    return Data(format="trajectories", path=str(path))


def test_a_tub_is_divided_into_stretches_of_time(tmp_path) -> None:
    made = data.open(tub(tmp_path / "tub"))
    assert made.labels == ("steering", "throttle") and made.facts == {"kind": "image"}
    split = made.split("test")
    assert split.raw(0).shape == (6, 8, 3) and split.targets.dtype == np.float32
    assert split.raw(0)[0, 0, 0] == round(float(split.targets[0, 0]) * 300) % 256
    frames = [{round(float(t[0]) * 300) // 50 for t in made.split(name).targets} for name in ("train", "val", "test")]
    assert not (frames[0] & frames[1] or frames[0] & frames[2] or frames[1] & frames[2])


def test_a_few_broken_records_are_left_out_and_many_stop_the_run(tmp_path) -> None:
    few = {7: "{not json", 9: json.dumps({"_index": 9, "cam/image_array": "9.png", "user/angle": "NaN"})}
    made = data.open(tub(tmp_path / "few", lines=few))
    assert sum(map(len, made.splits.values())) == 298
    assert any("2 of 300 records cannot be used" in note and ".catalog:8:" in note for note in made.notes)
    with pytest.raises(DataError, match=r"60 of 300 records cannot be used.*catalog:1:"):
        data.open(tub(tmp_path / "many", lines=dict.fromkeys(range(60), "{}")))


def test_struck_out_records_are_not_used(tmp_path) -> None:
    spec = tub(tmp_path / "tub")
    (tmp_path / "tub" / "manifest.json").write_text('[]\n{}\n{"paths": [], "deleted_indexes": [0, 1, 2]}\n')
    assert sum(map(len, data.open(spec).splits.values())) == 297


def test_pictures_of_a_recording_are_mapped_where_they_are_stored_plainly(tmp_path: Path) -> None:
    seen = np.random.default_rng(0).integers(0, 256, (124, 6, 8, 3), np.uint8)
    arrays = {"obs": seen, "acts": np.arange(120.0), "indices": np.array([30, 60, 90])}
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "packed.npz", **arrays)
    plain, packed = (
        data.open(Data(format="trajectories", path=str(tmp_path / f"{name}.npz"))) for name in ("plain", "packed")
    )
    assert isinstance(plain.split("train").pool.seen, np.memmap)  # type: ignore[attr-defined]
    for name in ("train", "val", "test"):
        one, other = plain.split(name), packed.split(name)
        for i in range(len(one)):
            step = int(one.targets[i, 0])  # the action is the number of its step; an episode has one more observation
            np.testing.assert_array_equal(one.raw(i), seen[step + step // 30])
            np.testing.assert_array_equal(one.raw(i), other.raw(i))
            assert one.source(i).endswith(f"[obs][{step + step // 30}]")


def recorded(path: Path, **arrays: np.ndarray) -> data.Dataset:
    """120 steps of 12 episodes, each step with its number as the observation."""
    values = {"obs": np.arange(120.0)[:, None], "acts": np.linspace(-1, 1, 120), **arrays}
    np.savez(path, **{key: value for key, value in values.items() if value is not None})
    return data.open(Data(format="trajectories", path=str(path)))


def homes(made: data.Dataset) -> list[set[int]]:
    """The numbers of the steps of each split."""
    return [{int(made.split(name).raw(i)[0]) for i in range(len(made.split(name)))} for name in made.splits]


@pytest.mark.parametrize(
    "keys", [("dones",), ("terminals",), ("terminations", "truncations"), ("terminals", "timeouts")]
)
def test_flags_of_the_last_step_end_an_episode(tmp_path: Path, keys: tuple[str, ...]) -> None:
    lasts = np.arange(120) % 15 == 14
    first = np.where(np.arange(120) < 60, lasts, False)
    made = recorded(
        tmp_path / "d.npz",
        **(dict.fromkeys(keys, lasts) if len(keys) == 1 else {keys[0]: first, keys[1]: lasts & ~first}),
    )
    assert "in 8 stretches or episodes" in made.notes[0]
    for steps in homes(made):
        assert all(
            set(range(e * 15, e * 15 + 15)) <= steps or not set(range(e * 15, e * 15 + 15)) & steps for e in range(8)
        )


def test_flags_that_are_set_at_first_steps_are_starts(tmp_path: Path) -> None:
    made = recorded(tmp_path / "d.npz", dones=np.arange(120) % 15 == 0)
    assert any("taken for starts of episodes" in note for note in made.notes) and "in 8 stretches" in made.notes[0]


def test_a_recording_without_borders_says_so_and_flags_must_fit(tmp_path: Path) -> None:
    assert any("does not mark where episodes end" in note for note in recorded(tmp_path / "d.npz").notes)
    with pytest.raises(DataError, match="has 7 flags for 120 steps"):
        recorded(tmp_path / "d.npz", dones=np.zeros(7, bool))


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool"])
def test_numbers_of_choices_are_not_learned_as_quantities(tmp_path: Path, kind: str) -> None:
    acts = (np.arange(120) % 2 if kind == "bool" else np.arange(120) % 4).astype(kind)
    starts = np.arange(120) % 10 == 0
    with pytest.raises(DataError, match=f"actions are {kind} values, 0 to") as caught:
        recorded(tmp_path / "d.npz", acts=acts, episode_starts=starts)
    assert 'data.actions = "continuous"' in caught.value.remedy and caught.value.where.endswith("[acts]")
    made = data.open(Data(format="trajectories", path=str(tmp_path / "d.npz"), actions="continuous"))
    assert made.split("train").targets.dtype == np.float32 and len(made.notes) == 1
    again = data.open(data.source(tmp_path / "d.npz", {"format": "trajectories", "split": [0.7, 0.15, 0.15]}))
    assert len(again.split("train")), "data for a model that is made already"
    told = recorded(tmp_path / "d.npz", acts=acts.astype(np.float32), episode_starts=starts).notes
    assert any("whole numbers, 0 to" in note for note in told)
