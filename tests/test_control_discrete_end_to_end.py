"""A policy of choices from recordings of CartPole to three runtimes and back into the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cartpole
import numpy as np
import pytest
from end_to_end import Made, ask, need, tuned

from edgeft.config import starting_recipes

TARGETS = ("host", "host-openvino", "host-litert")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    need()
    pytest.importorskip("gymnasium", reason="the extra closed-loop")
    folder = tmp_path_factory.mktemp("cartpole")
    path = cartpole.write_rollouts(folder / "episodes.npz", 60)
    text = starting_recipes.template("control-discrete")
    for before, after in {
        '"data/episodes.npz"': json.dumps(str(path)),
        'targets = ["rpi5"]': f"targets = {json.dumps(TARGETS)}",
        "epochs = 20": "epochs = 6",
        "# args = {} ": "args = { hidden = [32, 32] } ",
        '# environment = ""': 'environment = "CartPole-v1"',
        "# episodes = 100": "episodes = 10",
        "# max_return_drop = 0.02": "max_return_drop = 0.1",
        "# epochs = 3": "epochs = 1",
    }.items():
        assert before in text
        text = text.replace(before, after)
    return tuned(folder, text, TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_the_return_of_the_closed_loop_is_the_gate(made: Made, name: str) -> None:
    gates = {g["name"]: g for g in made.reports[name]["gates"]}
    assert not [(g["name"], g["why"]) for g in gates.values() if g["required"] and g["verdict"] != "pass"]
    assert gates["return"]["required"] and gates["return"]["float"] > 300 and gates["return"]["quantized"] > 270
    assert gates["accuracy"]["verdict"] == "advisory" and gates["accuracy"]["metric"] == "accuracy"
    assert made.run["float"] > 0.9 and made.run["chance"] < 0.7


@pytest.mark.parametrize("name", TARGETS)
def test_predict_and_run_py_name_the_same_choice(made: Made, capfd: Any, name: str) -> None:
    states = np.random.default_rng(4).uniform(-0.2, 0.2, (4, 4)).round(3)
    states[:, 0] = np.abs(states[:, 0])  # a leading minus would be an option
    spoken = [", ".join(map(str, state)) for state in states]
    code, answer, _ = ask(capfd, "predict", made.bundle(name), *spoken)
    assert code == 0
    assert [p["label"] for p in answer["predictions"]] == [str(choice) for choice in cartpole.expert(states)]
    done = subprocess.run(
        [sys.executable, "-I", str(made.bundle(name) / "run.py"), *spoken],
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for line, prediction in zip(done.stdout.splitlines(), answer["predictions"], strict=True):
        assert line.split(": ", 1)[1].startswith(prediction["label"] + " ")


def test_verify_reads_the_choices_again(made: Made, capfd: Any, tmp_path: Path) -> None:
    code, answer, _ = ask(capfd, "verify", made.bundle("host"), "--data", made.folder / "episodes.npz")
    gates = {g["name"]: g for g in answer["gates"]}
    assert code == 0 and gates["accuracy"]["n"] > 500 and gates["return"]["verdict"] == "pass"
