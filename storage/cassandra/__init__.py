"""The distributed store: two keyspaces of a Cassandra 5.0 cluster."""
