"""What a destination's file may say: one struct for each kind. The file's name is the destination's."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Secret = Annotated[str, Meta(min_length=1, max_length=10_000, extra={"secret": True})]
Duration = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,4}[mhd]$")]
Clock = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""A destination's name, which is that of its file."""
RESERVED: Final = ("list", "history", "run")
"""Subcommands of `onefold export`: no destination can be called so."""

GIGABYTE: Final = 1 << 30

ID_TYPES: Final[Mapping[str, str]] = {
    "advertising_id": "auto",
    "anonymous_id": "TPID",
    "lotame_pid": "PID",
    "panorama_id": "PANO",
}
"""Lotame's idtype of our identifier types. A TPID is an id of ours that Lotame has been told of (ID sync)."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When `onefold export run` exports it."""

    every: Duration | None = None
    """A time between the beginnings of two exports: `15m`, `6h`, `1d`."""
    at: Clock | None = None
    """A time of the day, UTC: `"02:00"`."""


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """What every destination's file says."""

    purpose: tuple[Text, ...] = ()
    """The purposes of consent that it needs, all of them, as events name them. Must be given."""
    segments: tuple[Text, ...] = ()
    """Ids of the segments that it gets; `["*"]`: all that are not sensitive. Must be given."""
    allow_sensitive: tuple[Text, ...] = ()
    """Ids of sensitive segments that it may get all the same, each by name."""
    aliases: dict[str, Text] = {}
    """Names at the destination by id of the segment, where they differ."""
    mode: Literal["full", "delta"] = "full"
    """`full`: all members each time. `delta`: what changed since the last export, after a full one."""
    full_every: Duration = "30d"
    """With `mode: delta`: how long until everything is sent again."""
    schedule: Schedule = Schedule()


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where files go, and how one logs in there."""

    url: Text = "./outbox"
    """A folder (relative to this file), `s3://bucket/path`, `sftp://user@host/path`, `gs://…`."""
    access_key: Text | None = None
    """S3: the key's id. Null: what the environment or the machine's role gives."""
    secret_key: Secret | None = None
    """S3: the key."""
    secret_key_file: Text | None = None
    """A file that holds it."""
    endpoint: Text | None = None
    """S3: another server that speaks its protocol."""
    password: Secret | None = None
    """sFTP: the user's password."""
    password_file: Text | None = None
    """A file that holds it."""
    private_key: Text | None = None
    """sFTP: the file of the user's private key."""
    known_hosts: Text | None = None
    """sFTP: the file with the server's public key. Null: this user's ~/.ssh/known_hosts."""


class LotameSettings(Common, frozen=True, kw_only=True):
    """Lotame's server-to-server batch files."""

    kind: Literal["lotame"] = "lotame"
    target: Place = Place()
    id_types: dict[str, Text] = {}
    """Lotame's idtype of further identifier types, or others than advertising_id: auto (GAID or IDFA, by
    platform), anonymous_id: TPID, lotame_pid: PID, panorama_id: PANO; `none`: it does not go."""
    segment_form: Literal["objects", "strings"] = "objects"
    """How segments are written: Lotame's pages show both."""
    consent: Literal["flag", "tcf"] = "flag"
    """`flag`: `consent: true`. `tcf`: the person's TCF string, which must allow vendor 95."""
    tcf_trait: Text = "tcf"
    """The trait that holds it."""
    file_bytes_max: Annotated[int, Meta(ge=1_000_000, le=5 * GIGABYTE)] = 4 * GIGABYTE
    """The largest file; then `.001.`, `.002.`: tell Lotame. It takes 5 GB at most."""
    replace: bool = False
    """Whether a set of files of today that Lotame has not fetched is replaced by another full one."""


class LotameEmailSettings(Common, frozen=True, kw_only=True):
    """Lotame's onboarding of hashed e-mail addresses, to the bucket that Lotame hosts."""

    kind: Literal["lotame_email"] = "lotame_email"
    target: Place = Place()
    client_id: Annotated[int, Meta(ge=1)] | None = None
    """Lotame's number of the client. Must be given."""
    prefix: Annotated[str, Meta(pattern="^[A-Za-z0-9-]{1,60}$")] = "onefold"
    """How file names begin."""
    format: Literal["csv", "json"] = "csv"
    """CSV: a row for each address; JSON lines."""


class Ga4Settings(Common, frozen=True, kw_only=True):
    """GA4's Measurement Protocol: a user property for each segment."""

    kind: Literal["ga4"] = "ga4"
    url: Text = "https://www.google-analytics.com"
    """Google's server; `https://region1.google-analytics.com` keeps data in the EU."""
    measurement_id: Text | None = None
    """The web stream's, `G-…`. One of this and `firebase_app_id`."""
    firebase_app_id: Text | None = None
    """The app's, for Firebase."""
    api_secret: Secret | None = None
    """The stream's secret."""
    api_secret_file: Text | None = None
    """A file that holds it."""
    instance_type: Text = "ga_app_instance_id"
    """Firebase: our identifier type that holds the app instance id."""
    user_id: bool = False
    """Whether the user id goes along. It must not name a person: Google forbids that."""
    ad_user_data: Text | None = None
    """The purpose whose consent grants Google's `ad_user_data`. Null: denied."""
    ad_personalization: Text | None = None
    """The purpose whose consent grants Google's `ad_personalization`. Null: denied."""
    connections: Annotated[int, Meta(ge=1, le=64)] = 8
    """Requests under way at a time."""
    validate: bool = False
    """Send to Google's validator, which counts nothing and says what is wrong: the collector never does."""


class WebhookSettings(Common, frozen=True, kw_only=True):
    """Signed events to an address of yours."""

    kind: Literal["webhook"] = "webhook"
    url: Text | None = None
    """Where they are posted; `https://`, or loopback."""
    secret: Secret | None = None
    """The key of the signature."""
    secret_file: Text | None = None
    """A file that holds it."""
    old_secret: Secret | None = None
    """While keys change: a second signature with the old one."""
    old_secret_file: Text | None = None
    """A file that holds it."""
    shape: Literal["track", "identify"] = "track"
    """`track`: Audience Entered and Exited; `identify`: a trait that is true or false."""
    identifiers: tuple[Text, ...] = ("user_id", "anonymous_id")
    """Identifier types that go along; who has none of them is not sent."""
    batch: Annotated[int, Meta(ge=1, le=500)] = 100
    """Events in one request, as `{"batch": […]}`; 1: the event itself."""
    timeout_s: Annotated[float, Meta(gt=0, le=300)] = 10.0
    """How long one request may take, answer included."""
    retry_max_s: Annotated[float, Meta(ge=0, le=3600)] = 120.0
    """How long one request is tried again before the run is given up; the next one goes on from there."""


class KafkaDestinationSettings(Common, frozen=True, kw_only=True):
    """A topic on the brokers of onefold.yaml."""

    kind: Literal["kafka"] = "kafka"
    topic: Text | None = None
    """The topic; it must be there."""
    shape: Literal["track", "identify"] = "track"
    """As for webhooks."""
    identifiers: tuple[Text, ...] = ("user_id", "anonymous_id")
    """As for webhooks."""


class TableSettings(Common, frozen=True, kw_only=True):
    """A table: a row for each member and segment."""

    kind: Literal["table"] = "table"
    target: Place = Place()
    format: Literal["csv", "parquet"] = "csv"
    """Parquet needs pyarrow (`pip install 'onefold[notebook]'`)."""
    identifiers: tuple[Text, ...] = ("user_id",)
    """Identifier types that get a column; the first value of several in order. Who has none is not sent."""
    hashed: tuple[Text, ...] = ()
    """Those of them that are hashed (SHA-256 of the normalized value, hexadecimal)."""
    traits: tuple[Text, ...] = ()
    """Traits that get a column."""
    compress: bool = False
    """CSV: gzip. (Parquet is always compressed.)"""


KINDS: Final[dict[str, type[Common]]] = {
    "lotame": LotameSettings,
    "lotame_email": LotameEmailSettings,
    "ga4": Ga4Settings,
    "webhook": WebhookSettings,
    "kafka": KafkaDestinationSettings,
    "table": TableSettings,
}
