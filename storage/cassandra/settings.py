"""How a Cassandra cluster is reached, and how carefully it is treated."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

DEFAULT_PORT: Final = 9042

Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Secret = Annotated[str, Meta(min_length=1, max_length=1000, extra={"secret": True})]
Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,30}$")]


class CassandraSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Cassandra is and how it is used."""

    hosts: tuple[Text, ...] = ("127.0.0.1",)
    """Some nodes of the cluster; the others are found through them."""
    port: Annotated[int, Meta(ge=1, le=65535)] = DEFAULT_PORT
    """The native protocol's port."""
    datacenter: Text = "datacenter1"
    """The data centre that this process talks to."""
    keyspace: Name = "onefold"
    """The workspace's name: keyspaces are `<name>_facts` and `<name>_derived_<generation>`."""
    replication: Annotated[int, Meta(ge=1, le=9)] = 3
    """Copies of each row in the data centre; `onefold migrate` creates keyspaces with it."""
    username: Text | None = None
    """Null: no authentication."""
    password: Secret | None = None
    """The role's password."""
    password_file: Text | None = None
    """A file that holds the password."""
    tls_ca: Text | None = None
    """A file of trusted certificates. Null: no TLS."""
    timeout_s: Annotated[float, Meta(gt=0)] = 5.0
    """How long one request may take."""
    connect_timeout_s: Annotated[float, Meta(gt=0)] = 10.0
    """How long finding the cluster may take."""
    in_flight: Annotated[int, Meta(ge=1, le=1024)] = 32
    """Requests under way at the same time, for one batch."""

    def keyspaces(self, generation: int) -> tuple[str, str]:
        """The names of the facts and the derived keyspace."""
        return f"{self.keyspace}_facts", f"{self.keyspace}_derived_{generation}"
