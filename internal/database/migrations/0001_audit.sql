-- The audit log: see internal/audit. Numbers and names are kept as what was hashed.
CREATE TABLE audit_entry (
  seq BIGINT PRIMARY KEY CHECK (seq > 0),
  at TEXT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  repository TEXT NOT NULL,
  change_number BIGINT NOT NULL,
  workspace TEXT NOT NULL,
  commit_id TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  allowed SMALLINT NOT NULL CHECK (allowed IN (0, 1)),
  reason TEXT NOT NULL,
  details TEXT NOT NULL,
  key_id TEXT NOT NULL,
  previous TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  seal TEXT NOT NULL
);

CREATE INDEX audit_entry_repository ON audit_entry (repository, change_number, seq);
CREATE INDEX audit_entry_workspace ON audit_entry (workspace, seq);

-- One row: where the chain ends. Whoever appends changes it first, which makes all others wait.
CREATE TABLE audit_head (
  id SMALLINT PRIMARY KEY CHECK (id = 1),
  seq BIGINT NOT NULL,
  hash TEXT NOT NULL,
  key_id TEXT NOT NULL,
  seal TEXT NOT NULL
);

INSERT INTO audit_head (id, seq, hash, key_id, seal) VALUES (1, 0, '', '', '');
