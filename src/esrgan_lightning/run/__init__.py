"""A run's life: what is built from a configuration, its trainer, checkpoints, resuming and endings."""
