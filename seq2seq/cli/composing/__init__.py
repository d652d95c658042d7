"""Configurations composed by Hydra, and the jobs of its sweeps."""
