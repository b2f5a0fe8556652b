// Package github speaks to GitHub, on github.com or as an Enterprise Server, for the engine that plans and applies.
//
// The main type is Client. It is made once per configured forge, from a token or from the key of a GitHub App, and serves
// every repository those credentials reach. It reads changes, approvals, permissions and branch protection, writes
// comments, statuses and issues, merges, hands out what Git needs to clone, and turns webhooks into events. All of it can
// be used by many goroutines at once.
//
// Beneath every call the same things happen, in this order: what was read before is asked for with its ETag, and an
// unchanged answer costs nothing; a rate limit that GitHub has declared is obeyed, by waiting while that is short and by a
// *forge.RateLimitError otherwise; the credentials are added; the attempt is given a time limit.
//
// A Client does not try again after an error other than a rate limit. A comment whose creation timed out may exist or
// not, and only the caller, who keeps books, can find out. It does not read the files of a change either: Git does that
// without GitHub's limit of 300 files.
package github
