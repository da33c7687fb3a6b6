"""The audit tables: statements on them, their triggers and partitions."""
