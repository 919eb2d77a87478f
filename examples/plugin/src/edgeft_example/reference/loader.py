"""A part of run.py: models in the reference evaluator of the package onnx."""

from edgeft.core.runner import Stop

RUNTIME = "reference"


def open_model(path, threads, options):
    try:
        from onnx.reference import ReferenceEvaluator
    except ImportError as error:
        raise Stop(4, f"this bundle needs onnx ({error}): pip install onnx") from error

    try:
        evaluator = ReferenceEvaluator(path)
    except Exception as error:  # the package's errors share no base class but Exception
        raise Stop(3, f"{path} does not load in onnx: {error}") from error

    def run(feeds):
        return evaluator.run(None, dict(zip(evaluator.input_names, feeds)))

    return list(evaluator.input_names), list(evaluator.output_names), run
