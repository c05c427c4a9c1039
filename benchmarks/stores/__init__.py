"""How fast is each store, beside a bare loop over its own driver? ``python -m benchmarks.stores``."""
