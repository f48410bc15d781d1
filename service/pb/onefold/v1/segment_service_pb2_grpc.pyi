from collections.abc import Iterator

import grpc

from service.pb.onefold.v1 import segment_service_pb2 as pb

class SegmentServiceStub:
    def __init__(self, channel: grpc.Channel) -> None: ...
    ListSegments: grpc.UnaryUnaryMultiCallable[pb.ListSegmentsRequest, pb.ListSegmentsResponse]
    GetSegment: grpc.UnaryUnaryMultiCallable[pb.GetSegmentRequest, pb.GetSegmentResponse]
    CheckSegments: grpc.UnaryUnaryMultiCallable[pb.CheckSegmentsRequest, pb.CheckSegmentsResponse]
    ApplySegments: grpc.UnaryUnaryMultiCallable[pb.ApplySegmentsRequest, pb.ApplySegmentsResponse]
    PreviewSegment: grpc.UnaryUnaryMultiCallable[pb.PreviewSegmentRequest, pb.PreviewSegmentResponse]
    ListProfileSegments: grpc.UnaryUnaryMultiCallable[pb.ListProfileSegmentsRequest, pb.ListProfileSegmentsResponse]
    ListSegmentMembers: grpc.UnaryStreamMultiCallable[pb.ListSegmentMembersRequest, pb.ListSegmentMembersResponse]
    WatchSegmentChanges: grpc.UnaryStreamMultiCallable[pb.WatchSegmentChangesRequest, pb.WatchSegmentChangesResponse]
    GetSegmentHistory: grpc.UnaryUnaryMultiCallable[pb.GetSegmentHistoryRequest, pb.GetSegmentHistoryResponse]
    GetSegmentOverlap: grpc.UnaryUnaryMultiCallable[pb.GetSegmentOverlapRequest, pb.GetSegmentOverlapResponse]
    ListSegmentEdits: grpc.UnaryUnaryMultiCallable[pb.ListSegmentEditsRequest, pb.ListSegmentEditsResponse]

class SegmentServiceServicer:
    def ListSegments(
        self, request: pb.ListSegmentsRequest, context: grpc.ServicerContext, /
    ) -> pb.ListSegmentsResponse: ...
    def GetSegment(
        self, request: pb.GetSegmentRequest, context: grpc.ServicerContext, /
    ) -> pb.GetSegmentResponse: ...
    def CheckSegments(
        self, request: pb.CheckSegmentsRequest, context: grpc.ServicerContext, /
    ) -> pb.CheckSegmentsResponse: ...
    def ApplySegments(
        self, request: pb.ApplySegmentsRequest, context: grpc.ServicerContext, /
    ) -> pb.ApplySegmentsResponse: ...
    def PreviewSegment(
        self, request: pb.PreviewSegmentRequest, context: grpc.ServicerContext, /
    ) -> pb.PreviewSegmentResponse: ...
    def ListProfileSegments(
        self, request: pb.ListProfileSegmentsRequest, context: grpc.ServicerContext, /
    ) -> pb.ListProfileSegmentsResponse: ...
    def ListSegmentMembers(
        self, request: pb.ListSegmentMembersRequest, context: grpc.ServicerContext, /
    ) -> Iterator[pb.ListSegmentMembersResponse]: ...
    def WatchSegmentChanges(
        self, request: pb.WatchSegmentChangesRequest, context: grpc.ServicerContext, /
    ) -> Iterator[pb.WatchSegmentChangesResponse]: ...
    def GetSegmentHistory(
        self, request: pb.GetSegmentHistoryRequest, context: grpc.ServicerContext, /
    ) -> pb.GetSegmentHistoryResponse: ...
    def GetSegmentOverlap(
        self, request: pb.GetSegmentOverlapRequest, context: grpc.ServicerContext, /
    ) -> pb.GetSegmentOverlapResponse: ...
    def ListSegmentEdits(
        self, request: pb.ListSegmentEditsRequest, context: grpc.ServicerContext, /
    ) -> pb.ListSegmentEditsResponse: ...

def add_SegmentServiceServicer_to_server(
    servicer: SegmentServiceServicer, server: grpc.Server
) -> None: ...
