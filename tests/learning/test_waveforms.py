"""What augmentation may do to the samples of a sound."""

from __future__ import annotations

import numpy as np
import pytest

from edgeft.learning import waveforms

RATE = 8000
NOTHING = waveforms.Amounts(speed=0.0, channel=0.0, gain=0.0, shift=0.0, noise=(20.0, 20.0), noisy=0.0)


def tone(hertz: float = 500.0, seconds: float = 0.5) -> dict[str, object]:
    time = np.arange(int(RATE * seconds)) / RATE
    return {"samples": np.round(8000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16), "rate": RATE}


def changed(seed: int = 0, **amounts: object) -> np.ndarray:
    raw = waveforms.augmented(tone(), np.random.default_rng(seed), waveforms.Amounts(**{**vars(NOTHING), **amounts}))
    assert raw["samples"].dtype == np.float32 and raw["rate"] == RATE
    return raw["samples"]


def test_amounts_of_nothing_leave_a_sound_as_it_is() -> None:
    assert np.allclose(changed(), tone()["samples"].astype(np.float64) / 32768, atol=1e-6)


def test_speed_moves_length_and_pitch_together() -> None:
    for seed in range(5):
        x = changed(seed, speed=0.2)
        pitch = np.abs(np.fft.rfft(x, RATE)).argmax()
        assert 0.8 * 500 - 2 <= pitch <= 1.2 * 500 + 2
        assert len(x) == pytest.approx(4000 * 500 / pitch, rel=0.01)
    assert len({len(changed(seed, speed=0.2)) for seed in range(5)}) == 5


def test_a_sound_becomes_no_longer_than_what_is_heard() -> None:
    amounts = waveforms.Amounts(**{**vars(NOTHING), "speed": 0.3})
    for seed in range(20):
        raw = waveforms.augmented(tone(), np.random.default_rng(seed), amounts, longest=0.55)
        assert len(raw["samples"]) <= 0.55 * RATE


def test_a_channel_changes_each_frequency_by_its_gain() -> None:
    x = np.random.default_rng(0).standard_normal(RATE)
    ratio = np.abs(np.fft.rfft(waveforms.filtered(x, np.full(8, 6.0)))) / np.abs(np.fft.rfft(x))
    assert np.allclose(20 * np.log10(ratio), 6.0)
    ratio = np.abs(np.fft.rfft(waveforms.filtered(x, np.array([-12.0] * 7 + [0.0])))) / np.abs(np.fft.rfft(x))
    assert 20 * np.log10(ratio[[10, 4000]]) == pytest.approx([-12, 0], abs=1e-6)
    levels = [np.square(changed(seed, channel=9.0)).mean() / np.square(changed()).mean() for seed in range(20)]
    assert min(levels) < 0.7 and max(levels) > 1.4


def test_gain_and_noise_are_as_far_as_they_say() -> None:
    plain = changed()
    gains = [20 * np.log10(np.abs(changed(seed, gain=6.0)).max() / np.abs(plain).max()) for seed in range(30)]
    assert -6 <= min(gains) < -2 and 2 < max(gains) <= 6
    noise = changed(3, noise=(20.0, 20.0), noisy=1.0) - plain
    louder = np.sort(np.square(plain))[len(plain) // 2 :].mean()
    assert 10 * np.log10(louder / np.square(noise).mean()) == pytest.approx(20, abs=0.1)


def test_a_shift_moves_the_middle_of_the_sound() -> None:
    middles = []
    for seed in range(20):
        x = changed(seed, shift=0.05)
        inside = np.flatnonzero(x)
        middles.append((inside[0] + inside[-1]) / 2 - (len(x) - 1) / 2)
    assert max(map(abs, middles)) <= 0.05 * RATE + 1 and min(middles) < -100 < 100 < max(middles)
