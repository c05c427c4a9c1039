"""The broadcast under load, beside its peers: ``python -m benchmarks.load``. Linux only: it needs /proc and epoll."""
