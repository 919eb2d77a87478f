"""What is known of a data format: one record, in the file of the format or in a plug-in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import data_keys, recipe
from ..config.tables import Source
from ..core.errors import RecipeError
from .glimpse import Glimpse
from .samples import Dataset

#: keys of [data] that say what a sample becomes, whatever format it comes from; the model or the task reads them
SAMPLE_KEYS = ("size", "channels", "mean", "std", "resize", "windows", "overlap", "length", "sound")


@dataclass(frozen=True)
class Recognized:
    """That a path holds data of a format: `why` (a part of a sentence), and keys of [data] to set.

    `certainty` is 3 where names or contents are those of the format alone, 2 where its structure fits, 1 for a guess.
    `options` are keys of the format's own (`Format.options`). `hub_tag` is what the Hugging Face hub calls the task
    that the contents are for (`Task.hub_tag`), where the format does not say.
    """

    why: str
    certainty: int
    keys: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    hub_tag: str = ""


@dataclass(frozen=True)
class Format:
    """A data format of recipes.

    `open(spec)` returns the `Dataset` that the recipe's [data] names; it raises `DataError` for data that is absent or
    cannot be used, `RecipeError` for a wrong key and `Missing` where a package is not installed. `tasks` are those that
    take the format beside the tasks whose record lists it (`Task.formats`); else every task does. `keys` are those
    of [data] that it reads, `options` a dataclass with keys of its own (`edgeft.config.data_keys.option`), whose
    instance `open` finds in `spec.options`. Formats of one `family` hold the same kind of samples, so data in another
    of them can replace a run's data (`--data`). `recognize(view)` says whether a path looks like data of this format
    (`edgeft data check`); without it the format must be named. `wants` says which columns a table of this format needs
    and with which options of a command they are named, a part of a sentence.

    Raises `InvalidInput` for `options` that are no dataclass with defaults or have a key of every format.
    """

    name: str
    description: str
    open: Callable[[recipe.Data], Dataset]
    tasks: tuple[str, ...] = ()
    keys: tuple[str, ...] = ("path", "split", "split_seed")
    family: str = ""
    recognize: Callable[[Glimpse], Recognized | None] | None = None
    options: type | None = None
    wants: str = ""

    def __post_init__(self) -> None:
        if self.options is not None:
            plain_keys = [field.name for field in dataclasses.fields(recipe.Data)]
            data_keys.require_new_keys(self.options, plain_keys, f"Format {self.name}")

    def with_options(self, spec: recipe.Data) -> recipe.Data:
        """`spec` with an instance of the format's dataclass in `options`; raises `RecipeError` for a wrong value."""
        if self.options is None:
            return spec
        options = data_keys.read(self.options, spec.options, Source("data", error=RecipeError))
        return dataclasses.replace(spec, options=options)

    def unread(self, spec: recipe.Data) -> list[str]:
        """The keys of `spec` that are set to something else than their default and that this format does not read."""
        default = recipe.Data()
        names = [field.name for field in dataclasses.fields(recipe.Data)]
        known = {"format", "options", *SAMPLE_KEYS, *self.keys}
        return [name for name in names if name not in known and getattr(spec, name) != getattr(default, name)]
