package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/plumbline-dev/plumbline/drift"
)

// groupAt is in how many workspaces a finding is the same before one issue tells of all of them.
const groupAt = 3

// groupOf is the key of the issue that tells of findings of this kind, if they are found in enough workspaces: same cause,
// same type, same action and attributes. What was changed outside is never in a group: each is corrected on its own. The
// key of a finding is "ADDRESS ACTION PATHS", see package drift.
func groupOf(cause drift.Cause, address, key string) (string, bool) {
	switch cause {
	case drift.CauseUpgrade, drift.CauseData, drift.CauseUnapplied:
	default:
		return "", false
	}
	what, ok := strings.CutPrefix(key, address+" ")
	if !ok {
		return "", false
	}
	sum := sha256.Sum256([]byte(string(cause) + "\x00" + typeOf(address) + "\x00" + what))
	return groupIssue + hex.EncodeToString(sum[:8]), true
}

// typeOf is the resource type in an address: aws_vpc of module.a["x"].aws_vpc.main[0].
func typeOf(address string) string {
	var plain strings.Builder
	quoted, depth := false, 0
	for _, r := range address {
		switch {
		case r == '"':
			quoted = !quoted
		case quoted:
		case r == '[':
			depth++
		case r == ']':
			depth--
		case depth == 0:
			plain.WriteRune(r)
		}
	}
	parts := strings.Split(plain.String(), ".")
	for len(parts) > 2 && parts[0] == "module" {
		parts = parts[2:]
	}
	return strings.Join(parts[:max(1, len(parts)-1)], ".")
}

// groups are the findings of a repository that may be the same in many workspaces.
type groups struct {
	members map[string]map[string][]FindingRow // by group, and by workspace
}

func groupsOf(alike []FindingRow) groups {
	g := groups{members: map[string]map[string][]FindingRow{}}
	for _, f := range alike {
		key, ok := groupOf(f.Cause, f.Address, f.Key)
		if !ok {
			continue
		}
		if g.members[key] == nil {
			g.members[key] = map[string][]FindingRow{}
		}
		g.members[key][f.Workspace] = append(g.members[key][f.Workspace], f)
	}
	return g
}

// formed reports whether one issue tells of a group: in enough workspaces, or in any as long as its issue is open.
func (g groups) formed(key string, row DriftIssueRow) bool {
	n := len(g.members[key])
	return n >= groupAt || n > 0 && row.Open
}
