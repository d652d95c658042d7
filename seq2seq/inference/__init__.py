"""Text in, text out, with a trained model; files/ for large files."""
