"""A part of run.py: models in OpenVINO."""

import sys

import numpy as np

from ...core.runner import Stop

RUNTIME = "openvino"


def open_model(path, threads, options):
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # it would report its import

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
