import grpc

from service.pb.onefold.v1 import recommendation_service_pb2 as pb

class RecommendationServiceStub:
    def __init__(self, channel: grpc.Channel) -> None: ...
    Recommend: grpc.UnaryUnaryMultiCallable[pb.RecommendRequest, pb.RecommendResponse]
    RecommendPage: grpc.UnaryUnaryMultiCallable[pb.RecommendPageRequest, pb.RecommendPageResponse]

class RecommendationServiceServicer:
    def Recommend(
        self, request: pb.RecommendRequest, context: grpc.ServicerContext, /
    ) -> pb.RecommendResponse: ...
    def RecommendPage(
        self, request: pb.RecommendPageRequest, context: grpc.ServicerContext, /
    ) -> pb.RecommendPageResponse: ...

def add_RecommendationServiceServicer_to_server(
    servicer: RecommendationServiceServicer, server: grpc.Server
) -> None: ...
