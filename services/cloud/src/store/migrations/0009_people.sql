-- Groups of devices: a tree by path, as site-a/hall-2. The root is the empty path, and has no row.
CREATE TABLE groups (
    path TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT;
ALTER TABLE devices ADD COLUMN group_path TEXT NOT NULL DEFAULT '';
CREATE INDEX devices_by_group ON devices (group_path);

-- People who sign in.
CREATE TABLE users (
    name TEXT PRIMARY KEY,
    password TEXT,                         -- argon2id, as a PHC string; NULL: no sign-in
    created_at INTEGER NOT NULL
) STRICT;

-- What they may do, on a group and all below it.
CREATE TABLE grants (
    user_name TEXT NOT NULL,
    group_path TEXT NOT NULL,              -- '': the root
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    PRIMARY KEY (user_name, group_path)
) STRICT;

-- Who is signed in. One that has ended stays for a while: it tells from where someone has signed in before.
CREATE TABLE sessions (
    sha256 BLOB PRIMARY KEY,               -- of the cookie
    user_name TEXT NOT NULL,
    address TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_name, created_at);

-- Tokens of people for their programs.
CREATE TABLE api_tokens (
    id TEXT PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    user_name TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),  -- at most this role ...
    group_path TEXT NOT NULL,              -- ... and only on this group and below it
    created_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT;
CREATE INDEX api_tokens_by_user ON api_tokens (user_name);
