"""Strings of spoken digits: clips of one speaker, joined with pauses, and what is said in `metadata.csv`.

    python prepare.py fsdd strings [--train 1500] [--val 200] [--test 300] [--seed 0]

`fsdd/` holds train/ and test/ with files such as 7_theo_12.wav (digit, speaker, number of the recording). Strings of
`test/` are made of clips of `fsdd/test` alone. Of the training recordings every fifth number (of each speaker and
digit) is put aside for the strings of `val/`, so that no clip is in two splits. Standard library and numpy.
"""

from __future__ import annotations

import argparse
import csv
import wave
from pathlib import Path

import numpy as np

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RATE = 8000
#: digits of a string; short ones are trained on as well, since they show which sound a word is
DIGITS = {"train": (1, 7), "val": (3, 7), "test": (3, 7)}
#: seconds of a pause, and the longest string in seconds
PAUSE, LONGEST = (0.05, 0.4), 6.0
#: loudness of a string as a factor, and of the noise behind all of it (full scale 1)
GAIN, NOISE = (0.5, 1.0), (1e-4, 2e-3)
#: every so many numbers of a recording are for validation
HELD_OUT = 5


#: {(speaker, digit): {number of the recording: float64 (T,)}}
Pool = dict[tuple[str, str], dict[int, np.ndarray]]


def clips(folder: Path) -> Pool:
    """The clips of a folder."""
    found: Pool = {}
    for path in sorted(folder.glob("*.wav")):
        digit, speaker, number = path.stem.split("_")
        with wave.open(str(path), "rb") as file:
            if (file.getframerate(), file.getsampwidth(), file.getnchannels()) != (RATE, 2, 1):
                raise SystemExit(f"{path}: expected 16-bit mono at {RATE} Hz")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768.0
        found.setdefault((speaker, digit), {})[int(number)] = samples

    if not found:
        raise SystemExit(f"{folder}: holds no .wav files")
    return found


def string(pool: Pool, digits_of: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, str, str]:
    """int16 (T,), its words and its speaker; drawn again where it would be too long."""
    speakers = sorted({speaker for speaker, _ in pool})
    while True:
        speaker = str(rng.choice(speakers))
        digits = rng.integers(0, 10, rng.integers(digits_of[0], digits_of[1] + 1))
        parts = [np.zeros(int(RATE * rng.uniform(*PAUSE)))]
        for digit in digits:
            takes = pool[speaker, str(digit)]
            parts += [takes[int(rng.choice(sorted(takes)))], np.zeros(int(RATE * rng.uniform(*PAUSE)))]
        sound = np.concatenate(parts)
        if len(sound) <= LONGEST * RATE:
            break

    sound = rng.uniform(*GAIN) * sound + rng.uniform(*NOISE) * rng.standard_normal(len(sound))
    words = " ".join(WORDS[digit] for digit in digits)
    return np.round(32767 * sound.clip(-1, 1)).astype(np.int16), words, speaker


def write(folder: Path, pool: Pool, count: int, seed: list[int]) -> None:
    """`count` strings as folder/0000.wav and so on, with metadata.csv: file, text, speaker."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as table:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(("file", "text", "speaker"))
        for i in range(count):
            samples, words, speaker = string(pool, DIGITS[folder.name], rng)
            with wave.open(str(folder / f"{i:04}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes(samples.astype("<i2").tobytes())
            rows.writerow((f"{i:04}.wav", words, speaker))


def make(fsdd: Path, out: Path, counts: dict[str, int], seed: int = 0) -> None:
    """The three splits of strings below `out`, from `fsdd`/train and `fsdd`/test."""
    learned, heard = clips(fsdd / "train"), clips(fsdd / "test")
    aside = {key: {n: takes[n] for n in sorted(takes)[::HELD_OUT]} for key, takes in learned.items()}
    kept = {key: {n: takes[n] for n in takes if n not in aside[key]} for key, takes in learned.items()}
    for number, (name, pool) in enumerate((("train", kept), ("val", aside), ("test", heard))):
        write(out / name, pool, counts[name], [seed, number])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fsdd", type=Path, help="the folder with train/ and test/ of clips")
    parser.add_argument("out", type=Path, help="where the strings go")
    for name, count in (("train", 1500), ("val", 200), ("test", 300)):
        parser.add_argument(f"--{name}", type=int, default=count, help="strings of this split")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    make(given.fsdd, given.out, {name: getattr(given, name) for name in ("train", "val", "test")}, given.seed)


if __name__ == "__main__":
    main()
