"""What a model source is asked for, and the record of a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import recipe
from .built import Built


@dataclass(frozen=True)
class ModelRequest:
    """A model to build.

    `model` is the recipe's table [model], with arguments that the task and the data add; `task` the recipe's task;
    `outputs` how many outputs the model needs (classes of a classifier, values of a control, words of a vocabulary);
    `facts` what the data set says as a whole (`Dataset.facts`); `labels` the names of its classes, in their order.
    `of_data` are the names of those arguments that the recipe does not have: sources may leave them out.
    `allow_code` says that code and pickles of the user's own files may run, `allow_download` that weights may be
    downloaded. `model.weights` is a path once a source gets the request; `weights` says what the recipe called them, at
    one revision. `trained`: the caller loads the tensors of a finished run into the module, so that those of the
    recipe's weights need not be there. `any_outputs`: the task takes the model whole, with its outputs as they are.
    """

    model: recipe.Model
    task: str
    outputs: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    allow_code: bool = False
    allow_download: bool = False
    weights: str = ""
    labels: tuple[str, ...] = ()
    of_data: frozenset[str] = frozenset()
    trained: bool = False
    any_outputs: bool = False


@dataclass(frozen=True)
class ModelSource:
    """A source of models, by the name that `model.source` gives it.

    `build` returns a `Built` for a request; it raises `RecipeError` for a name or argument that it does not know,
    `ModelError` for weights or code that cannot be used, `Missing` for a package that is not installed. `tasks` are
    those that it has models for, none for any. `own_weights`: its modules may come with trained weights,
    although the recipe names none. `tested`: all its modules are captured and converted by tests, so that a run
    need not try them before it trains. `takes_state`: of `model.weights` it reads tensors and nothing else, so that a
    finished run, which has its own, can do without them. `own_files`: its models come with the files (a tokenizer)
    that a task would otherwise make of the training data (`Built.files`). `knows` says whether a `model.name` is one of
    its own: asked where another such source does not know it, and False where its package is not installed. None where
    the name follows from a file or folder.
    """

    name: str
    description: str
    build: Callable[[ModelRequest], Built]
    tasks: tuple[str, ...] = ()
    own_weights: bool = False
    tested: bool = False
    takes_state: bool = False
    own_files: bool = False
    knows: Callable[[str], bool] | None = None
