"""Paths of the project's files, in a checkout and in an installed wheel, and of downloads and the cache."""

import os
import sys
from functools import cache
from pathlib import Path

from seq2seq.runtime import home

PACKAGE = Path(__file__).resolve().parents[1]


def packaged(folder: str) -> Path:
    """The path of `conf` or `data`: inside the package in a wheel, next to it in a checkout."""
    inside = PACKAGE / folder
    return inside if inside.is_dir() and any(inside.iterdir()) else PACKAGE.parent / folder


def data_root(root: str | None = None) -> Path:
    """The folder of corpora: `root`, else the environment variable SEQ2SEQ_DATA, else the user's cache folder."""
    chosen = root or os.environ.get("SEQ2SEQ_DATA")
    return Path(chosen).expanduser() if chosen else _user_cache() / "data"


def cache_root() -> Path:
    """The folder of the cache (encoded corpora, trained tokenizers): SEQ2SEQ_CACHE, else the user's cache folder."""
    chosen = os.environ.get("SEQ2SEQ_CACHE")
    return Path(chosen).expanduser() if chosen else _user_cache() / "cache"


def cached(*names: str) -> Path:
    """The path of an entry in the cache, which may not exist. If it does not and the cache cannot be written, a path in
    the temporary folder, with a message, once."""
    place = cache_root().joinpath(*names)
    if place.exists() or _can_hold(place.parent):
        return place
    _say(f"{cache_root()}: cannot be written; the cache is in {home.fallback()} (SEQ2SEQ_CACHE chooses another folder)")
    return home.fallback().joinpath("cache", *names)


def optional_cache(*names: str) -> Path | None:
    """The path of an entry in the cache that can be made anew in no time: None, without a message, where the cache
    cannot be written."""
    if not os.environ.get("SEQ2SEQ_CACHE") and home.settle():
        return None
    place = cache_root().joinpath(*names)
    return place if place.exists() or _can_hold(place.parent) else None


def _user_cache() -> Path:
    import platformdirs

    made = home.settle()
    folder = Path(platformdirs.user_cache_dir("seq2seq"))
    if made:
        _say(f"there is no home folder; downloads and the cache are in {folder} (HOME chooses another folder)")
    return folder


def _can_hold(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return home.writable(folder)


@cache
def _say(text: str) -> None:
    print(f"seq2seq: {text}", file=sys.stderr, flush=True)
