"""The commands and what `seq2seq --help` says of each."""

COMMANDS = {
    "train": "train a model, or with -m many of them; the arguments are Hydra overrides",
    "tune": "search for the best overrides, with Optuna: a space in YAML, pruning, many processes",
    "reproduce": "train a bundle's model again, by its recorded command, and compare the weights",
    "translate-file": "translate a file, line by line, with a trained bundle",
    "merge": "one file of the shards that translate-file --shard wrote",
    "force-decode": "log-probabilities of given translations, per token and per sentence",
    "predict-file": "label a file, or describe its images, with a trained bundle",
    "sample": "write text with a trained language model",
    "average": "a new bundle of the mean weights of several bundles, or of the checkpoints of a run",
    "export": "a bundle as ONNX networks, with an example that translates without torch",
    "score": "BLEU, chrF, TER and others of translations: intervals, tests, and where a system is weak",
    "leaderboard": "compare the runs of a sweep: printed, CSV, Markdown and a picture",
    "report": "runs side by side in one HTML page: curves, scores, texts, attention, settings",
    "plot": "the pictures of runs for a paper, as PNG or PDF",
    "info": "what a bundle or a run is: model, sizes, scores, origin, progress, and how to resume",
    "doctor": "what this machine and installation offer, and what is wrong with them: for a bug report",
    "demo": "train on the embedded corpus, score, and translate: minutes on two cores",
}
