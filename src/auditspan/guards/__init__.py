"""What a database does for the trail, looked at while it lives, and put right."""
