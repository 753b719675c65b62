-- RTMP servers of others that were entered by the API or the command line, beside those of the settings.
CREATE TABLE servers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    region TEXT NOT NULL,
    rtmp_url TEXT NOT NULL,          -- may have a key in it
    capacity_kbps INTEGER NOT NULL,  -- 0: no limit
    created_at INTEGER NOT NULL
) STRICT;
-- Servers that are given no cameras, origins as well as others. They need not be there now.
CREATE TABLE draining (
    server TEXT PRIMARY KEY,
    since INTEGER NOT NULL           -- seconds since 1970
) STRICT;
