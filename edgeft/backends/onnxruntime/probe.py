"""The tiny model that `edgeft doctor` runs: y = relu(x), float32 (1, 2), ONNX opset 13, IR version 7."""

from __future__ import annotations

import base64

_MODEL = "CAcSADo7CgwKAXgSAXkiBFJlbHUSAWdaEwoBeBIOCgwIARIICgIIAQoCCAJiEwoBeRIOCgwIARIICgIIAQoCCAJCBAoAEA0="
FILES = {"relu.onnx": base64.b64decode(_MODEL)}
