"""The version of this package, which `edgeft.__version__` gives too."""

__version__ = "0.1.0"
