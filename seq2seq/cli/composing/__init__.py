"""Composing configurations with Hydra, and the jobs of its sweeps."""
