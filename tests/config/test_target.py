"""Target profiles: those that come with edgeft, strict reading, objections, and whether this host is the board."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgeft.config import scheme, shipped, target
from edgeft.config.graph_summary import GraphSummary
from edgeft.config.target import Objection, Target
from edgeft.core.errors import InternalError, TargetError, UsageError

SHIPPED = tuple(sorted(path.stem for path in shipped.folder("targets").glob("*.toml")))

GOOD = """name = "board"
title = "A board"
aliases = ["plank"]
source = ["a test"]
confidence = "derived"
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of targets, apart from the one of whoever runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "edgeft" / "targets"
    folder.mkdir(parents=True)
    return folder


def test_the_boards_that_must_be_there() -> None:
    wanted = ["jetson-orin-nano", "jetson-agx-orin", "jetson-orin-nx", "jetson-nano", "rpi5", "rpi4", "rpi3"]
    wanted += ["turtlebot4", "intel-nuc", "intel-n100", "coral", "imx8mp", "imx93", "imx95", "stm32mp257", "rk3588"]
    wanted += [
        "rb3-gen2",
        "host",
        "host-litert",
        "host-openvino",
        "host-executorch",
        "rpi5-executorch",
        "generic-x86-no-vnni",
    ]
    assert set(wanted) <= set(target.names())
    assert target.load("jetson").name == "jetson-orin-nano"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_is_whole(name: str) -> None:
    board = target.load(name)
    assert board.name == name
    assert board.title
    assert board.source
    assert board.confidence in ("vendor", "secondary", "derived")
    for entry in board.accelerators:
        assert entry["name"]
        assert entry["confidence"] in ("vendor", "secondary", "derived")
    if board.form == "tensorrt":
        assert board.scheme.activations.symmetric
        assert board.scheme.residual == "branch"
        assert board.compiler == "trtexec"
        assert board.engine_portable is False
        assert board.opset is not None
        assert board.opset[1] <= 17
    if board.opset is not None:
        assert board.opset[0] >= 13  # weights with a scale per channel need it
        assert board.backend == "onnxruntime"
    if board.op_versions:
        assert board.backend == "litert"
    if board.full_integer:
        assert set(board.scheme.ops) == set(scheme.OP_CLASSES)
        assert board.static_shapes
    assert json.loads(json.dumps(target.describe(board)))["scheme"]["name"] == board.scheme.name


def test_names_and_aliases_are_unique() -> None:
    every = [*target.names(), *(alias for name in SHIPPED for alias in target.load(name).aliases)]
    assert len(every) == len(set(every))
    assert {alias: target.load(alias).name for alias in target.aliases()} == target.aliases()


def test_facts_that_decide() -> None:
    nano = target.load("jetson-nano")
    assert (nano.backend, nano.form) == ("onnxruntime", "integer")
    assert any("no int8 on the GPU" in note for note in nano.notes)
    assert target.load("generic-x86-no-vnni").scheme.widest.range == (-63, 63)
    assert target.load("imx93").scheme.per_tensor == ("linear",)
    assert set(target.load("stm32mp257").scheme.per_tensor) == set(scheme.WEIGHTED)
    assert (target.load("rpi3").isa, target.load("rpi3").op_versions) == ("armv7", {"*": 5})
    assert target.load("rk3588").opset == (13, 19)
    assert [target.load(name).backend for name in ("rpi5", "intel-nuc", "jetson")] == [
        "litert",
        "openvino",
        "onnxruntime",
    ]
    # Few schemes for many boards: CPU boards share one.
    assert len({target.load(name).scheme for name in ("rpi5", "rpi4", "rpi3", "intel-nuc", "turtlebot4")}) == 1


def test_unknown_target_offers_the_nearest() -> None:
    for wrong, right in (("jetsn", "jetson"), ("RPI5", "rpi5"), ("intel-nuk", "intel-nuc")):
        with pytest.raises(UsageError) as caught:
            target.load(wrong)
        assert caught.value.exit_code == 2
        assert right in caught.value.remedy


def test_own_profiles_are_found_and_win(own_folder: Path, tmp_path: Path) -> None:
    (own_folder / "board.toml").write_text(GOOD)
    assert "board" in target.names()
    assert target.load("board").title == "A board"
    assert target.load("plank").name == "board"
    (own_folder / "rpi5.toml").write_text(GOOD.replace('"board"', '"rpi5"').replace('["plank"]', "[]"))
    assert target.load("rpi5").title == "A board"
    (tmp_path / "else.toml").write_text(GOOD.replace('"board"', '"else"'))
    assert target.load(str(tmp_path / "else.toml")).name == "else"


def test_a_broken_own_profile_harms_only_itself(own_folder: Path) -> None:
    (own_folder / "broken.toml").write_text("name = [\n")
    (own_folder / "odd.toml").write_text("aliases = 3\n")
    assert target.load("jetson").name == "jetson-orin-nano"
    assert "broken" in target.names()
    with pytest.raises(TargetError):
        target.load("broken")
    with pytest.raises(UsageError):
        target.load("nowhere-to-be-found")


@pytest.mark.parametrize(
    ("more", "line", "message", "remedy"),
    [
        ("backnd = 'litert'", 6, "unknown key 'backnd'", "did you mean 'backend'?"),
        ("backend = 'litter'", 6, "'backend' cannot be 'litter'", "did you mean 'litert'?"),
        ("form = 'tensort'", 6, "'form' cannot be 'tensort'", "did you mean 'tensorrt'?"),
        ("form = 'tensorrt'", 6, "zero point 0 only", "activation_symmetric = true"),
        ("isa = 'arm64'", 6, "'isa' cannot be 'arm64'", "did you mean 'aarch64'?"),
        ("opset = [17, 13]", 6, "'opset' is [lowest, highest]", ""),
        ("opset = 17", 6, "'opset' must be a list", ""),
        ("opset = [17]", 6, "must have 2 members", ""),
        ("max_rank = 0", 6, "'max_rank' must be above 0", ""),
        ("static_shapes = 1", 6, "'static_shapes' must be true or false", ""),
        ("op_versions = { '*' = 0 }", 6, "must be at least 1", ""),
        ("formats = ['int7']", 6, "'int7' is no format", "it has int8"),
        ("formats = ['fp16']", 6, "lacks 'int8'", "it has int8"),
        ("full_integer = true", 1, "missing: conv_transpose, matmul, softmax", ""),
        ("[[accelerators]]\ntops = 3", 7, "unknown key 'tops' in accelerators", "did you mean 'int8_tops'?"),
        ("[[accelerators]]\nname = ['npu']", 7, "'name' of an accelerator must be str", ""),
        ("[[accelerators]]\nsparse = 1", 7, "'sparse' of an accelerator must be bool", ""),
        # on every CPU, also on those to which this table does not apply
        ("[scheme_without_vnni]\nweight_bits = 4", 7, "weight_bits is 7 or 8", ""),
        ("[scheme_without_vnni]\nweight_bits = [1]", 7, "weight_bits", ""),
        ("[scheme_without_vnni]\nbits = 7", 7, "unknown key 'scheme_without_vnni.bits'", ""),
        ("[scheme]\nweight_bit = 7", 7, "unknown key 'scheme.weight_bit'", "did you mean 'weight_bits'?"),
        ("[scheme]\n\nweight_bits = 4", 8, "scheme.weight_bits is 7 or 8", ""),
        ("[scheme]\nops = ['conf']", 7, "unknown op class 'conf'", "did you mean 'conv'?"),
        ("backend = 'executorch'\n[scheme]\nembeddings = 'int8'", 8, "stores no tables as integers", "'float'"),
        ("scheme = 3", 6, "'scheme' must be a table", ""),
    ],
)
def test_mistakes_name_file_line_and_nearest(own_folder: Path, more: str, line: int, message: str, remedy: str) -> None:
    path = own_folder / "board.toml"
    path.write_text(GOOD + more + "\n")
    with pytest.raises(TargetError) as caught:
        target.load("board")
    assert caught.value.exit_code == 3
    assert message in caught.value.message
    assert remedy in caught.value.remedy
    assert caught.value.where == (str(path) if line == 1 else f"{path}:{line}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace('name = "board"\n', ""), "'name' is missing"),
        (GOOD.replace('"board"', '"plank2"'), "the file is called 'board'"),
        (GOOD.replace('source = ["a test"]', "source = []"), "'source' must not be empty"),
        (GOOD.replace('"A board"', '""'), "'title' must not be empty"),
        (GOOD.replace('"derived"', '"sure"'), "'confidence' cannot be 'sure'"),
    ],
)
def test_what_a_profile_must_say(own_folder: Path, text: str, message: str) -> None:
    (own_folder / "board.toml").write_text(text)
    with pytest.raises(TargetError) as caught:
        target.load("board")
    assert message in caught.value.message


def pairs(found: list[Objection]) -> list[tuple[str, str]]:
    return [(objection.severity, objection.op) for objection in found]


def test_a_plain_network_has_no_objections_on_a_cpu() -> None:
    summary = GraphSummary(
        ops={"conv": 20, "linear": 1, "aten.gelu.default": 2},
        max_rank=5,
        dynamic_batch=True,
        inputs={"x": (-1, 3, -1, -1)},
        float_ops={"layer_norm": 3},
    )
    assert target.objections(target.load("rpi5"), summary) == []


def test_a_recurrent_layer_is_known_to_stay_float_before_training() -> None:
    summary = target.GraphSummary(ops={"linear": 1}, float_ops={"lstm": 2, "layer_norm": 1})
    (warning,) = target.objections(target.load("rpi5"), summary)
    assert (warning.severity, warning.op) == ("warn", "lstm") and "min_int8_share" in warning.remedy


def test_objections_of_an_integer_only_board() -> None:
    summary = GraphSummary(
        ops={"conv": 2, "aten.layer_norm.default": 3},
        max_rank=5,
        dynamic_batch=True,
        inputs={"x": (-1, 3, -1, 64)},
        float_ops={"aten.layer_norm.default": 3},
    )
    found = target.objections(target.load("coral"), summary)
    assert pairs(found) == [
        ("refuse", "aten.layer_norm.default"),
        ("refuse", "rank"),
        ("refuse", "x"),
        ("warn", "batch"),
    ]
    assert all("Coral" in objection.why for objection in found)
    assert found[0].as_dict()["severity"] == "refuse"


def test_objections_to_refused_ops_know_them_by_any_spelling() -> None:
    board = Target(name="b", title="B", refused_ops=("Softmax", "while_loop"))
    ops = {"conv": 1, "aten._softmax.default": 2, "while_loop": 1, "softmax": 1, "softplus": 1}
    assert pairs(target.objections(board, GraphSummary(ops=ops))) == [
        ("refuse", "aten._softmax.default"),
        ("refuse", "while_loop"),
        ("refuse", "softmax"),
    ]


def test_objections_warn_of_float_before_a_vendors_compiler_and_of_nothing_to_gain() -> None:
    found = target.objections(target.load("jetson"), GraphSummary(ops={"add": 1}, float_ops={"layer_norm": 2}))
    assert pairs(found) == [("warn", "layer_norm"), ("warn", "weights")]
    assert target.objections(target.load("jetson"), GraphSummary()) == []


def host(monkeypatch: pytest.MonkeyPatch, isa: str, features: str) -> None:
    monkeypatch.setattr(target, "host_cpu", lambda: (isa, frozenset(features.split())))


@pytest.mark.parametrize(
    ("isa", "features", "yes", "no"),
    [
        ("x86_64", "avx2 avx512f avx512_vnni", "intel-nuc host host-litert", "generic-x86-no-vnni intel-n100 rpi5"),
        ("x86_64", "avx2 avx_vnni", "intel-nuc intel-n100", "generic-x86-no-vnni"),
        ("x86_64", "avx2 avx512f", "generic-x86-no-vnni host", "intel-nuc intel-n100"),
        ("aarch64", "asimd 0xd08", "rpi4 turtlebot4 host", "rpi5 rpi3 jetson-nano intel-nuc"),
        ("aarch64", "asimd asimddp 0xd0b", "rpi5", "rpi4 rk3588"),
        ("aarch64", "asimd asimddp 0xd42", "host", "jetson jetson-agx-orin rpi5"),
        ("armv7", "neon 0xd03", "rpi3", "rpi4"),
    ],
)
def test_host_is(monkeypatch: pytest.MonkeyPatch, isa: str, features: str, yes: str, no: str) -> None:
    host(monkeypatch, isa, features)
    assert [name for name in yes.split() if not target.host_is(target.load(name))] == []
    assert [name for name in no.split() if target.host_is(target.load(name))] == []


@pytest.mark.parametrize(
    ("isa", "features", "bits", "foreign"),
    [
        ("x86_64", "avx2 avx512f avx512_vnni", 8, False),
        ("x86_64", "avx2 avx_vnni", 8, False),
        ("x86_64", "avx2 avx512f", 7, True),
        ("x86_64", "", 8, False),
        ("aarch64", "asimd 0xd08", 8, False),
    ],
)
def test_without_vnni_this_machine_has_seven_bits_and_other_boards_are_computed_exactly(
    monkeypatch: pytest.MonkeyPatch, isa: str, features: str, bits: int, foreign: bool
) -> None:
    host(monkeypatch, isa, features)
    for name in ("host", "host-openvino", "host-litert", "host-executorch"):
        assert target.load(name).scheme.widest.bits == bits
        assert not target.exact_here(target.load(name))
    assert target.load("intel-nuc").scheme.widest.bits == 8
    assert target.exact_here(target.load("intel-nuc")) is foreign
    assert not target.exact_here(target.load("generic-x86-no-vnni")), "its weights cannot saturate"


def test_host_cpu_reads_this_machine_and_an_arm_one(monkeypatch: pytest.MonkeyPatch) -> None:
    isa, features = target.host_cpu()
    assert isa
    assert isinstance(features, frozenset)
    arm = "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0b\nHardware\t: avx2\n"
    monkeypatch.setattr(Path, "read_text", lambda self, **_: arm)
    monkeypatch.setattr(target.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(target.struct, "calcsize", lambda _: 8)
    assert target.host_cpu() == ("aarch64", frozenset({"fp", "asimd", "asimddp", "0xd0b"}))
    monkeypatch.setattr(target.struct, "calcsize", lambda _: 4)
    assert target.host_cpu()[0] == "armv7"
    monkeypatch.setattr(target.platform, "machine", lambda: "AMD64")
    assert target.host_cpu()[0] == "x86_64"

    def absent(self: Path, **_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    assert target.host_cpu() == ("x86_64", frozenset())


def test_shipped_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (shipped.folder("calibration") / "mse.toml").is_file()
    with pytest.raises(InternalError, match="reinstall"):
        shipped.folder("no-such-folder")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert shipped.user_folder("targets") == tmp_path / ".config" / "edgeft" / "targets"
    assert target.names() == SHIPPED


def test_embeddings_are_int8_where_no_vendors_compiler_has_the_last_word() -> None:
    pi = target.with_embeddings(target.load("rpi5"), "int8")
    assert pi.scheme.name == "affine-int8_embeddings" and pi == replace(target.load("rpi5"), scheme=pi.scheme)
    assert target.with_embeddings(pi, "float") == target.load("rpi5")
    for name in ("jetson-orin-nano", "coral"):
        assert target.with_embeddings(target.load(name), "int8").scheme.embeddings == "float"


def test_tables_stay_float_where_the_runtime_has_no_lookup_of_integers() -> None:
    board = target.load("host-executorch")
    assert target.with_embeddings(board, "int8") is board


def test_a_board_may_compute_in_fewer_formats_than_its_runtime_writes() -> None:
    board = target.load("coral")
    assert board.formats == ("int8",) and target.with_format(board, "int8") is board
    with pytest.raises(TargetError, match="does not compute in the format int16x8") as refused:
        target.with_format(board, "int16x8")
    assert refused.value.remedy == "it has int8"
