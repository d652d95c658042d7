"""What a run writes down: run.json, metrics.csv, the loggers, and the provenance of its model."""
