"""The gRPC service: thin servicers over the readers, one table of errors, one guard around every call."""
