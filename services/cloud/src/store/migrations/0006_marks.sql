-- What programs and people have noted about a device's pictures: a moment, or a while. AUTOINCREMENT: a number is never given twice.
CREATE TABLE marks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    at_ms INTEGER NOT NULL,        -- milliseconds since 1970
    duration_ms INTEGER NOT NULL,  -- 0: a moment
    kind TEXT NOT NULL,
    label TEXT NOT NULL,           -- '': none
    score REAL,
    box TEXT,                      -- JSON: x, y, width, height
    note TEXT NOT NULL,            -- '': none
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX marks_by_time ON marks (device, at_ms, id);
