"""The loop of widely read tutorials, honestly: what models C and A are compared with.

One step at a time: `nn.GRUCell` reads [embedding ; c], c concatenated to every step; each step makes its own logits,
and `torch.stack` a [B, T, V] tensor of them, pads included (writing into one big tensor, as many tutorials do, is
slower still). With attention, keys are computed again at every step. Loss with `ignore_index`, `torch.optim.Adam` as
it comes. The encoder packs its input, so that a pad changes nothing. Parameters and loss are those of the project's
models.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from experiments.throughput.sizes import Sizes
from seq2seq.nn.types import Pairs, Tokens
from seq2seq.text.vocabulary import BOS, PAD


class Encoder(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.embedding)
        self.rnn = nn.GRU(sizes.embedding, sizes.hidden // 2, bidirectional=True, batch_first=True)
        self.bridge = nn.Linear(sizes.hidden, sizes.hidden)

    def forward(self, source: Tokens) -> tuple[Float[Tensor, "B S H"], Float[Tensor, "B H"], Float[Tensor, "B H"]]:
        """All outputs, the two directions' last states, and the decoder's first state."""
        embedded = self.embedding(source.ids)
        packed = pack_padded_sequence(embedded, source.lengths.cpu(), batch_first=True, enforce_sorted=False)
        packed_outputs, hidden = self.rnn(packed)
        outputs, _ = pad_packed_sequence(packed_outputs, batch_first=True)
        last = torch.cat([hidden[0], hidden[1]], dim=1)
        return outputs, last, torch.tanh(self.bridge(last))


class Attention(nn.Module):
    """e_{t,s} = v^T tanh(W [s_{t−1} ; h_s] + b), computed whole at every step."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.attn = nn.Linear(2 * sizes.hidden, sizes.hidden)
        self.v = nn.Linear(sizes.hidden, 1, bias=False)

    def forward(self, hidden: Tensor, outputs: Tensor, mask: Tensor) -> Tensor:
        repeated = hidden.unsqueeze(1).repeat(1, outputs.shape[1], 1)
        energy = torch.tanh(self.attn(torch.cat([repeated, outputs], dim=2)))
        scores = self.v(energy).squeeze(2).masked_fill(~mask, -1e10)
        return torch.bmm(torch.softmax(scores, dim=1).unsqueeze(1), outputs).squeeze(1)


class Naive(nn.Module):
    """Model `c` or `a`."""

    def __init__(self, model: str, sizes: Sizes) -> None:
        super().__init__()
        E, H, V = sizes
        self.encoder, self.embedding = Encoder(sizes), nn.Embedding(V, E)
        self.attention = Attention(sizes) if model == "a" else None
        self.rnn = nn.GRUCell(E + H, H)
        self.readout = nn.Linear(2 * H, H) if model == "a" else None
        self.out = nn.Linear(H, V)

    def forward(self, source: Tokens, target: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of every position, teacher-forced."""
        outputs, c, hidden = self.encoder(source)
        mask = source.ids != PAD
        token, logits = torch.full_like(target[:, 0], BOS), []
        for t in range(target.shape[1]):
            embedded = self.embedding(token)
            if self.attention is not None:
                c = self.attention(hidden, outputs, mask)
            hidden = self.rnn(torch.cat([embedded, c], dim=1), hidden)
            features = hidden
            if self.readout is not None:
                features = torch.tanh(self.readout(torch.cat([hidden, c], dim=1)))
            logits.append(self.out(features))
            token = target[:, t]
        return torch.stack(logits, dim=1)

    def loss(self, batch: Pairs) -> Float[Tensor, ""]:
        """Mean of −log p over the target tokens, in nats."""
        logits = self(batch.source, batch.target.ids)
        return nn.functional.cross_entropy(logits.flatten(0, 1), batch.target.ids.flatten(), ignore_index=PAD)

    def copy_weights(self, ours: Mapping[str, Tensor]) -> None:
        """Take the weights of the project's model of the same kind and sizes."""
        cell = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        names = {"embedding.weight": "target_embedding.weight", "encoder.embedding.weight": "source_embedding.weight"}
        names |= {f"encoder.bridge.{part}": f"bridge.linear.{part}" for part in ("weight", "bias")}
        names |= {f"encoder.rnn.{part}_l0": f"encoder.layers.0.0.{part}" for part in cell}
        names |= {f"encoder.rnn.{part}_l0_reverse": f"encoder.layers.0.1.{part}" for part in cell}
        names |= {f"rnn.{part}": f"decoder.layers.0.{part}" for part in cell}
        names |= {f"out.{part}": f"decoder.head.{part}" for part in ("weight", "bias")}
        taken = {}
        if self.attention is not None:
            names |= {f"readout.{part}": f"decoder.head.hidden.{part}" for part in ("weight", "bias")}
            names["attention.attn.bias"] = "decoder.context.key.bias"
            both = ours["decoder.context.query.weight"], ours["decoder.context.key.weight"]
            taken["attention.attn.weight"] = torch.cat(both, dim=1)
            taken["attention.v.weight"] = ours["decoder.context.energy"][None]
        self.load_state_dict(taken | {name: ours[other] for name, other in names.items()})
