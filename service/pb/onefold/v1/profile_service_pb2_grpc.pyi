import grpc

from service.pb.onefold.v1 import profile_service_pb2 as pb

class ProfileServiceStub:
    def __init__(self, channel: grpc.Channel) -> None: ...
    GetProfile: grpc.UnaryUnaryMultiCallable[pb.GetProfileRequest, pb.GetProfileResponse]
    BatchGetProfiles: grpc.UnaryUnaryMultiCallable[pb.BatchGetProfilesRequest, pb.BatchGetProfilesResponse]
    ListEvents: grpc.UnaryUnaryMultiCallable[pb.ListEventsRequest, pb.ListEventsResponse]

class ProfileServiceServicer:
    def GetProfile(
        self, request: pb.GetProfileRequest, context: grpc.ServicerContext, /
    ) -> pb.GetProfileResponse: ...
    def BatchGetProfiles(
        self, request: pb.BatchGetProfilesRequest, context: grpc.ServicerContext, /
    ) -> pb.BatchGetProfilesResponse: ...
    def ListEvents(
        self, request: pb.ListEventsRequest, context: grpc.ServicerContext, /
    ) -> pb.ListEventsResponse: ...

def add_ProfileServiceServicer_to_server(
    servicer: ProfileServiceServicer, server: grpc.Server
) -> None: ...
