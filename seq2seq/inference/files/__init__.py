"""Large files: streams and formats of lines, chunks and shards of an input, and resumable outputs."""
