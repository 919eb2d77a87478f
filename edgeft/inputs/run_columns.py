"""Rows of a table with named columns: the same arithmetic as edgeft/inputs/columns.py."""

import os

import numpy as np

from ..core.runner import Stop

INPUTS = 'a .csv with a header and one row, "name=value, name=value", or the values in the order of the columns'
MISSING = ("", "nan", "na", "n/a", "null", "none", "#n/a", "<na>", "?", "-nan")


def read(path, spec=None):
    """{"names", "values"} of a file, or of the text itself; "names" is empty where only values are given."""
    import csv

    try:
        if os.path.isfile(path):
            with open(path, encoding="utf-8-sig", newline="") as handle:
                rows = [
                    row for row in csv.reader(handle, delimiter="\t" if path.lower().endswith(".tsv") else ",") if row
                ]
            if len(rows) != 2 or len(rows[0]) != len(rows[1]):
                raise Stop(3, f"{path}: expected a header and one row of as many fields")
            return {"names": [name.strip() for name in rows[0]], "values": rows[1]}
        fields = next(csv.reader([path], skipinitialspace=True), [])
    except (OSError, ValueError, csv.Error) as error:
        raise Stop(3, f"{path[:80]}: not readable as a row ({error})") from error
    pairs = [field.partition("=") for field in fields]
    if fields and all(equals for _, equals, _ in pairs):
        return {"names": [p[0].strip() for p in pairs], "values": [p[2].strip() for p in pairs]}
    return {"names": [], "values": fields}


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
