"""Texts sampled from a language model over HTTP."""

from __future__ import annotations

from typing import Any, ClassVar

from seq2seq.bundle.format import Bundle
from seq2seq.errors import UserError
from seq2seq.inference.text_sampler import Sampler, SamplingOptions
from seq2seq.serving.hosted import Hosted, Work, texts_of
from seq2seq.serving.limits import Limits
from seq2seq.serving.scheduler import Group, check_wanted
from seq2seq.serving.schemas import PredictBody, SampleBody
from seq2seq.text import check_text


class HostedSampler(Hosted[SampleBody]):
    """A bundle of task=language_modeling, for POST /sample. Texts are sampled one at a time, each from its own seed;
    between two of them other requests have their turn."""

    endpoint: ClassVar[str] = "/sample"

    def __init__(self, name: str, bundle: Bundle, limits: Limits) -> None:
        super().__init__(name, bundle, limits)
        self.sampler = Sampler(bundle)

    def work(self, body: SampleBody) -> Work:
        """One item a text: its prompt and its seed."""
        self.check_limit("number", body.number, self.limits.lines)
        self.check_limit("length", body.length, self.limits.length)
        check_text(body.prompt, "prompt")
        self.sampler.check_prompt(body.prompt)
        options = SamplingOptions(body.length, body.temperature, body.top_k, body.top_p)
        items = [(body.prompt, body.seed + i) for i in range(body.number)]
        return Work(Group((self.name, options), 1, lambda batch: self._compute(batch, options)), items)

    def predict(self, body: PredictBody) -> SampleBody:
        """The only input as a prompt."""
        prompts = texts_of(body)
        if len(prompts) != 1:
            raise UserError(f"inputs: has {len(prompts)} entries, and a language model continues one at a time")
        return SampleBody(model=body.model, prompt=prompts[0])

    def text(self, result: Any) -> str:
        """The sampled text, which begins with the prompt."""
        return str(result)

    def _compute(self, batch: list[tuple[str, int]], options: SamplingOptions) -> list[str]:
        return [self._continued(prompt, options, seed) for prompt, seed in batch]

    def _continued(self, prompt: str, options: SamplingOptions, seed: int) -> str:
        parts = [prompt]
        for part in self.sampler.stream(prompt, options, seed=seed):
            check_wanted()
            parts.append(part)
        return "".join(parts)
