"""What Lightning calls between steps: checkpoints, best models, progress, signals."""
