-- What the server knows of drift: see runner/engine. Times are milliseconds since 1970 in UTC, 0 for never.

-- When each workspace of a default branch is looked at, and what was last seen. The row of a workspace that goes stays.
CREATE TABLE sweep (
  repository TEXT NOT NULL,
  workspace TEXT NOT NULL,
  account TEXT NOT NULL,         -- whose starts it counts among
  every TEXT NOT NULL,           -- an interval, a cron line or off
  gone SMALLINT NOT NULL,        -- the default branch has it no more
  known_at BIGINT NOT NULL,      -- when it came, or came back, or got another interval
  next_at BIGINT NOT NULL,       -- not before; 0 when it is off
  asked_at BIGINT NOT NULL,      -- somebody wants it looked at now; 0 when nobody does
  asked_by TEXT NOT NULL,
  operation TEXT NOT NULL,       -- the one that looks at it now; '' when none does
  started_at BIGINT NOT NULL,    -- of the newest look
  checked_at BIGINT NOT NULL,    -- of the newest look that came to an answer
  state TEXT NOT NULL,           -- never, clean, drifted, unknown
  since BIGINT NOT NULL,         -- when it came to be in that state
  failures BIGINT NOT NULL,      -- looks in a row that came to no answer
  problem TEXT NOT NULL,         -- sealed: why the newest look came to none
  overdue_at BIGINT NOT NULL,    -- from when on it counts as overdue; 0 when it is off
  overdue_told_at BIGINT NOT NULL, -- when somebody was told that it is
  PRIMARY KEY (repository, workspace)
);
CREATE INDEX sweep_due ON sweep (next_at) WHERE gone = 0 AND operation = '' AND next_at > 0;
CREATE INDEX sweep_asked ON sweep (asked_at) WHERE asked_at > 0;
-- Almost always of the past: what is not tells that the clock was set back.
CREATE INDEX sweep_started ON sweep (started_at);
CREATE INDEX sweep_known ON sweep (known_at);
CREATE INDEX sweep_working ON sweep (operation) WHERE operation <> '';

CREATE INDEX run_drift_ended ON run (ended_at) WHERE kind = 'drift';
CREATE INDEX operation_drift_ended ON operation (ended_at) WHERE kind = 'drift';

-- When the next look of an account may begin; '' is all accounts together.
CREATE TABLE drift_rate (
  account TEXT PRIMARY KEY,
  next_at BIGINT NOT NULL
);

-- One resource that differs, for as long as it does and after.
CREATE TABLE finding (
  repository TEXT NOT NULL,
  workspace TEXT NOT NULL,
  key TEXT NOT NULL,             -- drift.Finding.Key
  address TEXT NOT NULL,
  class TEXT NOT NULL,
  cause TEXT NOT NULL,
  first_seen BIGINT NOT NULL,    -- since it last came
  last_seen BIGINT NOT NULL,
  gone_at BIGINT NOT NULL,       -- 0 while it is there
  corrected_at BIGINT NOT NULL,
  corrections BIGINT NOT NULL,
  noise SMALLINT NOT NULL,       -- perpetual: told of once
  stopped_at BIGINT NOT NULL,    -- it is fought over and waits for a person; 0 when it does not
  count_from BIGINT NOT NULL,    -- corrections before that do not make a fight
  detail TEXT NOT NULL,          -- sealed: attributes, verdict, reasons
  PRIMARY KEY (repository, workspace, key)
);
CREATE INDEX finding_open ON finding (repository, workspace) WHERE gone_at = 0;
CREATE INDEX finding_key ON finding (key) WHERE gone_at = 0;

-- Each correction of a finding: a finding that comes back again and again is a fight.
CREATE TABLE correction (
  id TEXT PRIMARY KEY,           -- sorts by time
  repository TEXT NOT NULL,
  workspace TEXT NOT NULL,
  key TEXT NOT NULL,
  address TEXT NOT NULL,
  run TEXT NOT NULL,
  at BIGINT NOT NULL
);
CREATE INDEX correction_finding ON correction (repository, workspace, key, at);

-- What looks saw, one row for each time that it was another thing than before.
CREATE TABLE sweep_history (
  repository TEXT NOT NULL,
  workspace TEXT NOT NULL,
  at BIGINT NOT NULL,
  run TEXT NOT NULL,
  state TEXT NOT NULL,
  counts TEXT NOT NULL,          -- JSON: "cause/class" to how many
  corrected BIGINT NOT NULL,     -- findings
  PRIMARY KEY (repository, workspace, at)
);
CREATE INDEX sweep_history_at ON sweep_history (at);

-- Where nothing is looked at nor corrected.
CREATE TABLE drift_pause (
  scope TEXT PRIMARY KEY,        -- '' everything, a repository, or a repository, a space and a workspace
  until BIGINT NOT NULL,         -- 0 until it is resumed
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  at BIGINT NOT NULL
);

-- The issues that tell of drift.
CREATE TABLE drift_issue (
  repository TEXT NOT NULL,
  key TEXT NOT NULL,             -- workspace: and its name, or group: and what is the same in several
  number BIGINT NOT NULL,
  url TEXT NOT NULL,
  digest TEXT NOT NULL,          -- of its news: see prcomment.IssueDigest
  written TEXT NOT NULL,         -- digest of its whole body
  written_at BIGINT NOT NULL,
  open SMALLINT NOT NULL,        -- as we left it
  acknowledged_at BIGINT NOT NULL, -- when somebody closed it by hand; 0 when nobody has
  turns BIGINT NOT NULL,         -- how often it was closed or opened again
  opened_at BIGINT NOT NULL,
  closed_at BIGINT NOT NULL,
  PRIMARY KEY (repository, key)
);

-- Events that are to be told to a target of notifications.
CREATE TABLE outbox (
  id TEXT PRIMARY KEY,           -- sorts by time
  target TEXT NOT NULL,          -- its name
  repository TEXT NOT NULL,
  workspace TEXT NOT NULL,
  due_at BIGINT NOT NULL,        -- not before
  attempts BIGINT NOT NULL,      -- to send it
  payload TEXT NOT NULL          -- sealed: the event
);
CREATE INDEX outbox_target ON outbox (target, due_at);

-- Where notifications go: one process at a time sends to each.
CREATE TABLE notify_target (
  name TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  attempts BIGINT NOT NULL,      -- that failed, in a row
  next_at BIGINT NOT NULL,       -- not before
  problem TEXT NOT NULL
);
