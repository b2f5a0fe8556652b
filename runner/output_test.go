package runner

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	tfjson "github.com/hashicorp/terraform-json"
)

// taken is all that an Output hands out.
func taken(o *Output, most int) string {
	var all strings.Builder
	for more := true; more; {
		var text string
		text, more = o.Take(most, true)
		all.WriteString(text)
	}
	return all.String()
}

// TestNoSecretIsPrinted writes secrets in pieces of all sizes and takes them at all moments.
func TestNoSecretIsPrinted(t *testing.T) {
	t.Parallel()
	const password, phrase, token = "canary-pass/word+1", "canary correct horse battery", "ghp_canary0123456789abcdefghijABCDEFGHIJ"
	key := "-----BEGIN EC PRIVATE KEY-----\n" + strings.Repeat("canaryMHcCAQEEIIr7cQ0123456789\n", 30) + "-----END EC PRIVATE KEY-----"
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 30 {
		var text strings.Builder
		for range 40 {
			switch random.IntN(9) {
			case 0:
				text.WriteString(password)
			case 1: // as Terraform breaks its lines
				text.WriteString(strings.ReplaceAll(phrase, " ", []string{" ", "\n", "\n│   ", "\r\n  "}[random.IntN(4)]))
			case 2:
				text.WriteString(token + "\n")
			case 3:
				text.WriteString("\n" + key + "\n")
			case 4:
				text.WriteString(base64.StdEncoding.EncodeToString([]byte("user:" + password + "@x")))
			case 5:
				text.WriteString(strings.Repeat("canar canary correct ", random.IntN(3000)))
			case 6:
				text.WriteString("\x1b[31mred\x1b[0m \x00\xff\u202e é\r")
			default:
				text.WriteString("a line\n")
			}
		}
		o, all := NewOutput([]string{password, phrase}), text.String()
		var got strings.Builder
		for all != "" {
			n := min(1+random.IntN(1+random.IntN(5000)), len(all))
			if _, err := o.Write([]byte(all[:n])); err != nil {
				t.Fatal(err)
			}
			all = all[n:]
			if random.IntN(3) == 0 {
				part, _ := o.Take(1+random.IntN(100_000), false)
				got.WriteString(part)
			}
		}
		got.WriteString(taken(o, 1+random.IntN(100_000)))
		shown := strings.Join(strings.FieldsFunc(got.String(), func(c rune) bool { return c == '\n' || c == ' ' || c == '│' }), " ")
		for _, secret := range []string{password, phrase, "word+1", "horse battery", "canaryMHc", "ghp_canary", base64.RawStdEncoding.EncodeToString([]byte(password))[4:20], "\x1b", "\x00", "\u202e"} {
			if i := strings.Index(shown, secret); i >= 0 {
				t.Fatalf("round %d: %q is shown: …%q", round, secret, shown[max(0, i-80):min(len(shown), i+80)])
			}
		}
		if !utf8.ValidString(got.String()) || !strings.Contains(got.String(), "é") && strings.Contains(text.String(), "é") {
			t.Fatalf("round %d: the text is damaged", round)
		}
	}
}

// TestOutputIsWhole: what holds no secret comes out as it went in, whatever it is taken by.
func TestOutputIsWhole(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, "line %d of many, é\n", i)
	}
	text.WriteString(strings.Repeat("one line of megabytes é    ", 1<<20/29))
	text.WriteString("\nthe end")
	for _, most := range []int{1000, 70_000, 64 << 20} {
		o := NewOutput([]string{"canary-one", "megabytes of secrets"})
		_, _ = o.Write([]byte(text.String()))
		if got := taken(o, most); got != text.String() {
			t.Errorf("in parts of %d there are %d bytes, want %d as they were", most, len(got), text.Len())
		}
	}
	o := NewOutput(nil)
	_, _ = o.Write([]byte("half a li"))
	if got, more := o.Take(1000, false); got != "" || !more {
		t.Errorf("half a line is handed out: %q", got)
	}
	_, _ = o.Write([]byte("ne\nand"))
	if got, _ := o.Take(1000, false); got != "half a line\n" {
		t.Errorf("got %q, want the line", got)
	}
	if got, more := o.Take(1000, true); got != "and" || more {
		t.Errorf("got %q, want the rest", got)
	}
}

// TestOutputIsBounded: nobody takes it.
func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	o := NewOutput(nil)
	o.room = 1 << 20
	for range 1100 {
		_, _ = o.Write([]byte(strings.Repeat("y", 1023) + "\n"))
	}
	if text := taken(o, 100_000); len(text) > 1<<20+200 || !strings.HasSuffix(text, "y\n\n[77824 bytes are left out here: more was printed at once than is kept]\n") {
		t.Errorf("there are %d bytes, which end in %.200q", len(text), text[max(0, len(text)-100):])
	}
	_, _ = o.Write([]byte("more\n"))
	if text := taken(o, 100_000); text != "more\n" {
		t.Errorf("afterwards there is %q", text)
	}
}

// TestPlanIsHeldBack until it is known what of it is sensitive.
func TestPlanIsHeldBack(t *testing.T) {
	t.Parallel()
	const progress = "$ terraform plan\ndata.toy_bucket.a: Reading...\nmodule.x[\"a b\"].toy_node.b[0]: Refreshing state... [id=b]\ndata.toy_bucket.a: Read complete after 0s [id=a]\n"
	const rest = "\nTerraform used the selected providers\n  + copied = \"canary-copied-value\"\nfake: Reading...\n"
	o := NewOutput(nil)
	o.hold()
	_, _ = o.Write([]byte(progress + rest))
	if got, _ := o.Take(1<<20, false); got != progress {
		t.Errorf("while the plan is made, %q is shown, want the progress alone", got)
	}
	var plan tfjson.Plan
	if err := plan.UnmarshalJSON([]byte(`{"format_version": "1.2", "resource_changes": [{"address": "toy_bucket.a", "mode": "managed", "type": "toy_bucket", "name": "a",
		"change": {"actions": ["create"], "before": null, "after": {"password": "canary-copied-value"}, "after_unknown": {}, "before_sensitive": {}, "after_sensitive": {"password": true}}}]}`)); err != nil {
		t.Fatal(err)
	}
	o.learn(&plan)
	o.release()
	if got, _ := o.Take(1<<20, false); strings.Contains(got, "canary") || !strings.Contains(got, "selected providers") || !strings.HasSuffix(got, "fake: Reading...\n") {
		t.Errorf("of the plan, %q is shown", got)
	}
	o.hold()
	_, _ = o.Write([]byte(progress + rest))
	o.discard()
	o.release()
	if got := taken(o, 1<<20); got != progress+"[what the plan would do is not shown]\n" {
		t.Errorf("of a plan that must not be kept, %q is shown", got)
	}
}
