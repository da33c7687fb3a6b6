"""Which models and tables are audited, and the values of their columns in a record."""
