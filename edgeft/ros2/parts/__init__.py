"""Code of generated packages. Nothing here is imported by edgeft."""
