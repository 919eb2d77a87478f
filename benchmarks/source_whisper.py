"""A small Whisper with random weights, as `save_pretrained` writes it: two languages, a tokenizer, an extractor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LANGUAGES = ("<|en|>", "<|de|>")
SPECIAL = (
    "<|startoftranscript|>", *LANGUAGES, "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>",
    "<|nospeech|>", "<|notimestamps|>",
)  # fmt: skip
WORDS = "fall rise tone and the quick brown fox"


def write_tokenizer(folder: Path, pieces: int = 258, timestamps: int = 4) -> Any:
    """The package's tokenizer of a byte-level BPE that has learned a few words, written into `folder`."""
    import tokenizers
    import transformers

    learned = tokenizers.Tokenizer(tokenizers.models.BPE())
    learned.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=pieces, initial_alphabet=alphabet, show_progress=False)
    learned.train_from_iterator([WORDS] * 4, trainer)
    model = json.loads(learned.to_str())["model"]
    tokenizer = transformers.WhisperTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.add_tokens([f"<|{0.02 * i:.2f}|>" for i in range(timestamps)])
    tokenizer.save_pretrained(folder)

    return tokenizer


def write(folder: Path, sizes: dict[str, Any], rate: int = 8000) -> Path:
    """The folder of a model that transcribes English unless it is asked otherwise; a window of one second."""
    import torch
    import transformers

    tokenizer = write_tokenizer(folder)
    number = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(list(SPECIAL))))
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    ids = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end}
    start = {"decoder_start_token_id": number["<|startoftranscript|>"]}
    torch.manual_seed(0)
    network = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**sizes, **ids, **start))
    network.generation_config = transformers.GenerationConfig(
        **ids, **start, is_multilingual=True, language="en", task="transcribe",
        lang_to_id={name: number[name] for name in LANGUAGES},
        task_to_id={"transcribe": number["<|transcribe|>"], "translate": number["<|translate|>"]},
        no_timestamps_token_id=number["<|notimestamps|>"], begin_suppress_tokens=[end],
        suppress_tokens=[number["<|nospeech|>"], *range(number["<|notimestamps|>"], sizes["vocab_size"])],
        max_length=sizes["max_target_positions"],
    )  # fmt: skip
    network.save_pretrained(folder)
    extractor = {
        "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": sizes["num_mel_bins"],
        "sampling_rate": rate, "n_fft": rate // 40, "hop_length": rate // 100, "chunk_length": 1, "padding_value": 0.0,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))

    return folder
