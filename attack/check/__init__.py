"""The submission check: is this container, or this endpoint, a fit entry? It knows the contract's HTTP, no torch."""
