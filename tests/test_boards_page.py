"""The table of all boards in docs/boards.md is what the profiles and the results of the benchmarks say."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from edgeft.config import target

CHECKOUT = Path(__file__).parent.parent
if not (CHECKOUT / "benchmarks").is_dir():
    pytest.skip("no checkout with benchmarks", allow_module_level=True)


@pytest.fixture(scope="module")
def boards() -> ModuleType:
    spec = importlib.util.spec_from_file_location("boards", CHECKOUT / "scripts" / "boards.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(boards: ModuleType, profile: target.Target) -> dict[str, str]:
    rows = boards.read("compiler_tasks")["rows"]
    line = boards.row(profile, boards.networks_by_board(), rows, boards.emulated_cpus())
    return dict(zip(boards.HEAD, line))


def test_the_page_is_up_to_date(boards: ModuleType) -> None:
    assert boards.PAGE.read_text(encoding="utf-8") == boards.page(), "run `python scripts/boards.py`"


def test_every_profile_has_a_row(boards: ModuleType) -> None:
    listed = re.findall(r"^\| `([\w-]+)` \|", boards.page(), re.M)
    assert listed == sorted(path.stem for path in (CHECKOUT / "targets").glob("*.toml")) and len(listed) >= 29


def test_a_row_follows_its_profile(boards: ModuleType) -> None:
    known = cells(boards, target.load("imx93"))
    assert known["judged by"] == "Vela 5.2.0" and "no simulator" in known["unverified"]
    nobody = dataclasses.replace(target.load("imx93"), verified_by="")
    assert cells(boards, nobody)["judged by"] == "LiteRT alone"

    unknown = dataclasses.replace(target.load("imx93"), compiler="stedgeai", compile={})
    assert cells(boards, unknown)["unverified"] == "all that stedgeai makes: edgeft cannot run it"
    assert (
        "trtexec's engine, until the board has built it" in cells(boards, target.load("jetson-orin-nano"))["unverified"]
    )


def test_counts_are_those_of_the_results(boards: ModuleType) -> None:
    networks = {"int8": [{"coverage_macs": 1.0}, {"coverage_macs": 0.96}, {"coverage_macs": 0.5}, {"refusal": "no"}]}
    gates = [{"verdict": verdict, "why": ""} for verdict in ("pass", "fail", "unverified")]
    tasks = {str(k): {"vela": {"compatibility": gate}} for k, gate in enumerate(gates)} | {
        "4": {"vela": {"error": "no"}}
    }
    text = boards.coverage(target.load("imx93"), networks, tasks)
    assert text == "int8: 2 of 4 networks (from 96%); gate passes 1 of 4 examples"


def test_a_cpu_that_was_not_emulated_is_not_verified(boards: ModuleType) -> None:
    profile = target.load("rpi5")
    assert boards.judges(profile, "Cortex-A76") == "LiteRT, under qemu as Cortex-A76"
    assert boards.judges(profile, "") == "LiteRT" and "neither qemu nor a board" in boards.unverified(profile, "")
