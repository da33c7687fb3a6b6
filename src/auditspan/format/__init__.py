"""The record and its canonical text: no clock, no randomness, no I/O."""
