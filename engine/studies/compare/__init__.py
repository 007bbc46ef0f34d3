"""Comparison: several runs on one table layout, and what differs between them."""
