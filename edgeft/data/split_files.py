"""One file a split: the file that a recipe names, or that of a kind in each split's folder."""

from __future__ import annotations

from pathlib import Path

from ..config import recipe
from ..core.errors import DataError
from .folders import split_folders


def located(spec: recipe.Data, suffix: str, what: str, beside: tuple[str, ...] = ()) -> tuple[Path, dict[str, Path]]:
    """(folder of the data, {split: its file}); "train" alone where the data is not divided.

    `what` names the file in messages, `beside` are stems of files of that suffix that are something else. Raises
    `DataError` where a folder has none or several.
    """
    path = Path(spec.path)
    if not spec.path or not path.exists():
        problem = "no such file or folder" if spec.path else "no data is given"
        raise DataError(problem, where=spec.path or "data.path", remedy=f"set data.path to {what} or its folder")
    if path.is_file():
        return path.parent, {"train": path}

    files = {}
    for part, folder in split_folders(path).items():
        fitting = [file for file in sorted(folder.glob(f"*{suffix}")) if file.stem.strip("_").lower() not in beside]
        if len(fitting) != 1:
            named = f" ({', '.join(file.name for file in fitting[:5])})" if fitting else ""
            raise DataError(
                f"holds {len(fitting)} {suffix} files{named}", where=str(folder), remedy=f"set data.path to {what}"
            )
        files[part] = fitting[0]

    return path, files
