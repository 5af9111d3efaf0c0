"""The HTTP service that answers labels only."""
