"""Download files of public corpora, with checksums."""

from __future__ import annotations

import sys
from pathlib import Path

from seq2seq.errors import UserError
from seq2seq.runtime.atomic_files import digest_of

TIMEOUT = 30.0  # seconds without a response


def fetch(address: str, path: Path, checksum: str | None) -> None:
    """Download a file to `path`, atomically; `checksum` is a sha256, or ALGORITHM:CHECKSUM.

    Raises UserError for an unreachable server, a wrong checksum, and a folder that cannot be written.
    """
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=_terminal(), timeout=TIMEOUT)
    manually = f"put {path.name} into {path.parent} yourself, or set data.root to the folder that has it"
    try:
        pooch.retrieve(address, checksum, path.name, path.parent, downloader=downloader)
    except RequestException as error:
        raise UserError(f"{address}: cannot be downloaded ({_short(error)}); {manually}") from None
    except ValueError:
        raise UserError(f"{address}: what came is not the file (wrong checksum); try again, or {manually}") from None
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be written ({error.strerror}); set data.root") from None


def verify(path: Path, checksum: str) -> None:
    """Raise UserError unless the file has this checksum."""
    algorithm, _, expected = checksum.rpartition(":")
    if digest_of(path, algorithm or "sha256") != expected:
        raise UserError(f"{path}: is damaged (wrong checksum); delete it, and it is downloaded again")


def _terminal() -> bool:
    """Whether to show a progress bar: stderr is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def _short(error: Exception) -> str:
    response = getattr(error, "response", None)
    return f"the server answers {response.status_code}" if response is not None else type(error).__name__
