"""The functions that import Keras layers, a file a family."""
