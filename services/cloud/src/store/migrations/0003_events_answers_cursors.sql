-- What happened lately, for /api/v1/events. AUTOINCREMENT: a number is never given twice, not even when its row is gone.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    subject TEXT NOT NULL,    -- the device, or the server
    kind TEXT NOT NULL,
    detail TEXT NOT NULL      -- JSON
) STRICT;
CREATE INDEX events_by_subject ON events (subject, seq);

-- Answers to stream requests: the same question again gets the identical answer, whichever way and process it comes by.
CREATE TABLE answers (
    device TEXT NOT NULL,
    request_id TEXT NOT NULL,
    epoch INTEGER NOT NULL UNIQUE, -- of the allocation: their order
    answer TEXT NOT NULL,          -- JSON, without the token, which is signed again from its claims
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (device, request_id)
) STRICT;
CREATE INDEX answers_by_expiry ON answers (expires_at);

-- The epoch of the last change: whoever follows the changes asks for those above the last epoch that it has seen.
ALTER TABLE device_settings ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
CREATE INDEX device_settings_by_epoch ON device_settings (epoch);
CREATE INDEX revoked_streams_by_epoch ON revoked_streams (epoch_min);
