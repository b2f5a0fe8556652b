package runner

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// Output is what Terraform prints in the runs of one workspace, on its way to people. Terraform writes into it and never
// waits: what is written is kept as it is, and treated when somebody takes it. What is taken is fit to be shown: secrets are
// hidden as comments hide them, colours and what cannot be seen are gone, and it is UTF-8.
//
// A secret is found also where it was written in parts: only whole lines are handed out, and a line that does not end is cut
// where no secret is. While a plan is made, what it would do is held back until it is known what of it is sensitive: a
// provider may copy a sensitive value to where Terraform does not know it for one.
//
// It takes writes from anywhere, and one taker. A nil Output keeps nothing.
type Output struct {
	mu      sync.Mutex
	raw     []byte // printed, and not taken
	room    int    // for raw
	lost    int64  // bytes that were printed while raw was full
	holding bool   // only what tells of progress is handed out

	known  map[string]bool
	plain  *prcomment.Plain // of what is known; nil when it has to be made anew
	spread []spreadSecret

	inKey int // of the taker: so many bytes of a private key have come, and not its end
}

// spreadSecret is a secret of several words. Terraform breaks lines at spaces, so they may stand on several.
type spreadSecret struct {
	words []string
	all   *regexp.Regexp
}

// Bounds of what waits to be taken, and of a line that is waited for to end, in bytes.
const (
	maxPrinted = 64 << 20
	maxLine    = 32 << 10
	maxKey     = 16 << 10 // of a private key: what has no end by then is none
)

// NewOutput makes an Output that hides these values, and what it is told of later.
func NewOutput(secrets []string) *Output {
	o := &Output{room: maxPrinted, known: map[string]bool{}}
	o.Hide(secrets...)
	return o
}

// Hide has more values hidden, from what is taken next on.
func (o *Output) Hide(values ...string) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, value := range values {
		if o.known[value] {
			continue
		}
		o.known[value] = true
		o.plain = nil
		words := strings.Fields(value)
		if len(words) < 2 {
			continue
		}
		quoted := make([]string, len(words))
		for i, word := range words {
			quoted[i] = regexp.QuoteMeta(word)
		}
		if all, err := regexp.Compile(strings.Join(quoted, `[\s│]+`)); err == nil {
			o.spread = append(o.spread, spreadSecret{words, all})
		}
	}
}

// Write keeps what was printed. It never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.raw)+len(p) > o.room || o.lost > 0 {
		o.lost += int64(len(p))
		return len(p), nil
	}
	o.raw = append(o.raw, p...)
	return len(p), nil
}

// learn hides what a plan marks as sensitive.
func (o *Output) learn(plan *tfjson.Plan) {
	if o != nil {
		o.Hide(prcomment.SensitiveValues(plan)...)
	}
}

// hold has what a plan would do held back until release is called.
func (o *Output) hold() { o.setHolding(true) }

func (o *Output) release() { o.setHolding(false) }

// discard leaves out what is held back.
func (o *Output) discard() {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.raw = append(o.raw[:progress(o.raw)], "[what the plan would do is not shown]\n"...)
}

func (o *Output) setHolding(on bool) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holding = on
}

// Take hands out what may be shown, of about so many bytes that were printed, and reports whether more than that has come.
// Last says that nothing comes any more: then what was held back for that is handed out, too.
func (o *Output) Take(most int, last bool) (text string, more bool) {
	o.mu.Lock()
	if o.plain == nil {
		values := make([]string, 0, len(o.known))
		for value := range o.known {
			values = append(values, value)
		}
		slices.Sort(values)
		o.plain = prcomment.NewPlain(values)
	}
	n := o.ready(most, last)
	text, plain, spread := string(o.raw[:n]), o.plain, slices.Clip(o.spread)
	o.raw = o.raw[n:]
	more = len(o.raw) > 0
	lost := int64(0)
	if len(o.raw) == 0 {
		o.raw = nil // gives the memory back
		lost, o.lost = o.lost, 0
	}
	o.mu.Unlock()

	text = o.fit(text, plain, spread)
	if lost > 0 {
		text += fmt.Sprintf("\n[%d bytes are left out here: more was printed at once than is kept]\n", lost)
	}
	return text, more
}

// ready is how much of what was printed can be handed out now.
func (o *Output) ready(most int, last bool) int {
	data := o.raw
	if o.holding && !last {
		data = data[:progress(data)]
	}
	most = max(most, maxLine)
	if last && len(data) <= most {
		return len(data)
	}
	data = data[:min(len(data), most)]
	if cut := o.whole(data[:bytes.LastIndexByte(data, '\n')+1]); cut > 0 || len(data) < maxLine {
		return cut
	}
	end := len(data)
	for end > 0 && end > len(data)-utf8.UTFMax { // not within a character
		if r, size := utf8.DecodeLastRune(data[:end]); r != utf8.RuneError || size != 1 {
			break
		}
		end--
	}
	if cut := o.whole(data[:end]); cut > 0 {
		return cut
	}
	return len(data) // a secret of such a length: what there is of it is hidden as far as it is known
}

// whole is how much of a text may be treated by itself, because no secret lies across the end of that.
func (o *Output) whole(data []byte) int {
	text := string(data)
	cut := o.plain.Whole(text)
	for _, s := range o.spread {
		cut = min(cut, s.begun(text[:cut]))
	}
	return cut
}

// begun returns where the secret may have begun in a text whose end may be amid it; the text's length if it has not.
func (s spreadSecret) begun(text string) int {
	room := 0
	for _, w := range s.words {
		room += len(w) + 80 // a line's indentation
	}
	from := max(0, len(text)-room)
	for from < len(text) {
		i := strings.Index(text[from:], s.words[0])
		if i < 0 {
			break
		}
		from += i
		have := strings.FieldsFunc(text[from:], func(c rune) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '│' })
		if n := len(have) - 1; n < len(s.words) && slices.Equal(have[:n], s.words[:n]) && strings.HasPrefix(s.words[n], have[n]) &&
			(n+1 < len(s.words) || have[n] != s.words[n]) {
			return from
		}
		from += len(s.words[0])
	}
	return len(text)
}

// fit makes a text fit to be shown.
func (o *Output) fit(text string, plain *prcomment.Plain, spread []spreadSecret) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	if text = o.withoutKey(text); text == "" {
		return ""
	}
	for _, s := range spread {
		text = s.all.ReplaceAllString(text, "(hidden)")
	}
	return plain.Text(text)
}

// withoutKey leaves out what goes on of a private key whose beginning was in an earlier text. Where one begins and does not
// end, Plain hides all that follows.
func (o *Output) withoutKey(text string) string {
	const begin, end = "-----BEGIN ", "-----END "
	if o.inKey > 0 {
		i := strings.Index(text, end)
		if i < 0 && o.inKey < maxKey {
			o.inKey += len(text)
			return ""
		}
		text, o.inKey = text[max(i, 0):], 0
	}
	if i := strings.LastIndex(text, begin); i >= 0 && !strings.Contains(text[i:], end) {
		if title, _, _ := strings.Cut(text[i+len(begin):], "\n"); strings.Contains(title, "PRIVATE KEY") {
			o.inKey = 1
		}
	}
	return text
}

// progress is how much of what a plan has printed only tells how far it is: lines about a resource that is read, which come
// before all that the plan would do.
func progress(printed []byte) int {
	end := 0
	for at := 0; at < len(printed); {
		n := bytes.IndexByte(printed[at:], '\n') + 1
		if n == 0 {
			break
		}
		line := bytes.TrimSpace(printed[at : at+n])
		at += n
		switch {
		case len(line) == 0:
		case progressLine.Match(line):
			end = at
		default:
			return end
		}
	}
	return end
}

// progressLine is in Terraform's own words, from internal/command/views/hook_ui.go, which OpenTofu has kept, and those of
// internal/terraform before each command.
var progressLine = regexp.MustCompile(`^(?:\$ (?:terraform|tofu) |[a-zA-Z_][^\s=]*(?:\["[^"]*"\][^\s=]*)*: (?:Refreshing state|Refreshing|Reading|Still reading|Read complete|Opening|Still opening|Opening complete|Renewing|Closing|Closing complete|Preparing import)\b)`)
