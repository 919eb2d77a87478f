"""Several processes at one study, and what a killed one leaves."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from edgeft.core.metric import Metric
from edgeft.sweep import results, space, stopping
from edgeft.sweep.study import JOURNAL, Study, cut_torn_line

ACCURACY, ERROR = Metric("accuracy"), Metric("error", higher_is_better=False)
SPAWN = multiprocessing.get_context("spawn")


def study(folder: Path, *settings: str, seed: int = 0, several: bool = False) -> Study:
    dimensions, _ = space.split(settings or ("train.lr=loguniform(1e-5, 1e-2)",))
    return Study(folder, dimensions, ["maximize", "minimize"] if several else ["maximize"], "tpe", seed)


def all_trials(folder: str, most: int, hold: float, settings: tuple[str, ...]) -> None:
    """A worker: every trial is worth its learning rate."""
    trials = study(Path(folder), *settings)
    while True:
        with trials.work(most) as work:
            if work is None:
                return
            (trials.place(work.number) / f"{os.getpid()}").touch()
            time.sleep(hold)
            trials.complete(work.record, [1.0])


def hang(folder: str) -> None:
    trials = study(Path(folder))
    with trials.work(9) as work:
        assert work is not None
        trials.note(work.record, 1, 0.25)
        (Path(folder) / "hangs").touch()
        time.sleep(600)


def test_processes_share_the_trials(tmp_path: Path) -> None:
    """Four processes, begun at once on a folder without a study: nine trials, each run by one of them."""
    workers = [SPAWN.Process(target=all_trials, args=(str(tmp_path), 9, 0.2, ())) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    trials = study(tmp_path).trials()
    assert [trial.number for trial in trials] == list(range(9))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert len({trial.params["train.lr"] for trial in trials}) == 9
    runs = [len(list((tmp_path / "trials" / f"{k:04d}").iterdir())) for k in range(9)]
    assert runs == [1] * 9


def test_a_killed_process_leaves_its_trial_to_the_next(tmp_path: Path) -> None:
    worker = SPAWN.Process(target=hang, args=(str(tmp_path),))
    worker.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "hangs").exists():
        assert worker.is_alive() and time.monotonic() < deadline
        time.sleep(0.02)

    trials = study(tmp_path)
    with trials.work(9) as beside:
        assert beside is not None and beside.number == 1 and not beside.again  # the first one's process lives
        trials.complete(beside.record, [0.5])
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join(20)
    with open(tmp_path / JOURNAL, "ab") as journal:
        journal.write(b'{"op_code":8,"worker_id":"x"')  # and killed in the middle of a line

    trials = study(tmp_path)
    values = trials.trials()[0].params
    with trials.work(9) as work:
        assert work is not None and (work.number, work.again) == (0, True)
        assert work.values == values
        assert trials.note(work.record, 2, 0.5) == {1: 0.25, 2: 0.5}
        trials.complete(work.record, [0.5])
    assert [t.state.name for t in study(tmp_path).trials()] == ["COMPLETE", "COMPLETE"]
    assert all(json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines())


def test_a_trial_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    trials = study(tmp_path)
    numbers = []
    for _ in range(4):
        with trials.work(9) as work:
            assert work is not None
            numbers.append(work.number)  # ends without a word, as out of memory does
    assert numbers == [0, 0, 0, 1]
    assert trials.trials("FAIL")[0].user_attrs["why"].startswith("its process ended 3 times")


def test_a_trial_that_comes_further_each_time_is_not_given_up(tmp_path: Path) -> None:
    trials = study(tmp_path)
    for epoch in range(5):
        with trials.work(9) as work:
            assert work is not None and work.number == 0
            trials.note(work.record, epoch, 0.5)


def test_a_resumed_sweep_goes_on_as_it_would_have(tmp_path: Path) -> None:
    def values(folder: Path, parts: list[int]) -> list[float]:
        folder.mkdir()
        for part in parts:
            trials = study(folder, seed=3)
            while True:
                with trials.work(part) as work:
                    if work is None:
                        break
                    trials.complete(work.record, [work.values["train.lr"]])
        return [trial.params["train.lr"] for trial in study(folder, seed=3).trials()]

    whole, parts = values(tmp_path / "whole", [12]), values(tmp_path / "parts", [1, 7, 12])
    assert whole == parts and len(set(whole)) == 12


def test_few_combinations_are_each_tried_once(tmp_path: Path) -> None:
    settings = ("train.batch_size=choice(8, 16)", "train.epochs=int(1, 3)")
    all_trials(str(tmp_path), 100, 0, settings)
    trials = study(tmp_path, *settings)
    pairs = [tuple(trials.values(trial.params).values()) for trial in trials.trials()]
    assert sorted(pairs) == [(size, epochs) for size in (8, 16) for epochs in (1, 2, 3)]


def test_several_objectives_keep_histories_too(tmp_path: Path) -> None:
    trials = study(tmp_path, several=True)
    with trials.work(1) as work:
        assert work is not None
        trials.note(work.record, 0, 0.5)
        trials.complete(work.record, [0.5, 2.0])
    assert trials.histories(but=7) == [{0: 0.5}]


def test_cut_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for before, after in (
        (b"", b""),
        (b"a\n", b"a\n"),
        (b"a\nb", b"a\n"),
        (b"ab", b""),
        (b"x\n" + b"y" * 200_000, b"x\n"),
    ):
        path.write_bytes(before)
        cut_torn_line(path)
        assert path.read_bytes() == after


def test_the_median_rule() -> None:
    rivals = [{1: 0.5, 2: value, 3: 0.99} for value in (0.6, 0.7, 0.8, 0.9)]
    assert stopping.behind({1: 0.4, 2: 0.74}, rivals, 2, ACCURACY) == 0.75
    assert stopping.behind({1: 0.76, 2: 0.1}, rivals, 2, ACCURACY) is None  # its best epoch is the one that is kept
    assert stopping.behind({1: 0.1}, rivals, 1, ACCURACY) is None  # the first epoch says little
    assert stopping.behind({1: 0.1, 2: 0.1}, rivals[:3], 2, ACCURACY) is None  # too few to compare with
    assert stopping.behind({1: 9.0, 2: 0.76}, rivals, 2, ERROR) == 0.5  # less is better


def test_a_stage_is_compared_with_itself() -> None:
    first, second = 2, stopping.STAGE + 2
    rivals = [{first: 0.9, second: 0.5} for _ in range(4)]
    assert stopping.behind({first: 0.1, second: 0.6}, rivals, second, ACCURACY) is None
    assert stopping.behind({first: 0.95, second: 0.4}, rivals, second, ACCURACY) == 0.5


def row(number: int, validation: float, p50_ms: float, size: int = 1, state: str = "done") -> dict[str, object]:
    return {"number": number, "state": state, "validation": validation, "p50_ms": p50_ms, "bytes": size}


def test_the_pareto_front() -> None:
    rows = [row(0, 0.9, 2.0), row(1, 0.8, 1.0), row(2, 0.7, 1.5), row(3, 0.99, 0.1, state="stopped")]
    assert results.pareto(rows, ACCURACY, ["latency"]) == {0, 1}
    assert results.pareto(rows, ACCURACY, []) == {0}
    assert results.pareto(rows, ERROR, []) == {2}
    level = [row(0, 0.9, 1.00), row(1, 0.8, 0.98)]  # 2 % of a latency are noise, and of a size they are not
    assert results.pareto(level, ACCURACY, ["latency"]) == {0}
    assert results.pareto([row(0, 0.9, 1, 100), row(1, 0.8, 1, 98)], ACCURACY, ["size"]) == {0, 1}
