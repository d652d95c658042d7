"""Hyper-parameter search with Optuna: the search space (`space`), its trials (`study`), and figures (`plots`)."""
