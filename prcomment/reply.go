package prcomment

import "strings"

// Text writes a sentence that came from outside so that it means nothing but itself in Markdown: no markup, no links, no
// mentions, no references. A pair of backticks around a few words makes them code. It is one line, and shortened beyond
// 600 bytes.
func Text(s string) string { return text(s) }

// Code writes a name as a code span, whatever is in it. It is not for tables.
func Code(s string) string { return code(s) }

// Redact takes the secrets out of Markdown that is about to be posted, and what looks like a private key or an access
// token. Secrets of less than six bytes are not looked for.
func Redact(markdown string, secrets []string) string { return newRedactor(secrets).redact(markdown) }

// Reply is the answer to one command. Its strings are plain text, as a Report's are.
type Reply struct {
	Key     string   // see Report.Key
	To      string   // login of who commented; shown, but not mentioned
	Command string   // the command as it was written; "" = not shown
	Refused bool     // it is not done, and Says is why
	Says    string   // in a sentence; backticks make code
	Body    string   // more of it, Markdown that is safe already, such as Help(); "" = none
	Secrets []string // as in a Report
}

// RenderReply writes a reply as one page with a mark of its own.
func RenderReply(r Reply) string {
	w := &renderer{report: Report{Kind: KindReply}, redactor: newRedactor(r.Secrets)}
	w.pages.limit = defaultLimit - furniture
	var head []string
	if r.Command != "" {
		head = append(head, w.name(r.Command))
	}
	if r.To != "" && len(head) > 0 {
		head = append(head, "by "+w.name(r.To))
	}
	var b strings.Builder
	switch {
	case r.Refused && len(head) > 0:
		b.WriteString("⛔ " + strings.Join(head, " ") + " is refused")
	case r.Refused:
		b.WriteString("⛔ Refused")
	case len(head) > 0:
		b.WriteString(strings.Join(head, " "))
	}
	if says := w.text(r.Says); says != "" {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(says)
	}
	if b.Len() > 0 {
		b.WriteString("\n\n")
	}
	w.pages.block(b.String())
	w.pages.block(w.redactor.redact(r.Body))
	return w.pages.finish(Mark{Kind: KindReply, Key: shortKey(r.Key), Plans: plansDigest(nil)})[0]
}
