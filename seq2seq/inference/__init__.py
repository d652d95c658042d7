"""Inference with a trained bundle: translation, labels, captions, sampled text; `files/` handles large files."""
