"""What a service allows a client, and how it is reached."""

from __future__ import annotations

from dataclasses import dataclass, fields

from seq2seq.errors import UserError


@dataclass(frozen=True)
class Limits:
    """The limits of a request and of the queue. Raises `UserError` for a value out of range.

    Args:
        body: the most bytes of a request's body.
        lines: the most texts, sequences or samples of a request.
        queue: the most lines that wait, of all requests; further requests are refused with 429.
        batch: the most lines of a batch.
        timeout: seconds from the first byte of a request to its answer; after that it is refused with 503.
        wait: seconds that an idle service waits for more requests before it computes the first batch.
        beam: the largest beam, n-best list and number of alternatives.
        length: the most tokens of a translation or a sample that a request may ask for.
    """

    body: int = 1 << 20
    lines: int = 256
    queue: int = 1024
    batch: int = 64
    timeout: float = 60.0
    wait: float = 0.002
    beam: int = 50
    length: int = 2000

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "wait" else 1
            if not value >= least or value > 1 << 40:
                raise UserError(f"{field.name}={value}: must be at least {least}")
        if self.lines > self.queue:
            raise UserError(f"lines={self.lines}: more than queue={self.queue}, which would refuse such a request")
