"""`edgeft sign`: a signature that says who made a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from .frame import PATH, Console, Outcome
from .frame import command as _command


@_command(
    "sign",
    examples="""
    edgeft sign bundles/rpi5 --key key.pem          # then: edgeft verify bundles/rpi5 --trust key.pub
    edgeft sign --setup                             # the package that signs, in an environment of its own
    """,
)
@click.argument("bundles", nargs=-1, metavar="BUNDLE...", type=PATH)
@click.option(
    "--key", type=PATH, help="Private key on P-256, P-384 or P-521, PEM; EDGEFT_KEY_PASSWORD if it is encrypted."
)
@click.option("--setup", is_flag=True, help="Install the package model-signing into an environment of its own.")
def command(console: Console, bundles: tuple[Path, ...], key: Path | None, setup: bool) -> Outcome:
    """Sign BUNDLEs: manifest, all files that it lists, samples, gates and the recorded figures.

    The signature is a file of the bundle in Sigstore's format. It says who vouches for the bundle, not that it is good.
    """
    from .. import api
    from ..core.errors import UsageError
    from ..trust import environment

    if setup:
        python = environment.setup(console.say)
        if not bundles:
            return Outcome({"python": python}, f"model-signing is installed: {python or 'in this environment'}")

    if not bundles or key is None:
        raise UsageError(
            "a bundle and its key are missing" if not bundles else "the key is missing",
            where="edgeft sign",
            remedy="edgeft sign BUNDLE --key KEY (docs/signing.md says how to make a key)",
        )

    results = [api.sign(bundle, key) for bundle in bundles]
    lines = []
    for result in results:
        lines.append(f"{result['bundle']}: signed, {result['files']} files, by the key {result['key']}")
        if result["verdict"] != "pass":
            lines.append(
                f"warning: the report of {result['bundle']} records {result['verdict'] or 'no verdict'}, not pass"
            )

    return Outcome({"bundles": results}, "\n".join(lines))
