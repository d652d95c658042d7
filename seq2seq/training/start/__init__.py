"""Where a run begins: at a checkpoint, at a bundle, or with pretrained vectors."""
