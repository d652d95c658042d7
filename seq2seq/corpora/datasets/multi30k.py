"""Multi30k (Elliott et al. 2016), task 1, raw text: from a folder of the user, or downloaded once with checksums.

The data are for non-commercial research and education: https://github.com/multi30k/dataset
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from seq2seq.corpora import readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.downloads import fetch, verify
from seq2seq.corpora.files import find, sources_of
from seq2seq.corpora.folders import write_file
from seq2seq.errors import UserError
from seq2seq.runtime.atomic_files import digest_of
from seq2seq.runtime.paths import data_root

URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"

# sha256 where it was computed; else the md5 that torchtext 0.9 published (where both exist, they agree). The repository
# got test_2018_flickr of the other languages later; without a published checksum, that of the first download is stored.
CHECKSUMS: dict[str, str | None] = {
    "train.en": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "train.de": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.fr": "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c",
    "train.cs": "md5:d9a5fc268917725a2b0efce3a0cc8607",
    "val.en": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "val.de": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.fr": "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9",
    "val.cs": "md5:83cdc082f646b769095615384cf5c0ca",
    "test_2016_flickr.en": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "test_2016_flickr.de": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.fr": "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90",
    "test_2016_flickr.cs": "md5:3104872229daa1bef3b401d44dd2220b",
    "test_2017_flickr.en": "md5:005396bac545d880abe6f00bbb7dbbb4",
    "test_2017_flickr.de": "md5:6a8d5c87f6ae19e3d35681aa6fd16571",
    "test_2017_flickr.fr": "md5:cb09af7d2b501f9112f2d6a59fa1360d",
    "test_2017_mscoco.en": "md5:a7b684e0edbef1d4a23660c8e8e743fd",
    "test_2017_mscoco.de": "md5:e8cd6ec2bc8a11fc846fa48a46e3d0bb",
    "test_2017_mscoco.fr": "md5:4995d10954a804d3cdfd907b9fd093e8",
    "test_2018_flickr.en": "md5:a152878809942757a55ce087073486b8",
    "test_2018_flickr.de": None,
    "test_2018_flickr.fr": None,
    "test_2018_flickr.cs": None,
}


class Multi30k(Corpus):
    """29,000 / 1,014 / 1,000 image captions in en, de, fr and cs; from several of them at once with `source_languages`.

    Files are looked for in ROOT/multi30k and in ROOT, where ROOT is `root`, else the environment variable SEQ2SEQ_DATA,
    else the user's cache; what is missing is downloaded from `url` into ROOT/multi30k.
    """

    def __init__(
        self,
        source_language: str = "en",
        target_language: str = "de",
        root: str | None = None,
        tests: Sequence[str] = ("test_2016_flickr",),
        url: str = URL,
        source_languages: Sequence[str] | None = None,
    ) -> None:
        one = source_language if source_languages is None else None
        self.source_languages, self.columns = sources_of(one, source_languages)
        self.source_language, self.target_language = "+".join(self.source_languages), target_language
        self.tests, self.url = tuple(tests), url
        self._folder = data_root(root) / "multi30k"
        keys = ["source_language" if source_languages is None else "source_languages"] * len(self.source_languages)
        for key, language in zip([*keys, "target_language"], [*self.source_languages, target_language], strict=True):
            self._check_language(f"data.corpus.{key}", language)

    def _check_language(self, key: str, language: str) -> None:
        languages = dict.fromkeys(name.split(".")[1] for name in CHECKSUMS)
        if language not in languages:
            raise UserError(f"{key}={language}: Multi30k has {', '.join(languages)}")
        for test in self.tests:
            if f"{test}.{language}" not in CHECKSUMS:
                there = [name.split(".")[0] for name in CHECKSUMS if name.endswith(f".{language}") and "test" in name]
                raise UserError(f"data.corpus.tests: no {test!r} in {language!r}; it has {', '.join(there)}")

    @property
    def splits(self) -> tuple[str, ...]:
        """The names train, val and those of the chosen tests."""
        return ("train", "val", *self.tests)

    def prepare(self) -> None:
        """Download missing files, and check all. Raises UserError if one is damaged or cannot be downloaded."""
        for split in self.splits:
            for language in (*self.source_languages, self.target_language):
                name = f"{split}.{language}"
                path = self._existing(name)
                if path is None:
                    self._download(name)
                elif path.suffix == ".gz" and (checksum := CHECKSUMS[name] or _stored(path)):
                    verify(path, checksum)

    def files(self, split: str) -> tuple[Path, ...]:
        """The source files and the target file of a split."""
        languages = *self.source_languages, self.target_language
        return tuple(self._existing(f"{split}.{one}") or find(self._folder / split, one) for one in languages)

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The caption pairs of a split."""
        *sources, target = self.files(split)
        return readers.parallel(sources[0], target) if len(sources) == 1 else readers.multi_parallel(sources, target)

    def _existing(self, name: str) -> Path | None:
        paths = (folder / f"{name}{suffix}" for folder in (self._folder, self._folder.parent) for suffix in (".gz", ""))
        return next((path for path in paths if path.is_file()), None)

    def _download(self, name: str) -> None:
        path = self._folder / f"{name}.gz"
        fetch(f"{self.url.rstrip('/')}/{name}.gz", path, CHECKSUMS[name])
        if CHECKSUMS[name] is None:
            write_file(path.with_name(f"{path.name}.sha256"), f"{digest_of(path)}  {path.name}\n")


def _stored(path: Path) -> str | None:
    """The checksum of the first download, for files without a published one."""
    note = path.with_name(f"{path.name}.sha256")
    return note.read_text(encoding="utf-8").split()[0] if note.is_file() else None
