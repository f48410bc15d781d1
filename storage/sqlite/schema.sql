-- Facts: what happened and what was said. Never derived from anything else.
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- Rows are appended in log order; the index finds a leaf's rows and tells copies of a message.
CREATE TABLE events (
  log_offset INTEGER PRIMARY KEY,
  leaf BLOB NOT NULL,
  key_ms INTEGER NOT NULL,
  message_id TEXT NOT NULL,
  time_ms INTEGER NOT NULL,
  received_ms INTEGER NOT NULL,
  type TEXT NOT NULL,
  name TEXT NOT NULL,
  source TEXT NOT NULL,
  raw BLOB NOT NULL
);
CREATE UNIQUE INDEX events_by_key ON events (leaf, key_ms, message_id);

CREATE TABLE links (
  a BLOB NOT NULL, b BLOB NOT NULL,
  first_ms INTEGER NOT NULL, first_event TEXT NOT NULL, source TEXT NOT NULL,
  trusted_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
  PRIMARY KEY (a, b)
) WITHOUT ROWID;
CREATE INDEX links_by_b ON links (b, a);

CREATE TABLE must_links (
  a BLOB NOT NULL, b BLOB NOT NULL,
  first_ms INTEGER NOT NULL, first_event TEXT NOT NULL, source TEXT NOT NULL,
  PRIMARY KEY (a, b)
) WITHOUT ROWID;
CREATE INDEX must_links_by_b ON must_links (b, a);

-- What linking models found.
CREATE TABLE matches (
  a BLOB NOT NULL, b BLOB NOT NULL, match BLOB NOT NULL, PRIMARY KEY (a, b)
) WITHOUT ROWID;
CREATE INDEX matches_by_b ON matches (b, a);

-- Decisions of operators; a retracted one is kept.
CREATE TABLE decisions (id TEXT PRIMARY KEY, time_ms INTEGER NOT NULL, decision BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX decisions_by_time ON decisions (time_ms, id);
CREATE TABLE decision_nodes (node BLOB NOT NULL, id TEXT NOT NULL, PRIMARY KEY (node, id)) WITHOUT ROWID;
CREATE TABLE blocked_nodes (node BLOB NOT NULL, id TEXT NOT NULL, PRIMARY KEY (node, id)) WITHOUT ROWID;

CREATE TABLE uses (
  device BLOB NOT NULL, hour INTEGER NOT NULL, person BLOB NOT NULL,
  first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
  PRIMARY KEY (device, hour, person)
) WITHOUT ROWID;

CREATE TABLE device_owners (device BLOB PRIMARY KEY, ownership BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE device_users (
  person BLOB NOT NULL, device BLOB NOT NULL, PRIMARY KEY (person, device)
) WITHOUT ROWID;

CREATE TABLE companions (
  node BLOB NOT NULL, with_node BLOB NOT NULL, last_ms INTEGER NOT NULL,
  PRIMARY KEY (node, with_node)
) WITHOUT ROWID;

CREATE TABLE identifiers (node BLOB PRIMARY KEY, type TEXT NOT NULL, sealed BLOB NOT NULL);

CREATE TABLE dead_letters (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  digest BLOB NOT NULL UNIQUE,
  received_ms INTEGER NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
  origin TEXT NOT NULL, raw BLOB NOT NULL
);

CREATE TABLE positions (
  uri TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, line INTEGER NOT NULL, finished INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE items (id TEXT PRIMARY KEY, updated_ms INTEGER NOT NULL, item BLOB NOT NULL);

-- Derived: rebuilt from the tables above by `onefold verify --repair` or a replay.
CREATE TABLE parts (leaf BLOB PRIMARY KEY, part BLOB NOT NULL);

CREATE TABLE clusters (profile BLOB PRIMARY KEY, members BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE cluster_members (node BLOB PRIMARY KEY, profile BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE refusals (
  a BLOB NOT NULL, b BLOB NOT NULL, since_ms INTEGER NOT NULL, refusal BLOB NOT NULL,
  PRIMARY KEY (a, b)
) WITHOUT ROWID;
CREATE INDEX refusals_by_b ON refusals (b, a);
CREATE INDEX refusals_by_time ON refusals (since_ms);

-- Changes of people: announced before they take effect, then published, in that order.
CREATE TABLE changes_announced (id TEXT PRIMARY KEY, time_ms INTEGER NOT NULL, change BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE changes (position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, change BLOB NOT NULL);
CREATE TABLE change_profiles (
  profile BLOB NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (profile, position)
) WITHOUT ROWID;

-- Segments: what is defined, as a log of edits.
CREATE TABLE segment_edits (revision INTEGER PRIMARY KEY, edit BLOB NOT NULL);

-- Who is in them, derived: what is kept of a profile, the members of each segment, and what was told.
CREATE TABLE standings (profile BLOB PRIMARY KEY, due_ms INTEGER, standing BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX standings_by_due ON standings (due_ms) WHERE due_ms IS NOT NULL;
CREATE TABLE segment_members (
  segment TEXT NOT NULL, profile BLOB NOT NULL, since_ms INTEGER NOT NULL, PRIMARY KEY (segment, profile)
) WITHOUT ROWID;
CREATE TABLE transitions (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  profile BLOB NOT NULL, sequence INTEGER NOT NULL, segment TEXT NOT NULL,
  entered INTEGER NOT NULL, at_ms INTEGER NOT NULL, reason TEXT NOT NULL, purpose TEXT NOT NULL
);
CREATE UNIQUE INDEX transitions_by_profile ON transitions (profile, sequence);
CREATE INDEX transitions_by_segment ON transitions (segment, at_ms);

-- Whom to evaluate next.
CREATE TABLE pending (node BLOB PRIMARY KEY, ticket INTEGER NOT NULL, cause INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX pending_by_ticket ON pending (ticket);

-- What batch models say of people: facts, for nothing here computes them.
CREATE TABLE scores (
  node BLOB NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, at_ms INTEGER NOT NULL,
  PRIMARY KEY (node, name)
) WITHOUT ROWID;

-- What was sent to destinations, and how far: facts, too.
CREATE TABLE deliveries (
  id TEXT PRIMARY KEY, destination TEXT NOT NULL, started_ms INTEGER NOT NULL, ended INTEGER NOT NULL,
  delivery BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX deliveries_by_time ON deliveries (started_ms, id);
CREATE INDEX deliveries_by_destination ON deliveries (destination, started_ms, id);
CREATE TABLE delivery_positions (
  destination TEXT NOT NULL, segment TEXT NOT NULL, token TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (destination, segment)
) WITHOUT ROWID;
