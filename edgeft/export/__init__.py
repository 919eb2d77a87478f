"""Export: a run's quantized graph becomes one verified bundle per target.

run.py          the whole command
onnxruntime.py  openvino.py  litert.py   one exporter a runtime
onnx_passes.py  onnx_opset.py            rewriting of ONNX graphs, and the opset a profile allows
tensorrt.py     the build script that goes into a Jetson's bundle
artifact.py     what an exporter returns
"""

from __future__ import annotations
