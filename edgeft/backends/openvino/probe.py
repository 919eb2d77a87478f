"""The tiny model that `edgeft doctor` runs: y = relu(x), float32 (1, 2), as OpenVINO IR; its weights file is empty."""

from __future__ import annotations

_MODEL = (
    '<net name="relu" version="11"><layers>'
    '<layer id="0" name="x" type="Parameter" version="opset1"><data shape="1,2" element_type="f32"/>'
    '<output><port id="0" precision="FP32" names="x"><dim>1</dim><dim>2</dim></port></output></layer>'
    '<layer id="1" name="relu" type="ReLU" version="opset1">'
    '<input><port id="0" precision="FP32"><dim>1</dim><dim>2</dim></port></input>'
    '<output><port id="1" precision="FP32" names="y"><dim>1</dim><dim>2</dim></port></output></layer>'
    '<layer id="2" name="y/sink" type="Result" version="opset1">'
    '<input><port id="0" precision="FP32"><dim>1</dim><dim>2</dim></port></input></layer>'
    '</layers><edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>'
    '<edge from-layer="1" from-port="1" to-layer="2" to-port="0"/></edges></net>'
)
FILES = {"relu.xml": _MODEL.encode(), "relu.bin": b""}
