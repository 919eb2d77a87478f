"""Recorded control in tables: which columns are observed, acted and numbers of episodes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data.glimpse import glimpse
from edgeft.data.recognize_control import trajectories
from edgeft.data.understand import understand


def table(path: Path, header: str = "episode,step,obs_0,obs_1,reward,action,done", **changed: Any) -> Path:
    """Twelve episodes of ten steps: the observation names its episode and step, the action both."""
    mark, decimal = changed.get("mark", ","), changed.get("decimal", ".")
    rows = [
        mark.join((f"{e}", f"{t}", f"{e}.5", f"{t}.0", "1", f"{e * 10 + t}.25", f"{t == 9}")).replace(".", decimal)
        for e in range(12)
        for t in range(10)
    ]
    lines = [*([header.replace(",", mark)] if header else []), *rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def homes(dataset: data.Dataset) -> dict[int, set[str]]:
    """The splits that each episode is in."""
    places: dict[int, set[str]] = {}
    for name, split in dataset.splits.items():
        for i in range(len(split)):
            episode, step = split.raw(i)
            assert split.targets[i].tolist() == [int(episode) * 10 + step + 0.25]
            places.setdefault(int(episode), set()).add(name)
    return places


@pytest.mark.parametrize(
    ("mark", "decimal", "header"),
    [
        (",", ".", "episode,step,obs_0,obs_1,reward,action,done"),
        (";", ",", "episode,step,obs_0,obs_1,reward,action,done"),
        ("\t", ".", "lap,t,state.x,state.y,reward,u,info"),
        (",", ".", "number,t,x,y,reward,cmd_force,terminal"),
    ],
)
def test_columns_are_found_by_their_names(tmp_path: Path, mark: str, decimal: str, header: str) -> None:
    path = table(tmp_path / "run.csv", header, mark=mark, decimal=decimal)
    options = {"observation_columns": ("x", "y")} if "number" in header else {}
    if "terminal" in header:
        path.write_text(path.read_text().replace("terminal", "terminals"))
    dataset = data.open(Data(format="trajectories", path=str(path), options=options))
    places = homes(dataset)
    assert len(places) == 12 and all(len(names) == 1 for names in places.values())
    assert dataset.labels == (header.split(",")[5],) and dataset.facts["inputs"] == 2
    assert any("not read: " in note and "'reward'" in note for note in dataset.notes)


def test_a_table_without_a_header_is_read_by_numbers_of_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "run.csv", "")
    options = {"observation_columns": ("2", "3"), "action_columns": ("5",), "episode_column": "0"}
    dataset = data.open(Data(format="trajectories", path=str(path), options=options))
    assert len(homes(dataset)) == 12 and sum(map(len, dataset.splits.values())) == 120
    with pytest.raises(DataError, match="no column is known to hold actions") as caught:
        data.open(Data(format="trajectories", path=str(path)))
    assert "data.action_columns" in caught.value.remedy


def test_each_file_of_a_folder_is_an_episode_where_no_column_says(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        table(tmp_path / f"{name}.csv", "n,t,obs_0,obs_1,reward,action,note")
    dataset = data.open(Data(format="trajectories", path=str(tmp_path)))
    assert "480 steps in 4 stretches or episodes" in " ".join(dataset.notes)
    (tmp_path / "d.csv").write_text("obs_0,action\n1,2\n")
    with pytest.raises(DataError, match=r"has the columns obs_0, action, a\.csv has n, t"):
        data.open(Data(format="trajectories", path=str(tmp_path)))
    (tmp_path / "d.csv").rename(tmp_path / "test.csv")
    with pytest.raises(DataError, match=r"test\.csv are named after splits"):
        data.open(Data(format="trajectories", path=str(tmp_path)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("action", "obs_0", "has twice the column"),
        (",0.25,", ",left,", "'action' is 'left', expected a number"),
        (".25,", ",", "numbers of choices"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = table(tmp_path / "run.csv")
    path.write_text(path.read_text().replace(old, new))
    options = {"observation_columns": ("obs_0",)} if new == "obs_0" else {}
    with pytest.raises(DataError, match=message):
        data.open(Data(format="trajectories", path=str(path), options=options))


def test_gaps_are_left_out_and_many_stop_the_run(tmp_path: Path) -> None:
    path = table(tmp_path / "run.csv")
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace("0.5", "")
    path.write_text("\n".join(lines))
    dataset = data.open(Data(format="trajectories", path=str(path)))
    assert sum(map(len, dataset.splits.values())) == 119
    assert any("run.csv:4: 'obs_0' has no value" in note for note in dataset.notes)
    path.write_text("\n".join([lines[0], *(line.replace(".25", "") for line in lines[1:])]).replace(",1,", ",,"))
    with pytest.raises(DataError):
        data.open(Data(format="trajectories", path=str(path), options={"observation_columns": ("reward",)}))


def test_a_drive_of_pictures_is_read_and_its_table_recognized(tmp_path: Path) -> None:
    (tmp_path / "IMG").mkdir()
    rows = []
    for i in range(160):
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(tmp_path / "IMG" / f"c{i}.png")
        rows.append(f"C:\\sim\\IMG\\c{i}.png,IMG/l{i}.png, {i}.5, 0.5, 0, 20.1")
    (tmp_path / "driving_log.csv").write_text("center,left,steering,throttle,brake,speed\n" + "\n".join(rows))
    seen = understand(tmp_path)
    assert (seen.task, seen.data.format) == ("control", "trajectories")
    dataset = data.open(seen.data)
    assert dataset.labels == ("steering", "throttle", "brake") and dataset.facts["kind"] == "image"
    for raw, target in dataset.split("test"):
        assert raw[0, 0, 0] == target[0] - 0.5
    (tmp_path / "IMG" / "c3.png").unlink()
    with pytest.raises(DataError, match=r"c3.png', which is not there") as caught:
        data.open(seen.data)
    assert str(caught.value.where).endswith("driving_log.csv:5")


def test_only_recorded_control_is_taken_for_it(tmp_path: Path) -> None:
    path = table(tmp_path / "run.csv")
    assert understand(path).data.format == "trajectories"
    assert understand(path, label="reward").data.format != "trajectories"
    choices = tmp_path / "choices.csv"
    choices.write_text("episode,x,v,action\n" + "".join(f"{i // 5},{i * 0.5},{i},{i % 2}\n" for i in range(40)))
    seen = understand(choices)
    assert (seen.task, seen.data.actions) == ("control-discrete", "discrete")
    machines = tmp_path / "machines.csv"
    machines.write_text("Torque [Nm],Tool wear,fault\n" + "".join(f"{i}.5,{i},{i % 2}\n" for i in range(40)))
    assert understand(machines).task == "tabular"
    for header in ("control,state", "brake,state", "s1,s2,command"):
        width = header.count(",")
        rows = [",".join([*[f"{i}.5"] * width, ("on", "off")[i % 2]]) for i in range(40)]
        machines.write_text("\n".join([header, *rows]))
        assert trajectories(glimpse(machines)) is None, header
