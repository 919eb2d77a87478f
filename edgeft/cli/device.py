"""`edgeft device`: boards over ssh and emulated ones, made ready, listed, looked at."""

from __future__ import annotations

from pathlib import Path

import click

from . import completion
from .frame import SETTINGS, Console, Group, HomePath, Outcome
from .frame import command as _command

FILES = {name: f"device:{name}_" for name in ("setup", "list", "check")}


@click.group(
    "device",
    cls=Group,
    files=FILES,
    invoke_without_command=True,
    context_settings=SETTINGS,
    examples="""
    edgeft device setup ssh://pi@rpi5.local --target rpi5
    edgeft device check ssh://pi@rpi5.local
    edgeft bench bundles/rpi5 --device ssh://pi@rpi5.local
    edgeft device setup emulate:rpi4
    edgeft device setup compile:imx93
    edgeft verify bundles/rpi4 --device emulate:rpi4 --data data/blood --samples 100
    """,
)
@click.pass_context
def command(ctx: click.Context) -> Outcome | None:
    """Boards where bundles can run. Without a command: list those that were set up."""
    return None if ctx.invoked_subcommand else _list()


def environment_prefix() -> str:
    """What the names of compilers begin with."""
    from ..compilers import PREFIX

    return PREFIX


def _list() -> Outcome:
    from ..devices import known
    from . import words

    records = known.every()
    return Outcome({"devices": records}, words.devices(records))


@_command("list")
def list_(console: Console) -> Outcome:
    """List the devices that were set up from this machine."""
    return _list()


@_command("setup", examples="edgeft device setup ssh://pi@rpi5.local --target rpi5")
@click.argument("device")
@click.option(
    "--target",
    metavar="NAME",
    shell_complete=completion.of_names(completion.targets),
    help="Target profile of the board: its runtime is installed and its architecture checked.",
)
@click.option(
    "--runtime",
    multiple=True,
    help="A runtime to install, with a version where one is wanted (onnxruntime==1.21.0); also more than once.",
)
@click.option(
    "--extra", multiple=True, help="Packages for raw samples: audio, text, translate, detect; may be repeated."
)
@click.option("--isa", type=click.Choice(["aarch64", "armv7"]), help="Use the 32-bit system of an emulated board.")
@click.option(
    "--python",
    metavar="PATH",
    help="Interpreter on the board that has numpy, click and a runtime; for a compiler: the one of its environment.",
)
@click.option(
    "--wheels", type=HomePath(path_type=Path, exists=True), help="Folder of wheels, for a board without a network."
)
def setup_(
    console: Console,
    device: str,
    target: str | None,
    runtime: tuple[str, ...],
    extra: tuple[str, ...],
    isa: str | None,
    python: str | None,
    wheels: Path | None,
) -> Outcome:
    """Make DEVICE ready: an environment with a runtime, and this package.

    ssh://[user@]host[:port][/folder] is a board; emulate:TARGET is its CPU under qemu, fetched into the cache;
    compile:TARGET is the compiler of the board's vendor, in an environment of its own.
    """
    from ..core.errors import UsageError
    from ..devices import setup
    from . import words

    if device.startswith("emulate:"):
        from ..devices import emulate

        if python or wheels or target:
            raise UsageError("an emulated board is named by its address alone", remedy="leave out --target and others")
        environment = emulate.setup(device, runtimes=runtime, extras=extra, isa=isa, say=console.say)
        return Outcome(environment, words.emulated(environment))

    if device.startswith(environment_prefix()):
        from ..compilers import environment as environments

        if runtime or extra or isa or target or wheels:
            raise UsageError("a compiler is named by its address alone", remedy="of the options it takes --python only")
        record = environments.setup(environments.named(device), python=python, say=console.say)
        return Outcome(record, words.compiler(record))

    if isa:
        raise UsageError("--isa is for emulated boards", where=device, remedy="leave it out")

    result = setup.setup(
        device, runtimes=runtime, extras=extra, target=target, python=python, wheels=wheels, say=console.say
    )
    return Outcome(result, words.device(result))


@_command("check", examples="edgeft device check ssh://pi@rpi5.local")
@click.argument("device")
def check_(console: Console, device: str) -> Outcome:
    """Say what DEVICE is, which runtimes load there, how hot it is."""
    from ..devices import setup
    from . import words

    if device.startswith("emulate:"):
        from ..devices import emulate

        record = emulate.Emulated.known(device).record
        return Outcome({"name": device, **record}, words.emulated({"name": device, **record}))

    if device.startswith(environment_prefix()):
        from ..compilers import environment

        record = environment.check(environment.named(device))
        return Outcome(record, words.compiler(record))

    result = setup.check(device, say=console.say)
    return Outcome(result, words.device(result))
