"""Keywords in a long recording (FSDD): detection rate, false alarms an hour, and what an answer costs.

    python benchmarks/streaming.py --out DIR [--seeds 0] [--epochs 25] [--bare]

`EDGEFT_DATA` names the folder with the data. The digits 0 to 4 are the keywords; 5 to 9, halves of two words and noise
are the class `other`. The 200 test recordings (the same four speakers, other recordings) stand in one long recording,
in random order, half a second to two seconds apart, in pink noise 30 dB below the words; ten minutes of that noise
alone follow. Thresholds are the defaults: nothing is chosen on this recording. Words are joined without any overlap,
so a room, a television or two speakers at once are not in it.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import common
import numpy as np

RATE = 8000
KEYWORDS = "01234"
#: root mean square of the noise behind the words, against that of a word
NOISE = 10 ** (-30 / 20)
SILENT_SECONDS = 600


def clips(root: Path, split: str) -> list[tuple[str, np.ndarray]]:
    """(digit, int16 samples) of all recordings of a split, by name."""
    from edgeft.inputs import sound_file

    files = sorted((root / "05_speech" / "fsdd" / split).glob("*.wav"))
    return [(path.name[0], sound_file.read(path)["samples"]) for path in files]


def pink(count: int, rng: np.random.Generator) -> np.ndarray:
    """float64 (count,) of noise whose power falls with the frequency, of root mean square 1."""
    spectrum = np.fft.rfft(rng.standard_normal(count)) / np.sqrt(np.maximum(np.arange(count // 2 + 1), 1))
    noise = np.fft.irfft(spectrum, count)
    return noise / np.sqrt(np.square(noise).mean())


def write(path: Path, samples: np.ndarray) -> None:
    import wave

    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.clip(np.round(samples), -32768, 32767).astype("<i2").tobytes())


def placed(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A second of noise, 20 to 45 dB below the word, with the word near its middle: as a microphone hears it, and not
    between the zeros that a short clip is padded with."""
    room = max(RATE - len(samples), 0)
    start = int(room / 2 + rng.uniform(-0.25, 0.25) * room)
    level = np.sqrt(np.square(samples).mean()) * 10 ** (-rng.uniform(20, 45) / 20)
    sound = pink(len(samples) + room, rng) * level
    sound[start : start + len(samples)] += samples
    return sound


def folders(root: Path, out: Path, rng: np.random.Generator, bare: bool) -> Path:
    """train/<label>/ and test/<label>/ with the keywords and `other`; `bare`: words as they were recorded."""
    put = (lambda samples, rng: samples) if bare else placed
    for split in ("train", "test"):
        words = clips(root, split)
        for i, (digit, samples) in enumerate(words):
            label = digit if digit in KEYWORDS else "other"
            write(out / split / label / f"{digit}_{i:04}.wav", put(samples.astype(float), rng))
        for i in range(len(words) // 4):
            (_, first), (_, second) = (words[k] for k in rng.integers(0, len(words), 2))
            halves = [first[len(first) // 2 :], np.zeros(RATE // 5), second[: len(second) // 2]]
            write(out / split / "other" / f"halves_{i:04}.wav", put(np.concatenate(halves), rng))
        for i in range(len(words) // 8):
            write(out / split / "other" / f"noise_{i:04}.wav", pink(RATE, rng) * 10 ** rng.uniform(0.5, 3))

    return out


def recording(root: Path, out: Path, rng: np.random.Generator) -> tuple[Path, Path]:
    """The long recording and its label track."""
    words = clips(root, "test")
    level = float(np.median([np.sqrt(np.square(samples.astype(float)).mean()) for _, samples in words]))
    parts, lines, at = [np.zeros(RATE)], [], RATE

    for k in rng.permutation(len(words)):
        digit, samples = words[k]
        lines.append(f"{at / RATE:.3f}\t{(at + len(samples)) / RATE:.3f}\t{digit}")
        parts += [samples.astype(float), np.zeros(int(RATE * rng.uniform(0.5, 2)))]
        at += len(parts[-1]) + len(samples)

    whole = np.concatenate([*parts, np.zeros(RATE * SILENT_SECONDS)])
    write(out / "recording.wav", whole + NOISE * level * pink(len(whole), rng))
    (out / "recording.txt").write_text("\n".join(lines) + "\n")
    return out / "recording.wav", out / "recording.txt"


def recipe(data: Path, seed: int, epochs: int) -> dict[str, Any]:
    return {
        "task": "keyword",
        "name": f"stream-{seed}",
        "model": {"source": "builtin", "name": "ds_cnn"},
        "data": {"format": "wav-folder", "path": str(data), "sound": {"level_floor": 1e-3}},
        "train": {"epochs": epochs, "lr": 3e-3, "batch_size": 32, "augment": "strong", "seed": seed},
        "quantize": {"method": "qat", "epochs": 3, "lr": 1e-4},
        "export": {"targets": ["host"]},
        "gates": {"min_speedup": 0.0},
    }


def right(opened: Any, sound: Path, truth: Path) -> dict[str, float]:
    """The share of the recording's keywords that the model names rightly, cut out bare and in a window around them."""
    from edgeft.inputs import sound_file
    from edgeft.metrics import events

    samples, session = sound_file.read(sound)["samples"], opened.session()
    words = [event for event in events.read(truth) if event.label in KEYWORDS]
    shares = {"right_bare": 0.0, "right_in_window": 0.0}

    for word in words:
        middle = int((word.start + word.end) / 2 * RATE)
        bare = samples[int(word.start * RATE) : int(word.end * RATE)]
        window = samples[middle - opened.preprocess["length"] // 2 :][: opened.preprocess["length"]]
        for name, clip in (("right_bare", bare), ("right_in_window", window)):
            outputs = session.run(opened.task.preprocess({"samples": clip, "rate": RATE}, opened.preprocess))
            shares[name] += (opened.task.decode(outputs, opened.labels)[0]["label"] == word.label) / len(words)

    return shares


def costs(opened: Any, sound: Path) -> dict[str, float]:
    """Milliseconds of the front end and of the model for an answer of the first minute, and of a window made anew."""
    from edgeft.inputs import sound as front_end
    from edgeft.inputs import sound_file, sound_stream

    raw, session = sound_file.read(sound), opened.session()
    samples, length = raw["samples"][: 60 * RATE], opened.preprocess["length"]
    chunks = [samples[i : i + 160] for i in range(0, len(samples), 160)]  # 20 ms, as a microphone has them
    start = time.perf_counter()
    windows = list(sound_stream.windows(chunks, RATE, opened.preprocess, 0.1))
    features = (time.perf_counter() - start) / len(windows)
    start = time.perf_counter()
    for _, feeds in windows:
        session.run(feeds)

    model = (time.perf_counter() - start) / len(windows)
    start = time.perf_counter()
    for i in range(len(windows)):
        at = min(i * RATE // 10, len(samples) - length)
        front_end.preprocess({"samples": samples[at : at + length], "rate": RATE}, opened.preprocess)

    anew = (time.perf_counter() - start) / len(windows)
    return {"features_ms": 1e3 * features, "model_ms": 1e3 * model, "features_anew_ms": 1e3 * anew}


def measure(root: Path, out: Path, seed: int, epochs: int, bare: bool) -> dict[str, Any]:
    import edgeft
    from edgeft.streams import judged

    rng = np.random.default_rng(seed)
    data = folders(root, out / f"data-{seed}", rng, bare)
    sound, truth = recording(root, out / f"data-{seed}", rng)
    run = out / f"run-{seed}"
    summary = edgeft.tune(recipe(data, seed, epochs), run, resume=run.is_dir())  # a call that was cut short goes on
    (report,) = edgeft.export(summary["run"], out=out / f"bundles-{seed}", overwrite=True)
    opened = edgeft.load(report["path"])
    clip = {key: summary[key] for key in ("float", "quantized", "n")}
    figures = judged(opened, str(sound), truth=truth)["judged"]

    return {
        "seed": seed,
        "epochs": epochs,
        "bare": bare,
        "verdict": report["verdict"],
        **clip,
        **figures,
        **right(opened, sound, truth),
        **costs(opened, sound),
    }


def section(rows: list[dict[str, Any]], host: dict[str, Any], used: dict[str, str]) -> str:
    body = []
    for row in rows:
        rate, alarms = row["detection_rate_interval"], row["false_alarms_per_hour_interval"]
        body.append(
            [
                row["seed"],
                row["epochs"],
                "bare" if row["bare"] else "in noise",
                f"{100 * row['float']:.1f} / {100 * row['quantized']:.1f}",
                f"{100 * row['right_bare']:.0f} / {100 * row['right_in_window']:.0f}",
                f"{row['detected']} of {row['events']}: {100 * row['detection_rate']:.1f} % "
                f"[{100 * rate[0]:.1f}, {100 * rate[1]:.1f}]",
                f"{row['false_alarms']} in {row['hours']:.3f} h: {row['false_alarms_per_hour']:.1f} an hour "
                f"[{alarms[0]:.1f}, {alarms[1]:.1f}]",
                f"{row['features_anew_ms'] / row['features_ms']:.1f}",
            ]
        )

    head = [
        "seed",
        "epochs",
        "training clips",
        "clips: float / int8 (%)",
        "keywords cut out bare / in windows (%)",
        "detected in the recording",
        "false alarms",
        "work of the features",
    ]

    return f"""## Keywords in a long recording

FSDD: the digits 0 to 4 are keywords, 5 to 9, halves of words and noise are `other`; DS-CNN in ONNX Runtime. The recording has 200 words of known voices half
a second to two seconds apart and ten minutes of noise. Rule: the defaults of `edgeft predict --stream`. Intervals are exact, 95 %. The last column is the
time of the features of a window made anew over that of the new frames in chunks of 20 ms.

{common.table(head, body)}

{common.footing(host, used)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for recordings, runs and bundles (resumable)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--bare", action="store_true", help="train on words as recorded, not in a second of noise")
    arguments = parser.parse_args()
    root, host = Path(os.environ["EDGEFT_DATA"]), common.machine()
    used = common.versions("torch", "onnxruntime", "numpy")
    rows = [measure(root, arguments.out, seed, arguments.epochs, arguments.bare) for seed in arguments.seeds]
    common.publish("streaming", section(rows, host, used), {"machine": host, "versions": used, "rows": rows})


if __name__ == "__main__":
    main()
