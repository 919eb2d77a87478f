"""What can go wrong between here and a hub, in plain words: what it was, and what to do."""

from __future__ import annotations

import contextlib
import difflib
import shlex
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from ..core.errors import EdgeftError, Missing, ModelError, RecipeError, SystemFailure

WHERE = "model.weights"
#: repositories of a search that a misspelt name is compared with
SEARCHED = 50


def elsewhere(repository: str, revision: str) -> str:
    """How to bring a repository onto a machine without the network."""
    command = shlex.join(["hf", "download", repository, "--revision", revision, "--local-dir", "FOLDER"])
    return f"on a machine with a network run `{command}`, copy FOLDER here and give model.weights its path"


def not_allowed(title: str, repository: str, revision: str) -> Missing:
    """The error of a download that nobody allowed."""
    return Missing(
        f"{title} is not on this machine, and nothing is downloaded unless that is allowed",
        where=WHERE,
        remedy="set model.allow_download = true in the recipe; without a network here, "
        + elsewhere(repository, revision),
        option="--allow-download",
    )


@contextlib.contextmanager
def valid_names(client: ModuleType, repository: str) -> Iterator[None]:
    """Turn the client's refusal of a name that no repository can have into `RecipeError`."""
    try:
        yield
    except client.errors.HFValidationError as error:
        raise RecipeError(
            f"{repository!r} cannot be the name of a repository", where=WHERE, remedy="owner/name, as its page shows it"
        ) from error


def no_weights(repository: str, file: str, names: Sequence[str]) -> ModelError:
    """The error of a repository without the file that was asked for, or without weights that can be read."""
    if file:
        near = difflib.get_close_matches(file, names, n=3, cutoff=0.4)
        remedy = f"nearest: {', '.join(near)}" if near else f"it holds {', '.join(sorted(names)[:8])}"
        return ModelError(f"{repository} has no file {file!r}", where=WHERE, remedy=remedy)

    held = ", ".join(sorted(names)[:8]) or "nothing"
    return ModelError(
        f"{repository} has no weights that can be read (.safetensors, or a state dict in .bin, .pt, .pth, .ckpt)",
        where=WHERE,
        remedy=f"it holds {held}; name another repository or revision",
    )


def unreachable(client: ModuleType) -> tuple[type[Exception], ...]:
    """The exceptions of the client for whatever a hub or the network answers."""
    # The first base is the error of the client's HTTP package, whose name changes between its versions.
    return (client.errors.HfHubHTTPError, *client.errors.HfHubHTTPError.__bases__[:1], OSError)


def is_unreachable(error: BaseException) -> bool:
    """Whether nobody answered, or the server is out of order: what is in the cache may be taken then."""
    status = _status(error)
    return status is None or status >= 500 or status in (408, 429)


def _status(error: BaseException | None) -> int | None:
    """The HTTP status of an error or its causes, None where no answer came."""
    visited = 0
    while error is not None and visited < 8:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error, visited = error.__cause__ or error.__context__, visited + 1
    return None


def explained(error: Exception, client: ModuleType, repository: str, revision: str) -> EdgeftError:
    """The error of the client as the user meets it."""
    kinds = client.errors
    endpoint = client.constants.ENDPOINT
    status = _status(error)

    if isinstance(error, kinds.GatedRepoError) or status == 403:
        return Missing(
            f"{repository} is gated: its owner wants terms accepted, and the hub gave no access",
            where=WHERE,
            remedy=f"accept them at {endpoint}/{repository}, then `hf auth login` (or HF_TOKEN=...) with that account",
        )

    if isinstance(error, kinds.RevisionNotFoundError):
        return RecipeError(
            f"{repository} has no revision {revision!r}",
            where=WHERE,
            remedy=_nearest_revision(client, repository, revision),
        )

    if isinstance(error, kinds.RepositoryNotFoundError):
        return _unknown(client, repository)

    if status == 401:
        return Missing(
            f"the hub at {endpoint} refused the token",
            where=WHERE,
            remedy="`hf auth login` with a valid token, or correct HF_TOKEN; public repositories need none",
        )

    if status is not None:
        what = "too many requests" if status == 429 else f"HTTP {status}"
        return SystemFailure(
            f"the hub at {endpoint} answered {what} for {repository}", where=WHERE, remedy="try again in a while"
        )

    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        raise error  # a full disk, no permission: told as such

    return SystemFailure(
        f"{repository} could not be downloaded from {endpoint} ({_first_line(error)})",
        where=WHERE,
        remedy="check the network, HF_ENDPOINT and proxies, then repeat the command; or "
        + elsewhere(repository, revision),
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _unknown(client: ModuleType, repository: str) -> EdgeftError:
    """The error of a repository that the hub does not show: it says the same of one that is private."""
    near = difflib.get_close_matches(repository, _search(client, repository), n=3, cutoff=0.5)
    remedy = f"nearest: {', '.join(near)}; " if near else ""
    return RecipeError(
        f"the hub at {client.constants.ENDPOINT} shows no repository {repository!r}",
        where=WHERE,
        remedy=f"{remedy}where it is private, `hf auth login` (or HF_TOKEN=...) with an account that may read it",
    )


def _search(client: ModuleType, repository: str) -> list[str]:
    """Names of repositories like this one, as the hub finds them; [] where it does not answer."""
    owner, _, name = repository.rpartition("/")
    api = client.HfApi(endpoint=client.constants.ENDPOINT)
    names: list[str] = []
    for query in ({"author": owner} if owner else {}, {"search": name}):
        if query:
            names += _asked(lambda query=query: [model.id for model in api.list_models(**query, limit=SEARCHED)])
    return names


def _nearest_revision(client: ModuleType, repository: str, revision: str) -> str:
    api = client.HfApi(endpoint=client.constants.ENDPOINT)

    def names() -> list[str]:
        refs = api.list_repo_refs(repository)
        return [ref.name for ref in (*refs.branches, *refs.tags)]

    refs = _asked(names)
    near = difflib.get_close_matches(revision, refs, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"

    return f"known: {', '.join(refs[:8])}" if refs else "see its page for branches, tags and commits"


def _asked(question: Any) -> list[str]:
    """The hub's answer to a question that only serves a message; [] where it has none."""
    try:
        answer: list[str] = question()
    except Exception:  # whatever it is, the error that is being explained matters more
        return []
    return answer
