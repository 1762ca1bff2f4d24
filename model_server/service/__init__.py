"""The gRPC face of the model server."""
