"""Small configurations of architectures of the package transformers, and the folders that it writes of them.

Weights are random from a fixed seed: a net learns its task in a few epochs of the tiny data. `large` initial weights
make that quicker than the 0.02 that networks of this size are not made for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import source_whisper
import tiny_data

LENGTH, SIDE = 16, 32
COLORS = {"blue": (60, 80, 220), "green": (60, 200, 80), "red": (220, 70, 60)}
_TEXT = {
    "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 26, "pad_token_id": 0, "initializer_range": 0.1,
}  # fmt: skip
_DISTIL = {
    "vocab_size": 40, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 26,
    "pad_token_id": 0, "initializer_range": 0.1,
}  # fmt: skip
_WAVEFORM = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "conv_dim": [16, 16, 16], "conv_stride": [5, 4, 4], "conv_kernel": [10, 8, 4], "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 32,
    "initializer_range": 0.1,
}  # fmt: skip
#: what Wav2Vec2CTCTokenizer writes: letters of which the tiny data use some
LETTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"EFILNORSTAZ")
_SPEECH = {
    **_WAVEFORM, "vocab_size": len(LETTERS), "pad_token_id": 0, "conv_stride": [5, 4, 8], "conv_kernel": [10, 8, 8],
    "feat_extract_norm": "layer", "do_stable_layer_norm": True, "initializer_range": 0.2,
    **{f"{part}_dropout": 0.0 for part in ("hidden", "attention", "activation", "final")}, "feat_proj_dropout": 0.0,
}  # fmt: skip
_MARIAN = {
    "vocab_size": 60, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 16,
    "pad_token_id": 59, "eos_token_id": 0, "decoder_start_token_id": 59, "init_std": 0.1,
    "scale_embedding": True, "activation_function": "swish", "dropout": 0.0,
}  # fmt: skip
_T5 = {
    "vocab_size": 60, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 16, "decoder_start_token_id": 0,
    "dropout_rate": 0.0,
}  # fmt: skip
#: bytes, pieces of the tiny data's words, and the tokens of a prompt
_WHISPER = {
    "vocab_size": 320, "num_mel_bins": 40, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
    "max_source_positions": 50, "max_target_positions": 24, "init_std": 0.1, "dropout": 0.0,
}  # fmt: skip
_DEBERTA = {
    "relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0, "position_biased_input": False, "max_relative_positions": -1,
}  # fmt: skip
_VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "image_size": SIDE,
    "patch_size": 8, "initializer_range": 0.1,
}  # fmt: skip
_SWIN = {
    "image_size": SIDE, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4,
    "initializer_range": 0.1,
}  # fmt: skip
_CONVNEXT = {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2, "image_size": SIDE, "initializer_range": 0.1}
_MOBILEVIT = {
    "image_size": SIDE, "hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 16, 24, 32, 32],
    "num_attention_heads": 2, "expand_ratio": 2.0,
}  # fmt: skip
_PYRAMID = {
    "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 4],
    "initializer_range": 0.1,
}  # fmt: skip
_RT_DETR = {
    "image_size": 64, "num_labels": 5, "num_denoising": 0, "freeze_backbone_batch_norms": False,
    "backbone_config": {
        "model_type": "rt_detr_resnet", "embedding_size": 16, "hidden_sizes": [16, 24, 32, 32], "depths": [1, 1, 1, 1],
        "layer_type": "basic", "out_features": ["stage2", "stage3", "stage4"],
    },
    "encoder_in_channels": [24, 32, 32], "encoder_hidden_dim": 32, "encoder_ffn_dim": 64, "encoder_attention_heads": 2,
    "d_model": 32, "num_queries": 5, "decoder_in_channels": [32, 32, 32], "decoder_ffn_dim": 64, "decoder_n_points": 2,
    "decoder_layers": 2, "decoder_attention_heads": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Net:
    """An architecture: what a paper calls it, its task, and the keys of its config.json."""

    title: str
    task: str
    config: dict[str, Any] = field(default_factory=dict)
    epochs: int = 12
    lr: float = 5e-3
    #: `model_type`, where it is not the net's name here
    kind: str = ""
    augment: str = "light"
    batch_size: int = 20
    max_grad_norm: float = 0.0


def _texts(title: str, **config: Any) -> Net:
    return Net(title, "text-classify", {**_TEXT, **config})


def _pictures(title: str, *bases: dict[str, Any], **config: Any) -> Net:
    return Net(title, "classify", {key: value for base in (*bases, config) for key, value in base.items()})


#: by `model_type`, and by names of their own where one has several tasks
NETS = {
    "bert": _texts("BERT"),
    "distilbert": Net("DistilBERT", "text-classify", _DISTIL),
    "roberta": _texts("RoBERTa"),
    "electra": _texts("ELECTRA", embedding_size=16),
    "mobilebert": _texts(
        "MobileBERT", embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16, num_feedforward_networks=2
    ),
    "mpnet": _texts("MPNet"),
    "albert": _texts("ALBERT", embedding_size=16),
    "deberta-v2": _texts("DeBERTa-v3", **_DEBERTA),
    "modernbert": _texts("ModernBERT", global_attn_every_n_layers=2, local_attention=8),
    "bert-entities": Net("BERT", "token-classify", {**_TEXT, "vocab_size": 80, "num_hidden_layers": 1}, kind="bert"),
    "distilbert-entities": Net("DistilBERT", "token-classify", {**_DISTIL, "vocab_size": 80}, kind="distilbert"),
    "bert-vectors": Net("BERT", "embed", {**_TEXT, "vocab_size": 50, "num_hidden_layers": 1}, kind="bert"),
    "wav2vec2": Net("wav2vec 2.0", "keyword", _WAVEFORM, 20, augment="none"),
    "hubert": Net("HuBERT", "keyword", _WAVEFORM, 20, augment="none"),
    "wav2vec2-speech": Net("wav2vec 2.0 (CTC)", "speech", _SPEECH, 24, 6e-3, "wav2vec2", "none", 8, 1.0),
    "hubert-speech": Net("HuBERT (CTC)", "speech", _SPEECH, 24, 6e-3, "hubert", "none", 8, 1.0),
    "whisper": Net("Whisper", "speech", _WHISPER, 30, 3e-3, "", "none", 8, 1.0),
    "marian": Net("Marian", "translate", _MARIAN, 14, 1e-2, "", "none", 25),
    "t5": Net("T5", "translate", _T5, 30, 3e-3, "", "none", 25, 1.0),
    "vit": _pictures("ViT", _VIT),
    "deit": _pictures("DeiT", _VIT),
    "beit": _pictures("BEiT", _VIT),
    "dinov2": _pictures("DINOv2", _VIT),
    "swin": _pictures("Swin", _SWIN),
    "swinv2": _pictures("Swin v2", _SWIN),
    "convnext": _pictures("ConvNeXt", _CONVNEXT),
    "convnextv2": _pictures("ConvNeXt v2", _CONVNEXT),
    "mobilevit": _pictures("MobileViT", _MOBILEVIT),
    "mobilenet_v1": _pictures("MobileNetV1", depth_multiplier=0.25, image_size=SIDE),
    "mobilenet_v2": _pictures("MobileNetV2", depth_multiplier=0.25, image_size=SIDE),
    "resnet": _pictures("ResNet", embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic"),
    "regnet": _pictures("RegNet", embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], groups_width=8),
    "levit": _pictures(
        "LeViT", image_size=64, hidden_sizes=[16, 24, 32], num_attention_heads=[1, 2, 2], depths=[1, 1, 1],
        key_dim=[8, 8, 8],
    ),
    "poolformer": _pictures("PoolFormer", hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1]),
    "pvt_v2": _pictures("PVT v2", _PYRAMID, image_size=SIDE),
    "segformer": _pictures("SegFormer's encoder", _PYRAMID, decoder_hidden_size=16),
    "segformer-segment": Net(
        "SegFormer", "segment", {**_PYRAMID, "decoder_hidden_size": 16, "image_size": 64}, kind="segformer"
    ),
    "mobilevit-segment": Net(
        "MobileViT + DeepLabV3", "segment",
        {**_MOBILEVIT, "image_size": 64, "output_stride": 16, "aspp_out_channels": 16, "atrous_rates": [2, 3, 4]},
        kind="mobilevit",
    ),
    "yolos": Net(
        "YOLOS", "detect",
        {**_VIT, "hidden_size": 48, "intermediate_size": 96, "image_size": [64, 64], "num_detection_tokens": 2,
         "use_mid_position_embeddings": False, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
         "num_labels": 5},
        epochs=30, lr=3e-3, augment="none",
    ),
    "rt_detr": Net("RT-DETR", "detect", _RT_DETR, epochs=30, lr=2e-3, augment="none"),
    "swiftformer": _pictures("SwiftFormer", image_size=SIDE, embed_dims=[16, 16, 32, 32], depths=[1, 1, 1, 1]),
}  # fmt: skip


def side(kind: str) -> int:
    """Pixels a side that the net's pictures have."""
    size = NETS[kind].config.get("image_size", 2 * SIDE)
    return int(size[0] if isinstance(size, list) else size)


def write(kind: str, folder: Path) -> Path:
    """The folder of a net with random weights, as `save_pretrained` writes it, with a tokenizer or image processor."""
    import torch
    import transformers

    from edgeft.models.transformers import FORMS, architectures

    net = NETS[kind]
    if kind == "whisper":
        return source_whisper.write(folder, net.config)

    config = transformers.AutoConfig.for_model(net.kind or kind, **net.config)
    kinds = architectures(transformers, FORMS[net.task][0].automatic)[type(config)]
    architecture = kinds[0] if isinstance(kinds, (list, tuple)) else kinds
    torch.manual_seed(0)
    network = architecture(config)
    if kind == "yolos":
        _place_positions(network.vit.embeddings, side(kind) // config.patch_size)
    if net.task == "translate" and config.pad_token_id:
        network.generation_config.bad_words_ids = [[config.pad_token_id]]

    network.save_pretrained(folder)
    tokenizers = {"token-classify": tiny_data.write_pieces, "embed": tiny_data.write_words}
    if net.task in tokenizers:
        tokenizers[net.task](folder / "tokenizer.json")
        return folder

    if net.task == "text-classify":
        words = folder / "words"
        (tiny_data.write_encoder(words) / "tokenizer.json").rename(folder / "tokenizer.json")
        for file in words.iterdir():
            file.unlink()
        words.rmdir()
        return folder

    if net.task == "translate":
        _write_pieces(net.kind or kind, folder, net.config)
        return folder
    if net.task == "speech":
        (folder / "vocab.json").write_text(json.dumps({letter: k for k, letter in enumerate(LETTERS)}))

    if net.task in ("keyword", "speech"):
        extractor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 8000, "do_normalize": True}
        (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
        return folder

    pixels = {"height": side(kind), "width": side(kind)}
    processor = {"size": pixels, "resample": 3, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps({**processor, "rescale_factor": 1 / 255}))
    return folder


def _place_positions(embeddings: Any, patches: int) -> None:
    """Positions that say where a patch is (a random map of x, y and their sines) instead of zeros, and tokens that
    differ: what pretraining would have taught, so that a few hundred steps learn boxes."""
    import torch

    generator = torch.Generator().manual_seed(1)
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, patches)] * 2, indexing="ij")
    place = torch.stack([columns.flatten(), rows.flatten()], dim=1)
    waves = [f(math.pi / 2 * rate * place) for rate in (1, 2, 4) for f in (torch.sin, torch.cos)]
    features = torch.cat([place, *waves], dim=1)
    width = embeddings.position_embeddings.shape[2]
    mixed = features @ torch.randn(features.shape[1], width, generator=generator) / features.shape[1] ** 0.5

    with torch.no_grad():
        embeddings.position_embeddings[0, 1 : 1 + patches**2] = mixed
        for tokens in (embeddings.detection_tokens, embeddings.cls_token):
            tokens.copy_(torch.randn(tokens.shape, generator=generator) / 2)


def _write_pieces(kind: str, folder: Path, config: dict[str, Any]) -> None:
    """The SentencePiece models of a translator of numbers; of Marian one a language, and one vocabulary for both."""
    import sentencepiece

    def train(name: str, *languages: str, **ids: int) -> list[str]:
        rng = np.random.default_rng(0)
        sentences = [" ".join(rng.choice(tiny_data.LANGUAGES[languages[i % len(languages)]], 4)) for i in range(400)]
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_prefix=str(folder / name), vocab_size=30 * len(languages),
            hard_vocab_limit=False, minloglevel=2, **ids,
        )  # fmt: skip
        (folder / f"{name}.vocab").unlink()
        model = sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{name}.model"))

        return [model.id_to_piece(i) for i in range(model.get_piece_size())]

    if kind == "t5":
        train("spiece", "en", "de", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
        return

    pieces = {"</s>": None, "<unk>": None, **dict.fromkeys([*train("source", "en"), *train("target", "de")])}
    pieces = [piece for piece in pieces if piece != "<s>"][: config["vocab_size"] - 1]
    table = {piece: number for number, piece in enumerate([*pieces, "<pad>"])}
    for number in range(len(table), config["vocab_size"]):
        table[f"<unused{number}>"] = number

    table["<pad>"], table[f"<unused{config['vocab_size'] - 1}>"] = config["pad_token_id"], len(pieces)
    (folder / "vocab.json").write_text(json.dumps(table))
    for name in ("source", "target"):
        (folder / f"{name}.model").rename(folder / f"{name}.spm")


def write_colors(path: Path) -> Path:
    """An .npz of pictures of one blot each, whose colour is the class."""
    rng, labels = np.random.default_rng(0), sorted(COLORS)
    arrays: dict[str, Any] = {"labels": np.array(labels)}
    for split, count in {"train": 180, "val": 30, "test": 60}.items():
        targets = rng.permutation(np.arange(count) % len(labels))
        shapes = [("circle", "square", "cross")[i] for i in rng.integers(0, 3, count)]
        pictures = [
            tiny_data.picture(rng, 36, 36, [shape], colors={shape: COLORS[labels[target]]})[0]
            for shape, target in zip(shapes, targets)
        ]
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = np.stack(pictures), targets

    np.savez(path.with_suffix(".npz"), **arrays)
    return path.with_suffix(".npz")


def _colors(folder: Path) -> dict[str, Any]:
    return {"format": "npz", "path": str(write_colors(folder / "colors"))}


def _masks(folder: Path) -> dict[str, Any]:
    return {"format": "masks", "path": str(tiny_data.write_masks(folder / "masks"))}


def _boxes(folder: Path) -> dict[str, Any]:
    return {"format": "yolo", "path": str(tiny_data.write_single_boxes(folder / "boxes"))}


def _reviews(folder: Path) -> dict[str, Any]:
    path = str(tiny_data.write_reviews(folder / "reviews"))
    return {"format": "csv", "path": path, "text": ["review"], "label": "liked", "length": LENGTH}


def _entities(folder: Path) -> dict[str, Any]:
    return {"format": "conll", "path": str(tiny_data.write_entities(folder / "entities")), "length": 20}


def _search(folder: Path) -> dict[str, Any]:
    return {"format": "text-pairs", "path": str(tiny_data.write_search(folder / "search")), "length": 12}


def _sounds(folder: Path) -> dict[str, Any]:
    return {"format": "wav-folder", "path": str(tiny_data.write_keywords(folder / "sounds")), "sound": {"seconds": 0.5}}


def _transcripts(folder: Path) -> dict[str, Any]:
    """Recordings whose words have one letter: of the tiny data's sounds the first one."""
    path = tiny_data.write_sentences(folder / "recordings")
    for table in path.glob("*/metadata.csv"):
        lines = table.read_text()
        for word in ("fall", "rise", "tone"):
            lines = lines.replace(word, word[0])
        table.write_text(lines)
    return {"format": "wav-folder", "path": str(path), "units": "characters"}


def _pairs(folder: Path) -> dict[str, Any]:
    path = str(tiny_data.write_pairs(folder / "pairs"))
    return {"format": "pairs", "path": path, "length": 12, "allow_leak": True}


#: task -> what writes its tiny data and returns the table [data]
_DATA: dict[str, Callable[[Path], dict[str, Any]]] = {
    "classify": _colors,
    "segment": _masks,
    "detect": _boxes,
    "text-classify": _reviews,
    "token-classify": _entities,
    "embed": _search,
    "keyword": _sounds,
    "speech": _transcripts,
    "translate": _pairs,
}


def recipe(kind: str, folder: Path, targets: tuple[str, ...]) -> dict[str, Any]:
    """A recipe that fine-tunes the net of `write` on tiny data, both written into `folder`."""
    net = NETS[kind]
    data = _DATA[net.task](folder)
    if kind == "whisper":
        data["units"] = "text"

    return {
        "task": net.task,
        "name": kind,
        "model": {"source": "transformers", "name": net.kind or kind, "weights": str(write(kind, folder / "model"))},
        "data": data,
        "train": {
            "epochs": net.epochs,
            "lr": net.lr,
            "batch_size": net.batch_size,
            "augment": net.augment,
            "max_grad_norm": net.max_grad_norm,
        },
        "quantize": {"epochs": 1, "lr": 1e-4, "calibration": "quick"},
        "export": {"targets": list(targets)},
        "gates": {"min_speedup": 0.0, "max_drop": 5.0 if net.task == "translate" else 0.05},
    }
