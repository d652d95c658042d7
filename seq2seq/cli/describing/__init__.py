"""What a bundle, a run or this machine is, as facts to print or to write as JSON, without importing torch at once."""
