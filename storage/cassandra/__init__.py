"""The distributed store: Cassandra 5.0."""
