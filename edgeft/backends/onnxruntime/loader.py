"""A part of run.py: models in ONNX Runtime."""

import os

from ...core.runner import Stop

RUNTIME = "onnxruntime"


def open_model(path, threads, options):
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read within the import, which would queue an event
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
    for key in ("enable_cpu_mem_arena", "enable_mem_pattern"):
        setattr(settings, key, options.get(key, True))

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
