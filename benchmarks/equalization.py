"""What equalizing channels brings post-training quantization where the channels of a network differ much in size.

    python benchmarks/equalization.py [--images 2000] [--decades 0 2 3 4]

ResNet-20 with its published CIFAR-10 weights, as it is and with the BatchNorm scales between the two convolutions of each
block spread over some powers of ten; the second convolution makes up for them, so that the float function stays the same.
Quantized graphs are measured in torch, whose integers the runtimes repeat. Calibrated on 512 training images, measured on
images of the test split that are drawn at random, which nothing was chosen by. Needs `EDGEFT_DATA`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import common
import numpy as np

CALIBRATED, BATCH = 512, 64


def network(weights: Path) -> Any:
    import torch

    from edgeft.models.nets.resnet import ResNet20

    state = torch.load(weights, weights_only=True, map_location="cpu")["state_dict"]
    net = ResNet20(10)
    net.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    return net.eval()


def spread(net: Any, decades: float, seed: int = 0) -> Any:
    """The same function, its channels between two convolutions scaled by random factors over so many powers of ten."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in net.modules():
            if hasattr(block, "conv2"):
                by = 10 ** (decades * (torch.rand(block.conv1.out_channels, generator=draw) - 0.5))
                block.bn1.weight.mul_(by)
                block.bn1.bias.mul_(by)
                block.conv2.weight.div_(by.view(1, -1, 1, 1))

    return net


def inputs(pictures: np.ndarray) -> Any:
    """uint8 (N, 32, 32, 3) -> float32 (N, 3, 32, 32) with ImageNet's mean and deviation."""
    import torch

    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - mean) / deviation


def right(module: Any, x: Any, labels: np.ndarray) -> np.ndarray:
    """bool (N,)"""
    import torch

    with torch.no_grad():
        answers = torch.cat([module(part).argmax(1) for part in x.split(250)])
    return answers.numpy() == labels


def row(net: Any, calibration: Any, x: Any, labels: np.ndarray) -> dict[str, Any]:
    """Float, and quantized without and with equalization: points of accuracy, and those lost with a 95 % interval."""
    from edgeft.config.scheme import Scheme
    from edgeft.measure.stats import paired_proportions
    from edgeft.quantize.parts import calibrate_parts, capture_parts, insert_parts

    parts = insert_parts(capture_parts(net, (calibration[:8],)), Scheme())

    def batches() -> Any:
        return iter([(part,) for part in calibration.split(BATCH)])

    def calibrate() -> None:
        parts.calibrate_weights("mse")
        calibrate_parts(parts, batches, estimator="mse", percentile=99.9)

    def lost(after: np.ndarray) -> list[float]:
        low, high = paired_proportions(int((before & ~after).sum()), int((~before & after).sum()), len(before))
        return [float(100 * value) for value in (before.mean() - after.mean(), low, high)]

    before = right(net, x, labels)
    calibrate()
    plain = lost(right(parts.module, x, labels))
    gain = parts.equalize(batches, calibrate)

    return {
        "float": float(100 * before.mean()),
        "plain": plain,
        "equalized": lost(right(parts.module, x, labels)),
        "db": None if gain is None else [gain.before_db, gain.after_db],
    }


def points(values: list[float]) -> str:
    return f"{values[0]:+.2f} [{values[1]:+.2f}, {values[2]:+.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--decades", type=float, nargs="+", default=[0, 2, 3, 4])
    arguments = parser.parse_args()

    root = Path(os.environ["EDGEFT_DATA"])
    with np.load(root / "10_standard_images" / "cifar10_test10k_train5k.npz") as arrays:
        # the file is sorted by class: its first images are of one or two classes
        draw = np.random.default_rng(0)
        calibration = inputs(arrays["x_train"][draw.permutation(len(arrays["x_train"]))[:CALIBRATED]])
        drawn = draw.permutation(len(arrays["x_test"]))[: arguments.images]
        x, labels = inputs(arrays["x_test"][drawn]), arrays["y_test"][drawn].astype(int).ravel()

    weights = root / "01_image_medical" / "weights" / "resnet20-12fca82f.th"
    rows = {decades: row(spread(network(weights), decades), calibration, x, labels) for decades in arguments.decades}

    host, used = common.machine(), common.versions("torch", "numpy")
    body = [
        [
            f"{decades:g}",
            f"{r['float']:.2f}",
            points(r["plain"]),
            points(r["equalized"]) if r["db"] else "left as it was",
            "" if r["db"] is None else f"{r['db'][0]:.1f} to {r['db'][1]:.1f} dB",
        ]
        for decades, r in rows.items()
    ]
    head = ["channels differ by powers of ten", "float", "lost by PTQ", "lost by PTQ, equalized", "signal to noise"]
    common.publish(
        "equalization",
        f"""## Equalization

ResNet-20, CIFAR-10, {len(labels)} test images, int8 after calibration alone; points of accuracy lost with paired 95 % intervals.

{common.table(head, body)}

{common.footing(host, used)}
""",
        {"machine": host, "versions": used, "images": len(labels), "rows": {str(k): v for k, v in rows.items()}},
    )


if __name__ == "__main__":
    main()
