-- What `plumbline serve` must not forget: see runner/engine. Times are milliseconds since 1970 in UTC, 0 for never.
-- "owner" names the process that works on a row, '' when nobody does; a process is one start of the server.

CREATE TABLE process (
  id TEXT PRIMARY KEY,
  site TEXT NOT NULL,            -- of its data directory: what one start of it left, the next one there finds
  host TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  beat BIGINT NOT NULL,          -- counts up while it lives; nobody compares clocks
  beat_at BIGINT NOT NULL DEFAULT 0, -- when it last did, by the clock of its host: for the locks that it left there
  ended_at BIGINT NOT NULL
);

CREATE TABLE repository (
  id TEXT PRIMARY KEY,           -- forge/owner/name
  forge TEXT NOT NULL,
  owner_name TEXT NOT NULL,
  name TEXT NOT NULL,
  default_branch TEXT NOT NULL,
  clone_url TEXT NOT NULL,
  archived SMALLINT NOT NULL,
  problem TEXT NOT NULL,         -- why nothing can be done with it now; '' when something can
  changes_since BIGINT NOT NULL, -- how far the poller has seen
  comments_since BIGINT NOT NULL,
  polled_at BIGINT NOT NULL,
  poll_at BIGINT NOT NULL,       -- not before
  poll_failures BIGINT NOT NULL,
  poll_owner TEXT NOT NULL
);

-- How far a branch's history has been handled.
CREATE TABLE branch (
  repository TEXT NOT NULL,
  name TEXT NOT NULL,
  seen TEXT NOT NULL,            -- the last commit whose apply operation exists
  moved_at BIGINT NOT NULL,      -- when seen was written
  PRIMARY KEY (repository, name)
);

-- What happened on a forge, once each. A row stays, so that a redelivery is known.
CREATE TABLE event (
  key TEXT PRIMARY KEY,
  repository TEXT NOT NULL,
  change_number BIGINT NOT NULL,
  kind TEXT NOT NULL,
  payload TEXT NOT NULL,         -- forge.Event in JSON; no more of a comment than its command
  source TEXT NOT NULL,          -- webhook or poll
  status TEXT NOT NULL,          -- waiting, done, failed
  owner TEXT NOT NULL,
  attempts BIGINT NOT NULL,
  next_at BIGINT NOT NULL,       -- not before
  problem TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL
);
CREATE INDEX event_waiting ON event (repository, change_number, next_at) WHERE status = 'waiting';
CREATE INDEX event_owned ON event (repository, change_number) WHERE owner <> '';
CREATE INDEX event_received ON event (received_at);

-- A pull request as it was last seen.
CREATE TABLE change (
  repository TEXT NOT NULL,
  number BIGINT NOT NULL,
  title TEXT NOT NULL,
  author TEXT NOT NULL,
  state TEXT NOT NULL,
  draft SMALLINT NOT NULL,
  fork SMALLINT NOT NULL,
  head_branch TEXT NOT NULL,
  head_commit TEXT NOT NULL,
  base_branch TEXT NOT NULL,
  base_commit TEXT NOT NULL,
  merge_commit TEXT NOT NULL,
  url TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  closed_at BIGINT NOT NULL,
  notice TEXT NOT NULL,          -- JSON: why it is not planned, and what to know; '' for nothing
  operation TEXT NOT NULL,       -- the plan operation that its comment shows; '' before the first
  pruned SMALLINT NOT NULL,      -- its plans are gone from the plan store
  PRIMARY KEY (repository, number)
);
CREATE INDEX change_open ON change (repository, base_branch) WHERE state = 'open';

-- One plan or one apply, of one change or push, at one commit.
CREATE TABLE operation (
  id TEXT PRIMARY KEY,           -- sorts by time
  seq BIGINT NOT NULL,           -- order in which applies of a repository happen
  repository TEXT NOT NULL,
  change_number BIGINT NOT NULL, -- 0 for a push without a change
  kind TEXT NOT NULL,
  cause TEXT NOT NULL,
  actor TEXT NOT NULL,
  branch TEXT NOT NULL,
  base_commit TEXT NOT NULL,     -- what commit_id is compared with
  head_commit TEXT NOT NULL,     -- of the change
  commit_id TEXT NOT NULL,       -- whose files are run
  accept TEXT NOT NULL,          -- JSON: workspace to the fingerprint of the plan that a person has accepted
  notes TEXT NOT NULL,           -- JSON: list of sentences for the report
  reply_to TEXT NOT NULL,        -- id of the comment that asked for it; of an adoption, the key of its event
  asked TEXT NOT NULL,           -- JSON: addresses that the comment is about
  unread SMALLINT NOT NULL,      -- plumbline.yaml of commit_id could not be used, so it has no runs: 1 until it is caught up with, then 2
  status TEXT NOT NULL,          -- running, done, superseded
  event_at BIGINT NOT NULL,      -- when what led to it was received
  created_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  told_at BIGINT NOT NULL,       -- its last report was posted
  finished_at BIGINT NOT NULL,   -- what follows from its end was done: see Engine.finish
  owner TEXT NOT NULL,           -- who does that
  attempts BIGINT NOT NULL,
  next_at BIGINT NOT NULL,       -- not before
  UNIQUE (repository, seq)
);
CREATE INDEX operation_change ON operation (repository, change_number, seq);
CREATE INDEX operation_running ON operation (repository, seq) WHERE status = 'running';
CREATE INDEX operation_unfinished ON operation (repository, seq) WHERE finished_at = 0;
CREATE INDEX operation_unread ON operation (repository, branch, seq) WHERE unread = 1;
CREATE INDEX operation_ended ON operation (ended_at) WHERE status <> 'running';

-- One workspace in an operation.
CREATE TABLE run (
  id TEXT PRIMARY KEY,           -- sorts by time
  operation TEXT NOT NULL REFERENCES operation (id),
  repository TEXT NOT NULL,
  workspace TEXT NOT NULL,
  dir TEXT NOT NULL,
  position BIGINT NOT NULL,      -- in the graph's order
  kind TEXT NOT NULL,            -- of its operation
  status TEXT NOT NULL,
  phase TEXT NOT NULL,           -- what a running one does
  needs TEXT NOT NULL,           -- JSON: workspaces of the operation that come first
  around TEXT NOT NULL,          -- JSON: workspaces whose earlier applies come first: itself, what it depends on, its dependents
  reasons TEXT NOT NULL,         -- JSON: why the workspace is touched
  reviewed TEXT NOT NULL,        -- id of the plan that was reviewed; '' if none was
  plan TEXT NOT NULL,            -- id of the plan that was made or applied
  fingerprint TEXT NOT NULL,     -- of that plan
  result TEXT NOT NULL,          -- sealed
  writes SMALLINT NOT NULL,      -- it may change what is real: an apply, an unlock, or a look for drift once it corrects
  cancel SMALLINT NOT NULL,      -- it is to stop
  owner TEXT NOT NULL,
  attempts BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  shown_at BIGINT NOT NULL,      -- by the forge's clock: when a comment first showed how this plan ended; 0 if none has
  UNIQUE (operation, workspace)
);
CREATE INDEX run_waiting ON run (repository, workspace) WHERE status IN ('waiting', 'queued', 'running');
CREATE INDEX run_queued ON run (operation) WHERE status = 'queued';
CREATE INDEX run_owner ON run (owner) WHERE owner <> '';
CREATE INDEX run_workspace ON run (repository, workspace, created_at);
-- One writer of a workspace at a time, on however many machines.
CREATE UNIQUE INDEX run_one_apply ON run (repository, workspace) WHERE writes = 1 AND status = 'running';

-- What Terraform printed in a run, in pieces as it was printed.
CREATE TABLE run_output (
  run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  begins BIGINT NOT NULL,        -- bytes of text that come before it
  size BIGINT NOT NULL,          -- of its text, in bytes
  written_at BIGINT NOT NULL,
  text TEXT NOT NULL,            -- sealed, secrets are hidden in it
  PRIMARY KEY (run, begins)
);
CREATE INDEX run_output_written ON run_output (written_at);

-- What was last known of each workspace of a repository's default branch.
CREATE TABLE workspace (
  repository TEXT NOT NULL,
  name TEXT NOT NULL,
  dir TEXT NOT NULL,
  present SMALLINT NOT NULL,     -- the default branch still has it
  settings TEXT NOT NULL,        -- JSON
  applied_commit TEXT NOT NULL,
  applied_at BIGINT NOT NULL,
  last_status TEXT NOT NULL,     -- of its newest apply
  PRIMARY KEY (repository, name)
);

-- Who is to be told what. A subject is a change, or a push without one.
CREATE TABLE report (
  repository TEXT NOT NULL,
  change_number BIGINT NOT NULL,
  operation TEXT NOT NULL,       -- of a push; '' for a change
  wanted BIGINT NOT NULL,        -- counts up when there is something new to tell
  told BIGINT NOT NULL,          -- what wanted was when it was last told
  urgent SMALLINT NOT NULL,      -- not to be put together with what may come
  owner TEXT NOT NULL,
  attempts BIGINT NOT NULL,
  next_at BIGINT NOT NULL,       -- not before
  told_at BIGINT NOT NULL,
  problem TEXT NOT NULL,
  PRIMARY KEY (repository, change_number, operation)
);

-- The comments that we have written.
CREATE TABLE comment (
  repository TEXT NOT NULL,
  change_number BIGINT NOT NULL,
  key TEXT NOT NULL,             -- what it tells of: see prcomment.Mark
  page BIGINT NOT NULL,
  id TEXT NOT NULL,              -- on the forge
  url TEXT NOT NULL,             -- page for people
  digest TEXT NOT NULL,          -- of what it says
  minimised SMALLINT NOT NULL,
  written_at BIGINT NOT NULL,     -- by the forge's clock: when it was last made to say something else
  settled SMALLINT NOT NULL,     -- it does not say any more what can be done: the change is merged or closed
  PRIMARY KEY (repository, change_number, key, page)
);

-- The statuses that we have set.
CREATE TABLE status (
  repository TEXT NOT NULL,
  commit_id TEXT NOT NULL,
  context TEXT NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (repository, commit_id, context)
);
