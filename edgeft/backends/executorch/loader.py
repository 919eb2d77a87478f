"""A part of run.py: models in ExecuTorch."""

import os

import numpy as np

from ...core.runner import Stop

RUNTIME = "executorch"


def open_model(path, threads, options):
    silent = os.open(os.devnull, os.O_WRONLY)
    stderr = os.dup(2)
    os.dup2(silent, 2)  # the runtime tells there how it counts the cores

    try:
        torch = __import__("torch")  # whose libraries the runtime is linked against
        runtime = __import__("executorch.extension.pybindings._C", fromlist=["_C"])
        if runtime._threadpool_get_thread_count() != threads:
            runtime._unsafe_reset_threadpool(threads)
        program = runtime._load_program(path, program_verification=runtime.Verification.InternalConsistency)
        method = program.load_method("forward")
    except ImportError as error:
        raise Stop(4, f"this bundle needs executorch ({error}): pip install executorch") from error
    except RuntimeError as error:
        raise Stop(3, f"{path} does not load in executorch: {error}") from error
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(silent)

    def run(feeds):
        tensors = [torch.from_numpy(np.array(feed, order="C")) for feed in feeds]  # read in place while it executes
        method.set_inputs(tensors)
        method.execute()
        return [output.numpy() for output in method.get_outputs()]

    meta = method.method_meta()
    return (
        [f"input_{i}" for i in range(meta.num_inputs())],
        [f"output_{i}" for i in range(meta.num_outputs())],
        run,
    )
