"""The rows of Lotame's files: of what is known of people alone, so that any process may make them."""

import string
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from destinations.destination import Stated, Update
from destinations.gate import Tally, Withheld
from destinations.settings import ID_TYPES, LotameSettings
from destinations.tcf import allows

AUTO: Final = "auto"
NONE: Final = "none"
GAID: Final = '"GAID"'
IDFA: Final = '"IDFA"'
_BY_PLATFORM: Final = {"android": GAID, "ios": IDFA}
_PLAIN: Final = (string.ascii_letters + string.digits + "-").encode()
_BEGIN: Final = '{"userid":"'
TCF_VENDOR: Final = 95
TCF_PURPOSES: Final = (1, 3, 5, 7, 8, 9, 10)


class LotameRows:
    """`destinations.destination.Renderer`. A row is a line of JSON."""

    def __init__(self, settings: LotameSettings, names: Sequence[str] = ()) -> None:
        """`names` are those of segments."""
        types = {**ID_TYPES, **settings.id_types}
        self._types = {
            name: AUTO if idtype == AUTO else _text(idtype)
            for name, idtype in types.items()
            if idtype != NONE
        }
        self._objects = settings.segment_form == "objects"
        self._tcf = settings.consent == "tcf"
        self._tcf_trait = settings.tcf_trait
        self._names = {name: _text(name) for name in names}
        """Of segments, as JSON."""

    @property
    def types(self) -> frozenset[str]:
        """Of identifiers that go there."""
        return frozenset(self._types)

    def render(self, updates: Sequence[Update], tally: Tally) -> list[str]:
        """See `Renderer`.

        It is put together from pieces, each encoded once in a run: this is what a million members cost.
        """
        rows: list[str] = []
        consent = ',"consent":true}'
        for update, ids in zip(updates, self._ids(updates), strict=True):
            if self._tcf:
                tcf = update.recipient.traits.get(self._tcf_trait)
                if not isinstance(tcf, str) or not allows(tcf, TCF_VENDOR, TCF_PURPOSES):
                    tally.withhold(Withheld.REFUSED if tcf else Withheld.NO_CONSENT)
                    continue
                consent = f',"tcfconsent":{_text(tcf)}}}'
            if not ids:
                tally.withhold(Withheld.NO_IDENTIFIER)
                continue
            said = self._said(update.stated)
            for userid, idtype in ids:
                rows.append(f'{_BEGIN}{userid}","idtype":{idtype}{said}{consent}')
        return rows

    def _ids(self, updates: Sequence[Update]) -> list[list[tuple[str, str]]]:
        """(userid, idtype as JSON) pairs of each recipient."""
        types = self._types
        found = []
        for update in updates:
            recipient = update.recipient
            ids = []
            for identifier in recipient.identifiers:
                idtype = types.get(identifier.type)
                if idtype == AUTO:
                    idtype = _advertising_type(identifier.value, recipient.platforms)
                if idtype:
                    ids.append((identifier.value, idtype))
            found.append(ids)
        # Lotame takes letters, digits and, by its examples, dashes: looked at all at once, for they mostly are.
        values = "".join([value for ids in found for value, _ in ids])
        if not _is_plain(values):
            found = [[pair for pair in ids if _is_plain(pair[0])] for ids in found]
        return found

    def _said(self, stated: Sequence[Stated]) -> str:
        objects, names = self._objects, self._names
        segments, left = [], []
        for each in stated:
            if not each.member:
                left.append(f'{{"name":{names[each.segment]}}}' if objects else names[each.segment])
            elif objects:
                segments.append(
                    f'{{"name":{names[each.segment]},"timestamp":{each.at_ms // 1000}}}'
                )
            else:
                segments.append(names[each.segment])
        remove = f',"remove":[{",".join(left)}]' if left else ""
        return f',"segments":[{",".join(segments)}]{remove}'


def userid_of(row: str) -> str:
    """The identifier that a row is about: it holds nothing that JSON would escape."""
    return row[len(_BEGIN) : row.index('"', len(_BEGIN))]


def _text(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _is_plain(value: str) -> bool:
    return not value.encode("utf-8", "surrogatepass").translate(None, _PLAIN)


def _advertising_type(value: str, platforms: Mapping[str, str]) -> str:
    """GAID or IDFA as JSON; "" if that cannot be told, or tracking is switched off on the device.

    Android writes its id in small letters, iOS in capitals, and both write zeros where tracking is off.
    """
    if platforms and (platform := platforms.get(value)):
        return _BY_PLATFORM.get(platform.lower(), "") if value.strip("0-") else ""
    small = value.lower() == value
    if small == (value.upper() == value):
        return ""
    return GAID if small else IDFA
