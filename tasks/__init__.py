"""The steps Prefect runs: thin adapters with retries, names and log lines around the engine in `sluice/`."""
