"""GA4 and Firebase by the Measurement Protocol: a user property for each segment (facts/formats.md §2).

GA4 has no call that fills an audience: define one there on the property. Google forbids personal and health
data in names and values, so a sensitive segment goes under another name only, and a user id only if asked for.
"""

import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote

import msgspec

from destinations.audience import Recipient
from destinations.destination import Acknowledges, Letter, Run, Sealed, Update
from destinations.errors import ExportRefused, TargetRefused, TargetUnavailable
from destinations.events import encode
from destinations.gate import Tally, Withheld
from destinations.http import Address, Answer, Meaning, Poster, patiently
from destinations.settings import Ga4Settings
from identity.nodes import GA_CLIENT_ID, USER_ID

PROPERTIES_MAX: Final = 25
NAME_MAX: Final = 24
VALUE_MAX: Final = 36
BACKDATING_MAX_MS: Final = 72 * 3_600_000
EVENT: Final = "audience_membership"
TIMEOUT_S: Final = 10.0
RETRY_MAX_S: Final = 120.0
_HEADERS: Final = {"Content-Type": "application/json", "User-Agent": "onefold"}
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED: Final = ("google_", "ga_", "firebase_", "_", "gtag.")
_APP_INSTANCE: Final = re.compile(r"[0-9A-Fa-f]{32}")
_NAMES_A_PERSON: Final = re.compile(r".*@.*|\+?[0-9 ()-]{7,}")


def property_name(segment: str) -> str:
    """The user property of a segment: its name with `_` for `-`. ValueError if Google would refuse it."""
    name = segment.replace("-", "_")
    if not _NAME.fullmatch(name) or len(name) > NAME_MAX or name.startswith(_RESERVED):
        raise ValueError(
            f"{segment} cannot be a user property of GA4: give it a name of letters, digits and _, "
            f"{NAME_MAX} at most, under `aliases`"
        )
    return name


class Ga4:
    """`Destination`."""

    kind = "ga4"
    replaces = False
    acknowledges: Acknowledges = "batch"

    def __init__(self, settings: Ga4Settings, now_ms: Callable[[], int]) -> None:
        self._settings = settings
        self.types = frozenset({GA_CLIENT_ID, settings.instance_type, USER_ID})
        self.traits: frozenset[str] = frozenset()
        path = "/debug/mp/collect" if settings.validate else "/mp/collect"
        stream = (
            f"firebase_app_id={quote(settings.firebase_app_id, safe='')}"
            if settings.firebase_app_id
            else f"measurement_id={quote(settings.measurement_id or '', safe='')}"
        )
        self._address = Address.parse(
            f"{settings.url.rstrip('/')}{path}?{stream}&api_secret={quote(settings.api_secret or '', safe='')}"
        )
        self._now_ms = now_ms
        self._over = threading.Event()
        self._names: dict[str, str] = {}
        self._letter: Letter = lambda raw, why: None
        self._tally = Tally()
        self._sum = hashlib.sha256()

    @property
    def place(self) -> str:
        """See `Destination`."""
        stream = self._settings.firebase_app_id or self._settings.measurement_id
        return f"{self._address.place} ({stream})"

    def begin(self, run: Run) -> None:
        """See `Destination`."""
        self._letter = run.letter
        self._sum = hashlib.sha256()
        try:
            self._names = {each: property_name(each) for each in run.segments.values()}
        except ValueError as error:
            raise ExportRefused(str(error)) from None
        if len(set(self._names.values())) < len(self._names):
            raise ExportRefused("two segments would be one user property of GA4: give one an alias")
        if len(self._names) > PROPERTIES_MAX:
            raise ExportRefused(
                f"{len(self._names)} segments, but GA4 takes {PROPERTIES_MAX} user properties: name fewer "
                "under `segments`"
            )

    def render(self, updates: Sequence[Update], tally: Tally) -> list[dict[str, Any]]:
        """See `Destination`."""
        self._tally = tally
        found = []
        for update in updates:
            clients = self._clients(update.recipient)
            if not clients:
                tally.withhold(Withheld.NO_IDENTIFIER)
            found += [self._request(update, client) for client in clients]
        return found

    def _clients(self, recipient: Recipient) -> list[dict[str, str]]:
        firebase = self._settings.firebase_app_id is not None
        wanted = self._settings.instance_type if firebase else GA_CLIENT_ID
        field = "app_instance_id" if firebase else "client_id"
        return [
            {field: each.value}
            for each in sorted(recipient.identifiers)
            if each.type == wanted and (not firebase or _APP_INSTANCE.fullmatch(each.value))
        ]

    def _request(self, update: Update, client: dict[str, str]) -> dict[str, Any]:
        recipient = update.recipient
        body: dict[str, Any] = dict(client)
        if self._settings.user_id:
            names = [each.value for each in sorted(recipient.identifiers) if each.type == USER_ID]
            # Google forbids what names a person: a user id that is an address or a number does.
            if names and not _NAMES_A_PERSON.fullmatch(names[0]):
                body["user_id"] = names[0]
        newest = max(each.at_ms for each in update.stated)
        if update.stated[0].message_id and 0 <= self._now_ms() - newest < BACKDATING_MAX_MS:
            body["timestamp_micros"] = newest * 1000
        return body | {
            "non_personalized_ads": not self._granted(recipient, self._settings.ad_personalization),
            "consent": {
                "ad_user_data": self._consent(recipient, self._settings.ad_user_data),
                "ad_personalization": self._consent(recipient, self._settings.ad_personalization),
            },
            "user_properties": {
                self._names[each.segment]: {"value": "1" if each.member else "0"}
                for each in update.stated
            },
            "events": [{"name": EVENT, "params": {"engagement_time_msec": 1}}],
        }

    def _granted(self, recipient: Recipient, purpose: str | None) -> bool:
        return purpose is not None and recipient.consent.get(purpose) is True

    def _consent(self, recipient: Recipient, purpose: str | None) -> str:
        return "GRANTED" if self._granted(recipient, purpose) else "DENIED"

    def deliver(self, rows: Sequence[dict[str, Any]]) -> None:
        """See `Destination`. Google takes one client in a request, so several are under way at a time."""
        bodies = [encode(row) for row in rows]
        self._over.clear()
        posters: list[Poster] = []
        mine = threading.local()

        def attempt(body: bytes) -> Answer | TargetUnavailable | None:
            if not hasattr(mine, "poster"):
                mine.poster = Poster(self._address, TIMEOUT_S)
                posters.append(mine.poster)
            return self._attempt(mine.poster, body)

        try:
            with ThreadPoolExecutor(self._settings.connections) as pool:
                answers = list(pool.map(attempt, bodies))
        finally:
            for poster in posters:
                poster.close()
        for body, answer in zip(bodies, answers, strict=True):
            if isinstance(answer, TargetUnavailable):
                raise TargetUnavailable(
                    f"{self.place}: {answer}; the next run goes on from there"
                ) from answer
            if answer is not None:
                self._taken(body, answer)

    def _attempt(self, poster: Poster, body: bytes) -> Answer | TargetUnavailable | None:
        """What Google says; None: not asked, for another request has found that nothing is taken now."""
        if self._over.is_set():
            return None
        try:
            answer = patiently(lambda: poster.post(body, _HEADERS), RETRY_MAX_S)
        except TargetUnavailable as error:
            self._over.set()
            return error
        if answer.meaning is Meaning.STOP:
            self._over.set()
        return answer

    def _taken(self, body: bytes, answer: Answer) -> None:
        if answer.meaning is Meaning.STOP:
            raise TargetRefused(f"{self.place}: answered {answer.status}; check ids and api_secret")
        if answer.meaning is Meaning.BAD:
            self._tally.withhold(Withheld.REFUSED_THERE)
            self._letter(body, f"answered {answer.status}")
            return
        if self._settings.validate:
            self._check(answer.body)
        self._sum.update(body)

    def _check(self, body: bytes) -> None:
        try:
            said = msgspec.json.decode(body)["validationMessages"]
            codes = sorted({f"{each['validationCode']} ({each['fieldPath']})" for each in said})
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise TargetUnavailable(f"{self.place}: an answer that is no validator's") from error
        if codes:
            raise TargetRefused(f"{self.place}: {', '.join(codes)}")

    def finish(self) -> Sealed:
        """See `Destination`."""
        return Sealed(self._sum.hexdigest())

    def abandon(self) -> None:
        """See `Destination`: connections end with `deliver`."""
