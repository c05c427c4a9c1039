"""The broadcast under load, beside its peers: ``python -m benchmarks.load``. Linux only: it reads /proc and uses epoll."""
