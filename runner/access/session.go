package access

import (
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
)

// What STS takes: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
const (
	maxSessionName = 64
	maxTagValue    = 256
)

// request is what STS is asked for.
type request struct {
	role, region string
	lasts        time.Duration
	name         string
	tags         []types.Tag
}

// session is the session of a role for a phase. Its name is what CloudTrail shows first: phase, change, commit, actor,
// repository and workspace, as far as they fit.
func (k *Keyring) session(p phase, role string) request {
	a, of := k.workspace.Access, k.purpose
	r := request{role: role, region: a.Region, lasts: a.Lasts(), name: sessionName(p, of, k.workspace.Name)}
	if !a.SessionTags {
		return r
	}
	for _, tag := range [][2]string{
		{"plumbline-phase", string(p)}, {"plumbline-repository", of.Repository}, {"plumbline-workspace", k.workspace.Name},
		{"plumbline-change", of.Change}, {"plumbline-commit", of.Commit}, {"plumbline-actor", of.Actor},
	} {
		if value := tagValue(tag[1]); value != "" {
			r.tags = append(r.tags, types.Tag{Key: aws.String(tag[0]), Value: aws.String(value)})
		}
	}
	return r
}

// sessionName makes a name of 2 to 64 characters out of letters, digits and _+=,.@-
func sessionName(p phase, of Purpose, workspace string) string {
	change := of.Change
	if isNumber(change) {
		change = "pr" + change
	}
	repository := path.Base(strings.TrimSuffix(strings.TrimSuffix(of.Repository, ".git"), "/")) // of a checkout too
	if repository == "." || repository == "/" {
		repository = ""
	}
	var parts []string
	for _, part := range []struct {
		text string
		most int
	}{{string(p), 8}, {change, 10}, {of.Commit, 8}, {of.Actor, 16}, {repository, 16}, {workspace, maxSessionName}} {
		text := strings.Trim(strings.Map(nameCharacter, part.text), "-")
		if text = text[:min(len(text), part.most)]; text != "" {
			parts = append(parts, text)
		}
	}
	name := strings.Join(parts, ",")
	return strings.TrimRight(name[:min(len(name), maxSessionName)], ",-")
}

// nameCharacter puts a hyphen in the place of what a session's name cannot have. The comma stands between its parts.
func nameCharacter(c rune) rune {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("_+=.@", c):
		return c
	}
	return '-'
}

// tagValue makes what a tag can have of a text: letters, digits and spaces of any script, and _.:/=+-@, at most 256
// characters.
func tagValue(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsNumber(c) || c == ' ' || strings.ContainsRune("_.:/=+-@", c) {
			return c
		}
		return '_'
	}, strings.ToValidUTF8(text, "_"))
	if utf8.RuneCountInString(text) > maxTagValue {
		text = string([]rune(text)[:maxTagValue])
	}
	text = strings.TrimSpace(text)
	if len(text) >= 4 && strings.EqualFold(text[:4], "aws:") {
		return text[:3] + "_" + text[4:] // what begins so is AWS's own
	}
	return text
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
