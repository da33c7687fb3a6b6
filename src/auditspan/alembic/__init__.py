"""What a migration needs."""
