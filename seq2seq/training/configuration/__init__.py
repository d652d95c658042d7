"""What the options of a run may be, and what they mean: checked before anything is read."""
