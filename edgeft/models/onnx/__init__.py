"""A finished .onnx file as a model: its graph becomes a torch module that is captured, trained and lowered as any.

source.py     the model source: preprocessing, classifier, check against ONNX Runtime
reading.py    the file, its external data, what is refused     importer.py   a graph becomes a torch module
values.py     constants, traced values and the batch axis       node.py       a node as its operator sees it
registry.py   which function imports which operator             ops/          the functions, a file a family
fuse.py       patterns that exporters write out                 agree.py      the module against ONNX Runtime
"""

from .source import SOURCE, Described, describe

__all__ = ["SOURCE", "Described", "describe"]
