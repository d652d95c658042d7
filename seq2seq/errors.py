"""Exceptions that end a command early: a mistake of the user (one line, exit code 2), or a signal."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The errno of a write for which there is no space left."""

LONGEST = 4000  # characters of a message; a value that was quoted may be of any size


class UserError(Exception):
    """A mistake in the user's input; the message names the file and line, the value, and the remedy.

    The message is one line of printable characters whatever it quotes: line feeds and terminal control sequences are
    escaped, and a message of more than LONGEST characters loses its middle.
    """

    def __init__(self, message: str) -> None:
        line = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in message)
        half = LONGEST // 2
        super().__init__(line if len(line) <= LONGEST else f"{line[:half]} […] {line[-half:]}")


class Stopped(BaseException):
    """A signal ended the process, and its work can be resumed. No `except Exception` catches it."""
