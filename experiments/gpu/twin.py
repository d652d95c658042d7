"""Models C and A written plainly on `nn.GRU`, as a careful user of torch would: one call for the encoder, and for C one
for the decoder too; with attention, keys once, a loop over `nn.GRUCell`, and readout and softmax after it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from experiments.throughput.naive import Naive
from seq2seq.nn.types import Pairs
from seq2seq.text.vocabulary import BOS, PAD


class Twin(Naive):
    """Parameters and loss are those of the naive loop; pads take part in the arithmetic, and not in the loss."""

    def loss(self, batch: Pairs) -> Tensor:
        """Mean of −log p over the target tokens, in nats."""
        source, target = batch.source, batch.target.ids
        outputs, last = self._encode(source.ids, source.lengths)
        hidden = torch.tanh(self.encoder.bridge(last))
        embedded = self.embedding(torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], 1))
        if self.attention is None:
            features = self._unrolled(embedded, last, hidden)
        else:
            features = self._attended(embedded, outputs, source.ids != PAD, hidden)
        logits = self.out(features).flatten(0, 1)
        return nn.functional.cross_entropy(logits, target.flatten(), ignore_index=PAD)

    def _encode(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Both directions by two calls, the second over each sentence reversed: as packing does, without its waiting
        for the lengths."""
        rnn, size = self.encoder.rnn, self.encoder.rnn.hidden_size
        t = torch.arange(ids.size(1), device=ids.device)
        order = torch.where(t < lengths[:, None], lengths[:, None] - 1 - t, t)
        embedded = self.encoder.embedding(ids)
        outputs = []
        for suffix, reverse in (("", False), ("_reverse", True)):
            weights = [getattr(rnn, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            inputs = embedded.gather(1, order[..., None].expand_as(embedded)) if reverse else embedded
            start = embedded.new_zeros(1, len(ids), size)
            outputs.append(torch.gru(inputs, start, weights, True, 1, 0.0, True, False, True)[0])
        at_end = (lengths - 1)[:, None, None].expand(-1, 1, size)
        last = torch.cat([each.gather(1, at_end)[:, 0] for each in outputs], 1)
        outputs[1] = outputs[1].gather(1, order[..., None].expand_as(outputs[1]))
        return torch.cat(outputs, -1), last

    def _unrolled(self, embedded: Tensor, c: Tensor, hidden: Tensor) -> Tensor:
        inputs = torch.cat([embedded, c[:, None].expand(-1, embedded.size(1), -1)], -1)
        weights = [self.rnn.weight_ih, self.rnn.weight_hh, self.rnn.bias_ih, self.rnn.bias_hh]
        features: Tensor = torch.gru(inputs, hidden[None], weights, True, 1, 0.0, True, False, True)[0]
        return features

    def _attended(self, embedded: Tensor, outputs: Tensor, mask: Tensor, hidden: Tensor) -> Tensor:
        assert self.attention is not None and self.readout is not None  # noqa: PT018
        size = hidden.size(1)
        weight = self.attention.attn.weight
        keys = nn.functional.linear(outputs, weight[:, size:], self.attention.attn.bias)
        states, contexts = [], []
        for token in embedded.unbind(1):
            query = nn.functional.linear(hidden, weight[:, :size])
            energies = self.attention.v(torch.tanh(query[:, None] + keys))[..., 0].masked_fill(~mask, -1e10)
            c = torch.bmm(energies.softmax(1)[:, None], outputs)[:, 0]
            hidden = self.rnn(torch.cat([token, c], 1), hidden)
            states.append(hidden)
            contexts.append(c)
        together = torch.cat([torch.stack(states, 1), torch.stack(contexts, 1)], -1)
        features: Tensor = torch.tanh(self.readout(together))
        return features
