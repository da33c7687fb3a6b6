"""Users, roles and API keys: who may do what, and how a request proves it."""
