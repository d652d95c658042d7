"""`seq2seq predict-file`: predictions for a file, with the bundle of a tagger, a classifier or a captioning model.

The output has exactly one line for each input: the tags of the words of a line (between single spaces) for
task=tagging, the label or labels for task=classification, a text for task=captioning, whose inputs are features in a
.npz or JSON lines file. With `--probabilities` a line is JSON instead: `labels`, one list for each word (or one for the
text), and as many `probabilities`, by label, the largest first. For task=regression a line is numbers, and its inputs
are features, too; so they are for a classifier that was trained on them. The output file is written atomically.
"""

from __future__ import annotations

import json
import logging
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from seq2seq.cli.arguments import add_errors, add_files, add_running
from seq2seq.errors import UserError
from seq2seq.inference.files.formats import CutOff
from seq2seq.inference.files.input import STREAM, chunks, count
from seq2seq.inference.files.output import check, output

if TYPE_CHECKING:
    from seq2seq.bundle.format import Bundle

log = logging.getLogger(__name__)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq predict-file`."""
    add_files(parser, "UTF-8 text, words between single spaces, compressed or not, - reads stdin; or features")
    parser.add_argument("--probabilities", action="store_true", help="JSON lines: labels with all their probabilities")
    parser.add_argument(
        "--max-length",
        type=int,
        metavar="N",
        help="captioning: most tokens of a text, with eos (default: by the number of rows)",
    )
    add_errors(parser)
    add_running(parser)


def run(arguments: Namespace) -> int:
    """Predict; return the exit code. Raises `UserError` for mistakes in files or options, or a bad bundle."""
    check(arguments.input, arguments.output)
    if arguments.threads is not None and arguments.threads < 1:
        raise UserError(f"threads={arguments.threads}: must be at least 1")
    from seq2seq.bundle.format import load_bundle
    from seq2seq.runtime.threads import limit_threads

    limit_threads(arguments.threads)
    bundle = load_bundle(arguments.bundle, trusted=arguments.trust, device=arguments.device)
    outputs = _outputs_of(bundle)(bundle, arguments)
    with output(arguments.output) as write:
        for line in outputs:
            write(f"{line}\n".encode())
    return 0


def _outputs_of(bundle: Bundle) -> Callable[[Bundle, Namespace], Iterator[str]]:
    """What makes the lines of the output."""
    if bundle.task == "captioning":
        return _texts
    return _labels if getattr(bundle.model, "features", None) is None else _of_features


def _of_features(bundle: Bundle, arguments: Namespace) -> Iterator[str]:
    """Numbers, or labels, of float sequences."""
    from seq2seq.corpora.features import read_features
    from seq2seq.inference.feature_predictor import FeaturePredictor
    from seq2seq.inference.predictor import Predicted
    from seq2seq.text.numbers import written

    _check_features(arguments)
    if arguments.max_length is not None:
        raise UserError(f"--max-length {arguments.max_length}: is for captioning; leave it out")
    if arguments.probabilities and bundle.task == "regression":
        raise UserError(
            "--probabilities: the bundle's task is regression, which gives numbers, not labels; leave it out"
        )
    features = read_features(arguments.input, bundle.model.features)
    labels = getattr(bundle.tokenizers.target, "labels", [])
    for predicted in FeaturePredictor(bundle).outputs(features, batch_size=arguments.batch_size):
        if not isinstance(predicted, Predicted):
            yield written(predicted)
        elif arguments.probabilities:
            yield json.dumps(predicted.as_dict(labels), ensure_ascii=False)
        else:
            yield predicted.text


def _check_features(arguments: Namespace) -> None:
    """Raise `UserError` for arguments that are about text."""
    if arguments.errors != "strict":
        raise UserError(f"--errors {arguments.errors}: features are numbers; leave it out")
    if arguments.input == STREAM:
        raise UserError("-: features are read from a .npz or JSON lines file; name one")


def _labels(bundle: Bundle, arguments: Namespace) -> Iterator[str]:
    from tqdm import tqdm

    from seq2seq.inference.batching import CHUNK
    from seq2seq.inference.predictor import Predictor

    if arguments.max_length is not None:
        raise UserError(
            f"--max-length {arguments.max_length}: is for captioning, and this bundle gives labels; leave it out"
        )
    predictor = Predictor(bundle)
    warned = False
    total = count(arguments.input, arguments.errors)
    with tqdm(total=total, unit=" lines", disable=not sys.stderr.isatty()) as bar:
        for chunk in filter(None, chunks(arguments.input, CHUNK, errors=arguments.errors)):
            odd = next((i for i, text in enumerate(chunk.texts) if "\t" in text), None)
            if odd is not None and not warned:
                warned = True
                log.warning(
                    "%s:%d: has a tab, and the texts of training have none: the line is read as text, label and all "
                    "(cut -f 1 takes the first column)",
                    "standard input" if arguments.input == STREAM else arguments.input,
                    chunk.numbers[odd] + 1,
                )
            results = predictor.predict_stream(chunk.texts, batch_size=arguments.batch_size, progress=bar.update)
            for predicted in results:
                described = predicted.as_dict(predictor.labels.labels) if arguments.probabilities else None
                yield json.dumps(described, ensure_ascii=False) if described else predicted.text


def _texts(bundle: Bundle, arguments: Namespace) -> Iterator[str]:
    from seq2seq.corpora.features import read_features
    from seq2seq.inference.captioner import Captioner

    if arguments.probabilities:
        raise UserError("--probabilities: the bundle's task is captioning, which gives texts, not labels; leave it out")
    _check_features(arguments)
    captioner, cut_off = Captioner(bundle), CutOff()
    options = captioner.options(max_length=arguments.max_length)
    features = read_features(arguments.input, bundle.model.features)
    for number, translations in enumerate(captioner.caption_stream(features, options, batch_size=arguments.batch_size)):
        cut_off.add(1, [number] if translations[0].hypothesis.cut_off(options) else [])
        yield translations[0].text
    cut_off.report()
