"""The public functions: plain functions under every import order, and signatures that change only on purpose."""

from __future__ import annotations

import inspect
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle

import edgeft
from edgeft.cli.entry import run as command
from edgeft.config import recipe, starting_recipes
from edgeft.core.errors import BundleError, UsageError

FILE = Path(__file__).with_name("public_api.txt")
UPDATE = "python tests/test_public_api.py"


def described() -> str:
    """Names and full signatures of the public functions, as public_api.txt holds them."""
    lines = [f"# The public API of edgeft. It changes on purpose only; then update this file with: {UPDATE}"]
    for name in sorted(edgeft.__all__):
        value = getattr(edgeft, name)
        lines.append(f"\nedgeft.{name}" + (_signature(value) if callable(value) else ""))
    return "\n".join(lines) + "\n"


def _signature(function: Callable[..., object]) -> str:
    signature = inspect.signature(function)
    lines = ["("]
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "    *," not in lines:
            lines.append("    *,")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"    {parameter.name}: {parameter.annotation}{default},")
    return "\n".join([*lines, f") -> {signature.return_annotation}"])


def run(script: str) -> str:
    """What `script` prints in a fresh interpreter, which must end well and load no torch."""
    ending = "\nimport sys\nassert 'torch' not in sys.modules, 'torch was loaded'\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script + ending], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.board
def test_names_and_signatures_are_the_recorded_ones() -> None:
    assert described() == FILE.read_text(encoding="utf-8"), f"the public API differs: if on purpose, run `{UPDATE}`"


@pytest.mark.board
def test_dir_lists_the_public_api_and_nothing_else() -> None:
    assert dir(edgeft) == sorted(edgeft.__all__)
    assert {"tune", "export", "verify", "bench", "personalize", "predict", "report", "check", "load"} <= set(
        dir(edgeft)
    )


_CHECKS = """
import inspect, pickle, sys, types
for name in edgeft.__all__:
    value = getattr(edgeft, name)
    if name == "__version__":
        continue
    assert type(value) is types.FunctionType, (name, value)
    assert pickle.loads(pickle.dumps(value)) is value
    assert inspect.getmodule(value) is sys.modules["edgeft.api"]
    assert inspect.getdoc(value) and inspect.signature(value).parameters
"""

_IMPORTS = {
    "functions": "import edgeft\nassert callable(edgeft.verify) and callable(edgeft.report)",
    "from": "from edgeft import verify, report, personalize, predict",
    "submodule": "import edgeft.verify.size, edgeft.report, edgeft.predict, edgeft.personalize.plan",
    "from submodule": "from edgeft.verify.size import size\nfrom edgeft.report import text",
    "importlib": "import importlib\nassert importlib.import_module('edgeft.verify').size",
}


@pytest.mark.board
@pytest.mark.parametrize("order", list(itertools.permutations(_IMPORTS, 2)), ids="-".join)
def test_a_public_name_is_the_function_whatever_was_imported_first(order: tuple[str, str]) -> None:
    run("\n".join(_IMPORTS[kind] for kind in order) + "\nimport edgeft\n" + _CHECKS)


def test_the_host_half_does_not_shadow_its_functions_either() -> None:
    for package in ("torch", "accelerate", "safetensors"):
        pytest.importorskip(package)
    script = """
import edgeft.tune.run, edgeft.export.run
import edgeft, types
from edgeft.tune.run import tune
assert type(edgeft.tune) is types.FunctionType and edgeft.tune is not tune
assert type(edgeft.export) is types.FunctionType
try:
    edgeft.tune({"task": "classify"}, overrides=["no.such.key=1"])
except edgeft.api.RecipeError as error:
    assert error.exit_code == 3
else:
    raise AssertionError("a wrong key was accepted")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.board
def test_help_shows_what_a_function_takes() -> None:
    text = run("import edgeft.verify.run, pydoc\nprint(pydoc.plain(pydoc.render_doc(edgeft.verify)))")
    assert "function verify in module edgeft.api" in text
    assert "device: 'str | None' = None" in text and "Re-check a bundle" in text


@pytest.mark.board
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_pool_takes_a_public_function(method: str, tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(
        f"""
import multiprocessing, edgeft
from edgeft.verify import size
if __name__ == "__main__":
    with multiprocessing.get_context({method!r}).Pool(1) as pool:
        try:
            pool.map(edgeft.load, ["no such folder"])
        except Exception as error:
            print(type(error).__name__)
"""
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.stdout == "BundleError\n", done.stderr


@pytest.mark.board
def test_the_functions_do_what_the_commands_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = tiny_bundle.build(tmp_path)
    for level in (0, 255):
        np.save(tmp_path / f"{level}.npy", tiny_bundle.pixels(level))
    inputs = [tmp_path / "0.npy", tmp_path / "255.npy"]
    assert command(["predict", str(bundle), *map(str, inputs), "--json"]) == 0
    assert edgeft.predict(bundle, inputs) == json.loads(capfd.readouterr().out)["predictions"]
    assert edgeft.predict(edgeft.load(bundle), inputs[:1], top=1)[0]["label"] == "dark"

    (bundle / "report.json").write_text(json.dumps(edgeft.verify(bundle)))
    page = edgeft.report(bundle, tmp_path / "page.html")
    assert page == tmp_path / "page.html" and page.read_text().startswith("<!")
    with pytest.raises(UsageError, match="exists"):
        edgeft.report([bundle], page)
    assert edgeft.report([bundle], page, overwrite=True) == page

    for wrong in ({"accept": True}, {"against": bundle}, {"tolerance": 1.0}):
        with pytest.raises(UsageError, match="search"):
            edgeft.bench(bundle, search=True, **wrong)
    with pytest.raises(UsageError, match="rollback"):
        edgeft.personalize(bundle, tmp_path, rollback=True)
    with pytest.raises(BundleError):
        edgeft.load(tmp_path / "nothing here")


def test_check_takes_a_recipe_or_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torch", "mlxtend"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    small = recipe.override(starting_recipes.embedded(), ["model.name=resnet8", "model.weights="])
    (tmp_path / "recipe.toml").write_text(recipe.dumps(small))
    problems = edgeft.check("jetson", small)
    assert problems["target"] == "jetson-orin-nano" and problems["refused"] is False
    assert edgeft.check("jetson", "recipe.toml") == edgeft.check("jetson", tmp_path) == problems
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"], "a check writes nothing"


def test_a_type_checker_sees_functions_and_submodules(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="pip install 'edgeft[dev]'")
    user = tmp_path / "user.py"
    user.write_text(
        """
import edgeft
import edgeft.verify.size
from edgeft.verify.size import size

reveal_type(edgeft.verify("bundles/x", "data"))
reveal_type(edgeft.report)
edgeft.verify(bundle=1)
size(1)
"""
    )
    argv = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--config-file=", "--no-incremental", str(user)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert 'Revealed type is "dict[str, Any]"' in done.stdout.replace("builtins.", ""), done.stdout
    assert "out: Union[str, os.PathLike" in done.stdout or "out: str | os.PathLike" in done.stdout, done.stdout
    assert 'Argument "bundle" to "verify" has incompatible type "int"' in done.stdout, done.stdout
    assert "Module not callable" not in done.stdout and "import-untyped" not in done.stdout, done.stdout
    assert 'to "size"' in done.stdout or 'for "size"' in done.stdout, done.stdout


if __name__ == "__main__":
    FILE.write_text(described(), encoding="utf-8")
