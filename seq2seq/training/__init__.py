"""Training: what runs it, the tasks, and one folder each for options, updates, losses, callbacks, records, start."""
