"""What processes log: one line each on standard error, for whoever collects it."""

import logging


def log_to_stderr() -> None:
    """Show warnings, and what our own stages say of their work."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING
    )
    logging.getLogger("ingest").setLevel(logging.INFO)
