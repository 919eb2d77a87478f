"""Recordings of control as the field exchanges them: D4RL, Minari, LeRobot, and tubs of both versions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError

RNG = np.random.default_rng(0)
STEPS, EPISODES = 20, 12


def of(path: Path, **keys: object) -> Data:
    return Data(format="trajectories", path=str(path), **keys)  # type: ignore[arg-type]


def episodes() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(STEPS + 1, 4)), rng.normal(size=(STEPS, 2))) for _ in range(EPISODES)]


def same_episodes(dataset: data.Dataset) -> None:
    """Every step is there with its own action, and no episode is in two splits."""
    homes: dict[int, set[str]] = {}
    known = {
        obs[i].astype(np.float32).tobytes(): (number, acts[i].astype(np.float32))
        for number, (obs, acts) in enumerate(episodes())
        for i in range(STEPS)
    }
    for name, split in dataset.splits.items():
        for i in range(len(split)):
            number, action = known[split.raw(i).tobytes()]
            assert np.array_equal(split.targets[i], action)
            homes.setdefault(number, set()).add(name)
    assert len(homes) == EPISODES and all(len(names) == 1 for names in homes.values())
    assert sum(map(len, dataset.splits.values())) == STEPS * EPISODES


def flat() -> dict[str, np.ndarray]:
    """As D4RL has them: an episode ends by either flag."""
    ends = np.tile(np.arange(STEPS) == STEPS - 1, EPISODES)
    first_half = np.arange(STEPS * EPISODES) < STEPS * EPISODES // 2
    return {
        "observations": np.concatenate([obs[:STEPS] for obs, _ in episodes()]),
        "actions": np.concatenate([acts for _, acts in episodes()]),
        "rewards": np.zeros(STEPS * EPISODES),
        "terminals": ends & first_half,
        "timeouts": ends & ~first_half,
    }


def test_d4rl_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **flat())
    same_episodes(data.open(of(tmp_path / "d.npz")))


def test_d4rl_file(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "hopper.hdf5", "w") as file:
        for key, values in flat().items():
            file[key] = values
        file.create_group("metadata")
    same_episodes(data.open(of(tmp_path / "hopper.hdf5")))
    with h5py.File(tmp_path / "empty.hdf5", "w") as file:
        file["states_"] = np.zeros(3)
    with pytest.raises(DataError, match="has no obs"):
        data.open(of(tmp_path / "empty.hdf5"))
    (tmp_path / "broken.hdf5").write_bytes((tmp_path / "hopper.hdf5").read_bytes()[:100])
    with pytest.raises(DataError, match=r"broken\.hdf5: is not a readable HDF5 file"):
        data.open(of(tmp_path / "broken.hdf5"))


def test_minari(tmp_path: Path) -> None:
    """A group an episode, in any number of digits, each with one observation more than actions."""
    h5py = pytest.importorskip("h5py")
    (tmp_path / "data").mkdir()
    with h5py.File(tmp_path / "data" / "main_data.hdf5", "w") as file:
        for number, (obs, acts) in enumerate(episodes()):
            group = file.create_group(f"episode_{number}")
            group["observations"], group["actions"] = obs, acts
            group["terminations"] = np.zeros(STEPS, bool)
    dataset = data.open(of(tmp_path))
    same_episodes(dataset)
    assert any(f"{EPISODES} episodes" in note for note in dataset.notes)
    with h5py.File(tmp_path / "data" / "main_data.hdf5", "a") as file:
        group = file.create_group("episode_99/observations")
        group["image"], file["episode_99/actions"] = np.zeros((3, 4)), np.zeros((3, 2))
    with pytest.raises(DataError, match=r"main_data\.hdf5\[episode_99\]: observations is a group of image"):
        data.open(of(tmp_path))


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeft.core.errors import Missing

    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "d.hdf5").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(Missing, match=r"\[hdf5\]"):
        data.open(of(tmp_path / "d.hdf5"))


def test_lerobot(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "meta").mkdir()
    features = {"observation.state": {}, "action": {}, "observation.images.top": {}}
    (tmp_path / "meta" / "info.json").write_text(json.dumps({"codebase_version": "v2.1", "features": features}))
    folder = tmp_path / "data" / "chunk-000"
    folder.mkdir(parents=True)
    for number, (obs, acts) in enumerate(episodes()):
        rows = [
            {
                "observation.state": obs[i].tolist(),
                "action": acts[i].tolist(),
                "episode_index": number,
                "frame_index": i,
            }
            for i in range(STEPS)
        ]
        parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"episode_{number:06}.parquet")
    dataset = data.open(of(tmp_path))
    same_episodes(dataset)
    assert any("observation.images.top are not read" in note for note in dataset.notes)
    parquet.write_table(pyarrow.Table.from_pylist([{"action": [0.0]}]), folder / "episode_000099.parquet")
    with pytest.raises(DataError, match=r"episode_000099\.parquet: has no column 'observation\.state'"):
        data.open(of(tmp_path))


def picture(path: Path, value: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value % 250, np.uint8)).save(path)
    return path.name


def second_version(folder: Path, count: int, first: int) -> None:
    lines = []
    for i in range(count):
        name = picture(folder / "images" / f"{i}_cam_image_array_.png", first + i)
        lines.append(json.dumps({"_index": i, "cam/image_array": name, "user/angle": i / 100, "user/throttle": first}))
    (folder / "catalog_0.catalog").write_text("\n".join(lines))


def first_version(folder: Path, count: int, first: int) -> None:
    for i in range(count):
        name = picture(folder / f"{i}_cam-image_array_.png", first + i)
        record = {"cam/image_array": name, "user/angle": i / 100, "user/throttle": first, "user/mode": "user"}
        (folder / f"record_{i}.json").write_text(json.dumps(record))
    (folder / "meta.json").write_text("{}")


@pytest.mark.parametrize("write", [first_version, second_version])
def test_several_tubs_in_one_folder(tmp_path: Path, write: object) -> None:
    """Stretches begin anew in each tub; records are in the order of their numbers."""
    for at, count in enumerate((70, 55, 60)):
        write(tmp_path / f"tub_{at}_20-01-01", count, 10 * at)  # type: ignore[operator]
    (tmp_path / "models").mkdir()
    dataset = data.open(of(tmp_path))
    assert sum(map(len, dataset.splits.values())) == 185 and dataset.labels == ("steering", "throttle")
    assert any("6 stretches" in note for note in dataset.notes) and any("3 tubs" in note for note in dataset.notes)
    assert any("no tubs are not read: models" in note for note in dataset.notes)
    split = dataset.split("train")
    for i in range(0, len(split), 7):
        angle, throttle = split.targets[i]
        assert split.raw(i)[0, 0, 0] == round(float(throttle) + 100 * float(angle)), split.source(i)


def test_a_tub_of_the_first_version(tmp_path: Path) -> None:
    first_version(tmp_path, 160, 0)
    (tmp_path / "3_cam-image_array_.png").unlink()
    dataset = data.open(of(tmp_path))
    assert sum(map(len, dataset.splits.values())) == 159
    assert any("record_3.json: ValueError: its picture is missing" in note for note in dataset.notes)
