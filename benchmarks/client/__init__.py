"""The client beside its peers, over real sockets: ``python -m benchmarks.client``."""
