"""The cost of a token by an adapter, beside the framework's own way: `python -m benchmarks.adapters`."""
