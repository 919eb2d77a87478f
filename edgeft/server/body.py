"""The inputs of a request: one file as the body, files of a form (multipart/form-data, RFC 7578), or words in JSON.

Nothing here opens a file: words of a client are never taken for the name of a file of this machine.
"""

from __future__ import annotations

import email.parser
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import parse_qsl

from ..core import strict_json
from ..core.errors import nearest

#: inputs of one request
MOST_INPUTS = 64
#: characters of an input's name
_MOST_NAME = 255
_UNNAMED = "input"
#: kinds of bodies by the type that Python itself knows, whatever files this machine has
_TYPES = mimetypes.MimeTypes()


class Refused(Exception):
    """A request that is not answered: the HTTP `status`, and a sentence with its place and remedy."""

    def __init__(
        self, status: int, message: str, *, where: str = "", remedy: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.where, self.remedy = status, message, where, remedy
        self.headers = dict(headers or {})

    def as_dict(self) -> dict[str, object]:
        """The answer: the keys of every error of edgeft, with `status` in place of an exit code."""
        table = {"error": "Refused", "message": self.message, "where": self.where, "remedy": self.remedy}
        return {**table, "status": self.status}


@dataclass(frozen=True)
class Input:
    """One input: its name as the answer calls it, and the bytes of a file or (str) the words themselves."""

    name: str
    content: bytes | str


def inputs(body: bytes, headers: Mapping[str, str], query: str) -> list[Input]:
    """The inputs of a request with these headers (lower-case names) and this query string.

    `?name=photo.png` says that the body is one file with that name, whatever its type. Raises `Refused` (400) for a
    body that cannot be understood.
    """
    if not body:
        raise Refused(400, "The request has no body", remedy="send a file: curl --data-binary @photo.png URL/predict")

    header = Message()
    header["content-type"] = headers.get("content-type", "application/octet-stream")
    kind, name = header.get_content_type(), _named(query)

    if name is None and kind == "multipart/form-data":
        parts = _form(body, header.get_boundary())
    elif name is None and kind == "application/json":
        parts = _words(body)
    else:
        parts = [Input(name or _disposition(headers) or _UNNAMED + (_TYPES.guess_extension(kind) or ""), body)]

    if len(parts) > MOST_INPUTS:
        raise Refused(400, f"The request has {len(parts)} inputs, more than {MOST_INPUTS}", remedy="send several")

    for part in parts:
        if not 0 < len(part.name) <= _MOST_NAME and isinstance(part.content, bytes):
            raise Refused(400, f"A name has {len(part.name)} characters, expected 1 to {_MOST_NAME}", where="name")
        if isinstance(part.content, bytes) and not part.name.isprintable():
            raise Refused(400, f"The name {part.name!r} has characters that cannot be printed", where="name")

    return parts


def _named(query: str) -> str | None:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=8)
    except ValueError as error:
        raise Refused(400, f"The query {query[:80]!r} cannot be read", where="query", remedy="?name=FILE") from error

    table = dict(pairs)
    for key in table:
        if key != "name":
            raise Refused(400, f"The query has the unknown key {key[:80]!r}", where="query", remedy="the key is name")

    return table.get("name")


def _disposition(headers: Mapping[str, str]) -> str:
    """The file name of Content-Disposition (RFC 6266), or ""."""
    header = Message()
    header["content-disposition"] = headers.get("content-disposition", "")
    return header.get_filename("")


def _words(body: bytes) -> list[Input]:
    """Words as they stand on the command line: {"input": "..."} or {"inputs": ["...", ...]}."""
    try:
        table = strict_json.loads(body)
    except ValueError as error:  # of JSON, and of text that is not UTF-8
        remedy = "for a .json file that is the input itself, add ?name=FILE.json"
        raise Refused(400, f"The body is not JSON ({error})", where="body", remedy=remedy) from error

    if not isinstance(table, dict) or len(table) != 1 or not set(table) <= {"input", "inputs"}:
        wrong = [key for key in table if key not in ("input", "inputs")] if isinstance(table, dict) else []
        remedy = nearest(wrong[0][:80], ("input", "inputs")) if wrong else 'send {"inputs": ["...", "..."]}'
        raise Refused(400, 'The body is no JSON object with "input" or "inputs" alone', where="body", remedy=remedy)

    words = [table["input"]] if "input" in table else table["inputs"]
    if not isinstance(words, list) or not words or not all(isinstance(each, str) and each for each in words):
        raise Refused(400, "The inputs are not texts", where="body", remedy='send {"inputs": ["...", "..."]}')

    return [Input(each, each) for each in words]


def _form(body: bytes, boundary: str | None) -> list[Input]:
    """The parts of a form: every file, and every field `input` as words."""
    if not boundary:
        raise Refused(400, "The form names no boundary", where="Content-Type")

    _, *rest = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("ascii", "replace"))
    if not rest or not rest[-1].startswith(b"--"):
        raise Refused(400, "The form is cut off: its last boundary is missing", where="body")

    found = []
    for part in rest[:-1]:
        head, blank, content = part.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not blank:
            raise Refused(400, "A part of the form has no headers", where="body")
        header = email.parser.HeaderParser().parsestr(head.decode("utf-8", "replace"))
        field = header.get_param("name", "", header="content-disposition")
        file = header.get_filename()
        if file is not None:
            found.append(Input(file, content))
        elif field == "input":
            try:
                found.append(Input(content.decode(), content.decode()))
            except UnicodeDecodeError as error:
                raise Refused(400, "The field 'input' is not UTF-8 text", where="body") from error
        else:
            remedy = "a part is a file (with a file name) or a field called input"
            raise Refused(400, f"The form has the unknown field {str(field)[:80]!r}", where="body", remedy=remedy)

    if not found:
        raise Refused(400, "The form has no file", where="body", remedy="curl -F file=@photo.png URL/predict")
    return found
