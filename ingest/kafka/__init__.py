"""Kafka: where batches come from and go to."""
