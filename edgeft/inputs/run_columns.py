"""Rows of a table with named columns: the same arithmetic as edgeft/inputs/columns.py."""

import os

import numpy as np

from ..core.runner import Stop

INPUTS = 'a .csv with a header and rows, "name=value, name=value", or the values in the order of the columns'
MISSING = ("", "nan", "na", "n/a", "null", "none", "#n/a", "<na>", "?", "-nan")


def read(path, spec=None):
    """{"names", "values"} of a file, or of the text itself; "names" is empty where only values are given."""
    import csv

    columns = [column["name"] for column in (spec or {}).get("columns", [])]
    try:
        if os.path.isfile(path):
            names, entries = table_of(path, columns)
            if len(entries) != 1:
                raise Stop(3, f"{path}: expected a header and one row")
            return {"names": names, "values": entries[0][1]}
        divided = [next(csv.reader([path], delimiter=mark, skipinitialspace=True), []) for mark in (",", ";", "\t")]
    except (OSError, ValueError, csv.Error) as error:
        raise Stop(3, f"{path[:80]}: not readable as a row ({error})") from error

    fields = next((parts for parts in divided if len(parts) == len(columns)), divided[0])
    pairs = [field.partition("=") for field in fields]
    if fields and all(equals for _, equals, _ in pairs):
        return {"names": [p[0].strip() for p in pairs], "values": [p[2].strip() for p in pairs]}

    return {"names": [], "values": fields}


def several(path, spec):
    """(a name, what `read` returns) of each row of a table that has several; empty for anything else."""
    try:
        if not os.path.isfile(path):
            return []
        names, entries = table_of(path, [column["name"] for column in spec["columns"]])
    except (OSError, ValueError) as error:
        raise Stop(3, f"{path[:80]}: not readable as a table ({error})") from error
    rows = [(f"{path}:{line}", {"names": names, "values": fields}) for line, fields in entries]
    return rows if len(rows) > 1 else []


def table_of(path, known):
    """(names of the columns, [(line, fields)]) by the delimiter that finds most of the names `known`."""
    import csv

    def hits(mark):
        fields = next(csv.reader([first], delimiter=mark), [])
        return len({field.strip() for field in fields} & set(known)), first.count(mark)

    with open(path, encoding="utf-8-sig", newline="") as handle:
        first = handle.readline()
        try:
            mark = max("\t,;" if path.lower().endswith(".tsv") else ",;\t", key=hits)
            handle.seek(0)
            reader = csv.reader(handle, delimiter=mark)
            entries = [(reader.line_num, fields) for fields in reader if fields]
        except csv.Error as error:
            raise Stop(3, f"{path[:80]}: not readable as a table ({error})") from error

    names = [name.strip() for name in entries[0][1]] if entries else []
    if all(name.isdigit() for name in known) and not set(known) & set(names):
        names = [str(i) for i in range(len(names))]
    else:
        entries = entries[1:]

    for line, fields in entries:
        if len(fields) != len(names):
            raise Stop(3, f"{path}:{line}: has {len(fields)} fields where the header has {len(names)}")

    return names, entries


def plain(text, written):
    """The number that a text is in a column's notation, as Python writes it; any other text as it is."""
    import re

    core, unit, mark, thousands = text, written["unit"], written["decimal"], written["thousands"]
    if unit and core.startswith(unit):
        core = core[len(unit) :]
    elif unit and core.endswith(unit):
        core = core[: -len(unit)]

    core = core.strip()
    whole = r"\d+"
    if thousands:
        whole = rf"(?:[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+|\d+)"
    if not re.match(rf"[+-]?{whole}(?:{re.escape(mark)}\d+)?(?:[eE][+-]?\d+)?$", core):
        return core

    return (core.replace(thousands, "") if thousands else core).replace(mark, ".")


MOMENT = (
    r"(?:(\d{4}|\d{1,2}|[A-Za-z]{3,9})([-/.]| )(\d{1,2}|[A-Za-z]{3,9})(?:[-/.]|,? )(\d{4}|\d{1,2}))?(?:(?:^|T|,? )"
    r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?(?: ?([AaPp])[Mm])?(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?)?$"
)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def moment_of(text, order):
    """(the day as datetime.date or None, the second of the day or None); raises ValueError for anything else."""
    import datetime
    import re

    found = re.match(MOMENT, text.strip())
    if found is None or not (found.group(1) or found.group(5)):
        raise ValueError("no date or time")

    day = None
    if found.group(1):
        first, second, third = found.group(1), found.group(3), found.group(4)
        if len(first) == 4 and first.isdigit():
            year, month, number = first, second, third
        elif not first.isdigit() or (second.isdigit() and order == "month-first"):
            month, number, year = first, second, third
        else:
            number, month, year = first, second, third
        if not month.isdigit():
            month = MONTHS.index(month[:3].lower()) + 1
        whole = int(year) if len(year) == 4 else int(year) + (2000 if int(year) < 70 else 1900)
        day = datetime.date(whole, int(month), int(number))

    if not found.group(5):
        return day, None

    hour, minute, second = int(found.group(5)), int(found.group(6)), int(found.group(7) or 0)
    if found.group(8):
        if not 1 <= hour <= 12:
            raise ValueError("no hour of a clock")
        hour = hour % 12 + 12 * (found.group(8) in "Pp")
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("no time of a day")

    return day, hour * 3600 + minute * 60 + second


def places(value, column):
    """Sine and cosine of a date or time on each of the column's cycles."""
    import math

    try:
        day, second = moment_of(value, column["order"])
    except ValueError as error:
        raise Stop(3, "{!r} in the column {!r} is no date or time".format(value, column["name"])) from error

    numbers = []
    for cycle in column["cycles"]:
        if (second if cycle == "day" else day) is None:
            numbers += [0.0, 0.0]
            continue
        if cycle == "day":
            share = second / 86400.0
        elif cycle == "week":
            share = (day.toordinal() - 1) % 7 / 7.0
        else:
            share = (day.toordinal() - day.replace(month=1, day=1).toordinal()) / 366.0
        numbers += [math.sin(2.0 * math.pi * share), math.cos(2.0 * math.pi * share)]

    return numbers


def feeds(raw, spec):
    """{input name: float32 (1, K)}: numbers less mean, over std; a column for each value of a category."""
    columns = spec["columns"]
    names = [str(name) for name in raw["names"]] or [column["name"] for column in columns]
    values = [str(value) for value in raw["values"]]
    if len(names) != len(values):
        raise Stop(3, "a row has {} values for the columns {}".format(len(values), ", ".join(names)))

    fields, parts = dict(zip(names, values)), []
    for column in columns:
        if column["name"] not in fields:
            raise Stop(3, "a row has no column {!r}".format(column["name"]))
        value = fields[column["name"]].strip()
        absent = value.lower() in MISSING
        if column["kind"] == "category":
            parts += [float(not absent and value == known) for known in column["values"]]
            continue
        if column["kind"] == "moment":
            parts += [0.0] * (2 * len(column["cycles"])) if absent else places(value, column)
            parts += [float(absent)] if column["missing"] else []
            continue
        try:
            text = plain(value, column["written"]) if column.get("written") else value
            number = column["mean"] if absent else float(text)
        except ValueError:
            number = float("nan")
        if not np.isfinite(number):
            raise Stop(3, "{!r} in the column {!r} is no finite number".format(value, column["name"]))
        parts.append((number - column["mean"]) / column["std"])
        parts += [float(absent)] if column["missing"] else []

    return {spec["input"]: np.array([parts], np.float32)}


def stored(samples, i):
    return {key: samples[f"raw_{i}/{key}"] for key in ("names", "values")}
