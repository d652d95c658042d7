"""The commands, with their one-line descriptions in `seq2seq --help`."""

COMMANDS = {
    "train": "train a model, or with -m many of them; the arguments are Hydra overrides",
    "tune": "search for the best overrides, with Optuna: a space in YAML, pruning, many processes",
    "reproduce": "train a bundle's model again, by its recorded command, and compare the weights",
    "translate-file": "translate a file, line by line, with a trained bundle",
    "augment": "more training pairs from the same data: translated forwards, backwards, or distilled",
    "merge": "join the shards that translate-file --shard wrote into one file",
    "force-decode": "log-probabilities of given translations, per token and per sentence",
    "filter": "leave out pairs of a parallel corpus: by length, ratio, script, repetition or a model's score",
    "predict-file": "label a file, or describe its images, with a trained bundle",
    "sample": "sample text from a trained language model",
    "average": "average the weights of several bundles, or of the checkpoints of a run, into a new bundle",
    "export": "export a bundle as ONNX networks, with an example that translates without torch",
    "score": "BLEU, chrF, TER and others of translations, with intervals, tests and breakdowns",
    "alignment-error": "compare word alignments with reference alignments: AER, precision, recall",
    "leaderboard": "compare the runs of a sweep: printed, CSV, Markdown and a figure",
    "report": "compare runs in one HTML page: curves, scores, texts, attention, settings",
    "plot": "the figures of runs for a paper, as PNG or PDF",
    "info": "describe a bundle or a run: model, sizes, scores, origin, progress, and how to resume",
    "doctor": "describe this machine and installation, and what is wrong with them: for a bug report",
    "demo": "train on the embedded corpus, score, and translate: minutes on two cores",
}
