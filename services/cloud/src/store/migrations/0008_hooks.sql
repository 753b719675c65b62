-- Endpoints that are told of events.
CREATE TABLE hooks (
    id TEXT PRIMARY KEY,
    url TEXT NOT NULL,                     -- with user, password and query
    secret TEXT NOT NULL,                  -- what its messages are signed with
    events TEXT NOT NULL,                  -- kinds, by comma; '': all
    device TEXT NOT NULL,                  -- '': all
    after INTEGER NOT NULL,                -- the last event that it has, or does not want
    turn INTEGER NOT NULL,                 -- rises when it is to be told anew
    lost INTEGER NOT NULL,                 -- events that were gone before it took them
    created_at INTEGER NOT NULL
) STRICT;
