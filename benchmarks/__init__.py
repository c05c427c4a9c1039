"""Measures the codec: seeded corpora, tests, a guard, and one run that compares everything (README.md)."""
