"""Where the project's own files are, in a checkout and in an installed wheel, and where downloads go."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def packaged(folder: str) -> Path:
    """The folder `conf` or `data`: inside the package in a wheel, beside it in a checkout."""
    inside = PACKAGE / folder
    return inside if inside.is_dir() and any(inside.iterdir()) else PACKAGE.parent / folder


def data_root(root: str | None = None) -> Path:
    """Where corpora are kept: `root`, else the environment variable SEQ2SEQ_DATA, else the user's cache folder."""
    chosen = root or os.environ.get("SEQ2SEQ_DATA")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("seq2seq")) / "data"


def cache_root() -> Path:
    """Where what can be made again is kept (encoded corpora, trained tokenizers): SEQ2SEQ_CACHE or the user's cache."""
    chosen = os.environ.get("SEQ2SEQ_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("seq2seq")) / "cache"
