"""Keywords in a stream: the rule of edgeft/tasks/keyword/stream.py."""

import numpy as np

from ...core.runner import Stop
from ...inputs.run_sound_stream import chunks_of, windows

#: options of --stream: seconds from answer to answer, seconds of smoothing, least probability, seconds without another
RULE = {"step": 0.1, "smoothing": 0.5, "threshold": 0.7, "refractory": 0.75}


def listen(call, name, manifest, options):
    """A line for each detection in a file, or in standard input ("-"), as soon as it is certain."""
    spec, labels = manifest["preprocess"], manifest["labels"]
    if not all(0 <= options[key] <= 3600 for key in RULE) or not options["step"]:
        raise Stop(2, "--step, --smoothing, --threshold and --refractory take numbers that are not negative")

    ignored = ("background", "noise", "other", "silence", "unknown", *options["ignore"])
    names = [label for label in labels if label.lower() not in ignored and label not in ignored and label[:1] != "_"]
    rate, chunks = chunks_of(name, spec, options["rate"])
    step = max(1, round(options["step"] * spec["rate"] / spec["hop"])) * spec["hop"] / spec["rate"]
    count = max(1, round(options["smoothing"] / step))
    recent, quiet_until, armed = [np.zeros(len(labels))] * count, -1.0, np.ones(len(labels), bool)

    for seconds, feeds in windows(chunks, rate, spec, step):
        outputs = call(feeds)
        logits = np.asarray(outputs.get("logits", next(iter(outputs.values()))), np.float64).reshape(-1)
        powers = np.exp(logits - logits.max())
        shares = powers / powers.sum()
        recent = [*recent[1:], np.where(np.isfinite(shares), shares, 0.0)]
        average = np.mean(recent, axis=0)
        armed |= average < options["threshold"]
        best = int(average.argmax())
        if labels[best] in names and armed[best] and average[best] >= options["threshold"] and seconds >= quiet_until:
            armed[best], quiet_until = False, seconds + options["refractory"]
            middle = max(0.0, seconds - (count - 1) / 2 * step)
            yield f"{middle:9.3f} s  {labels[best]}  {100 * average[best]:.1f} %"
