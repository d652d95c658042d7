"""A model that is served: the base class, and the catalogue of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from seq2seq.bundle.format import Bundle
from seq2seq.errors import UserError
from seq2seq.serving.limits import Limits
from seq2seq.serving.scheduler import Group
from seq2seq.serving.schemas import Body, PredictBody

Request = TypeVar("Request", bound=Body)


class Work(NamedTuple):
    """The items of a request, and how to compute them."""

    group: Group
    items: Sequence[Any]


class NoModelError(Exception):
    """A request names a model that is not served, or needs one of another task."""


class Hosted(ABC, Generic[Request]):
    """A bundle under a name. `work` turns a request into items that are computed together with those of others."""

    endpoint: ClassVar[str]

    def __init__(self, name: str, bundle: Bundle, limits: Limits) -> None:
        self.name = name
        self.bundle = bundle
        self.limits = limits

    @abstractmethod
    def work(self, body: Request) -> Work:
        """The items of a request, after all checks. Raises `UserError` for a mistake in the request."""

    @abstractmethod
    def predict(self, body: PredictBody) -> Request:
        """A request of this model's endpoint for inputs without options. Raises `UserError` for inputs that this model
        cannot read."""

    @abstractmethod
    def text(self, result: Any) -> str:
        """The output as text, of a result for one input."""

    def watched(self, work: Work, watch: Callable[[int, Any], object]) -> Work:
        """The same work, whose search tells `watch` of the best output so far of each item, by its position. It is
        called from the thread that computes; nothing is told by a model without a search that can be looked on."""
        return work

    def describe(self) -> dict[str, Any]:
        """The entry of GET /models."""
        return {
            "name": self.name,
            "task": self.bundle.task,
            "endpoint": self.endpoint,
            "parameters": sum(parameter.numel() for parameter in self.bundle.model.parameters()),
            "attention": bool(getattr(self.bundle.model, "attends", False)),
            "scores": _finite_only(self.bundle.metrics),
        }

    def check_count(self, name: str, items: Sequence[Any]) -> None:
        """Raise `UserError` for more items than a request may have."""
        if len(items) > self.limits.lines:
            raise UserError(f"{name}: has {len(items)} entries, a request may have {self.limits.lines}; send several")

    def check_limit(self, name: str, value: int | None, most: int) -> None:
        """Raise `UserError` for a value above what this service allows."""
        if value is not None and value > most:
            raise UserError(f"{name}={value}: this service allows at most {most}")


def texts_of(body: PredictBody) -> list[str]:
    """The inputs of a request as texts. Raises `UserError` if they are numbers."""
    texts = [text for text in body.inputs if isinstance(text, str)]
    if len(texts) < len(body.inputs):
        raise UserError("inputs: this model reads texts, and these are rows of numbers")
    return texts


def _finite_only(metrics: Any) -> Any:
    """The scores without `null`s, which stand for numbers that are not finite."""
    if not isinstance(metrics, Mapping):
        return metrics
    return {name: _finite_only(value) for name, value in metrics.items() if value is not None}


class Catalogue:
    """The models that are served, by name."""

    def __init__(self, models: Sequence[Hosted[Any]]) -> None:
        self.models = {model.name: model for model in models}

    def choose(self, name: str | None, endpoint: str | None = None) -> Hosted[Any]:
        """The model of this name, or the first one, for an endpoint. Raises `NoModelError`, with the remedy."""
        if name is None:
            for model in self.models.values():
                if endpoint in (None, model.endpoint):
                    return model
            raise NoModelError(f"no model for {endpoint} is served; GET /models lists those that are")
        if name not in self.models:
            near = get_close_matches(name, self.models, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(self.models)}"
            raise NoModelError(f"model={name!r}: is not served; {hint}")
        model = self.models[name]
        if endpoint not in (None, model.endpoint):
            raise NoModelError(f"model={name!r}: is a model of task={model.bundle.task}; use POST {model.endpoint}")
        return model


def names_of(models: Sequence[Path | Sequence[Path]]) -> list[str]:
    """A name for each model: that of its bundle's folder, or of the run's, if the folder is called `bundle`; those of
    several with + between them for an ensemble. A number is added where two are the same."""
    names: list[str] = []
    for folders in models:
        name = "+".join(map(name_of, [folders] if isinstance(folders, Path) else folders))
        number, candidate = 2, name
        while candidate in names:
            number, candidate = number + 1, f"{name}-{number}"
        names.append(candidate)
    return names


def name_of(folder: Path) -> str:
    """The name of a bundle's folder, or of its run's."""
    path = folder.resolve()
    return path.parent.name if path.name == "bundle" and path.parent.name else path.name
