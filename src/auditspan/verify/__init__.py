"""Read-only checks: the seal, the witness, reconciliation, the state."""
