"""What training of text minimises: objectives over its tokens, and losses on its attention."""
