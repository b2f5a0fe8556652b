package engine

import (
	"context"
	"database/sql"
	"strings"
)

// An issue that tells of drift is a subject of reports like a change is: whoever learns something new of a workspace wants
// its issue, and a report brings the issue to what the rows say.

// issuePrefix marks the subjects of issues. No operation's id begins so.
const issuePrefix = "issue "

// Prefixes of an issue's key: the rest is the name of its workspace, or what a group has in common.
const (
	workspaceIssue = "workspace:"
	groupIssue     = "group:"
)

// issueSubject is whom reports of an issue are for.
func issueSubject(repo RepoID, key string) Subject {
	return Subject{Repository: repo, Operation: issuePrefix + key}
}

// issue is the key of the issue that a subject is, if it is one.
func (s Subject) issue() (key string, ok bool) { return strings.CutPrefix(s.Operation, issuePrefix) }

// workspace is whose issue it is, and false for the issue of a group.
func (r DriftIssueRow) workspace() (string, bool) { return strings.CutPrefix(r.Key, workspaceIssue) }

// wantIssue asks for the issue of a workspace to be brought to what is known of its drift.
func (e *Engine) wantIssue(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string) error {
	return e.wantReport(ctx, tx, issueSubject(repo, workspaceIssue+workspace), false)
}

// tellIssue brings an issue to what the rows say.
func (e *Engine) tellIssue(context.Context, ReportRow, string) error { return nil }
