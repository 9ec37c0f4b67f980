"""Measurements: throughput, latency and memory of the pipeline, and of its parts."""
