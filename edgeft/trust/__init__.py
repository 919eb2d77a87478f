"""Signatures of bundles: who made one, which digests alone cannot say.

signature.py     sign a bundle; check the signature of an opened one against the keys that are trusted
keys.py          where those keys are: --trust, EDGEFT_TRUST, the user's settings; which ones are revoked
environment.py   the interpreter that has the package model-signing, which does all cryptography
tool.py          what that interpreter runs

The signature is a file in Sigstore's bundle format (`bundle.sigstore.json`), as OpenSSF's model signing writes it with
a local key: `model_signing verify key` reads it too.
"""
