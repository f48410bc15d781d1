"""Every limit of the API, each with its reason."""

from typing import Final

IDENTIFIERS_MAX: Final = 20
"""Identifiers in one lookup: a visitor has at most a handful."""
PROFILES_MAX: Final = 100
"""Lookups in BatchGetProfiles: about 4 MB of full profiles, what a default client receives."""
RESOLVES_MAX: Final = 1_000
"""Lookups in BatchResolve: 50 ms of one core."""
BATCH_STEP: Final = 50
"""Entries of a batch between two looks at the deadline."""
INTERACTIONS_DEFAULT: Final = 20
"""What a page shows; each one costs 1.5 us and 30 bytes."""
INTERACTIONS_MAX: Final = 700
"""A part keeps 200 interactions and 500 purchases."""
PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000
"""Rows of a page: fewer than streams would need, more than any screen shows."""
NAMES_MAX: Final = 50
"""Names in one filter of a timeline."""
REPLY_BYTES_MAX: Final = 3_500_000
"""Bytes of a list or batch reply: below the 4 MiB that gRPC clients receive by default."""
CONFLICTS_MAX: Final = 1_000
"""Conflicts in one explanation; a hub may have a hundred thousand."""
LINKS_EACH_MAX: Final = 1_000
"""Links read for each member of an explanation, for the same reason."""
ITEMS_MAX: Final = 1_000
"""Items in one upsert: one transaction."""
ITEM_ID_MAX: Final = 200
"""Characters: what is kept of an item's id in an event."""
TEXT_MAX: Final = 4_000
"""Characters of any other text of an item."""
ATTRIBUTES_MAX: Final = 100
"""Attributes of one item."""
RECOMMENDED_DEFAULT: Final = 10
RECOMMENDED_MAX: Final = 200
"""Items in one answer: nobody scrolls further, and 200 reasons are 10 KB."""
ROWS_MAX: Final = 12
"""Rows of one page: 12 × 200 items are 1 MB."""
CONTEXT_MAX: Final = 50
"""Context items: the products of a cart."""
EXCLUDED_MAX: Final = 1_000
"""Items that a caller may exclude."""
SESSION_EVENTS_MAX: Final = 100
"""Events of one session: half of what a part keeps in all."""
FILTER_VALUES_MAX: Final = 100
"""Values of one condition of a filter."""
OPERATOR_MAX: Final = 200
REASON_MAX: Final = 2_000
"""Characters of who decided, and why."""
WATCHERS_MAX: Final = 8
"""Streams of changes at once: each keeps one thread, on top of those that answer calls."""
SEGMENTS_MAX: Final = 500
"""Segments in one call."""
SAMPLE_MAX: Final = 100_000
"""Identifiers that a preview looks at: some 15 s."""
TRANSITIONS_AT_ONCE: Final = 500
SETTLE_S: Final = 1.0
"""How long a call may catch up with what a bulk load left to do."""
METADATA_BYTES_MAX: Final = 16_384
"""Bytes of a call's metadata; gRPC's own hard limit."""
