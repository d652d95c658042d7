"""The requests and answers of the service, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    """What all requests have in common."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    model: str | None = Field(
        default=None, description="the name of a model of GET /models; by default the first that fits"
    )


class SearchBody(Body):
    """Options of the search; by default those of the bundle."""

    n_best: int = Field(default=1, ge=1, description="results of each input, best first; at most beam_size")
    beam_size: int | None = Field(default=None, ge=1, description="prefixes kept; 1 is greedy search")
    length_penalty: float | None = Field(
        default=None, ge=0, le=10, description="alpha of Wu et al. 2016, eq. 14; 0 is none"
    )
    coverage_penalty: float | None = Field(
        default=None, ge=0, le=100, description="beta of eq. 14, for attention; 0 is none"
    )
    min_length: int | None = Field(default=None, ge=0, description="least tokens, without eos")
    max_length: int | None = Field(
        default=None, ge=1, description="most tokens, with eos; by default by the source's length"
    )
    no_repeat_ngram: int | None = Field(
        default=None, ge=0, description="no n-gram of this many tokens occurs twice; 0 is off"
    )
    diversity_groups: int | None = Field(
        default=None, ge=1, description="groups of the beam that avoid each other's tokens"
    )
    diversity_penalty: float | None = Field(default=None, ge=0, le=1000, description="0.2 to 0.8 are usual")
    sample: bool | None = Field(default=None, description="draw n_best samples instead of searching")
    temperature: float | None = Field(default=None, ge=0.01, le=100, description="below 1 sharper, above 1 flatter")
    top_k: int | None = Field(default=None, ge=1, le=1 << 40, description="sample from the k most likely tokens")
    top_p: float | None = Field(default=None, gt=0, le=1, description="sample from the smallest set with probability p")
    seed: int | None = Field(
        default=None, ge=0, lt=2**63, description="of the samples, together with the number of the text"
    )


class TranslateBody(SearchBody):
    """Texts to translate, each with its constraints."""

    texts: list[str] = Field(description="one sentence each; an empty one becomes an empty translation")
    tag: str | None = Field(
        default=None,
        description="a symbol that the model reads before each text, such as '<fr>'; GET /models has them",
    )
    prefixes: list[str] | None = Field(
        default=None, description="the beginning of each translation; '' where there is none"
    )
    constraints: list[list[str]] | None = Field(default=None, description="phrases that each translation must contain")
    alignments: bool = Field(default=False, description="word links SOURCE-TARGET from 0 (Pharaoh), from the attention")
    attention: bool = Field(
        default=False, description="attention weights: a row a target token, a column a source token"
    )
    alternatives: int = Field(
        default=0, ge=0, description="the most likely tokens at each step of the best translation"
    )


class CaptionBody(SearchBody):
    """Float sequences to describe in words."""

    features: list[list[list[float]]] = Field(description="sequences of rows: a row a frame, or an image's pixels")


class LabelBody(Body):
    """Texts whose words, or which themselves, get labels."""

    texts: list[str] = Field(description="one sentence each, words separated by spaces")
    probabilities: bool = Field(default=False, description="also the probability of every label")


class SampleBody(Body):
    """The beginning of a text, and how to continue it."""

    prompt: str = Field(default="", description="the beginning of the text")
    length: int = Field(default=200, ge=1, description="tokens to sample; characters, for a character tokenizer")
    number: int = Field(default=1, ge=1, description="how many texts; text i is that of seed + i")
    temperature: float = Field(default=1.0, ge=0.01, le=100, description="below 1 sharper, above 1 flatter")
    top_k: int | None = Field(default=None, ge=1, le=1 << 40, description="sample from the k most likely tokens")
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="sample from the smallest set of tokens with this probability"
    )
    seed: int = Field(default=0, ge=0, lt=2**62, description="of the random numbers")


class PredictBody(Body):
    """Inputs of a model of any task, with the model's own options."""

    inputs: list[str] | list[list[list[float]]] = Field(
        description="texts; for a captioner sequences of rows of numbers; for a language model the beginnings of texts"
    )


class AlternativeToken(BaseModel):
    """A token that could follow, and the text up to and with it."""

    token: str
    prefix: str
    probability: float


class TranslationResult(BaseModel):
    """One result of a search. `tokens` end with </s> if it is finished, and each has its log-probability; numbers that
    are not finite are null."""

    text: str
    score: float | None = Field(description="the log-probability over the length penalty, plus the coverage penalty")
    log_prob: float | None
    finished: bool = Field(description="false: the length limit came before the end")
    tokens: list[str]
    token_log_probs: list[float | None]
    alignment: str | None = None
    source_tokens: list[str] | None = None
    attention: list[list[float]] | None = None
    alternatives: list[list[AlternativeToken]] | None = None


class SearchAnswer(BaseModel):
    """The n best results of each input, best first."""

    model: str
    results: list[list[TranslationResult]]


class TranslationUpdate(BaseModel):
    """The best translation of a text after a step of its search; a later one may begin differently."""

    line: int = Field(description="the number of the text, from 0")
    text: str
    tokens: list[str]


class LabelResult(BaseModel):
    """The labels of a text, also as a list for each word (or one for the text)."""

    text: str
    labels: list[list[str]]
    probabilities: list[dict[str, float]] | None = None


class LabelAnswer(BaseModel):
    """The labels of each text."""

    model: str
    results: list[LabelResult]


class SampleAnswer(BaseModel):
    """The texts; each begins with the prompt."""

    model: str
    results: list[str]


class PredictAnswer(BaseModel):
    """The output of each input as text."""

    model: str
    task: str
    outputs: list[str]


class ModelDescription(BaseModel):
    """A model that is served."""

    name: str
    task: str
    endpoint: str
    parameters: int
    attention: bool = Field(description="whether it has attention, and so alignments")
    members: list[str] | None = Field(default=None, description="the folders of an ensemble's bundles")
    labels: list[str] | None = None
    width: int | None = Field(default=None, description="numbers in a row of features")
    tags: list[str] | None = Field(default=None, description="symbols that a translator may read before a text")
    search: dict[str, Any] | None = Field(default=None, description="the options of its search")
    scores: dict[str, Any] = Field(description="the scores of its tests, with signatures")


class Models(BaseModel):
    """All models that are served, in the order of the command line."""

    models: list[ModelDescription]


class Health(BaseModel):
    """The state of the service."""

    status: str
    models: int
    waiting: int = Field(description="lines that wait to be computed")


class Problem(BaseModel):
    """What is wrong with a request, and the remedy."""

    detail: str
