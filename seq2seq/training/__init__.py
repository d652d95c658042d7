"""Training tasks: thin Lightning modules around the models."""
