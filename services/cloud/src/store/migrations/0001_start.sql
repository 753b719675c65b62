-- Times are seconds since 1970 where a column says nothing else.
CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    stream TEXT NOT NULL UNIQUE,              -- the publishing name, random, stable
    token_sha256 BLOB NOT NULL UNIQUE,        -- of the bearer token for HTTP; the token itself is only in its file
    may_push INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    last_seen INTEGER,
    cert_issued_min_ms INTEGER NOT NULL,      -- certificates issued before this (milliseconds) ...
    cert_issued_min_from_ms INTEGER NOT NULL, -- ... are refused from this time on (milliseconds)
    revoked_at INTEGER
) STRICT;

CREATE TABLE revoked_streams (
    stream TEXT PRIMARY KEY,
    epoch_min INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL
) STRICT;

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    slot TEXT NOT NULL UNIQUE CHECK (slot IN ('previous', 'current', 'next')),
    pkcs8 BLOB NOT NULL,
    slot_since INTEGER NOT NULL
) STRICT;

-- The hybrid logical clock that epochs come from, in milliseconds. One row.
CREATE TABLE epoch_clock (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL) STRICT;
INSERT INTO epoch_clock (id, epoch) VALUES (1, 0);

-- The newest allocation of each device.
CREATE TABLE allocations (
    device TEXT PRIMARY KEY,
    server TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    bitrate_kbps INTEGER NOT NULL,
    issued_at INTEGER NOT NULL
) STRICT;

-- What must be remembered of an origin while the cloud is down: which of its lives was seen last.
CREATE TABLE origins (id TEXT PRIMARY KEY, boot_id TEXT NOT NULL) STRICT;

-- Append-only, hash-chained; see src/audit.rs.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE TABLE audit_head (id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;
INSERT INTO audit_head (id, count, hash) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');
