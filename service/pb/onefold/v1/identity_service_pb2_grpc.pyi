import grpc

from service.pb.onefold.v1 import identity_service_pb2 as pb

class IdentityServiceStub:
    def __init__(self, channel: grpc.Channel) -> None: ...
    BatchResolve: grpc.UnaryUnaryMultiCallable[pb.BatchResolveRequest, pb.BatchResolveResponse]
    ExplainIdentity: grpc.UnaryUnaryMultiCallable[pb.ExplainIdentityRequest, pb.ExplainIdentityResponse]
    ListConflicts: grpc.UnaryUnaryMultiCallable[pb.ListConflictsRequest, pb.ListConflictsResponse]

class IdentityServiceServicer:
    def BatchResolve(
        self, request: pb.BatchResolveRequest, context: grpc.ServicerContext, /
    ) -> pb.BatchResolveResponse: ...
    def ExplainIdentity(
        self, request: pb.ExplainIdentityRequest, context: grpc.ServicerContext, /
    ) -> pb.ExplainIdentityResponse: ...
    def ListConflicts(
        self, request: pb.ListConflictsRequest, context: grpc.ServicerContext, /
    ) -> pb.ListConflictsResponse: ...

def add_IdentityServiceServicer_to_server(
    servicer: IdentityServiceServicer, server: grpc.Server
) -> None: ...
