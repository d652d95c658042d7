"""Large files: input and output of lines, formats of lines, shards of an input, and resumable outputs."""
