"""How weights are updated: optimizers, schedules, frozen parts, batches larger than memory."""
