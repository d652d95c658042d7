"""The operating system: atomic files, worker processes, distributed training, strict JSON, paths, memory."""
