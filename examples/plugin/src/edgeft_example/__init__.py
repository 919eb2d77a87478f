"""Plug-ins of edgeft, as an example to copy from."""
