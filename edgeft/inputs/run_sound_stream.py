"""Sounds in chunks: as in edgeft/inputs/sound_stream.py, sound_chunks.py and resampling.py."""

import sys

import numpy as np

from ..core.runner import Stop
from .run_clip import decoded, filtered, mono, read, taps_of, wav_layout
from .run_sound import energies, of_energies


def chunks_of(name, spec, rate):
    """(rate, iterator of samples) of a file, or of standard input ("-"): a .wav, or bare 16-bit samples of one channel.

    Nothing but standard input is read piece by piece.
    """
    if name != "-":
        raw = read(name)
        if rate not in (0, raw["rate"]):
            raise Stop(3, "{}: the header says {} Hz, and --rate says {} Hz".format(name, raw["rate"], rate))
        return raw["rate"], iter([raw["samples"]])

    pipe, name = sys.stdin.buffer, "standard input"
    begin = pipe.read(12)
    if begin[:4] != b"RIFF" or begin[8:] != b"WAVE":
        return rate or spec["rate"], pieces(pipe, begin, (False, 1, 0, 2), 2**62)

    while begin[-8:-4] != b"data" or len(begin) < 36:  # chunk by chunk, up to the one with the samples
        head = pipe.read(8)
        size = int.from_bytes(head[4:], "little")
        if len(head) < 8 or (head[:4] != b"data" and size > 2**24):
            raise Stop(3, f"{name}: not readable as a .wav")
        begin += head if head[:4] == b"data" else head + pipe.read(size + size % 2)

    layout = wav_layout(begin, name)
    if layout is None:
        raise Stop(3, f"{name}: a .wav of another coding than PCM or floating point")
    if rate not in (0, layout[2]):
        raise Stop(3, f"{name}: the header says {layout[2]} Hz, and --rate says {rate} Hz")

    size = int.from_bytes(begin[-4:], "little")
    return layout[2], pieces(pipe, b"", layout[:4], 2**62 if size == 0 or size >= 0x7FFFF000 else size)


def pieces(pipe, pending, layout, left):
    """Samples of what comes, channels averaged; bytes of an unfinished sample wait for the rest of it."""
    floating, channels, rate, width = layout
    left -= len(pending)
    while True:
        usable = len(pending) // (channels * width) * channels * width
        if usable:
            samples = decoded(pending[:usable], floating, width)
            yield mono(samples, channels, rate, "standard input")["samples"]
        block = pipe.read1(min(left, 2**15)) if left > 0 else b""
        if not block:
            return
        left -= len(block)
        pending = pending[usable:] + block


def windows(chunks, rate, spec, step):
    """(seconds of its middle, feeds) of a window every `step` seconds, as soon as its samples are there."""
    if not 0 < rate <= 768000:
        raise Stop(3, f"a rate of {rate} Hz is not possible")

    stride = max(1, round(step * spec["rate"] / spec["hop"]))
    frames = 1 + (spec["length"] - spec["window"]) // spec["hop"]
    if stride > frames:
        raise Stop(2, f"answers {step:g} s apart would leave out sound between windows")

    x, levels, start = np.zeros((0, spec["mels"])), np.zeros(0), 0
    before = spec["length"] // 2
    for new, level in frames_of(at_rate(floats(chunks), rate, spec["rate"]), spec, before, spec["length"] - before):
        x, levels = np.concatenate([x, new]), np.concatenate([levels, level])
        while len(levels) >= frames:
            features = of_energies(x[:frames], levels[:frames], spec)
            yield start * spec["hop"] / spec["rate"], {spec["input"]: features}
            x, levels, start = x[stride:], levels[stride:], start + stride


def blocks(chunks, rate, spec, frames, behind):
    """The features of a sound in blocks of `frames`, silence of `behind` frames at least behind the sound."""
    if not 0 < rate <= 768000:
        raise Stop(3, f"a rate of {rate} Hz is not possible")

    x, levels = np.zeros((0, spec["mels"])), np.zeros(0)
    behind = spec["window"] + (behind + frames) * spec["hop"]
    for new, level in frames_of(at_rate(floats(chunks), rate, spec["rate"]), spec, 0, behind):
        x, levels = np.concatenate([x, new]), np.concatenate([levels, level])
        while len(levels) >= frames:
            yield of_energies(x[:frames], levels[:frames], spec)
            x, levels = x[frames:], levels[frames:]


def floats(chunks):
    empty = True
    for chunk in chunks:
        empty = empty and not len(chunk)
        for at in range(0, len(chunk), 8192):
            samples = chunk[at : at + 8192]
            yield samples.astype(np.float64) / 32768.0 if samples.dtype == np.int16 else samples.astype(np.float64)
    if empty:
        raise Stop(3, "the stream holds no sound")


def at_rate(chunks, rate, target_rate):
    """The resampled sound, each output as soon as the samples behind it are there."""
    if rate == target_rate:
        yield from chunks
        return

    taps, down, half = taps_of(rate, target_rate)
    up, padded, total, done, offset = len(taps), np.zeros(half), 0, 0, 0
    for chunk in chunks:
        padded, total = np.concatenate([padded, chunk]), total + len(chunk)
        ready = max(done, -(-(total - half) * up // down))
        if ready > done:
            yield filtered(padded, taps, down, done, ready - done, offset)
        needed = ready * down // up
        padded, done, offset = padded[needed - offset :], ready, needed

    count = -(-total * up // down)
    if count > done:
        yield filtered(np.concatenate([padded, np.zeros(half + 1)]), taps, down, done, count - done, offset)


def frames_of(chunks, spec, before, behind):
    """Mel energies and levels of the frames that are complete, each frame once; so many zeros before and behind."""
    pending, ahead = np.zeros(before), 0
    for chunk in silence_behind(chunks, behind):
        pending = np.concatenate([pending, chunk[min(ahead, len(chunk)) :]])
        ahead -= min(ahead, len(chunk))
        if len(pending) >= spec["window"]:
            count = 1 + (len(pending) - spec["window"]) // spec["hop"]
            yield energies(pending[spec["hop"] * np.arange(count)[:, None] + np.arange(spec["window"])], spec)
            ahead = max(0, count * spec["hop"] - len(pending))
            pending = pending[count * spec["hop"] :]


def silence_behind(chunks, length):
    yield from chunks
    yield np.zeros(length)
