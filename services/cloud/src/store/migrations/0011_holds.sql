-- Recordings that are to stay, whatever origins would remove. AUTOINCREMENT: a number is never given twice.
CREATE TABLE holds (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    from_ms INTEGER NOT NULL,      -- milliseconds since 1970
    to_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    ends_at INTEGER,               -- seconds since 1970; NULL: when it is taken back
    actor TEXT NOT NULL,           -- who has set it, as in the audit log
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX holds_by_device ON holds (device, id);
