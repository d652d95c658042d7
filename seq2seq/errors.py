"""What ends a command early: a mistake of the user, which is one line and code 2, or a signal."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a write ends with where there is no more room."""

LONGEST = 4000  # characters of a message; a value that was quoted may be of any size


class UserError(Exception):
    """A mistake in what the user gave: its text names the file and line, the value, and the remedy.

    The text is one line of printable characters, whatever was quoted in it: line feeds and the control sequences that
    a terminal obeys are written as escapes, and what is too long is cut out of its middle.
    """

    def __init__(self, message: str) -> None:
        line = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in message)
        half = LONGEST // 2
        super().__init__(line if len(line) <= LONGEST else f"{line[:half]} […] {line[-half:]}")


class Stopped(BaseException):
    """A signal asked the process to end, and what it did can be resumed; no `except Exception` holds it up."""
