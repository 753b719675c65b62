-- Devices that were removed, until every cloud has forgotten what they left in its broker: there is no row of theirs in `devices` to tell it by.
CREATE TABLE removed_devices (device TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT;
