"""One task a file: its data, its loss and metrics, its scores and its model card; and what several tasks share."""
