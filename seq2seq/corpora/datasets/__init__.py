"""One named corpus a file; the embedded one has its grammar next to it."""
