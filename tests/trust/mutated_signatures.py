"""Run by the interpreter that has model-signing: signatures and keys that were altered, and what `tool.check` makes of
each. argv: the job of a check that succeeds (a JSON file), a seed, a number of alterations. Prints a JSON object."""

import base64
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from edgeft.core.errors import EdgeftError
from edgeft.trust import tool

VALUES = (None, True, 0, -1, 10**400, 0.5, "", "x", "../x", "A" * 5000, [], [[]], {}, {"a": {}}, "\ud800", "AAAA")


def places(value, at=()):
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from places(below, (*at, key))


def altered_value(table, rng):
    """A copy with one value replaced, removed, doubled, or put in another's place."""
    table = json.loads(json.dumps(table))
    at = rng.choice(list(places(table)))
    holder = table
    for key in at[:-1]:
        holder = holder[key]
    how = rng.randrange(5)
    if how == 0:
        del holder[at[-1]]
    elif how == 1 and isinstance(holder, list):
        holder.append(holder[at[-1]])
    elif how == 2 and isinstance(holder, dict):
        holder[f"{at[-1]}{rng.choice(' x_')}"] = holder.pop(at[-1])
    elif how == 3 and isinstance(holder[at[-1]], str) and holder[at[-1]]:
        text = holder[at[-1]]
        i = rng.randrange(len(text))
        holder[at[-1]] = text[:i] + rng.choice(["", text[i] * 2, chr(rng.randrange(1, 0x250))]) + text[i + 1 :]
    else:
        holder[at[-1]] = rng.choice(VALUES)
    return table


def altered_bytes(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        i, how = rng.randrange(len(data) + 1), rng.randrange(5)
        if how == 0:
            data[i : i + 1] = bytes([rng.randrange(256)])
        elif how == 1:
            del data[i : i + rng.choice((1, 4, 60))]
        elif how == 2:
            data[i:i] = data[i : i + rng.choice((1, 4, 60))]
        elif how == 3:
            data[i:i] = rng.choice((b"\x00", b"\xff\xfe", b" ", b"\n", b"[" * 3000, b'{"a":', b"9" * 500))
        else:
            j = rng.randrange(len(data) + 1)
            data[min(i, j) : max(i, j)] = b""
        data = data or bytearray(b"x")
    return bytes(data)


def altered(text, rng):
    """The signature altered as a file, in its fields, or in the fields of what it signs; or with a field twice."""
    how = rng.randrange(4)
    if how == 0:
        return altered_bytes(text.encode(), rng).decode(errors="replace")
    table = json.loads(text)
    if how == 1:
        return json.dumps(altered_value(table, rng))

    envelope = table["dsseEnvelope"]
    payload = json.loads(base64.b64decode(envelope["payload"]))
    changed = base64.b64encode(json.dumps(altered_value(payload, rng)).encode()).decode()
    if how == 2:
        envelope["payload"] = changed
        return json.dumps(table)

    field = rng.choice((f'"payload": "{changed}"', '"payloadType": "x"', '"signatures": []'))
    text = json.dumps(table)
    where = text.index('"payload":') if rng.random() < 0.5 else text.index('"dsseEnvelope": {') + 17
    return f"{text[:where]}{field}, {text[where:]}"


def signed(text):
    """What a signature's file holds: the bytes that were signed, and their signatures."""
    envelope = json.loads(text)["dsseEnvelope"]
    return base64.b64decode(envelope["payload"]), {base64.b64decode(entry["sig"]) for entry in envelope["signatures"]}


def main(job_path, seed, count):
    job = json.loads(Path(job_path).read_text())
    original, before = job["signature"], tool.check(job)
    key, rng = Path(job["keys"][0]).read_bytes(), random.Random(seed)
    counts, wrong = Counter(), []

    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            changed = dict(job, scratch=folder)
            if number % 4:
                changed["signature"] = altered(original, rng)
            else:
                path = Path(folder, "key.pub")
                path.write_bytes(altered_bytes(key, rng))
                changed["keys"] = [str(path)]
            try:
                answer = tool.check(changed)
            except EdgeftError as error:
                counts[type(error).__name__] += 1
                continue
            except Exception as error:
                wrong.append(f"{type(error).__name__}: {error}"[:300] + f" of {changed['signature'][:2000]!r}")
                continue

            counts["accepted"] += 1
            same = (answer["key"], answer["files"]) == (before["key"], before["files"])
            if not same or signed(changed["signature"]) != signed(original):
                wrong.append(f"accepted: {changed['signature'][:2000]!r}")

    print(json.dumps({"counts": counts, "wrong": wrong}))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
