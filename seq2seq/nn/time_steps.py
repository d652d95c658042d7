"""The order in which a recurrent network reads its time steps."""


def time_steps(length: int, reverse: bool) -> range:
    """The positions 0 … `length` − 1 in reading order: from left to right, or from right to left with `reverse`."""
    return range(length - 1, -1, -1) if reverse else range(length)
