"""The cost of access control for a reader that comes back, inside one process."""
