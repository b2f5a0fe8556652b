-- What was asked for on a page or through the API: see runner/engine. Times are milliseconds since 1970 in UTC, 0 for never.
CREATE TABLE request (
  id TEXT PRIMARY KEY,           -- sorts by time
  asker TEXT NOT NULL,           -- id of the person
  nonce TEXT NOT NULL,           -- the same one asks once
  digest TEXT NOT NULL,          -- of what is asked for
  repository TEXT NOT NULL,      -- '' for what is about all of them
  change_number BIGINT NOT NULL, -- 0 for none
  action TEXT NOT NULL,
  asked TEXT NOT NULL,           -- JSON: all of it
  person TEXT NOT NULL,          -- the asker's name
  login TEXT NOT NULL,           -- on the forge of the repository; '' for none
  via TEXT NOT NULL,             -- web or api
  shown TEXT NOT NULL,           -- JSON: ids of the plans that comments showed when it was asked
  state TEXT NOT NULL,           -- waiting, taken, refused, failed
  why TEXT NOT NULL,             -- it is not done
  asked_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  UNIQUE (asker, nonce)
);
CREATE INDEX request_ended ON request (ended_at) WHERE ended_at > 0;
