"""What the application emits about its audit records: names, span events, log records, metrics."""
