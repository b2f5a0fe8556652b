package world

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// Pull is a pull request in the hands of its author.
type Pull struct {
	World  *World
	Number int
	Author string
	Branch string
	Head   string // the newest commit that Push made
	// Merged is the commit on the base branch, once Merge has returned.
	Merged string
}

// Open commits the files on a new branch made from main, and opens a pull request from it.
func (w *World) Open(t testing.TB, author, branch string, files map[string]string) *Pull {
	t.Helper()
	return w.open(t, author, branch, files, false)
}

// OpenDraft is Open for a draft.
func (w *World) OpenDraft(t testing.TB, author, branch string, files map[string]string) *Pull {
	t.Helper()
	return w.open(t, author, branch, files, true)
}

func (w *World) open(t testing.TB, author, branch string, files map[string]string, draft bool) *Pull {
	t.Helper()
	head := w.Forge.Commit(t, w.Repo, branch, "main", files)
	number := w.Forge.Open(t, w.Repo, author, branch, "main", "Change "+branch, draft)
	return &Pull{World: w, Number: number, Author: author, Branch: branch, Head: head}
}

// OpenFork opens a pull request from the author's fork, which is made if need be.
func (w *World) OpenFork(t testing.TB, author, branch string, files map[string]string) *Pull {
	t.Helper()
	fork := w.Forge.Fork(t, w.Repo, author)
	head := w.Forge.Commit(t, fork, branch, "main", files)
	number := w.Forge.Open(t, w.Repo, author, author+":"+branch, "main", "Change "+branch, false)
	return &Pull{World: w, Number: number, Author: author, Branch: branch, Head: head}
}

// Push commits more files to the branch.
func (p *Pull) Push(t testing.TB, files map[string]string) {
	t.Helper()
	p.Head = p.World.Forge.Commit(t, p.World.Repo, p.Branch, "", files)
}

// Say comments as somebody, and returns the comment's id. Who has something applied has read what.
func (p *Pull) Say(t testing.TB, who, body string) (id string) {
	t.Helper()
	if strings.HasPrefix(body, "plumbline apply") {
		p.Read()
	}
	return p.World.Forge.Comment(t, p.World.Repo, who, p.Number, body)
}

// Read takes the time that it takes to read what was just posted. Forges count in whole seconds, so nobody can have read
// what was posted in the second in which they merge.
func (p *Pull) Read() {
	for second := time.Now().Unix(); time.Now().Unix() == second; {
		time.Sleep(20 * time.Millisecond)
	}
}

// Merge merges as the author.
func (p *Pull) Merge(t testing.TB, method forge.MergeMethod) {
	t.Helper()
	p.Merged = p.World.Forge.Merge(t, p.World.Repo, p.Author, p.Number, method)
}

// Close closes without merging, as the author. Reopen undoes that.
func (p *Pull) Close(t testing.TB) {
	t.Helper()
	p.World.Forge.Close(t, p.World.Repo, p.Author, p.Number)
}

// Reopen opens a closed pull request again.
func (p *Pull) Reopen(t testing.TB) {
	t.Helper()
	p.World.Forge.Reopen(t, p.World.Repo, p.Author, p.Number)
}

// Ready makes a draft ready for review.
func (p *Pull) Ready(t testing.TB) {
	t.Helper()
	p.World.Forge.SetDraft(t, p.World.Repo, p.Author, p.Number, false)
}

// Ours returns Plumbline's comments, the oldest first.
func (p *Pull) Ours(t testing.TB) []forge.Comment {
	t.Helper()
	var ours []forge.Comment
	for _, c := range p.World.Forge.Thread(t, p.World.Repo, p.Number) {
		if c.Ours {
			ours = append(ours, c)
		}
	}
	return ours
}

// AwaitComment waits for a comment of Plumbline's that holds all of the parts, and returns the first one.
func (p *Pull) AwaitComment(t testing.TB, parts ...string) (found forge.Comment) {
	t.Helper()
	p.World.Await(t, fmt.Sprintf("a comment on #%d with %q", p.Number, parts), func() bool {
		for _, c := range p.Ours(t) {
			if containsAll(c.Body, parts) {
				found = c
				return true
			}
		}
		return false
	}, func() string { return p.shows(t) })
	return found
}

// AwaitEdit waits until one comment of Plumbline's holds all of the parts.
func (p *Pull) AwaitEdit(t testing.TB, id string, parts ...string) (now forge.Comment) {
	t.Helper()
	p.World.Await(t, fmt.Sprintf("comment %s on #%d to hold %q", id, p.Number, parts), func() bool {
		for _, c := range p.Ours(t) {
			if c.ID == id && containsAll(c.Body, parts) {
				now = c
				return true
			}
		}
		return false
	}, func() string { return p.shows(t) })
	return now
}

// AwaitReaction waits for a reaction to somebody's comment.
func (p *Pull) AwaitReaction(t testing.TB, id string, want forge.Reaction) {
	t.Helper()
	var got []string
	p.World.Await(t, fmt.Sprintf("reaction %s to comment %s on #%d", want, id, p.Number), func() bool {
		got = p.World.Forge.ReactionsTo(t, p.World.Repo, id)
		return strings.Contains(" "+strings.Join(got, " ")+" ", " "+string(want)+" ")
	}, func() string { return fmt.Sprintf("there are %q; %s", got, p.shows(t)) })
}

// AwaitStatus waits for a verdict on the head.
func (p *Pull) AwaitStatus(t testing.TB, context string, want forge.StatusState) (got forge.Status) {
	t.Helper()
	p.World.Await(t, fmt.Sprintf("status %q of #%d to be %s", context, p.Number, want), func() bool {
		got = p.World.Forge.Statuses(t, p.World.Repo, p.Head)[context]
		return got.State == want
	}, func() string { return p.shows(t) })
	return got
}

// shows is what people see on the pull request now.
func (p *Pull) shows(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "pull request #%d at %.12s shows:\n", p.Number, p.Head)
	for _, c := range p.World.Forge.Thread(t, p.World.Repo, p.Number) {
		fmt.Fprintf(&b, "--- comment %s by %s\n%s\n", c.ID, c.Author, forge.Cut(c.Body, 4000))
	}
	fmt.Fprintf(&b, "--- statuses\n%s\n--- cloud: %v", showStatuses(p.World.Forge.Statuses(t, p.World.Repo, p.Head)), p.World.Versions())
	return b.String()
}

func containsAll(s string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}
