"""The wire: a client of a label-only endpoint. It knows HTTP and pixels, no torch."""
