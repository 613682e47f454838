"""A sentence encoder small enough to be made in a test: random weights, a tokenizer of letters."""

from pathlib import Path

LIMIT = 64


def make_tiny_encoder(folder: Path, *, seed: int = 0, hidden: int = 16) -> Path:
    """Save a randomly initialised BERT (2 layers, 64 positions) and its tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz,.[]"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters)]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=LIMIT)
    config = BertConfig(
        vocab_size=len(words), hidden_size=hidden, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=LIMIT, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
