// Package forgetest is for the tests of what speaks to forges: a suite that every client passes, and a GitHub to run
// against where the real one cannot be had.
//
// Run is the suite. It is given a client and a Host, which is the forge seen by its users, and tells the story of a change
// from both sides: somebody opens it, the client reads and answers it, somebody merges or closes it. It runs against a
// real Gitea and against GitHub.
//
// GitHub is a server on loopback that keeps repositories in real bare Git directories, serves them over Git's smart HTTP
// protocol, and answers the part of GitHub's REST API that Plumbline uses, webhooks, ETags, pages, permissions and rate
// limits included. Break makes it fail in chosen ways. Its answers have every field that GitHub's own description of its
// API requires, and the end-to-end tests hold each request and answer against that description.
//
// It lets people sign in by an OAuth App, with PKCE, too: Before says who sits before the browser, and AddToTeam who is in what team.
//
// It does not try to be GitHub further than that: there are no organisations or files, and what is not served
// answers 404 with a message that says so.
package forgetest
