"""Facts about bundles, runs and this machine, to print or to write as JSON, without importing torch unless needed."""
