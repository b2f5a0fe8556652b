-- Who may use the web server: see web/signin. Times are milliseconds since 1970 in UTC, 0 for never.

-- Who has signed in, as of the last time.
CREATE TABLE web_person (
  id TEXT PRIMARY KEY,           -- the way of signing in, a colon, and what it calls the person for good
  about TEXT NOT NULL,           -- JSON: name, accounts on forges, groups
  signed_at BIGINT NOT NULL      -- when all of that was last asked
);

CREATE TABLE web_session (
  id TEXT PRIMARY KEY,           -- SHA-256 of what the cookie holds
  person TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL        -- to about a minute
);
CREATE INDEX web_session_person ON web_session (person);

-- Tokens for the API. Those that were revoked or have expired stay for a while, to be seen in the list.
CREATE TABLE web_token (
  id TEXT PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,     -- SHA-256 of the token
  person TEXT NOT NULL,
  name TEXT NOT NULL,
  role TEXT NOT NULL,            -- viewer, operator or admin: at most
  repos TEXT NOT NULL,           -- JSON: patterns; empty for all
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at BIGINT NOT NULL,       -- to about a minute
  revoked_at BIGINT NOT NULL
);
CREATE INDEX web_token_person ON web_token (person);
