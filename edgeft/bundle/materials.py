"""A bundle's bill of materials, bom.cdx.json: model files and packages as CycloneDX 1.6 (ECMA-424) lists them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from ..plugins import BACKENDS

FILE = "bom.cdx.json"
#: names of bills of materials in the space of UUIDs (RFC 9562, version 5): the same model, the same number
_SPACE = uuid.UUID("6b0f2a34-9a5e-5c0e-8d0a-3a8f3a3d6c11")


def bill(manifest: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """The bill of a bundle with this manifest; `digests` {path: sha256 in hex} are of its model files.

    Components of scope "required" run on the board, those of scope "excluded" wrote the files.
    """
    provenance = manifest["provenance"]
    model = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": manifest["name"],
        "description": f"{manifest['task']} for {manifest['target']}, {manifest['scheme']['format']}",
    }
    number = uuid.uuid5(_SPACE, "\n".join(f"{name} {digest}" for name, digest in sorted(digests.items())))

    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        "metadata": {"component": model, "tools": {"components": [_package("edgeft", provenance["edgeft"])]}},
        "components": [*_files(digests), *_packages(manifest)],
        "dependencies": [{"ref": "model", "dependsOn": sorted(f"file:{name}" for name in digests)}],
    }


def _files(digests: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "type": "file",
            "bom-ref": f"file:{name}",
            "name": name,
            "hashes": [{"alg": "SHA-256", "content": digest}],
            "scope": "required",
        }
        for name, digest in sorted(digests.items())
    ]


def _packages(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    versions = {name: version for name, version in manifest["provenance"]["versions"].items() if name != "python"}
    installs = BACKENDS.get(manifest["backend"]).boards
    on_board = {"numpy", *(re.split("[<>=~!]", each)[0] for install in installs for each in install.requirements)}
    scopes = {name: "required" if name in on_board else "excluded" for name in versions if name != "edgeft"}
    return [{**_package(name, versions[name]), "scope": scope} for name, scope in sorted(scopes.items())]


def _package(name: str, version: str) -> dict[str, Any]:
    # A purl has no "+": a local version (2.13.0+cpu) is percent-encoded.
    purl = f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
