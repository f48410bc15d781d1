from collections.abc import Iterator

import grpc

from service.pb.onefold.v1 import decision_service_pb2 as pb

class DecisionServiceStub:
    def __init__(self, channel: grpc.Channel) -> None: ...
    PreviewDecision: grpc.UnaryUnaryMultiCallable[pb.PreviewDecisionRequest, pb.PreviewDecisionResponse]
    MakeDecision: grpc.UnaryUnaryMultiCallable[pb.MakeDecisionRequest, pb.MakeDecisionResponse]
    ListDecisions: grpc.UnaryUnaryMultiCallable[pb.ListDecisionsRequest, pb.ListDecisionsResponse]
    ListPersonChanges: grpc.UnaryUnaryMultiCallable[pb.ListPersonChangesRequest, pb.ListPersonChangesResponse]
    WatchChanges: grpc.UnaryStreamMultiCallable[pb.WatchChangesRequest, pb.WatchChangesResponse]

class DecisionServiceServicer:
    def PreviewDecision(
        self, request: pb.PreviewDecisionRequest, context: grpc.ServicerContext, /
    ) -> pb.PreviewDecisionResponse: ...
    def MakeDecision(
        self, request: pb.MakeDecisionRequest, context: grpc.ServicerContext, /
    ) -> pb.MakeDecisionResponse: ...
    def ListDecisions(
        self, request: pb.ListDecisionsRequest, context: grpc.ServicerContext, /
    ) -> pb.ListDecisionsResponse: ...
    def ListPersonChanges(
        self, request: pb.ListPersonChangesRequest, context: grpc.ServicerContext, /
    ) -> pb.ListPersonChangesResponse: ...
    def WatchChanges(
        self, request: pb.WatchChangesRequest, context: grpc.ServicerContext, /
    ) -> Iterator[pb.WatchChangesResponse]: ...

def add_DecisionServiceServicer_to_server(
    servicer: DecisionServiceServicer, server: grpc.Server
) -> None: ...
