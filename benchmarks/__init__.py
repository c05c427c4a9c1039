"""How fast the codec is: seeded corpora, tests, a guard, and one run that compares everything (README.md)."""
