"""Measures the broadcast under load, beside its peers: ``python -m benchmarks.load``. Needs Linux (/proc, epoll)."""
