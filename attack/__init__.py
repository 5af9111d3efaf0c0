"""Attacks on a classifier that answers labels, against a live endpoint or in process, and the evaluation."""
