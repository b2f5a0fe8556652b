package prcomment_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// everywhere puts a text in every place of a report, and returns the pages in one.
func everywhere(secrets []string, s string) string {
	plan := planOf(
		create("a.b", obj{"v": s, "l": []any{s}, s: "key", "m": obj{s: s}, "t": "one\n" + s + "\nthree", "j": `{"k":` + quoted(s) + `}`}),
		update("a.c[\""+s+"\"]", obj{"v": "x" + s}, obj{"v": s + "y"}),
		destroy("a.d[\""+s+"\"]"),
	)
	plan.ResourceChanges[1].Change.Importing = &tfjson.Importing{ID: s}
	plan.OutputChanges = map[string]*tfjson.Change{"o": {Actions: tfjson.Actions{tfjson.ActionCreate}, After: s}}
	return strings.Join(prcomment.Render(prcomment.Report{
		Key: "k", Title: s, Commit: s, Base: s, Warnings: []string{s}, Secrets: secrets,
		Workspaces: []prcomment.Workspace{
			{Name: s, Dir: s, Status: prcomment.StatusPlanned, Plan: plan, PlanID: s, Reasons: []string{s}, Notes: []string{s}},
			{Name: "f", Status: prcomment.StatusFailed, Error: "Error: " + s + "\nand " + s},
			{Name: "h", Status: prcomment.StatusHeld, Error: "because of " + s},
		},
	}, 0), "\n")
}

func TestSecretsAreRedactedInEveryForm(t *testing.T) {
	const secret = `p4ss"w<ö>rd\n/with+all&sorts`
	asJSON, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string]string{
		"plain":               secret,
		"in a sentence":       "before " + secret + " after",
		"twice":               secret + secret,
		"JSON":                string(asJSON[1 : len(asJSON)-1]),
		"JSON, HTML kept":     `p4ss\"w<ö>rd\\n/with+all&sorts`,
		"base64":              base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64 for URLs":     base64.URLEncoding.EncodeToString([]byte(secret)),
		"base64 of u:secret":  base64.StdEncoding.EncodeToString([]byte("u:" + secret)),
		"base64 of us:secret": base64.StdEncoding.EncodeToString([]byte("us:" + secret + ":x")),
		"base64 of x:secret":  base64.RawStdEncoding.EncodeToString([]byte("use:" + secret + "more")),
		"a query":             url.QueryEscape(secret),
		"a path":              url.PathEscape(secret),
		"hexadecimal":         hex.EncodeToString([]byte(secret)),
	}
	for name, form := range forms {
		page := everywhere([]string{secret}, form)
		core := strings.Trim(form, "=")
		if len(core) > 30 {
			core = core[10:26] // of base64 in the middle of something, the edges stay
		}
		if strings.Contains(page, core) {
			t.Errorf("%s: the secret is shown as %q in:\n%s", name, core, page)
		}
		if !strings.Contains(page, "(redacted)") {
			t.Errorf("%s: nothing is marked as redacted", name)
		}
	}
}

func TestSecretsThatAreDocuments(t *testing.T) {
	key := "-----BEGIN X-----\nline-one-of-the-secret-document\nline-two-of-the-secret-document\n-----END X-----\n"
	credentials := `{"type": "service_account", "private_key_id": "leaf-canary-456", "project_id": "my-project"}`
	page := everywhere([]string{key, credentials}, "x line-two-of-the-secret-document y leaf-canary-456 z my-project")
	for _, secret := range []string{"line-two", "leaf-canary"} {
		if strings.Contains(page, secret) {
			t.Errorf("%q is shown", secret)
		}
	}
	if !strings.Contains(page, "my-project") {
		t.Error("what is no secret in a file of credentials is hidden, too")
	}
}

func TestShortSecretsAreLeftAlone(t *testing.T) {
	if page := everywhere([]string{"abc", "", "hello"}, "abc hello"); strings.Contains(page, "(redacted)") {
		t.Errorf("a secret of less than six bytes blacks out words:\n%s", page)
	}
}

func TestCredentialsAreRecognised(t *testing.T) {
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
	for _, hidden := range []string{
		"AKIAIOSFODNN7EXAMPLE", "ghp_" + strings.Repeat("a1", 18), "github_pat_" + strings.Repeat("a1_", 20), "glpat-" + strings.Repeat("x", 20),
		"xoxb-1234567890-abcdefghij", "AIza" + strings.Repeat("B", 35), "hvs." + strings.Repeat("C", 24), jwt, "sk_live_" + strings.Repeat("9", 24),
	} {
		if page := everywhere(nil, "x="+hidden+" y"); strings.Contains(page, hidden) || !strings.Contains(page, "(redacted)") {
			t.Errorf("%q is shown", hidden)
		}
	}
	for text, hidden := range map[string]string{
		"https://user:hunter2@example.com/x":                                                  "hunter2",
		"postgres://app:p%40ss@db:5432/app":                                                   "p%40ss",
		"https://0123456789abcdef0123@git.x":                                                  "0123456789abcdef0123",
		"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBODYOFTHEKEY\n-----END EC PRIVATE KEY-----": "BODYOFTHEKEY",
		"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaNOEND":                                 "b3BlbnNzaNOEND",
		`{"key":"-----BEGIN PRIVATE KEY-----\nESCAPEDBODY\n-----END PRIVATE KEY-----"}`:       "ESCAPEDBODY",
	} {
		if page := everywhere(nil, text); strings.Contains(page, hidden) {
			t.Errorf("%q is shown of %q", hidden, text)
		}
	}
	for _, shown := range []string{
		"AKIA", "xAKIAIOSFODNN7EXAMPLEx", "eyJhbGciOiJIUzI1NiJ9", "https://example.com/@scope/pkg", "ssh://git@github.com/a/b", "SG.5", "-----BEGIN CERTIFICATE-----",
	} {
		if page := everywhere(nil, "x="+shown); strings.Contains(page, "(redacted)") {
			t.Errorf("%q is taken for a secret", shown)
		}
	}
}

func TestSensitiveValuesAreHiddenWhereverTheyTurnUp(t *testing.T) {
	const secret = "only-masked-once-1234"
	rc := update("a.b",
		obj{"password": secret, "copy": "url?p=" + secret, "nested": []any{obj{"x": "public"}}, "was": "shown-after-all-99"},
		obj{"password": "other-masked-5678", "copy": "url?p=other-masked-5678", "nested": []any{obj{"x": secret + "!"}}, "was": "shown-after-all-99x"})
	rc.Change.BeforeSensitive = obj{"password": true, "was": true}
	rc.Change.AfterSensitive = obj{"password": true}
	plan := planOf(rc)
	plan.OutputChanges = map[string]*tfjson.Change{"o": {Actions: tfjson.Actions{tfjson.ActionCreate}, After: obj{"deep": []any{secret}}}}
	page := strings.Join(prcomment.Render(prcomment.Report{Kind: prcomment.KindApply, Workspaces: []prcomment.Workspace{
		{Name: "w", Status: prcomment.StatusPlanned, Plan: plan},
		{Name: "v", Status: prcomment.StatusPartly, Plan: plan, Error: "the provider says " + secret, Notes: []string{"and other-masked-5678"}},
		{Name: "u", Status: prcomment.StatusHeld, Reviewed: plan, Error: "it was shown-after-all-99"},
	}}, 0), "")
	for _, hidden := range []string{secret, "other-masked-5678", "shown-after-all-99"} {
		if strings.Contains(page, hidden) {
			t.Errorf("%q is shown in:\n%s", hidden, page)
		}
	}
	if !strings.Contains(page, "password = (sensitive, changes)") {
		t.Errorf("the sensitive attribute is not named:\n%s", page)
	}
}

// TestMasksCountOnBothSides uses values that are too short to be hidden elsewhere: only the mask hides them.
func TestMasksCountOnBothSides(t *testing.T) {
	for name, test := range map[string]struct{ before, after any }{
		"before only": {obj{"pin": true, "kind": obj{"s": true}, "deep": obj{"list": []any{false, true}}, "all": true}, obj{}},
		"after only":  {obj{}, obj{"pin": true, "kind": true, "deep": obj{"list": []any{false, true}}, "all": true}},
		"whole":       {true, false},
	} {
		rc := update("a.b", obj{"pin": 4711.0, "deep": obj{"list": []any{"x", "q81"}}, "all": obj{"k": "w55"}, "kind": obj{"s": "v77"}}, obj{"pin": 4712.0, "deep": obj{"list": []any{"x", "q82"}}, "all": obj{"k": "w56"}, "kind": "v78"})
		rc.Change.BeforeSensitive, rc.Change.AfterSensitive = test.before, test.after
		page := prcomment.Render(prcomment.Report{Workspaces: []prcomment.Workspace{{Name: "w", Status: prcomment.StatusPlanned, Plan: planOf(rc)}}}, 0)[0]
		for _, hidden := range []string{"4711", "4712", "q81", "q82", "w55", "w56", "v77", "v78"} {
			if strings.Contains(page, hidden) {
				t.Errorf("%s: %q is shown in:\n%s", name, hidden, page)
			}
		}
	}
}
