"""`seq2seq serve`: a service of bundles, with a page to try them.

seq2seq serve runs/first/bundle runs/slots/bundle --port 8080
seq2seq serve runs/first/bundle --ensemble runs/seed1/bundle runs/seed2/bundle
curl http://127.0.0.1:8080/translate -H 'Content-Type: application/json' -d '{"texts": ["A man sleeps."]}'

Each bundle is a model with the name of its run's folder (GET /models), and those of an --ensemble are one model, with
the mean of their probabilities and a + between their names. POST /translate/stream sends what is found after each step
of the search, a line of JSON at a time. Requests that arrive together are computed
as one batch, on which no answer depends. It listens on this machine only, unless --host says otherwise. SIGTERM and
Ctrl-C let requests end that have begun. /openapi.json describes the endpoints, /metrics has counters for Prometheus.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from seq2seq.cli.arguments import add_running
from seq2seq.errors import UserError

TOKEN = "SEQ2SEQ_TOKEN"
"""The environment variable of the token: other users of the machine see arguments, but not it."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq serve`."""
    parser.add_argument("bundles", type=Path, nargs="*", metavar="BUNDLE", help="the folder of a trained model")
    parser.add_argument(
        "--ensemble",
        type=Path,
        nargs="+",
        action="append",
        default=[],
        metavar="BUNDLE",
        help="serve these bundles as one model, also; write it after the others; again for another ensemble",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address (%(default)s: this machine; 0.0.0.0: all)")
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="the port (%(default)s); 0: any free one")
    parser.add_argument("--token", metavar="TEXT", help=f"what clients must send (default: {TOKEN}, or none)")
    add_running(parser)
    parser.set_defaults(batch_size=64)
    parser.add_argument(
        "--max-source", type=int, default=1024, metavar="N", help="most tokens of a source (%(default)s)"
    )
    parser.add_argument("--int8", action="store_true", help="8-bit output layer: faster on a CPU, nearly the same text")
    group = parser.add_argument_group("limits")
    group.add_argument("--max-body", type=int, default=1 << 20, metavar="N", help="bytes of a request (%(default)s)")
    group.add_argument("--max-lines", type=int, default=256, metavar="N", help="texts of a request (%(default)s)")
    group.add_argument(
        "--max-queue", type=int, default=1024, metavar="N", help="texts that wait; then 429 is the answer (%(default)s)"
    )
    group.add_argument("--timeout", type=float, default=60, metavar="S", help="seconds for an answer (%(default)s)")


def run(arguments: Namespace) -> int:
    """Serve until a signal; return the exit code. Raises `UserError` for a bad bundle, limit or address."""
    bundles = [*arguments.bundles, *arguments.ensemble]
    if not bundles:
        raise UserError("serve: which model? Name the folder of a bundle, such as runs/first/bundle")
    try:
        from seq2seq.serving.limits import Limits
        from seq2seq.serving.server import Models, serve
    except ModuleNotFoundError as error:
        raise UserError(f"serve needs {error.name}: pip install 'seq2seq-recurrent[serve]'") from None
    limits = Limits(
        body=arguments.max_body,
        lines=arguments.max_lines,
        queue=arguments.max_queue,
        batch=arguments.batch_size,
        timeout=arguments.timeout,
    )
    token = arguments.token or os.environ.get(TOKEN) or None
    models = Models(arguments.device, arguments.threads, arguments.trust, arguments.max_source, arguments.int8)
    serve(bundles, arguments.host, arguments.port, token, limits, models)
    return 0
