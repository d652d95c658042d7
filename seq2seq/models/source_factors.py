"""The tables of a source's factors, from the options of `embedding` and the sizes of the factors' vocabularies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seq2seq.errors import UserError
from seq2seq.models.options import RANGES, check_type, fits
from seq2seq.nn.factor_embedding import Combine, FactorEmbedding
from seq2seq.text import UNK, Tokenizers

OPTIONS = ("factors", "factors_combine")
"""Keys of `embedding`: the widths by name, and how the vectors are joined."""

PLACE = "factors."
"""What the names of the sizes begin with."""

TRIAL_VALUES = 8
"""Of each factor of a model that is only built to check a configuration."""


def factor_sizes(tokenizers: Tokenizers) -> dict[str, int]:
    """The sizes of the factors' vocabularies, by their names in a bundle; none where sources have no factors."""
    sizes = tokenizers.factors.sizes if tokenizers.factors else {}
    return {f"{PLACE}{name}": size for name, size in sizes.items()}


def take_factors(options: dict[str, Any]) -> tuple[dict[str, int], Combine]:
    """Take the widths of the factors, by name, and how they are joined, out of the options of an embedding; no widths
    where there are no factors. Raises `UserError` for values that are none."""
    widths, combine = options.pop("factors", None) or {}, options.pop("factors_combine", "concat")
    check_type(combine, Combine, "embedding.factors_combine")
    if not isinstance(widths, Mapping):
        raise UserError(f"embedding.factors={widths!r}: must be sizes by name, such as {{pos: 16}}, or null")
    for name, width in widths.items():
        if not fits(width, int) or not 0 <= width <= RANGES["size"]:
            raise UserError(
                f"embedding.factors.{name}={width!r}: must be a whole number from 0 (not read) to {RANGES['size']:,}"
            )
        if combine == "sum" and width not in (0, options["size"]):
            raise UserError(
                f"embedding.factors.{name}={width}: a sum is of vectors of one width; set it to embedding.size="
                f"{options['size']}, or embedding.factors_combine=concat"
            )
    return dict(widths), combine


def refuse_factors(options: dict[str, Any], why: str) -> None:
    """Raise `UserError`, saying `why`, for factors of a model that reads none."""
    widths, _ = take_factors(options)
    if widths:
        raise UserError(f"embedding.factors={widths}: {why}; set it to null")


def source_factors(
    widths: Mapping[str, int], combine: Combine, sizes: Mapping[str, int], **options: Any
) -> FactorEmbedding | None:
    """The tables of factors of these widths, each with a row a value; None where none is read. Raises `UserError`
    where the sizes are of other factors."""
    known = [name.removeprefix(PLACE) for name in sizes if name.startswith(PLACE)]
    if sorted(known) != sorted(widths):
        raise UserError(
            f"embedding.factors: has sizes of {', '.join(widths) or 'none'}, and the sources have "
            f"{', '.join(known) or 'none'}; name the same factors in data.corpus.factors and embedding.factors"
        )
    if not any(widths.values()):
        return None
    rows = {name: sizes[f"{PLACE}{name}"] for name in widths}
    return FactorEmbedding(rows, widths, combine=combine, unk=UNK, **options)
