import grpc

from service.pb.onefold.v1 import recommendation_service_pb2 as pb

class RecommendationServiceStub:
    def __init__(self, channel: grpc.Channel) -> None: ...
    Recommend: grpc.UnaryUnaryMultiCallable[pb.RecommendRequest, pb.RecommendResponse]

class RecommendationServiceServicer:
    def Recommend(
        self, request: pb.RecommendRequest, context: grpc.ServicerContext, /
    ) -> pb.RecommendResponse: ...

def add_RecommendationServiceServicer_to_server(
    servicer: RecommendationServiceServicer, server: grpc.Server
) -> None: ...
