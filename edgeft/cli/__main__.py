"""`python -m edgeft.cli` is `edgeft`."""

from .entry import main

main()
