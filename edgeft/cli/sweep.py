"""`edgeft sweep`: the keys of a recipe are searched."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.errors import UsageError
from . import completion
from .frame import PATH, Console, Outcome
from .frame import command as _command


@_command(
    "sweep",
    examples="""
    edgeft sweep recipe.toml --set "train.lr=loguniform(1e-5, 1e-2)" --set "train.epochs=int(3, 9)" --out sweeps/1
    edgeft sweep recipe.toml --space space.toml --minimize latency --trials 50 --out sweeps/2
    edgeft sweep --resume sweeps/1                     # goes on, or helps: in a second terminal at the same time
    edgeft sweep --resume sweeps/1 --trials 0          # what is known so far
    edgeft tune sweeps/1/best.toml
    """,
)
@click.argument("recipe", required=False, type=PATH)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="TABLE.KEY=SPACE",
    help="A key to search, as uniform, loguniform, int, logint (LOW, HIGH) or choice(A, B, ...); or a fixed value.",
)
@click.option("--space", "space_file", type=PATH, metavar="FILE", help="Keys to search as a TOML file.")
@click.option("--out", type=PATH, help="Folder of a new sweep.")
@click.option("--resume", type=PATH, metavar="DIR", help="Go on with a sweep, or help one that is running.")
@click.option("--trials", type=click.IntRange(0, 100_000), default=20, show_default=True, help="Trials in all.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Begin no trial after so many seconds.")
@click.option(
    "--target",
    metavar="NAME",
    shell_complete=completion.of_names(completion.targets),
    help="Board whose quantized model is judged.  [default: the recipe's first]",
)
@click.option("--device", metavar="NAME", help="Measure the latency on this device: ssh://[user@]host[:port].")
@click.option(
    "--minimize", multiple=True, type=click.Choice(["latency", "size"]), help="A further objective beside the metric."
)
@click.option("--sampler", type=click.Choice(["tpe", "random"]), help="How values are chosen.  [default: tpe]")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of the sampler.  [default: 0]")
@click.option("--no-stop", is_flag=True, help="Train every trial to its end, also one that is behind the others.")
@click.option("--allow-code", is_flag=True, help="Run the Python file that the recipe's model names.")
@click.option("--allow-download", is_flag=True, help="Download the weights that the recipe's model names.")
def command(
    console: Console,
    recipe: Path | None,
    settings: tuple[str, ...],
    space_file: Path | None,
    out: Path | None,
    resume: Path | None,
    trials: int,
    seconds: float | None,
    target: str | None,
    device: str | None,
    minimize: tuple[str, ...],
    sampler: str | None,
    seed: int | None,
    no_stop: bool,
    allow_code: bool,
    allow_download: bool,
) -> Outcome:
    """Search keys of RECIPE: every trial is a run, judged on the validation split.

    A trial that falls behind the median of the others is stopped. With --minimize the size or the latency of the
    quantized model counts beside the metric, and the trials that no other one beats are the Pareto front. The best
    recipe is written as best.toml, everything as sweep.json and sweep.html.

    The folder may be worked on by several processes, and each may be killed: what it was at is taken up again.
    """
    from .. import api
    from ..report import swept

    begun = [name for name, value in _given(locals()).items() if value]
    if resume is not None and begun:
        raise UsageError(f"--resume goes on with what was searched: leave out {', '.join(begun)}")
    if resume is None and out is None:
        raise UsageError("a sweep needs a folder", remedy="--out DIR for a new one, --resume DIR to go on with one")

    folder = resume or out
    console.resumable, console.resumed_by = folder, "sweep"
    result = api.sweep(
        recipe,
        folder,
        overrides=settings,
        space=space_file,
        resume=resume is not None,
        trials=trials,
        seconds=seconds,
        target=target,
        device=device,
        minimize=minimize,
        sampler=sampler or "tpe",
        seed=seed or 0,
        stop=not no_stop,
        allow_code=allow_code,
        allow_download=allow_download,
        say=console.say,
    )

    return Outcome(result, swept.text(result), details=swept.text(result, most=0))


def _given(values: dict[str, object]) -> dict[str, object]:
    """The options that begin a sweep, by their names on the command line."""
    names = {"recipe": "RECIPE", "settings": "--set", "space_file": "--space", "out": "--out", "target": "--target"}
    names |= {"device": "--device", "minimize": "--minimize", "sampler": "--sampler", "seed": "--seed"}
    names |= {"no_stop": "--no-stop"}
    return {shown: values[name] for name, shown in names.items()}
