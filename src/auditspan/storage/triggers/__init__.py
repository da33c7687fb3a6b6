"""Triggers that stage the images of rows, by database."""
