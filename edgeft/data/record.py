"""What is known of a data format: one record, in the file of the format or in a plug-in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from ..config import recipe
from .samples import Dataset

#: keys of [data] that say what a sample becomes, whatever format it comes from; the model or the task reads them
SAMPLE_KEYS = ("size", "channels", "mean", "std", "resize", "length", "sound")


@dataclass(frozen=True)
class Format:
    """A data format of recipes.

    `open(spec)` returns the `Dataset` that the recipe's [data] names; it raises `DataError` for data that is absent or
    cannot be used, `RecipeError` for a wrong key and `Missing` where a package is not installed. `tasks` are those that
    take the format beside the tasks whose record lists it (`Task.formats`); else every task does. `keys`
    are the keys of [data] that it reads. Formats of one `family` hold the same kind of samples: data of another one of
    them may stand in for a run's own (`--data`).
    """

    name: str
    description: str
    open: Callable[[recipe.Data], Dataset]
    tasks: tuple[str, ...] = ()
    keys: tuple[str, ...] = ("path", "split", "split_seed")
    family: str = ""

    def unread(self, spec: recipe.Data) -> list[str]:
        """The keys of `spec` that are set to something else than their default and that this format does not read."""
        default = recipe.Data()
        names = [field.name for field in dataclasses.fields(recipe.Data)]
        known = {"format", *SAMPLE_KEYS, *self.keys}
        return [name for name in names if name not in known and getattr(spec, name) != getattr(default, name)]
