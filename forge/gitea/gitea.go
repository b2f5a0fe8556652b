// Package gitea speaks to Gitea, and to Forgejo, for the engine that plans and applies.
//
// The main type is Client. It is made once per configured forge, from the token of a user who administers the
// repositories that it is to serve. It reads changes, approvals, permissions and branch protection, writes comments,
// statuses and issues, merges, hands out what Git needs to clone, and turns webhooks into events. All of it can be used
// by many goroutines at once. It never asks which version the server is, because Forgejo counts differently.
//
// A Client does not try again after an error. A comment whose creation timed out may exist or not, and only the caller,
// who keeps books, can find out. It does not read the files of a change either: Git does that without limits.
package gitea
