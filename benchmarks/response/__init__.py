"""Measures one answer to one request, token by token, beside the peers: ``python -m benchmarks.response``."""
