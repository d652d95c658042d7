"""What a run writes down: run.json, metrics.csv, the loggers, and where its model comes from."""
