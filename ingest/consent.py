"""Which purposes a message grants and denies (facts/rudderstack.md §6)."""

from typing import Any

from identity.normalize import text_of


def consent_of(management: Any, preferences: Any) -> tuple[tuple[str, bool], ...]:
    """(purpose, granted) pairs from RudderStack's `consentManagement` and Segment's `consent`.

    A purpose that is both allowed and denied is denied.
    """
    stated: dict[str, bool] = {}
    if isinstance(management, dict):
        for field, granted in (("allowedConsentIds", True), ("deniedConsentIds", False)):
            for purpose in _purposes(management.get(field)):
                stated[purpose] = granted
    categories = preferences.get("categoryPreferences") if isinstance(preferences, dict) else None
    if isinstance(categories, dict):
        for purpose, granted in categories.items():
            if isinstance(granted, bool) and text_of(purpose):
                stated[text_of(purpose)] = granted and stated.get(text_of(purpose), True)
    return tuple(sorted(stated.items()))


def _purposes(listed: Any) -> list[str]:
    if isinstance(listed, dict):
        # Lists by group, or names by id (OneTrust).
        groups = [value for value in listed.values() if isinstance(value, list)]
        return _purposes([each for group in groups for each in group] if groups else list(listed))
    if isinstance(listed, list):
        return [text for each in listed if (text := text_of(each))]
    return []
