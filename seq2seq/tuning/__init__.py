"""Hyper-parameter search with Optuna: what to vary (`space`), what was tried (`study`), its pictures (`plots`)."""
