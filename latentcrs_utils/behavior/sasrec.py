"""The sequence encoder: a causal transformer over a user's items (SASRec, Kang & McAuley 2018)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from latentcrs_utils.config import BackboneConfig


class SASRec(nn.Module):
    """Causal transformer that summarises, at every position, the items up to that position.

    Items are 1..V, `n_items` of them; 0 is padding, on the left. The state at the last position is
    the user representation S of the paper; an item's score is its dot product with S. `seed` is
    that of the initial weights.
    """

    def __init__(self, n_items: int, config: BackboneConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.n_items = n_items
        self.max_length = config.max_length
        # constructors draw from the global generator, which belongs to the caller
        with torch.random.fork_rng(devices=[]):
            self.item_embedding = nn.Embedding(n_items + 1, config.hidden, padding_idx=0)
            self.position_embedding = nn.Embedding(config.max_length, config.hidden)
            self.input_norm = nn.LayerNorm(config.hidden)
            self.dropout = nn.Dropout(config.dropout)
            self.layers = nn.ModuleList(
                TransformerLayer(config.hidden, config.n_heads, config.dropout)
                for _ in range(config.n_layers)
            )
        self._initialise(torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.normal_(std=0.02, generator=generator)
            if isinstance(module, nn.Linear):
                module.bias.zero_()
        self.item_embedding.weight[0].zero_()

    def forward(self, sequences: Tensor) -> Tensor:
        """States [B, L, hidden] of left-padded sequences [B, L] int64, exactly zero at padding.

        A length L beyond `max_length` is a ValueError.
        """
        L = sequences.shape[1]
        if self.max_length < L:
            raise ValueError(
                f"A batch of length {L} was given to an encoder of max_length {self.max_length}; "
                "keep the last items of each sequence."
            )
        real = sequences > 0
        # counted from the right end, so that more padding on the left changes nothing
        positions = torch.arange(L - 1, -1, -1, device=sequences.device)
        x = self.item_embedding(sequences) + self.position_embedding(positions)
        x = self.dropout(self.input_norm(x))
        visible = visible_keys(real)
        for layer in self.layers:
            x = layer(x, visible)
        return x * real.unsqueeze(-1)


def visible_keys(real: Tensor) -> Tensor:
    """Say which key each query may attend to: itself, and the real items before it.

    `real` [B, L] is False at padding; returns bool [B, 1, L, L], True on the diagonal, so that no
    softmax runs over nothing.
    """
    L = real.shape[1]
    causal = torch.ones(L, L, dtype=torch.bool, device=real.device).tril()
    itself = torch.eye(L, dtype=torch.bool, device=real.device)
    return ((causal & real[:, None, :]) | itself)[:, None]


class TransformerLayer(nn.Module):
    """Self-attention and a position-wise network, each with dropout, residual and LayerNorm."""

    def __init__(self, hidden: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = CausalSelfAttention(hidden, n_heads, dropout)
        self.attention_norm = nn.LayerNorm(hidden)
        self.feed_forward = nn.Sequential(
            nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden)
        )
        self.feed_forward_norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Map states [B, L, hidden] to states [B, L, hidden]; `visible` as in `visible_keys`."""
        x = self.attention_norm(x + self.dropout(self.attention(x, visible)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention in which a position sees itself and the real items before it."""

    def __init__(self, hidden: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.output = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Attend from and to the states [B, L, hidden], where `visible` [B, 1, L, L] allows it."""
        B, L, hidden = x.shape
        q, k, v = (
            part.view(B, L, self.n_heads, hidden // self.n_heads).transpose(1, 2)
            for part in self.query_key_value(x).chunk(3, dim=-1)
        )
        dropout = self.dropout if self.training else 0.0
        # with dropout, PyTorch has no fast form for the CPU and checks each row for emptiness
        if dropout and x.device.type == "cpu":
            attended = attend_on_cpu(q, k, v, visible, dropout)
        else:
            attended = scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=dropout)
        return self.output(attended.transpose(1, 2).reshape(B, L, hidden))


def attend_on_cpu(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, dropout: float) -> Tensor:
    """PyTorch's `scaled_dot_product_attention` in three matrix operations, with the same draws.

    The sums [B, heads, L, d] of the values v, weighted by softmax(q·k / sqrt(d)) of the queries and
    keys, all of that shape; `dropout` is the share of weights set to 0. Every query must see a key.
    """
    B, n_heads, L, d = q.shape
    hidden = q.new_zeros(visible.shape).masked_fill_(~visible, float("-inf"))
    hidden = hidden.expand(B, n_heads, L, L).reshape(-1, L, L)
    q, k, v = (x.reshape(-1, L, d) for x in (q, k, v))
    weights = torch.baddbmm(hidden, q, k.transpose(1, 2), alpha=d**-0.5).softmax(-1)
    weights = nn.functional.dropout(weights, dropout)
    return (weights @ v).view(B, n_heads, L, d)
