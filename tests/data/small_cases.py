"""What is right for each small input of the folder `EDGEFT_CASES`, else of `cases/data` beside `EDGEFT_DATA`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgeft import data
from edgeft.config import recipe


@dataclass(frozen=True)
class Case:
    """Samples in train, val and test, the classes, what the notes say, and what none of them may say."""

    counts: tuple[int, int, int]
    labels: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    silent: tuple[str, ...] = field(default=("left out", "cannot be read", "not read"))


BOXES, CELLS = ("red", "green"), ("background", "object")
WORDS = ("around", "go", "left", "now", "right", "stop", "turn")
DIVIDED = "no val and no test split was given"
RATINGS = "480 interactions of 40 users with 60 items"

CASES = {
    "c_bs": Case((24, 8, 8), BOXES),
    "c_cvat": Case((28, 6, 6), BOXES, (DIVIDED,)),
    "c_exif": Case((24, 8, 8), BOXES, ("turned by their EXIF orientation",)),
    "c_same": Case((24, 8, 8), BOXES, ("of two categories 'red'",), ()),
    "c_simg": Case((24, 8, 8), BOXES),
    "cc_off": Case((19, 8, 5), BOXES, ("no test split was given",)),
    "i_12bit": Case((42, 10, 8), ("a", "b"), ("read as 12-bit ones, 0 to 4095", "data.value_range")),
    "i_case": Case((48, 16, 16), ("cat", "dog")),
    "i_case2": Case((48, 16, 16), ("cat", "dog")),
    "i_clutter": Case((56, 12, 12), ("cat", "dog"), (DIVIDED,)),
    "i_one": Case((57, 12, 12), ("bird", "cat", "dog"), ("the test split has no sample of 'bird'",)),
    "k_pipe": Case((34, 8, 6), ("hi", "lo"), (DIVIDED,)),
    "k_wavex": Case((34, 8, 6), ("hi", "lo"), (DIVIDED,)),
    "m_1m": Case((80, 40, 40), None, (RATINGS, "without a header")),
    "m_20m": Case((80, 40, 40), None, (RATINGS,)),
    "m_nots": Case((80, 40, 40), None, (RATINGS, "has no column of times", "data.split_seed = 0")),
    "m_sparse": Case((80, 40, 40), None, ("400 of 440 user(s)", "fewer than 3 interactions"), ()),
    "o_d4": Case((420, 120, 60), ("action_0", "action_1"), ("600 steps in 10 stretches or episodes",)),
    "o_done": Case((420, 120, 60), ("action_0", "action_1"), ("600 steps in 10 stretches or episodes",)),
    "o_fs2": Case((210, 60, 30), ("action_0", "action_1"), ("each becomes one of 4 channels",)),
    "p_hf": Case((140, 30, 30), (), (DIVIDED,)),
    "p_opus": Case((140, 30, 30), (), (DIVIDED,)),
    "p_q2": Case((140, 30, 30), (), (DIVIDED,)),
    "p_ta": Case((140, 30, 30), (), ("without a header", "column 3 as 'de'")),
    "s_1bit": Case((21, 5, 4), CELLS, ("255 is 'object', not void",)),
    "s_city": Case((21, 5, 4), CELLS, ("NAME_gtFine_labelIds",)),
    "s_palq": Case((21, 5, 4), CELLS),
    "s_rgbid": Case((21, 5, 4), CELLS),
    "s_suf": Case((21, 5, 4), CELLS, ("NAME_mask",)),
    "s_voc": Case((14, 3, 3), CELLS, ("in no list of ImageSets/Segmentation",), ()),
    "t_kag": Case((28, 6, 6), ("0", "1"), ("test.csv: has no 'label'", DIVIDED), ()),
    "t_lat": Case((42, 10, 8), ("neg", "pos"), ("Windows-1252", "data.encoding")),
    "t_nan": Case((28, 6, 6), ("0", "1"), ("20 record(s) with a missing value left out",), ()),
    "t_rare": Case((60, 10, 10), ("a", "b", "c"), ("the test split has no sample of 'c'",)),
    "t_semi": Case((42, 10, 8), ("neg", "pos"), ("separated by ';'", "data.delimiter")),
    "t_tsvq": Case((42, 10, 8), ("neg", "pos"), (DIVIDED,)),
    "t_zero": Case((42, 9, 9), ("001", "01", "1"), (DIVIDED,)),
    "v_cv": Case((28, 6, 6), WORDS, ("validated.tsv is divided",)),
    "v_lj": Case((28, 6, 6), WORDS, (DIVIDED,)),
    "v_ls": Case((28, 6, 6), WORDS, ('data.group = "speaker"',)),
    "v_q3": Case((70, 15, 15), WORDS, (DIVIDED,)),
    "y_12k": Case((28, 6, 6), BOXES, ("big.png: has 12000x9000 pixels", "data.max_pixels = 108000000"), ()),
    "y_2017": Case((32, 20, 8), BOXES, ("../datasets/coco128 does not exist", "no test split was given")),
    "y_bomb": Case((28, 6, 6), BOXES, ("big.png: has 20000x12000 pixels", "data.max_pixels = 240000000"), ()),
    "y_bomlabels": Case((24, 8, 8), ("0", "1")),
    "y_bomyaml": Case((24, 8, 8), BOXES),
    "y_dict1": Case((24, 8, 8), BOXES),
    "y_own": Case((32, 20, 8), BOXES, ("no test split was given",)),
    "y_poly": Case((24, 8, 8), BOXES, ("63 objects are outlines",)),
    "y_tif6": Case((28, 6, 6), BOXES, (DIVIDED,)),
    "y_wrap": Case((24, 8, 8), BOXES),
}
#: inputs that are refused, each tested by itself
REFUSED = ("i_heic", "o_d_hdf5", "o_dt")


def folder() -> Path:
    """The folder with the inputs; skips the test where there is none."""
    stated = os.environ.get("EDGEFT_CASES")
    beside = Path(os.environ.get("EDGEFT_DATA", "")).parent / "cases" / "data"
    place = Path(stated) if stated else beside
    if not place.is_dir():
        pytest.skip("neither EDGEFT_CASES nor a folder beside EDGEFT_DATA has the small inputs")
    return place


def opened(name: str, monkeypatch: pytest.MonkeyPatch) -> data.Dataset:
    """The data of the input's own recipe, opened in its folder as a user would."""
    monkeypatch.chdir(folder() / name)
    loaded = recipe.load(Path("recipe.toml"))
    return data.open(loaded.data, loaded.task)
