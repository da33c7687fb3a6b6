"""Files of a collector (OTLP JSON), read back."""
