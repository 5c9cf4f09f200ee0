"""The stories an operator runs: the order of steps, nothing else."""
