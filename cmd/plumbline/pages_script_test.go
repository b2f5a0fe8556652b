package main

import (
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

var (
	pageLink = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	// postForm is where something is sent to, and nothing is to be read.
	postForm = regexp.MustCompile(`<form[^>]* method="post"[^>]*>`)
)

// crawl follows every link of the server's pages. Whatever it is, it must be there, be of a moderate size, and hold none of
// the texts.
func (s *serveStory) crawl(least string, texts []string) {
	want, err := strconv.Atoi(least)
	s.ts.Check(err)
	server := s.ts.Getenv("SERVER")
	known := map[string]bool{}
	for next := []string{"/", "/audit?verify=1"}; len(next) > 0; next = next[1:] {
		address := next[0]
		if known[address] {
			continue
		}
		known[address] = true
		resp, err := http.Get(server + address)
		s.ts.Check(err)
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		s.ts.Check(err)
		if resp.StatusCode != http.StatusOK || len(body) > 150_000 {
			s.fatal("%s answers %s with %d bytes", address, resp.Status, len(body))
		}
		for _, text := range texts {
			if text == "" || strings.Contains(string(body), text) {
				s.fatal("%s shows %q", address, text)
			}
		}
		if len(known) > 2000 {
			s.fatal("there is no end of pages")
		}
		for _, found := range pageLink.FindAllStringSubmatch(postForm.ReplaceAllString(string(body), ""), -1) {
			u, err := url.Parse(html.UnescapeString(found[1]))
			s.ts.Check(err)
			if u.Fragment = ""; u.Host == "" && u.String() != "" {
				next = append(next, u.String())
			}
		}
	}
	if len(known) < want {
		s.fatal("there are %d pages, want %d", len(known), want)
	}
	s.ts.Logf("%d pages", len(known))
}
