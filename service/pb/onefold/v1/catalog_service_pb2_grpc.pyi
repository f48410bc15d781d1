import grpc

from service.pb.onefold.v1 import catalog_service_pb2 as pb

class CatalogServiceStub:
    def __init__(self, channel: grpc.Channel) -> None: ...
    UpsertItems: grpc.UnaryUnaryMultiCallable[pb.UpsertItemsRequest, pb.UpsertItemsResponse]
    GetItem: grpc.UnaryUnaryMultiCallable[pb.GetItemRequest, pb.GetItemResponse]
    ListItems: grpc.UnaryUnaryMultiCallable[pb.ListItemsRequest, pb.ListItemsResponse]

class CatalogServiceServicer:
    def UpsertItems(
        self, request: pb.UpsertItemsRequest, context: grpc.ServicerContext, /
    ) -> pb.UpsertItemsResponse: ...
    def GetItem(
        self, request: pb.GetItemRequest, context: grpc.ServicerContext, /
    ) -> pb.GetItemResponse: ...
    def ListItems(
        self, request: pb.ListItemsRequest, context: grpc.ServicerContext, /
    ) -> pb.ListItemsResponse: ...

def add_CatalogServiceServicer_to_server(
    servicer: CatalogServiceServicer, server: grpc.Server
) -> None: ...
