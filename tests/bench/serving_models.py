"""The models that the serving benchmark serves."""

from service.rpc.recommending import Recommending
from tests.service.conftest import RecentItems
from tests.workspace import Workspace


def trained(world: Workspace) -> Recommending:
    """Models trained on the store."""
    return RecentItems()
