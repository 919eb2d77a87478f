"""How recorded control is recognized: see `recognize.py`."""

from __future__ import annotations

from collections.abc import Sequence

from ..inputs import number_text
from ..inputs.column_summary import is_missing
from .control_columns import are_observations, by_names
from .episodes import ACTIONS, OBSERVATIONS
from .glimpse import Glimpse, array_kind, ending
from .recognize import PICTURES
from .record import Recognized

_TABLES = (".csv", ".tsv")


def trajectories(view: Glimpse) -> Recognized | None:
    """Recorded control: arrays or columns of observations and actions, or a Donkeycar tub."""
    if not view.folder and ending(view.path) in (".hdf5", ".h5"):
        return Recognized("an HDF5 file", 2)

    names = view.members() if ending(view.path) == ".npz" and not view.folder else frozenset()
    observed, acted = names & set(OBSERVATIONS), names & set(ACTIONS)
    if observed and acted:
        whole = array_kind(view.path, min(acted)) in ("i", "u", "b")
        keys = {"actions": "discrete"} if whole else {}
        return Recognized(f"arrays {', '.join(sorted(observed | acted))}", 3, keys)

    tubs = view.named(r"(.*/)?catalog_\d+\.catalog") or view.named(r"(.*/)?record_\d+\.json")
    return Recognized(f"{tubs[0]}, a Donkeycar tub", 3) if tubs else _table(view)


def _table(view: Glimpse) -> Recognized | None:
    """A table with a row a step, or a folder of several."""
    files = [file for file in view.files if len(file.parts) == 1 and ending(file) in _TABLES]
    rows = view.rows(files[0], most=200) if files and not view.label else []
    names = [name.strip() for name in rows[0]] if rows else []
    full = [row for row in rows[1:] if len(row) == len(names)]
    if not full or len(set(names)) < len(names):
        return None

    roles = by_names(names)
    if not roles.actions or not roles.observations:
        return None

    observed = [[row[at] for row in full] for at in roles.observations]
    acted = [[row[at].strip() for row in full] for at in roles.actions]
    pictures = any(map(_are_pictures, observed))
    if not all(map(_are_numbers, acted)) or not (pictures or all(map(_are_numbers, observed))):
        return None

    bounded = roles.episode >= 0 or bool(roles.lasts)
    called = [names[at] for at in roles.observations]
    stated = len(called) > 1 and are_observations(called)
    single = all(len(names[at].strip("_ 0123456789")) < 2 for at in roles.actions)  # "a" and "u0" say little
    if not (bounded or pictures or (stated and not single)):
        return None

    whole = len(acted) == 1 and all(value.isdigit() for value in acted[0])
    why = f"{files[0]} has columns {_listed(called)} of observations and "
    return Recognized(
        why + f"{_listed([names[at] for at in roles.actions])} of actions", 3, {"actions": "discrete"} if whole else {}
    )


def _are_pictures(values: Sequence[str]) -> bool:
    return all(value.strip().lower().endswith(tuple(PICTURES)) for value in values)


def _are_numbers(values: Sequence[str]) -> bool:
    """Whether the fields that are filled are numbers, whatever their notation."""
    filled = [value for value in values if not is_missing(value)]
    return bool(filled) and number_text.notation(filled) is not None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
