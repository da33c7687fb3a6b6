"""Delivery: every sealed row to every sink, until the sink has acknowledged it."""
