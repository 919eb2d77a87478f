"""Models of the Hugging Face hub by name, through the package huggingface_hub: its cache, endpoint and tokens.

Nothing is downloaded unless that was allowed, and what has come is checked against the digests that the hub states. A
commit that already lies in the cache is taken without asking anybody.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from ..config import recipe
from ..core import files
from ..core.errors import Missing, ModelError, RecipeError, SystemFailure, need
from ..core.progress import phase
from . import folder, hub_errors
from .built import Origin
from .named import Kind, Located

PREFIX = "hub:"
#: the branch that a name without a revision means
MAIN = "main"
_NAME = re.compile(r"(?P<repository>[\w.-]+(/[\w.-]+)?)(?P<file>(/[\w. +=-]+)*)(@(?P<revision>[\w./+-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FORM = 'the form is "hub:owner/name@revision" or "hub:owner/name/file@revision"'


@dataclass(frozen=True)
class Reference:
    """A model of the hub: its repository "owner/name", a branch, tag or commit, and a file of it ("" = its weights)."""

    repository: str
    revision: str = MAIN
    file: str = ""

    def __str__(self) -> str:
        path = f"{self.repository}/{self.file}" if self.file else self.repository
        return f"{PREFIX}{path}@{self.revision}"


@dataclass(frozen=True)
class Snapshot:
    """Files of one commit on this machine.

    `folder` holds them, `weights` is the file of weights or the index of its shards, `reference` names the commit, and
    `sha256` has the digest of each file by its path in the folder. `notes` are for the user.
    """

    folder: Path
    weights: Path
    reference: Reference
    sha256: dict[str, str]
    notes: tuple[str, ...] = ()


def parse(name: str) -> Reference:
    """The reference of "hub:owner/name@revision"; raises `RecipeError` for what has not that form."""
    match = _NAME.fullmatch(name.removeprefix(PREFIX))
    revision = match["revision"] or MAIN if match else ""
    if not match or ".." in name or revision.startswith(("/", "-")):
        raise RecipeError(f"cannot be {name!r}", where="model.weights", remedy=_FORM)

    return Reference(match["repository"], revision, match["file"].removeprefix("/"))


def snapshot(name: str, revision: str = "", allow: bool = False) -> Path:
    """The local folder of a model of the hub, "owner/name" or "hub:owner/name@revision".

    `revision` is a branch, tag or commit where the name has none; `allow` permits the download. Raises what `fetch`
    raises.
    """
    reference = parse(name)
    return fetch(replace(reference, revision=revision) if revision else reference, allow).folder


def fetch(reference: Reference, allow: bool = False) -> Snapshot:
    """The files of a reference: from the cache, or with `allow` from the hub; each is checked by its digest.

    Only the weights (safetensors where there are some), settings and tokenizers are fetched. Raises `RecipeError` for
    a name that the hub does not know, `ModelError` for a repository without weights and for content that is not what
    the hub says, `Missing` without permission, network access that is switched off, a token or the package, and
    `SystemFailure` where the hub cannot be reached.
    """
    client = _client()
    with hub_errors.valid_names(client, reference.repository):
        client.utils.validate_repo_id(reference.repository)

    commit = cached_commit(client, reference)
    cached = _cached(client, replace(reference, revision=commit)) if commit else None

    if cached is not None and (commit == reference.revision or client.constants.is_offline_mode()):
        return cached

    if client.constants.is_offline_mode():
        raise Missing(
            f"{_title(reference)} is not in the cache{_lacking(client, reference, commit)}, and HF_HUB_OFFLINE is set",
            where="model.weights",
            remedy=f"unset HF_HUB_OFFLINE, or {hub_errors.elsewhere(reference.repository, reference.revision)}",
        )

    if not allow:
        if cached is not None:
            note = f"{reference.revision} of {reference.repository} is taken as it is in the cache, commit {commit}"
            return replace(cached, notes=(note,))
        title = _title(reference) + _lacking(client, reference, commit)
        raise hub_errors.not_allowed(title, reference.repository, reference.revision)

    try:
        return _downloaded(client, reference)
    except hub_errors.unreachable(client) as error:
        if cached is None or not hub_errors.is_unreachable(error):
            raise hub_errors.explained(error, client, reference.repository, reference.revision) from error
        note = f"the hub cannot be reached: {reference.repository} is taken as it is in the cache, commit {commit}"
        return replace(cached, notes=(note,))


def _client() -> ModuleType:
    """The package huggingface_hub with the modules of it that are used here; it tells no server what is installed."""
    client = need("huggingface_hub", "hub")
    for name in ("constants", "errors", "utils"):
        need(f"huggingface_hub.{name}", "hub")
    if "HF_HUB_DISABLE_TELEMETRY" not in os.environ:
        client.constants.HF_HUB_DISABLE_TELEMETRY = True
    return client


def _title(reference: Reference) -> str:
    path = f"{reference.repository}/{reference.file}" if reference.file else reference.repository
    return f"{path} (revision {reference.revision})"


def repository_folder(client: ModuleType, repository: str) -> Path:
    """Where the cache keeps a repository, whether it is there or not."""
    return Path(client.constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"


def cached_commit(client: ModuleType, reference: Reference) -> str:
    """The commit of a reference as far as this machine knows it: itself, or what the cache says of the branch; ""."""
    if _COMMIT.fullmatch(reference.revision):
        return reference.revision
    path = repository_folder(client, reference.repository) / "refs" / reference.revision
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = path.read_text().strip()
        return text if _COMMIT.fullmatch(text) else ""
    return ""


def _cached(client: ModuleType, reference: Reference) -> Snapshot | None:
    """The snapshot of a commit, None where the cache lacks a file of it."""
    root, present = _present(client, reference)
    listed = _listing(client, reference) or present
    weights = _weights(reference, listed)
    if weights is None or not set(folder.needed(listed, weights)) <= set(present):
        return None
    if weights.endswith(folder.INDEX) and not folder.shards_of(weights, present):
        return None

    return _checked(root, reference, weights, folder.needed(present, weights))


def _present(client: ModuleType, reference: Reference) -> tuple[Path, list[str]]:
    """The folder of a commit in the cache, and the files in it."""
    root = repository_folder(client, reference.repository) / "snapshots" / reference.revision
    return root, [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


def _lacking(client: ModuleType, reference: Reference, commit: str) -> str:
    """What the cache lacks of a commit that it has in part, as an insertion; "" where it has nothing of it."""
    pinned = replace(reference, revision=commit)
    _, present = _present(client, pinned)
    if not commit or not present:
        return ""

    listed = _listing(client, pinned)
    weights = _weights(reference, listed) if listed else None
    missing = sorted(set(folder.needed(listed, weights)) - set(present)) if weights else ["its weights"]
    return f" as a whole (lacking {', '.join(missing[:3])}{' and more' * (len(missing) > 3)})" if missing else ""


def _listing(client: ModuleType, reference: Reference) -> list[str]:
    """The files that the commit has, where the cache keeps the hub's list; [] where it does not."""
    listing = getattr(client, "get_cached_repo_tree", None)  # since 2.0
    if listing is None:
        return []
    with contextlib.suppress(client.errors.CachedRepoTreeNotFoundError, OSError, ValueError):
        return [entry.path for entry in listing(reference.repository, revision=reference.revision)]
    return []


def _weights(reference: Reference, names: Sequence[str]) -> str | None:
    """The file of weights among a repository's files, None where there is none; `ModelError` for several."""
    if reference.file:
        return reference.file if reference.file in names else None

    candidates = folder.weights_among(names)
    if len(candidates) > 1:
        raise ModelError(
            f"{reference.repository} holds several files of weights: {', '.join(candidates[:5])}",
            where="model.weights",
            remedy=f'name the file: "{replace(reference, file=candidates[0])}"',
        )

    return candidates[0] if candidates else None


def _downloaded(client: ModuleType, reference: Reference) -> Snapshot:
    """Ask the hub for the commit and its files, fetch those that the cache lacks, and check them."""
    api = client.HfApi(endpoint=client.constants.ENDPOINT)
    info = api.model_info(reference.repository, revision=reference.revision)
    names = [sibling.rfilename for sibling in info.siblings or ()]
    weights = _weights(reference, names)
    if weights is None:
        raise hub_errors.no_weights(reference.repository, reference.file, names)

    chosen = folder.needed(names, weights)
    pinned = replace(reference, revision=info.sha)
    patterns = [glob.escape(name) for name in chosen]
    with phase(f"downloading {reference.repository}"), _no_bars(client):
        root = Path(client.snapshot_download(reference.repository, revision=info.sha, allow_patterns=patterns))

    checked = _checked(root, pinned, weights, chosen)

    if reference.revision != info.sha:  # what a later run without the network takes the branch for
        _remember(repository_folder(client, reference.repository) / "refs" / reference.revision, info.sha)

    return checked


def _remember(path: Path, commit: str) -> None:
    """Write the cache's record of a branch or tag: its commit."""
    with contextlib.suppress(OSError, SystemFailure):  # a cache that may only be read
        files.write_text(path, commit)


@contextlib.contextmanager
def _no_bars(client: ModuleType) -> Iterator[None]:
    """The client draws no bars of its own: edgeft shows how far its work is."""
    drawn = not client.utils.are_progress_bars_disabled()
    if drawn and client.constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
        client.utils.disable_progress_bars()
    try:
        yield
    finally:
        if drawn and client.constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
            client.utils.enable_progress_bars()


def _checked(root: Path, reference: Reference, weights: str, names: Sequence[str]) -> Snapshot:
    """The snapshot with the digest of each file.

    The cache keeps a file under the digest that the hub stated (SHA-256 of a large file, git's of a small one), and a
    link with its name to that. One that has other content is removed, and `ModelError` raised.
    """
    digests: dict[str, str] = {}
    for name in names:
        path = root / name
        digests[name] = files.sha256(path)
        stated = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
        if not _agrees(path, digests[name], stated):
            with contextlib.suppress(OSError):
                (path.parent / os.readlink(path)).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            raise ModelError(
                f"{name} of {reference.repository} is not the file that the hub states: its digest is another one",
                where="model.weights",
                remedy="it was removed from the cache: download it again, from a hub that you trust",
            )

    return Snapshot(root, root / weights, reference, digests)


def _agrees(path: Path, sha256: str, stated: str) -> bool:
    """Whether a file is what its digest says; True where none of a known kind is stated."""
    if re.fullmatch(r"[0-9a-f]{64}", stated):
        return sha256 == stated
    if not _COMMIT.fullmatch(stated):
        return True

    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == stated


def locate(model: recipe.Model, allow: bool) -> Located:
    """The folder of a repository, or the file of it that `model.weights` names; raises what `fetch` raises."""
    reference = parse(model.weights)
    fetched = fetch(reference, allow)
    path = fetched.weights if reference.file else fetched.folder
    return Located(path, Origin(str(fetched.reference), fetched.sha256), notes=fetched.notes)


KIND = Kind("hub", locate, ("hub:owner/name@revision", "hub:owner/name/file@revision"))
