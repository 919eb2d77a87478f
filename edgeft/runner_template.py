#!/usr/bin/env python3
"""Runs the model of this folder with numpy and its runtime alone.

    python run.py photo.jpg [more ...]   say what the model sees (an image file, or a .npy of uint8 pixels)
    python run.py word.wav [more ...]    the same of a model that hears (16-bit or other PCM .wav)
    python run.py "some words"           the same of a text (or of a file that holds it), where the model reads texts
    python run.py                        check this machine: run the bundle's own samples, compare with what is expected

Exit codes: 0 done, 1 the outputs differ from the expected ones, 2 wrong usage, 3 a file is unusable or was altered,
4 a package is missing. Pillow is needed only to decode or resize an image, tokenizers only for texts. Works with
Python 3.6 and newer.
"""

import argparse
import hashlib
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
RESIZE = {"nearest": 0, "bilinear": 2, "bicubic": 3}  # pillow's numbers
MAX_PIXELS = 89478485
FORMATS = ("JPEG", "MPO", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")


class Stop(Exception):
    """Ends the run with a message and an exit code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def say(text, stream=None):
    stream = stream or sys.stdout
    encoding = stream.encoding or "ascii"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


# --- the bundle -------------------------------------------------------------------------------------------------------


def load_manifest():
    try:
        with open(os.path.join(HERE, "manifest.json"), "rb") as handle:
            data = handle.read()
        with open(os.path.join(HERE, "manifest.sha256"), "rb") as handle:
            recorded = handle.read().split()[:1]
    except OSError as error:
        raise Stop(3, f"the bundle is incomplete: {error}") from error
    if recorded != [hashlib.sha256(data).hexdigest().encode()]:
        raise Stop(3, "manifest.json was altered: manifest.sha256 is not its digest")
    return json.loads(data.decode("utf-8"))


def checked(manifest, name):
    """The path of a listed file; stops when it is absent or not the one that was exported."""
    path = os.path.realpath(os.path.join(HERE, name))
    if not path.startswith(os.path.realpath(HERE) + os.sep) or name not in manifest["files"]:
        raise Stop(3, f"{name} is not a file of this bundle")
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            for block in iter(lambda: handle.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise Stop(3, f"the bundle is incomplete: {error}") from error
    if digest.hexdigest() != manifest["files"][name]["sha256"]:
        raise Stop(3, f"{name} was altered: its sha256 is not the manifest's")
    return path


# --- images: the same arithmetic in the same order as edgeft/tasks/image.py -----------------------------------------


def pillow():
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise Stop(4, "decoding and resizing images needs pillow: pip install pillow") from None
    return Image, ImageOps


def read_image(path):
    """uint8 (H, W) or (H, W, 3) of an image file, uint8 (H, W[, C]) of a .npy file."""
    if path.lower().endswith(".npy"):
        try:
            raw = np.array(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise Stop(3, f"{path}: not readable as an array ({error})") from error
        if raw.dtype != np.uint8 or raw.ndim not in (2, 3) or raw.size == 0 or (raw.ndim == 3 and raw.shape[2] > 4):
            raise Stop(3, f"{path}: expected uint8 pixels (H, W[, C]), got {raw.dtype} {raw.shape}")
        return raw
    if not os.path.isfile(path):
        raise Stop(3, f"{path}: no such file")
    image_module, image_ops = pillow()
    try:
        with image_module.open(path) as image:
            if image.format not in FORMATS or image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.format} of {image.width}x{image.height} pixels")
            image = image_ops.exif_transpose(image)
            if image.mode == "I" or image.mode.startswith("I;16"):
                wide = np.asarray(image)
                if wide.min() < 0 or wide.max() > 0xFFFF:
                    raise ValueError("more than 16 bits a pixel")
                return (wide.astype(np.uint16) >> 8).astype(np.uint8)
            if image.mode == "F":
                raise ValueError("floating point pixels")
            return np.array(image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB"), np.uint8)
    except Exception as error:  # decoders raise errors of any type on broken files
        raise Stop(3, f"{path}: not readable as an image ({error})") from error


def preprocess(raw, spec):
    """float32 batch of one, by the manifest's preprocess table."""
    if spec["kind"] == "sound":
        return preprocess_sound(raw, spec)
    channels = spec["channels"]
    if raw.ndim == 3 and raw.shape[2] < 3:
        raw = raw[:, :, 0]
    if channels == 3:
        raw = np.repeat(raw[:, :, None], 3, axis=2) if raw.ndim == 2 else raw[:, :, :3]
    elif raw.ndim == 3:
        wide = raw.astype(np.uint32)
        raw = ((wide[:, :, 0] * 19595 + wide[:, :, 1] * 38470 + wide[:, :, 2] * 7471 + 0x8000) >> 16).astype(np.uint8)
    height, width = spec["size"]
    if raw.shape[:2] != (height, width):
        image = pillow()[0].fromarray(np.ascontiguousarray(raw))
        raw = np.asarray(image.resize((width, height), RESIZE[spec["resize"]]))
    x = raw.astype(np.float32).reshape(height, width, channels) / np.float32(spec["scale"])
    x = (x - np.asarray(spec["mean"], np.float32)) / np.asarray(spec["std"], np.float32)
    if spec["layout"] == "NCHW":
        x = x.transpose(2, 0, 1)
    return np.ascontiguousarray(x[None])


# --- sounds: the same arithmetic in the same order as edgeft/tasks/sound.py and sound_file.py ------------------------


def read_sound(path):
    """{"samples": int16 or float32 (T,), "rate": hertz} of a PCM .wav file, its channels averaged."""
    import wave

    try:
        with wave.open(path, "rb") as file:
            channels, width, rate, count = (
                file.getnchannels(),
                file.getsampwidth(),
                file.getframerate(),
                file.getnframes(),
            )
            held = count * channels * width <= os.path.getsize(path)  # what the header claims may not be there
            stored = file.readframes(count) if held else b""
    except (OSError, EOFError, RuntimeError, wave.Error) as error:
        raise Stop(3, f"{path}: not readable as a PCM .wav ({error})") from error
    if count == 0 or not 0 < rate <= 768000 or width > 4 or len(stored) != count * channels * width:
        raise Stop(3, f"{path}: empty or truncated")
    if width == 2:
        samples: np.ndarray = np.frombuffer(stored, "<i2").astype(np.int16)
    elif width == 1:
        samples = (np.frombuffer(stored, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    else:
        wide = np.zeros((len(stored) // width, 4), np.uint8)
        wide[:, 4 - width :] = np.frombuffer(stored, np.uint8).reshape(-1, width)
        samples = (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    if channels > 1:
        if width == 2:
            samples = samples.astype(np.float32) / np.float32(32768)
        samples = samples.reshape(-1, channels).mean(axis=1, dtype=np.float64).astype(np.float32)
    return {"samples": samples, "rate": rate}


def preprocess_sound(raw, spec):
    samples = raw["samples"].astype(np.float64)
    if raw["samples"].dtype == np.int16:
        samples = samples / 32768.0
    clip = fitted(samples, int(raw["rate"]), spec["rate"], spec["length"])
    size, frames = spec["window"], 1 + (spec["length"] - spec["window"]) // spec["hop"]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    spectrum = np.fft.rfft(clip[spec["hop"] * np.arange(frames)[:, None] + np.arange(size)] * window, spec["fft"])
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    low, high = (2595.0 * np.log10(1.0 + f / 700.0) for f in (spec["fmin"], spec["fmax"]))
    edges = 700.0 * (10.0 ** (np.linspace(low, high, spec["mels"] + 2) / 2595.0) - 1.0)
    lines = (np.arange(spec["fft"] // 2 + 1) * spec["rate"] / spec["fft"])[:, None]
    rising = (lines - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - lines) / (edges[2:] - edges[1:-1])
    x = np.log(power @ np.maximum(0.0, np.minimum(rising, falling)) + spec["floor"])
    if spec["coefficients"]:
        mels, k = spec["mels"], np.arange(spec["coefficients"])
        angles = np.pi / mels * (np.arange(mels)[:, None] + 0.5) * k
        x = x @ (np.cos(angles) * np.where(k == 0, np.sqrt(1 / mels), np.sqrt(2 / mels)))
    x = ((x - np.asarray(spec["mean"], np.float64)) / np.asarray(spec["std"], np.float64)).astype(np.float32)
    return np.ascontiguousarray(x[None, None] if spec["layout"] == "NCHW" else x[None, :, :, None])


def fitted(samples, rate, wanted, length):
    """Exactly `length` samples at `wanted` hertz: the middle of a longer clip, zeros around a shorter one."""
    total = -(-len(samples) * wanted // rate)
    start = (total - length) // 2 if total > length else 0
    count = min(total, length)
    if rate == wanted:
        inner = samples[start : start + count]
    else:
        common = int(np.gcd(rate, wanted))
        up, down = wanted // common, rate // common
        cutoff = 0.95 * min(1.0, wanted / rate)
        half = int(np.ceil(24 / cutoff))
        if up * (2 * half + 1) > 2**24:
            raise Stop(3, f"a sound of {rate} Hz cannot be brought to {wanted} Hz")
        distance = np.arange(-half, half + 1) - (np.arange(up) / up)[:, None]
        inside = np.sqrt(np.maximum(1 - np.square(distance / (half + 1)), 0.0))
        taps = np.sinc(cutoff * distance) * np.i0(8.0 * inside)
        taps = taps / taps.sum(axis=1, keepdims=True)
        padded, parts = np.concatenate([np.zeros(half), samples, np.zeros(half + 1)]), []
        windows = np.lib.stride_tricks.as_strided(padded, (len(samples) + 1, 2 * half + 1), padded.strides * 2)
        for block in range(start, start + count, 8192):
            n = np.arange(block, min(block + 8192, start + count))
            parts.append((windows[n * down // up] * taps[n * down % up]).sum(axis=1))
        inner = np.concatenate(parts)
    before = (length - len(inner)) // 2
    return np.concatenate([np.zeros(before), inner, np.zeros(length - len(inner) - before)])


# --- texts: as in edgeft/tasks/text.py --------------------------------------------------------------------------------


def read_text(path):
    if not os.path.isfile(path):
        return path
    try:
        with open(path, "rb") as handle:
            return handle.read().decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(3, f"{path}: not readable as UTF-8 text ({error})") from error


def tokens(words, spec):
    """{ids: int32 (1, L), mask: int32 (1, L)} of a text, by the manifest's preprocess table."""
    try:
        import tokenizers
    except ImportError:
        raise Stop(4, "reading texts needs tokenizers: pip install tokenizers") from None
    if not words.strip():
        raise Stop(3, "the text is empty")
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(HERE, spec["files"]["tokenizer"]))
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec["length"])
    found = tokenizer.encode(words).ids
    ids = np.full((1, spec["length"]), spec["pad"], np.int32)
    ids[0, : len(found)] = found
    mask = (np.arange(spec["length"]) < len(found)).astype(np.int32)[None]
    return dict(zip(spec["inputs"], [ids, mask]))


# --- runtimes: each gives (input names, output names, run), where run takes and gives lists in that order ------------


def load_onnxruntime(path, threads, options):
    try:
        import onnxruntime
    except ImportError as error:
        raise Stop(4, f"this bundle needs onnxruntime ({error}): pip install onnxruntime") from error
    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = options.get("inter_op_num_threads", 1)
    level = options.get("graph_optimization_level", "ORT_ENABLE_ALL")
    settings.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    for key, value in options.items():
        if "." in key:
            settings.add_session_config_entry(key, value)
    provider = options.get("provider", "CPUExecutionProvider")
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=[provider])
    except Exception as error:  # the runtime's own errors share no base class but Exception
        raise Stop(3, f"{path} does not load in onnxruntime {onnxruntime.__version__}: {error}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()

    def run(feeds):
        return session.run([t.name for t in outputs], dict(zip([t.name for t in inputs], feeds)))

    return [t.name for t in inputs], [t.name for t in outputs], run


def load_openvino(path, threads, options):
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore # it would report its import
    try:
        import openvino

        core = getattr(openvino, "Core", None) or __import__("openvino.runtime", fromlist=["Core"]).Core
    except ImportError as error:
        raise Stop(4, f"this bundle needs openvino ({error}): pip install openvino") from error
    config = {key: value for key, value in options.items() if not isinstance(value, list)}
    config["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = core().compile_model(path, "CPU", config)
    except Exception as error:
        raise Stop(3, f"{path} does not load in openvino: {error}") from error
    request = compiled.create_infer_request()

    def run(feeds):
        results = request.infer(dict(enumerate(feeds)))
        return [np.array(results[port]) for port in compiled.outputs]

    def name(port):
        return port.get_any_name() if port.get_names() else port.get_node().get_friendly_name()

    return [name(port) for port in compiled.inputs], [name(port) for port in compiled.outputs], run


def load_litert(path, threads, options):
    interpreter, reasons = None, []
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter"):
        try:  # tflite_runtime imports beside numpy 2 and fails only when it is used
            found = __import__(module, fromlist=["Interpreter"])
            chosen = {}
            if hasattr(found, "OpResolverType"):  # the oldest releases have one resolver only
                chosen["experimental_op_resolver_type"] = getattr(
                    found.OpResolverType, options.get("op_resolver", "AUTO")
                )
            interpreter = found.Interpreter(model_path=path, num_threads=threads, **chosen)
            interpreter.allocate_tensors()
            break
        except Exception as error:  # a broken install fails in many ways, and the next one may work
            interpreter = None
            reasons.append(f"{module}: {error}")
    if interpreter is None:
        tried = "; ".join(reasons)
        raise Stop(4, f"no LiteRT interpreter loads this model ({tried}): pip install ai-edge-litert")
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def run(feeds):
        for detail, value in zip(inputs, feeds):
            interpreter.set_tensor(detail["index"], stored(value, detail["dtype"], detail["quantization"]))
        interpreter.invoke()
        return [real(interpreter.get_tensor(detail["index"]), detail["quantization"]) for detail in outputs]

    return [d["name"] for d in inputs], [d["name"] for d in outputs], run


def stored(value, dtype, quantization):
    scale, zero_point = quantization
    if not scale or value.dtype.kind != "f":
        return value.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(value / np.float32(scale)) + np.float32(zero_point), limits.min, limits.max).astype(dtype)


def real(value, quantization):
    scale, zero_point = quantization
    return value if not scale else (value.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


LOADERS = {"onnxruntime": load_onnxruntime, "openvino": load_openvino, "litert": load_litert}


def load(manifest, threads):
    """A function from {input name: tensor} to {output name: tensor}, under the names of the manifest."""
    graph, backend = manifest["graphs"][0], manifest["backend"]
    if backend not in LOADERS:
        raise Stop(4, f"this runner does not know the runtime {backend!r}")
    for name in sorted(manifest["files"]):  # an .xml takes its .bin along, an .onnx its external data
        if not name.startswith("baseline/") and not name.endswith((".py", ".npz")):
            checked(manifest, name)
    path = checked(manifest, graph["file"])
    threads = threads or manifest["runtime"]["threads"]
    options = manifest["runtime"]["options"]
    found_in, found_out, run = LOADERS[backend](path, threads, options)
    found_in, found_out = options.get("input_names") or found_in, options.get("output_names") or found_out
    wanted_in, wanted_out = [t["name"] for t in graph["inputs"]], [t["name"] for t in graph["outputs"]]
    if len(found_in) != len(wanted_in) or len(found_out) != len(wanted_out):
        raise Stop(3, "the model's inputs and outputs are not those of the manifest")
    # by name where the artifact kept the names, else by position
    order_in = wanted_in if set(found_in) != set(wanted_in) else found_in
    order_out = wanted_out if set(found_out) != set(wanted_out) else found_out

    def call(feeds):
        return dict(zip(order_out, run([np.ascontiguousarray(feeds[name]) for name in order_in])))

    return call


READERS = {"image": read_image, "sound": read_sound, "text": read_text}
CLASSES = ("classify", "keyword", "text-classify")


def feeds_of(raw, spec):
    """{input name: tensor} of one raw sample."""
    return tokens(raw, spec) if spec["kind"] == "text" else {spec["input"]: preprocess(raw, spec)}


def stored_raw(samples, i, kind):
    if kind == "sound":
        return {key: samples[f"raw_{i}/{key}"] for key in ("samples", "rate")}
    return str(samples[f"raw_{i}"]) if kind == "text" else samples[f"raw_{i}"]


# --- the two things it does -------------------------------------------------------------------------------------------


def predict(manifest, call, path):
    spec = manifest["preprocess"]
    if spec.get("kind") not in READERS:
        raise Stop(2, "this runner takes images, sounds or texts; run it without arguments, or use `edgeft predict`")
    outputs = call(feeds_of(READERS[spec["kind"]](path), spec))
    if manifest["task"] not in CLASSES:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items())
        return f"{path}: {shapes}"
    logits = np.asarray(outputs.get("logits", next(iter(outputs.values()))), np.float64).reshape(-1)
    if not np.isfinite(logits.max()):
        return f"{path}: undecided (the outputs are not finite)"
    powers = np.exp(logits - logits.max())
    best = int(logits.argmax())
    return "{}: {} {:.1f} %".format(path, manifest["labels"][best], 100 * powers[best] / powers.sum())


def self_check(manifest, call):
    """Prints one line an output and returns whether all are as expected.

    Allowed are 2 % of the output's range or 4 of its integer steps, whichever is more (runtimes round differently);
    decisions must be the same wherever the expected margin is wider than that.
    """
    with np.load(checked(manifest, "samples.npz"), allow_pickle=False) as archive:
        samples = {name: archive[name] for name in archive.files}
    graph = manifest["graphs"][0]
    n = len(samples["input/" + graph["inputs"][0]["name"]])
    good = check_preprocessing(manifest, samples, n)
    results = []
    for i in range(n):
        results.append(call({t["name"]: samples["input/" + t["name"]][i : i + 1] for t in graph["inputs"]}))
    for tensor in graph["outputs"]:
        name = tensor["name"]
        expected = samples["output/" + name].astype(np.float64)
        got = np.concatenate([result[name] for result in results]).astype(np.float64)
        if got.shape != expected.shape or not np.isfinite(got).all():
            say(f"{name}: shape {got.shape} or values are not what is expected")
            good = False
            continue
        allowed = max(4 * (tensor.get("scale") or 0), 0.02 * float(expected.max() - expected.min()))
        worst = float(np.abs(got - expected).max())
        fine = worst <= allowed
        text = f"{name}: {n} samples, largest difference {worst:.4g}, allowed {allowed:.4g}"
        if manifest["task"] in CLASSES and expected.ndim == 2:
            top = np.sort(expected, axis=1)
            same = got.argmax(axis=1) == expected.argmax(axis=1)
            fine = fine and bool((same | (top[:, -1] - top[:, -2] <= allowed)).all())
            text += f", {int(same.sum())} of {n} decisions alike"
        say("{}: {}".format(text, "ok" if fine else "DIFFERS"))
        good = good and fine
    return good


def check_preprocessing(manifest, samples, n):
    """Whether the raw samples still become the tensors that were exported (one pixel level of pillow's is allowed)."""
    spec = manifest["preprocess"]
    kind = spec.get("kind")
    if kind not in READERS or ("raw_0/samples" if kind == "sound" else "raw_0") not in samples:
        return True
    worst = 0.0
    level = 1e-4 if kind == "sound" else 0.0
    if kind == "image":
        level = 1.0 / (float(spec["scale"]) * min(spec["std"]))
    for i in range(n):
        try:
            feeds = feeds_of(stored_raw(samples, i, kind), spec)
        except Stop as stop:
            say(f"preprocessing: not checked ({stop})", sys.stderr)
            return True
        for name, made in feeds.items():
            expected = samples["input/" + name][i : i + 1]
            if made.shape != expected.shape:
                say(f"preprocessing: makes {made.shape}, expected {expected.shape}: DIFFERS")
                return False
            worst = max(worst, float(np.abs(made - expected).max()))
    fine = worst <= 1.01 * level
    say("preprocessing: largest difference {:.4g}: {}".format(worst, "ok" if fine else "DIFFERS"))
    return fine


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", help="image files, .npy files of uint8 pixels, .wav files, or texts")
    parser.add_argument("--threads", type=int, default=0, help="threads of the runtime (default: as verified)")
    arguments = parser.parse_args()
    try:
        manifest = load_manifest()
        call = load(manifest, max(arguments.threads, 0))
        for path in arguments.inputs:
            say(predict(manifest, call, path))
        if not arguments.inputs and not self_check(manifest, call):
            return 1
    except Stop as stop:
        say(f"run.py: {stop}", sys.stderr)
        return stop.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
