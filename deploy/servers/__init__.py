"""Real Cassandra and Kafka on loopback from Maven Central: for `make servers` and for tests, without Docker."""
