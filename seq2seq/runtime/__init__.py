"""The operating system: atomic files, worker processes, training in several processes, strict JSON, paths, memory."""
