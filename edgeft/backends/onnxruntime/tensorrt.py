"""The script that builds a TensorRT engine on the board, where it has to be built: engines are not portable."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ...config.target import Target

FILE = "build_engine.sh"
#: older parsers refuse int8 weights that are stored as integers; float16 constants are read by all that JetPack brought
LOWEST_MAJOR, LOWEST_MAJOR_OF_FLOATS = 10, 8

_HEAD = r"""#!/usr/bin/env bash
# Builds TensorRT engines on the board itself (written for: @TARGET@).
# usage: ./build_engine.sh [OUTPUT_FOLDER]        environment: TRTEXEC=/path/to/trtexec  BATCH=1
set -euo pipefail

fail() { # exit code, what is wrong, what to do
  printf 'build_engine.sh: %s\n  -> %s\n' "$2" "$3" >&2
  exit "$1"
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$here}
batch=${BATCH:-1}
known_tensorrt=@KNOWN@
known_jetpack=@JETPACK@

[[ $batch =~ ^[1-9][0-9]*$ ]] || fail 2 "BATCH is '$batch', not a positive number" "set BATCH=1"
mkdir -p "$out" 2>/dev/null || true
[ -w "$out" ] || fail 6 "cannot write to $out" "name another folder: ./build_engine.sh FOLDER"

trtexec=${TRTEXEC:-}
for candidate in "$(command -v trtexec || true)" /usr/src/tensorrt/bin/trtexec /usr/local/tensorrt/bin/trtexec; do
  if [ -z "$trtexec" ] && [ -n "$candidate" ] && [ -x "$candidate" ]; then trtexec=$candidate; fi
done
[ -n "$trtexec" ] && [ -x "$trtexec" ] || fail 4 "trtexec was not found" \
  "on a Jetson: sudo apt-get install libnvinfer-bin (part of nvidia-jetpack), or set TRTEXEC=/path/to/trtexec"

# "[TensorRT v100300]" is 10.3.0, "[TensorRT v8502]" is 8.5.2
banner=$("$trtexec" --help 2>&1 || true)
number=$(printf '%s\n' "$banner" | sed -n 's/.*\[TensorRT v\([0-9][0-9]*\)\].*/\1/p' | head -n 1)
if [ -n "$number" ] && [ "$number" -ge 100000 ]; then
  major=$((number / 10000)) minor=$((number / 100 % 100)) patch=$((number % 100))
elif [ -n "$number" ]; then
  major=$((number / 1000)) minor=$((number / 100 % 10)) patch=$((number % 100))
else
  package=$(dpkg-query -W -f='${Version}' libnvinfer-bin 2>/dev/null || true)
  [[ $package =~ ^([0-9]+)\.([0-9]+)\.([0-9]+) ]] || fail 4 "the version of $trtexec could not be found out" \
    "check that '$trtexec --help' runs; its banner names the version"
  major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]} patch=${BASH_REMATCH[3]}
fi
version=$major.$minor.$patch
echo "TensorRT $version ($trtexec)"
[ -r /etc/nv_tegra_release ] && head -n 1 /etc/nv_tegra_release
[ "$major" -ge @LOWEST@ ] || fail 4 "TensorRT $version cannot read @WEIGHTS@" \
  "update the board to a JetPack with TensorRT @LOWEST@ or newer (@NEWER@ and later)"
case " $known_tensorrt " in
  "  ") ;;
  *" $major.$minor "*) ;;
  *) echo "note: the profile was written for TensorRT $known_tensorrt (JetPack $known_jetpack), this is $version" >&2 ;;
esac

# From TensorRT 11 on the types of the graph decide. Before, the kernels of each type have to be allowed.
precision=()
if [ "$major" -lt 11 ]; then precision=(@PRECISION@); fi
# What only builds an engine and measures nothing is called so since 8.6.
only_build=--skipInference
if [ "$major" -lt 8 ] || { [ "$major" -eq 8 ] && [ "$minor" -lt 6 ]; }; then only_build=--buildOnly; fi

build() { # model file, its sha256, engine name, shapes of its inputs (may be empty)
  local model=$here/$1 engine=$out/$3 log=$out/$3.log shapes=()
  [ -r "$model" ] || fail 3 "$model is missing" "copy the whole bundle to the board again"
  if [ -n "$2" ] && [ "$(sha256sum "$model" | cut -d ' ' -f 1)" != "$2" ]; then
    fail 3 "$model is not the file that was verified" "copy the whole bundle to the board again"
  fi
  if [ -n "$4" ]; then
    local most=${4//BATCH/$batch}
    shapes=("--minShapes=${4//BATCH/1}" "--optShapes=$most" "--maxShapes=$most")
  fi
  echo "building $engine (minutes; log in $log)"
  if ! "$trtexec" "--onnx=$model" "--saveEngine=$engine.tmp" "$only_build" \
    ${precision[@]+"${precision[@]}"} ${shapes[@]+"${shapes[@]}"} >"$log" 2>&1; then
    rm -f "$engine.tmp"
    grep -E '\[E\]|rror' "$log" | tail -n 5 >&2 || true
    fail 1 "trtexec could not build $1" "the whole log is in $log"
  fi
  [ -s "$engine.tmp" ] || fail 1 "trtexec wrote no engine for $1" "the whole log is in $log"
  mv "$engine.tmp" "$engine"
  printf '%s\n' "$version" >"$engine.tensorrt"
  echo "wrote $engine (only for this board and TensorRT $version)"
}

"""


#: what the script says and asks for by the format of activations
_INTEGER_ENGINE = {
    "LOWEST": str(LOWEST_MAJOR),
    "WEIGHTS": "int8 weights stored as integers",
    "NEWER": "6.1",
    "PRECISION": "--int8 --fp16",
}
_FLOAT_ENGINE = {
    "LOWEST": str(LOWEST_MAJOR_OF_FLOATS),
    "WEIGHTS": "weights stored as float16",
    "NEWER": "4.6",
    "PRECISION": "--fp16",
}
_FLOAT32_ENGINE = {"WEIGHTS": "the float model", "PRECISION": ""}


def scripts(target: Target, *graphs: Mapping[str, Any]) -> dict[str, str]:
    """{file name: text} of what a bundle carries for TensorRT; arguments as `build_script` takes them."""
    return {FILE: build_script(target, *graphs)}


def build_script(target: Target, *graphs: Mapping[str, Any]) -> str:
    """The text of `build_engine.sh` for a bundle in the form "tensorrt".

    `graphs` are entries of the manifest: `file`, `inputs` [{name, shape}] and, where known, `sha256` of the file.
    The versions come from the profile: `runtime["tensorrt"]` and `runtime["jetpack"]`, separated by commas or blanks.
    The script finds trtexec and its version, checks the model's digest, chooses the flags that this version knows,
    builds each graph beside its model and moves the engine into place only when it is whole. A dynamic batch is built
    for 1 to `$BATCH`.
    """
    values = {
        "TARGET": " ".join(target.title.split()),
        "KNOWN": shlex.quote(_versions(target.runtime.get("tensorrt", ""))),
        "JETPACK": shlex.quote(_versions(target.runtime.get("jetpack", ""))),
        **_INTEGER_ENGINE,
    }

    values |= {} if target.scheme.is_integer else _FLOAT_ENGINE
    values |= {} if target.scheme.quantized else _FLOAT32_ENGINE
    text = _HEAD
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)

    for graph in graphs:
        engine = graph["file"].rsplit("/", 1)[-1].removesuffix(".onnx") + ".engine"
        arguments = (graph["file"], graph.get("sha256", ""), engine, _shapes(graph["inputs"]))
        text += " ".join(["build", *[shlex.quote(a) for a in arguments]]) + "\n"

    return text


def _versions(text: str) -> str:
    """Versions as major.minor, separated by blanks."""
    return " ".join(".".join(word.split(".")[:2]) for word in text.replace(",", " ").split())


def _shapes(inputs: list[Mapping[str, Any]]) -> str:
    """trtexec's way of writing shapes, BATCH for a dynamic axis 0; empty when every shape is static."""
    if not any(dim in (-1, None) or isinstance(dim, str) for i in inputs for dim in i["shape"]):
        return ""

    written = []
    for tensor in inputs:
        dims = ["BATCH" if not isinstance(dim, int) or dim < 0 else str(dim) for dim in tensor["shape"]]
        written.append(f"{tensor['name']}:{'x'.join(dims)}")

    return ",".join(written)
