"""A small convolutional encoder: every region a gray image, their order known by what is learned for each place.

    g_r = relu(W · pool(relu(K_2 ∗ relu(K_1 ∗ image_r))) + b + p_r)        c = tanh(Σ_r V_r g_r + d)

with 3 × 3 kernels (the smallest that distinguish left from right, Simonyan & Zisserman 2015), p_r the vector of the
r-th place (Gehring et al. 2017, §3.1), which attention sees, and V_r the r-th place's own matrix, which lets c
distinguish 37 and 73.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq.errors import UserError
from seq2seq.nn.embedding import Dropout
from seq2seq.nn.encoders.base import Encoder
from seq2seq.nn.encoders.vector import begin
from seq2seq.nn.types import Memory, StateShape


class ImageEncoder(Encoder):
    """Up to `max_regions` images of `height` × `width` pixels each, given row by row, to as many vectors of
    D = `hidden_size`.

    `channels` is the number of the first kernels, the second are twice as many; `dropout` falls on what the linear map
    reads and on the regions' outputs. A strip that is one image is one region. There is no recurrent state:
    `Memory.final` is empty. Raises `UserError` where F is not height · width, for a size below 1 (an image: below 2),
    and in `forward` for more regions than there are places.
    """

    reads_images = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        height: int,
        width: int,
        max_regions: int = 8,
        channels: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if height * width != input_size:
            raise UserError(
                f"encoder: a region of {input_size} numbers is no image of {height} × {width} pixels "
                f"({height * width} numbers); set encoder.height and encoder.width to the data's images"
            )
        for name, value, least in (
            ("height", height, 2),
            ("width", width, 2),
            ("max_regions", max_regions, 1),
            ("channels", channels, 1),
        ):
            if value < least:
                raise UserError(f"encoder: {name}={value} must be at least {least}")
        self.output_size = hidden_size
        self.image = (height, width)
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.linear = nn.Linear(2 * channels * (height // 2) * (width // 2), hidden_size)
        self.positions = nn.Parameter(torch.randn(max_regions, hidden_size) * hidden_size**-0.5)
        self.summary = nn.Linear(max_regions * hidden_size, hidden_size)
        self.dropout = Dropout(dropout)
        for layer in (self.convolutions[0], self.convolutions[2], self.linear):
            begin(layer, "relu")
        nn.init.normal_(self.summary.weight, std=hidden_size**-0.5)  # few places are filled: each counts

    @property
    def state_shapes(self) -> tuple[StateShape, ...]:
        """Empty: there is no recurrent state."""
        return ()

    def forward(self, vectors: Float[Tensor, "B S E"], mask: Bool[Tensor, "B S"]) -> Memory:
        """Read the images of the real regions; padding is not convolved."""
        places = vectors.size(1)
        if places > len(self.positions):
            raise UserError(
                f"encoder: {places} regions in an image, but encoder.max_regions={len(self.positions)}; raise it"
            )
        convolved = self.dropout(self.convolutions(vectors[mask].view(-1, 1, *self.image)))
        positions = self.positions[:places].expand(len(mask), -1, -1)[mask]
        regions = self.dropout(torch.relu(self.linear(convolved) + positions))
        outputs = regions.new_zeros(*mask.shape, self.output_size).masked_scatter(mask[:, :, None], regions)
        summary = F.linear(outputs.flatten(1), self.summary.weight[:, : outputs[0].numel()], self.summary.bias)
        return Memory(outputs, mask, torch.tanh(summary), ())
