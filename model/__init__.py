"""The bird-or-bicycle classifier: pixels, network, decision rule, bundle and runtime."""
