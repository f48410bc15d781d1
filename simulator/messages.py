"""Messages in the shape of the official SDKs: RudderStack's for browsers, iOS, Android and node."""

from functools import lru_cache
from random import Random
from typing import Any, Final

from simulator.catalog import Item
from simulator.online_retail import Json
from simulator.population import DAY_MS, Device, Person, uuid
from simulator.truth import Source

HOST: Final = "https://shop.example.in"
ALL: Final[Json] = {"All": True}

_LIBRARY: Final = {"name": "RudderLabs JavaScript SDK", "version": "3.34.1"}
_NAMESPACE: Final = "com.rudderlabs.javascript"
_BROWSER: Final[Json] = {
    "app": {**_LIBRARY, "namespace": _NAMESPACE, "installType": "npm"},
    "library": {**_LIBRARY, "variant": "modern"},
    "os": {"name": "", "version": ""},
    "locale": "en-IN",
    "campaign": {},
    "timezone": "GMT+0530",
}
_DESKTOP: Final[Json] = {
    **_BROWSER,
    "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36",
    "screen": {"width": 1920, "height": 1080, "density": 1},
}
_TABLET: Final[Json] = {
    **_BROWSER,
    "userAgent": "Mozilla/5.0 (iPad; CPU OS 18_3 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
    "screen": {"width": 820, "height": 1180, "density": 2},
}
_APP: Final[Json] = {
    "app": {"name": "Shop", "build": "412", "namespace": "in.example.shop", "version": "4.1.2"},
    "library": {"name": "com.rudderstack.android.sdk.core", "version": "1.26.0"},
    "os": {"name": "Android", "version": "15"},
    "locale": "en-IN",
    "network": {"carrier": "Airtel", "bluetooth": False, "cellular": True, "wifi": False},
    "screen": {"density": 420, "width": 1080, "height": 2400},
    "timezone": "Asia/Kolkata",
}
SERVER: Final[Json] = {"library": {"name": "@rudderstack/rudder-sdk-node", "version": "3.0.13"}}
_PAGE: Final[Json] = {
    "path": "/",
    "referrer": "$direct",
    "referring_domain": "",
    "search": "",
    "title": "Shop",
    "url": HOST + "/",
    "tab_url": HOST + "/",
    "initial_referrer": "$direct",
    "initial_referring_domain": "",
}


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(number * DAY_MS // 1000, UTC).strftime("%Y-%m-%dT")


def iso(time_ms: int) -> str:
    """Milliseconds since 1970 as the SDKs write a time."""
    day, rest = divmod(time_ms, DAY_MS)
    seconds, ms = divmod(rest, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{_day(day)}{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}.{ms:03d}Z"


def context_of(device: Device, person: Person | None, session_ms: int) -> Json:
    """What all messages of one visit say about their surroundings; traits are added to it."""
    if device.source is Source.APP:
        context = dict(_APP)
        context["device"] = {
            "id": device.device_id,
            "advertisingId": device.advertising_id,
            "adTrackingEnabled": True,
            "manufacturer": "samsung",
            "model": "SM-S921B",
            "name": "e1s",
            "type": "Android",
        }
    else:
        context = dict(_TABLET if device.tablet else _DESKTOP)
        context["page"] = _PAGE
    context["sessionId"] = session_ms // 1000
    if person is not None:
        allowed = person.allows_ads(session_ms)
        context["consentManagement"] = {
            "provider": "custom",
            "allowedConsentIds": ["functional", "ads"] if allowed else ["functional"],
            "deniedConsentIds": [] if allowed else ["ads"],
        }
    return context


def traits_of(random: Random, person: Person, source: Source) -> Json:
    """What a person's identify states: apps ask for the phone number, sites for the e-mail; as typed."""
    traits: Json = {"name": person.name} if person.name else {}
    drawn = random.random()
    if person.phone and (source is Source.APP or drawn < 0.2):
        phone = person.phone
        traits["phone"] = f"0{phone[3:8]} {phone[8:]}" if drawn < 0.1 else phone
    if source is not Source.APP or not person.phone or drawn < 0.5:
        traits["email"] = f" {person.email.upper()}" if drawn > 0.95 else person.email
    return traits


def message(
    random: Random, kind: str, context: Json, user_id: str, anonymous_id: str | None
) -> Json:
    """A message without its times and content."""
    made: Json = {
        "type": kind,
        "messageId": uuid(random),
        "userId": user_id,
        "context": context,
        "integrations": ALL,
    }
    if anonymous_id is not None:
        made["anonymousId"] = anonymous_id
    return made


def product_of(item: Item, **more: Any) -> Json:
    """An item as the ecommerce spec writes a product."""
    return {
        "product_id": item.id,
        "name": item.name,
        "category": item.category,
        "price": item.price,
        "currency": item.currency,
        **more,
    }
