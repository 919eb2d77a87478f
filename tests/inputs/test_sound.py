"""Sound features against their definitions computed another way, resampling against known signals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edgeft.config import recipe
from edgeft.core.errors import BundleError, DataError, RecipeError
from edgeft.inputs import sound
from edgeft.inputs.resampling import resample

pytestmark = pytest.mark.board

RATE = 16_000


def spec(**changed: Any) -> dict[str, Any]:
    """A table with the features as they are (mean 0, std 1)."""
    table = sound.configure(recipe.Data(), {}, {"rate": RATE}, lambda text: None)
    table |= changed
    count = table["coefficients"] or table["mels"]
    return {**table, "mean": [0.0] * count, "std": [1.0] * count}


def noise(seconds: float = 1.0, seed: int = 0) -> dict[str, Any]:
    samples = np.random.default_rng(seed).normal(0, 3000, int(RATE * seconds)).astype(np.int16)
    return {"samples": samples, "rate": RATE}


def by_definition(clip: np.ndarray, table: dict[str, Any]) -> np.ndarray:
    """The features with loops and sums alone: no FFT, no filter matrix, no shared helper."""
    n, window = np.arange(table["window"]), table["window"]
    lines = np.arange(table["fft"] // 2 + 1)
    hertz = lines * table["rate"] / table["fft"]
    waves = np.exp(-2j * np.pi * lines[:, None] * n / table["fft"])

    def mel(f: float) -> float:
        return 1127.01048 * np.log(1 + f / 700)  # 2595 / ln 10

    def back(m: float) -> float:
        return 700 * (np.exp(m / 1127.01048) - 1)

    step = (mel(table["fmax"]) - mel(table["fmin"])) / (table["mels"] + 1)
    edges = [back(mel(table["fmin"]) + i * step) for i in range(table["mels"] + 2)]
    rows, loudness, starts = [], 1.0, range(0, len(clip) - window + 1, table["hop"])
    if table["level_floor"]:
        levels = [np.sqrt(np.mean(clip[start : start + window] ** 2)) for start in starts]
        loudness = 0.1 / max(table["level_floor"], *levels)
    for start in starts:
        frame = clip[start : start + window] * loudness * np.sin(np.pi * n / window) ** 2
        power = np.abs(waves @ frame) ** 2
        energies = []
        for i in range(table["mels"]):
            weights = np.interp(hertz, edges[i : i + 3], [0, 1, 0], left=0, right=0)
            energies.append(np.log(power @ weights + table["floor"]))
        if not table["coefficients"]:
            rows.append(energies)
            continue
        m = table["mels"]
        rows.append(
            [
                sum(e * np.cos(np.pi * k * (2 * i + 1) / (2 * m)) for i, e in enumerate(energies))
                * np.sqrt((1 if k == 0 else 2) / m)
                for k in range(table["coefficients"])
            ]
        )
    return np.array(rows)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"level_floor": 0.0},
        {"level_floor": 0.5, "coefficients": 0},
        {"mels": 20, "fmin": 0.0, "fmax": 8000.0, "fft": 600},
    ],
)
def test_features_follow_their_definitions(changed: dict[str, Any]) -> None:
    table, raw = spec(**changed), noise()
    made = sound.preprocess(raw, table)["x"]
    expected = by_definition(raw["samples"] / 32768, table)
    assert made.dtype == np.float32 and made.shape == (1, 1, *expected.shape) and expected.shape[0] == 49
    assert np.abs(made[0, 0] - expected).max() < 2e-5


def test_cosines_are_scipys() -> None:
    fft = pytest.importorskip("scipy.fft")
    rows = np.random.default_rng(0).normal(size=(5, 40))
    assert np.allclose(rows @ sound.cosines(40, 13), fft.dct(rows, norm="ortho")[:, :13], atol=1e-12)


@pytest.mark.peer("librosa")
def test_log_mel_energies_are_librosas() -> None:
    import librosa

    raw, table = noise(), spec(coefficients=0, level_floor=0.0)
    theirs = librosa.feature.melspectrogram(
        y=raw["samples"] / 32768, sr=RATE, n_fft=512, win_length=480, hop_length=320, center=False, window="hann",
        n_mels=40, fmin=20, fmax=4000, htk=True, norm=None,
    )  # fmt: skip
    # librosa centres the window of 480 in its 512 points, so its frames begin 16 samples later
    shifted = {"samples": np.concatenate([raw["samples"][16:], np.zeros(16, np.int16)]), "rate": RATE}
    ours = sound.preprocess(shifted, table)["x"][0, 0]
    frames = min(len(ours), theirs.shape[1]) - 1
    assert frames >= 47 and np.abs(ours[:frames] - np.log(theirs.T + 1e-6)[:frames]).max() < 1e-3


def test_the_same_sound_gives_the_same_bits() -> None:
    table = spec()
    for raw in (noise(), {**noise(), "rate": 11_025}):
        first = sound.preprocess(raw, table)["x"].tobytes()
        again = {"samples": raw["samples"].copy(), "rate": np.asarray(raw["rate"])}
        assert all(sound.preprocess(again, table)["x"].tobytes() == first for _ in range(3))


def test_layouts() -> None:
    raw = noise()
    channels_first = sound.preprocess(raw, spec())["x"]
    last = sound.preprocess(raw, spec(layout="NHWC"))["x"]
    assert last.shape == (1, 49, 10, 1) and np.array_equal(last[0, :, :, 0], channels_first[0, 0])


# -- rates and lengths -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rate", "wanted"), [(8000, 16000), (16000, 8000), (44100, 16000), (11025, 16000), (48000, 16000)]
)
def test_resampled_sines_are_the_sines_of_the_new_rate(rate: int, wanted: int) -> None:
    top = 0.8 * min(rate, wanted) / 2
    for frequency in (50.0, 440.0, top):
        x = np.sin(2 * np.pi * frequency * np.arange(rate) / rate + 0.3)
        y = resample(x, rate, wanted, 0, wanted)
        expected = np.sin(2 * np.pi * frequency * np.arange(wanted) / wanted + 0.3)
        inner = slice(wanted // 20, -wanted // 20)  # the ends fade into silence
        assert len(y) == wanted and np.abs(y - expected)[inner].max() < 2e-3


def test_what_the_new_rate_cannot_hold_is_gone() -> None:
    x = np.sin(2 * np.pi * 6000 * np.arange(44100) / 44100)
    y = resample(x, 44100, 8000, 0, 8000)
    assert np.abs(y[400:-400]).max() < 1e-3, "no alias at 2000 Hz"


def test_a_constant_stays_and_a_part_is_the_part_of_the_whole() -> None:
    x = np.ones(4410)
    assert np.allclose(resample(x, 44100, 16000, 0, 1600)[200:-200], 1.0, atol=1e-12)
    x = np.random.default_rng(0).normal(size=44100)
    whole = resample(x, 44100, 16000, 0, 16000)
    assert np.array_equal(resample(x, 44100, 16000, 9000, 100), whole[9000:9100])


def test_resampling_agrees_with_scipys() -> None:
    signal = pytest.importorskip("scipy.signal")
    time = np.arange(8820) / 44100
    x = np.sin(2 * np.pi * 300 * time) + 0.5 * np.sin(2 * np.pi * 2500 * time)
    ours, theirs = resample(x, 44100, 16000, 0, 3200), signal.resample_poly(x, 160, 441)
    assert len(theirs) == 3200 and np.abs(ours - theirs)[200:-200].max() < 5e-3


def test_short_clips_stand_in_the_middle_of_silence_and_long_ones_lose_their_ends() -> None:
    x = np.arange(1.0, 6.0)
    assert sound.fit(x, RATE, RATE, 9).tolist() == [0, 0, 1, 2, 3, 4, 5, 0, 0]
    assert sound.fit(x, RATE, RATE, 8).tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert sound.fit(x, RATE, RATE, 3).tolist() == [2, 3, 4]
    assert sound.fit(x, RATE, RATE, 5).tolist() == x.tolist()
    assert len(sound.fit(np.ones(3), 44100, 16000, 100)) == 100


def test_loudness_is_that_of_full_scale() -> None:
    whole = noise()
    real = {"samples": whole["samples"].astype(np.float32) / np.float32(32768), "rate": RATE}
    assert np.array_equal(sound.preprocess(whole, spec())["x"], sound.preprocess(real, spec())["x"])
    silence = sound.preprocess({"samples": np.zeros(100, np.int16), "rate": RATE}, spec(coefficients=0))["x"]
    assert np.allclose(silence, np.log(1e-6))


def test_features_do_not_depend_on_how_loud_a_sound_was_recorded() -> None:
    quiet = noise()["samples"].astype(np.float32) / np.float32(32768)
    level = spec(level_floor=1e-3)
    features = sound.preprocess({"samples": quiet, "rate": RATE}, level)["x"]
    for gain in (0.1, 10.0):  # 20 dB in both directions
        other = sound.preprocess({"samples": quiet * np.float32(gain), "rate": RATE}, level)["x"]
        assert np.abs(other - features).max() < 1e-3
        as_recorded = sound.preprocess({"samples": quiet * np.float32(gain), "rate": RATE}, spec(level_floor=0.0))["x"]
        assert np.abs(as_recorded - features).max() > 10, "a gain moves the first coefficient without it"


def test_what_is_quieter_than_the_floor_stays_quiet() -> None:
    table = spec(coefficients=0)
    hiss = np.random.default_rng(0).normal(0, 1e-5, RATE).astype(np.float32)
    loud = sound.preprocess({"samples": hiss * np.float32(1000), "rate": RATE}, table)["x"]
    quiet = sound.preprocess({"samples": hiss, "rate": RATE}, table)["x"]
    assert quiet.max() < loud.min()


def test_a_table_without_the_key_leaves_the_level_as_it_is() -> None:
    earlier = spec(level_floor=0.0)
    expected = sound.preprocess(noise(), earlier)["x"]
    del earlier["level_floor"]
    assert np.array_equal(sound.preprocess(noise(), earlier)["x"], expected)


# -- the table -------------------------------------------------------------------------------------------------------
def test_the_table_comes_from_the_data_unless_the_recipe_states_it() -> None:
    said: list[str] = []
    made = sound.configure(recipe.Data(), {}, {"rate": 8000, "seconds": 1.5}, said.append)
    assert (made["rate"], made["length"], made["window"], made["hop"], made["fft"]) == (8000, 8000, 240, 160, 256)
    assert len(made["mean"]) == made["coefficients"] == 10 and "longer than 1.50 s" in said[0]
    json.dumps(made, allow_nan=False)
    assert sound.configure(recipe.Data(), {}, {"rate": 48000}, print)["rate"] == 16000
    stated = recipe.Data(sound={"rate": 16000, "seconds": 2, "coefficients": 0, "mels": 32, "fmax": 0})
    said.clear()
    made = sound.configure(stated, {}, {"rate": 8000}, said.append)
    assert (made["length"], made["fmax"], len(made["std"])) == (32000, 8000.0, 32) and "nothing above 4000" in said[0]


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"melz": 3}, "did you mean 'mels'"),
        ({"mels": "40"}, r"data\.sound\.mels"),
        ({"hop": 0}, "hop"),
        ({"window": 2.0}, "at most the length"),
        ({"coefficients": 50}, "from 0 to mels"),
        ({"fmin": 5000}, "above fmin"),
        ({"floor": 0}, "floor"),
        ({"level_floor": -1}, "level_floor"),
        ({"mels": 200}, "lower mels"),
    ],
)
def test_a_table_that_cannot_be_is_refused(stated: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        sound.configure(recipe.Data(sound=stated), {}, {"rate": RATE}, print)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"std": [0.0] * 10}, "std"),
        ({"mean": [float("nan")] * 10}, "mean"),
        ({"mean": [0.0] * 9}, "mean"),
        ({"rate": 16000.0}, "rate"),
        ({"length": 10**9}, "length"),
        ({"layout": "NTC"}, "layout"),
        ({"kind": "image"}, "kind"),
        ({"fft": 16}, "fft"),
        ({"level_floor": "low"}, "level_floor"),
        ({"tempo": 1}, "unknown key 'tempo'"),
    ],
)
def test_a_manifest_that_cannot_be_followed_names_the_key(changed: dict[str, Any], key: str) -> None:
    with pytest.raises(BundleError, match=key):
        sound.preprocess(noise(), spec() | changed)
    absent = spec()
    del absent["hop"]
    with pytest.raises(BundleError, match=r"preprocess\.hop"):
        sound.preprocess(noise(), absent)


@pytest.mark.parametrize(
    "raw",
    [
        {"samples": np.zeros(0, np.int16), "rate": RATE},
        {"samples": np.zeros((2, 8), np.int16), "rate": RATE},
        {"samples": np.zeros(8, np.float64), "rate": RATE},
        {"samples": np.array([np.nan], np.float32), "rate": RATE},
        {"samples": np.zeros(8, np.int16), "rate": 0},
        {"samples": np.zeros(8, np.int16), "rate": 15_991 * 7},
        {"samples": np.zeros(8, np.int16)},
        np.zeros(8, np.int16),
        "a word",
    ],
)
def test_what_is_no_sound_is_refused(raw: Any) -> None:
    if isinstance(raw, dict) and raw.get("rate") == 15_991 * 7:  # a ratio without a common divisor still works
        assert sound.preprocess(raw, spec())["x"].shape == (1, 1, 49, 10)
        return
    with pytest.raises(DataError):
        sound.preprocess(raw, spec())


def test_measured_features_have_mean_0_and_std_1_in_every_feature() -> None:
    raws = [noise(seed=i) for i in range(4)] + [{"samples": np.zeros(9, np.int16), "rate": RATE}]
    made = sound.measure(spec(), raws)
    assert made == sound.measure(made, iter(raws)), "the same samples, whatever mean and std were before"
    x = np.concatenate([sound.preprocess(raw, made)["x"][0, 0] for raw in raws])
    assert np.allclose(x.mean(axis=0), 0, atol=1e-4) and np.allclose(x.std(axis=0), 1, atol=1e-4)
    json.dumps(made, allow_nan=False)
    still = sound.measure(spec(), [{"samples": np.zeros(9, np.int16), "rate": RATE}])
    assert still["std"] == [1.0] * 10


def test_the_picture_shows_where_it_is_loud() -> None:
    samples = np.zeros(1600, np.int16)
    samples[800:] = np.where(np.arange(800) % 2, 20000, -20000)
    pixels = sound.picture({"samples": samples, "rate": RATE}, 21, 40)
    assert pixels.shape == (21, 40) and pixels.dtype == np.uint8
    assert (pixels[:, :20] < 100).sum() == 20 and (pixels[:, 20:] < 100).all()
