package prcomment

import (
	"strconv"
	"strings"
)

// pages fills one page after the other. What is written through it is never torn in the wrong place: a block stays
// whole, and a section that goes on overleaf is closed and opened again.
type pages struct {
	limit int // bytes of a page that are free for content
	done  []string
	page  strings.Builder
}

// A section is a list of lines inside something that must be opened and closed: a fence, a table, a quotation.
type section struct {
	open   string // with its line break, like the others
	reopen string // on the next page; "" = open
	lines  []string
	heads  []string // what stands above each line; written when it changes, and on a new page; nil = nothing
	close  string
	last   string // instead of close where the section ends; "" = close
}

func (p *pages) room() int { return p.limit - p.page.Len() }

// turn begins a new page, unless this one is still empty.
func (p *pages) turn() {
	if p.page.Len() == 0 {
		return
	}
	p.done = append(p.done, p.page.String())
	p.page.Reset()
}

// block writes what must stay together.
func (p *pages) block(s string) {
	if len(s) > p.room() {
		p.turn()
	}
	p.page.WriteString(s)
}

// need begins a new page unless this one has room for n bytes more.
func (p *pages) need(n int) {
	if n > p.room() {
		p.turn()
	}
}

// section writes as much of a section on this page as fits, and the rest on the following ones. A section that is
// small against a page moves over as a whole instead.
func (p *pages) section(s section) {
	if s.last == "" {
		s.last = s.close
	}
	size := len(s.open) + len(s.last)
	for _, l := range s.lines {
		size += len(l) + 1
	}
	if size > p.room() && (size <= p.limit/8 || p.room() < p.limit/16) {
		p.turn()
	}
	if s.reopen == "" {
		s.reopen = s.open
	}
	if len(s.lines) == 0 {
		p.block(s.open + s.last)
		return
	}
	head, above := func(i int) string {
		if s.heads == nil {
			return ""
		}
		return s.heads[i]
	}, ""
	if len(s.open)+len(head(0))+len(s.lines[0])+1+len(s.close) > p.room() {
		p.turn()
	}
	p.page.WriteString(s.open)
	for i, l := range s.lines {
		h := head(i)
		end := len(s.close)
		if i == len(s.lines)-1 {
			end = max(end, len(s.last))
		}
		if len(h)+len(l)+1+end > p.room() {
			p.page.WriteString(s.close)
			p.turn()
			p.page.WriteString(s.reopen)
			above = ""
		}
		if h != above {
			p.page.WriteString(h)
			above = h
		}
		p.page.WriteString(l)
		p.page.WriteByte('\n')
	}
	p.page.WriteString(s.last)
}

// number is the page that is being written, from 1.
func (p *pages) number() int { return len(p.done) + 1 }

// finish returns the pages, each under its mark.
func (p *pages) finish(m Mark) []string {
	all := p.done
	if p.page.Len() > 0 || len(all) == 0 {
		all = append(all, p.page.String())
	}
	m.Pages = len(all)
	out := make([]string, len(all))
	for i, content := range all {
		m.Page = i + 1
		var b strings.Builder
		b.WriteString(m.String() + "\n")
		if i > 0 {
			b.WriteString("<sub>Page " + strconv.Itoa(i+1) + " of " + strconv.Itoa(len(all)) + "; it begins in the comment above.</sub>\n\n")
		}
		b.WriteString(strings.TrimRight(content, "\n") + "\n")
		if i+1 < len(all) {
			b.WriteString("\n<sub>Page " + strconv.Itoa(i+1) + " of " + strconv.Itoa(len(all)) + "; it goes on in the next comment.</sub>\n")
		}
		out[i] = b.String()
	}
	return out
}

// furniture is what finish adds to a page, at most, beside the mark's key.
const furniture = 360
