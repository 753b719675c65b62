-- Named keys that play one stream until they are taken back: for what needs one fixed address, and links that are shared.
CREATE TABLE playback_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    device TEXT NOT NULL,
    sha256 TEXT NOT NULL UNIQUE,           -- of the secret, in hexadecimal
    created_at INTEGER NOT NULL,
    ends_at INTEGER,                       -- NULL: never
    address TEXT NOT NULL,                 -- '': any
    ways TEXT NOT NULL,                    -- by comma; '': all
    viewers_max INTEGER NOT NULL,          -- 0: any number
    used_at INTEGER,
    used_from TEXT
) STRICT;
CREATE INDEX playback_keys_by_device ON playback_keys (device);
