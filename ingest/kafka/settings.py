"""How Kafka is reached, and how its topics are laid out."""

from typing import Annotated

import msgspec
from msgspec import Meta

Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Secret = Annotated[str, Meta(min_length=1, max_length=1000, extra={"secret": True})]
Hours = Annotated[int, Meta(ge=1)]


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Kafka is, and which topics are ours."""

    brokers: str = ""
    """`host:port` of some brokers, separated by commas. Empty: no Kafka, everything in one process."""
    prefix: Annotated[str, Meta(pattern="^[A-Za-z0-9._-]{1,100}$")] = "onefold"
    """Topics are `<prefix>.events`, `.backfill`, `.activity`, `.links`, `.changes`, `.evaluate`, `.segments`,
    `.deadletters`; consumer groups `<prefix>.record`, `.backfill`, `.fold`, `.identify`, `.evaluate`."""
    inputs: tuple[Text, ...] = ()
    """Further topics with events, as RudderStack's Kafka destination writes them; a topic's source is the
    one of `sources` that has its name."""
    partitions: Annotated[int, Meta(ge=1, le=10_000)] = 12
    """Partitions of the events, activity, evaluate and segments topics that `onefold migrate` creates: the
    most workers that can share a stage. Changing it for a live activity topic needs a new log generation."""
    replication: Annotated[int, Meta(ge=1, le=9)] = 3
    """Copies of each topic that `onefold migrate` creates."""
    retention_hours: Hours = 168
    """How long topics that `onefold migrate` creates keep messages."""
    log_generation: Annotated[int, Meta(ge=1, le=4_000_000)] = 1
    """Grows when the activity topic is made anew: positions of a later log count as later."""
    security_protocol: Annotated[str, Meta(pattern="^(plaintext|ssl|sasl_plaintext|sasl_ssl)$")] = (
        "plaintext"
    )
    """How brokers are talked to."""
    sasl_mechanism: Annotated[str, Meta(pattern="^(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)$")] = (
        "SCRAM-SHA-512"
    )
    """How this process logs in, where the protocol is a sasl one."""
    username: Text | None = None
    """The SASL user."""
    password: Secret | None = None
    """The SASL user's password."""
    password_file: Text | None = None
    """A file that holds the password."""
    tls_ca: Text | None = None
    """A file of trusted certificates; null: the system's."""
    timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    """How long a message may take to be durable, and a broker to answer."""

    def topic(self, name: str) -> str:
        """The full name of one of our topics."""
        return f"{self.prefix}.{name}"

    def group(self, name: str, generation: int = 1) -> str:
        """The full name of one of our consumer groups; each generation of derived tables has its own."""
        return f"{self.prefix}.{name}" + (f".{generation}" if generation > 1 else "")
