"""Sentence pairs as the field writes them: OPUS, Tatoeba, WMT, TMX, nested JSON, Parquet, other encodings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError

PAIRS = [(f"see I green dog {i}.", f"ich sehe grünen Hund {i}.") for i in range(60)]


def of(path: Path, **keys: Any) -> Data:
    return Data(format="pairs", path=str(path), **{"pairs": {"source": "en", "target": "de"}, **keys})


def pairs_of(dataset: data.Dataset) -> dict[str, str]:
    return {s.raw(i): s.targets[i] for s in dataset.splits.values() for i in range(len(s))}


def tatoeba(path: Path) -> None:
    lines = [f"{i}\t{en}\t{i + 100}\t{de}" for i, (en, de) in enumerate(PAIRS)]
    path.write_text("\ufeff" + "\n".join([*lines, ""]), encoding="utf-8")


def manythings(path: Path) -> None:
    lines = [f'{en}\t{de}\tCC-BY 2.0 (France) Attribution: tatoeba.org #{i} "x' for i, (en, de) in enumerate(PAIRS)]
    path.write_text("\n".join(lines), encoding="utf-8")


def wmt(path: Path) -> None:
    path.write_text("\n".join(f"{de}\t{en}" for en, de in PAIRS), encoding="utf-8")


def tmx(path: Path) -> None:
    units = "".join(
        f'<tu tuid="{i}"><tuv xml:lang="en-US"><seg>{en}</seg></tuv><tuv xml:lang="de"><seg>ich <bpt i="1"/>'
        f"{de.removeprefix('ich ')}</seg></tuv></tu>"
        for i, (en, de) in enumerate(PAIRS)
    )
    header = '<?xml version="1.0"?><tmx version="1.4"><header srclang="en"/>'
    path.write_text(f"{header}<body>{units}</body></tmx>", encoding="utf-8")


def nested(path: Path) -> None:
    rows = [{"id": i, "translation": {"en": en, "de": de}} for i, (en, de) in enumerate(PAIRS)]
    path.write_text(json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows)))


def parquet(path: Path) -> None:
    pyarrow, writer = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    writer.write_table(pyarrow.Table.from_pylist([{"translation": {"en": en, "de": de}} for en, de in PAIRS]), path)


FILES = {
    "x.tsv": tatoeba,
    "deu.tsv": manythings,
    "news-commentary-v18.de-en.tsv": wmt,
    "de-en.tmx": tmx,
    "train.jsonl": nested,
    "data.json": nested,
    "train-00000-of-00001.parquet": parquet,
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("folder", [False, True])
def test_files_of_the_field(tmp_path: Path, name: str, folder: bool) -> None:
    FILES[name](tmp_path / name)
    dataset = data.open(of(tmp_path if folder else tmp_path / name))
    assert pairs_of(dataset) == dict(PAIRS)
    assert not any("left out" in note for note in dataset.notes)


def test_columns_by_number(tmp_path: Path) -> None:
    tatoeba(tmp_path / "x.tsv")
    turned = data.open(of(tmp_path / "x.tsv", pairs={"source": "3", "target": "1"}))
    assert pairs_of(turned) == {de: en for en, de in PAIRS}
    (tmp_path / "y.tsv").write_text("\n".join(f"{en}\t{de}\tmore\tof it" for en, de in PAIRS), encoding="utf-8")
    with pytest.raises(DataError, match="has no column 'en'") as error:
        data.open(of(tmp_path / "y.tsv"))
    assert "numbers from 0" in error.value.remedy


def test_texts_of_opus_need_no_split_in_their_names(tmp_path: Path) -> None:
    """Several corpora are joined; files of no pair (README, ids) are no part of them."""
    for corpus, part in (("Tatoeba", PAIRS[:40]), ("GNOME", PAIRS[40:])):
        (tmp_path / f"{corpus}.de-en.en").write_text("".join(f"{en}\n" for en, _ in part))
        (tmp_path / f"{corpus}.de-en.de").write_text("".join(f"{de}\n" for _, de in part), encoding="utf-8")
        (tmp_path / f"{corpus}.de-en.ids").write_text("en/1 de/2\n" * 20)
    (tmp_path / "README").write_text("x")
    dataset = data.open(of(tmp_path))
    assert pairs_of(dataset) == dict(PAIRS)
    sources = {dataset.split("train").source(i).rpartition(":")[0] for i in range(len(dataset.split("train")))}
    assert {Path(source).name for source in sources} == {"Tatoeba.de-en.en", "GNOME.de-en.en"}
    (tmp_path / "test.en").write_text("one test\n")
    (tmp_path / "test.de").write_text("ein Test\n")
    (tmp_path / "train.en").write_text("".join(f"{en}\n" for en, _ in PAIRS))
    (tmp_path / "train.de").write_text("".join(f"{de}\n" for _, de in PAIRS), encoding="utf-8")
    dataset = data.open(of(tmp_path))
    assert len(dataset.split("test")) == 1 and any("have no split are not read: GNOME" in n for n in dataset.notes)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig"])
def test_parallel_texts_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    for at, name in enumerate(("train.en", "train.de")):
        (tmp_path / name).write_bytes("".join(f"{pair[at]}\r\n" for pair in PAIRS).encode(encoding))
    dataset = data.open(of(tmp_path))
    assert pairs_of(dataset) == dict(PAIRS)
    assert any("data.encoding" in note for note in dataset.notes) == (encoding != "utf-8-sig")


def test_what_is_no_tmx(tmp_path: Path) -> None:
    path = tmp_path / "a.tmx"
    path.write_text('<!DOCTYPE tmx [<!ENTITY a "b">]><tmx><body><tu/></body></tmx>')
    with pytest.raises(DataError, match="declares entities"):
        data.open(of(path))
    path.write_text("<tmx><body><tu>\n<tuv></tu>")
    with pytest.raises(DataError, match=r"a\.tmx:2: is not readable as TMX"):
        data.open(of(path))
    path.write_text("<tmx><body>" + "<tu><tuv xml:lang='en'><seg>a b</seg></tuv></tu>" * 9 + "</body></tmx>")
    with pytest.raises(DataError, match=r"9 of 9 pairs cannot be used, the first: .*unit 1: has no 'de'"):
        data.open(of(path))
