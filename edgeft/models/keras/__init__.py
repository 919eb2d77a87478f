"""Models that Keras saved (.keras, .h5), as torch modules that are captured, trained and lowered as any.

source.py     the model source: preprocessing, classifier       agree.py     the module against Keras
loading.py    the file, and Keras itself                        safety.py    what a file may not hold
importer.py   a graph of Keras layers becomes a torch module    layer.py     a layer as its importer sees it
placed.py     where the channels of a value are                 kept.py      a layer that Keras computes
registry.py   which function imports which layer                layers/      the functions, a file a family
front.py      scaling at the beginning of a net becomes preprocessing
applications.py   how nets of keras.applications take their pictures

Keras computes with its torch backend; the module that comes of it knows nothing of Keras. Pictures have their channels
first in it, whatever the file's order is, so that no layer is put between two permutations.
"""

from .source import SOURCE

__all__ = ["SOURCE"]
