"""Parts of `trust.py`: how fast rows are sealed, verified and relayed."""
