"""The one exception of a user's mistake: the command line prints it as one line and exits with code 2."""


class UserError(Exception):
    """A mistake in what the user gave: its text names the file and line, the value, and the remedy."""
