-- What devices shall be set to, and what they last said that they are set to.
CREATE TABLE device_settings (
    device TEXT PRIMARY KEY,
    version INTEGER,               -- of `settings`; both are NULL where the device's own file is all
    settings TEXT,                 -- JSON
    desired_at INTEGER,
    version_max INTEGER NOT NULL,  -- the highest that was heard of: the next one is above it
    reported TEXT,                 -- the device's last config/reported, JSON
    reported_at INTEGER
) STRICT;
