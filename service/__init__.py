"""What users meet: the gRPC service, the collector's process, and the command line."""
