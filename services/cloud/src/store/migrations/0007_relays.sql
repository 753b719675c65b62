-- Streams that go on to other servers: of one device, or by a pattern.
CREATE TABLE relays (
    device TEXT NOT NULL,                  -- '': by pattern
    name TEXT NOT NULL,
    streams TEXT NOT NULL,                 -- the pattern; '': the device's stream
    url TEXT NOT NULL,                     -- with the target's key
    created_at INTEGER NOT NULL,
    PRIMARY KEY (device, name)
) STRICT;
