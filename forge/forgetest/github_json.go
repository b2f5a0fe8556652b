package forgetest

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// The answers of the API. They hold every field that GitHub's description of the API requires, so a client that relies on
// one of them finds it here.

func (g *GitHub) api(format string, args ...any) string { return g.URL + fmt.Sprintf(format, args...) }

func (g *GitHub) html(r *ghRepo, page string) string {
	return g.URL + "/" + r.repo.String() + "/" + page
}

func nodeID(kind string, id int64) string {
	return kind + "_" + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s%d", kind, id))
}

func (g *GitHub) userJSON(login string) map[string]any {
	u := g.user(login)
	self := g.api("/users/%s", strings.NewReplacer("[", "%5B", "]", "%5D").Replace(login))
	return map[string]any{
		"login": u.login, "id": u.id, "node_id": nodeID("U", u.id), "avatar_url": g.api("/avatars/%d", u.id), "gravatar_id": "",
		"url": self, "html_url": self, "followers_url": self + "/followers", "following_url": self + "/following{/other_user}",
		"gists_url": self + "/gists{/gist_id}", "starred_url": self + "/starred{/owner}{/repo}", "subscriptions_url": self + "/subscriptions",
		"organizations_url": self + "/orgs", "repos_url": self + "/repos", "events_url": self + "/events{/privacy}",
		"received_events_url": self + "/received_events", "type": u.kind, "site_admin": false,
	}
}

func (g *GitHub) selfJSON(login string) map[string]any {
	u := g.userJSON(login)
	for _, field := range []string{"name", "company", "blog", "location", "email", "hireable", "bio"} {
		u[field] = nil
	}
	for _, field := range []string{
		"public_repos", "public_gists", "followers", "following", "private_gists", "total_private_repos", "owned_private_repos", "disk_usage", "collaborators",
	} {
		u[field] = 0
	}
	u["created_at"], u["updated_at"], u["two_factor_authentication"] = stamp(now()), stamp(now()), true
	u["user_view_type"] = "private"
	return u
}

func (g *GitHub) repoJSON(r *ghRepo) map[string]any {
	self := g.api("/repos/%s", r.repo)
	v := map[string]any{
		"id": r.id, "node_id": nodeID("R", r.id), "name": r.repo.Name, "full_name": r.repo.String(), "owner": g.userJSON(r.repo.Owner),
		"private": r.private, "html_url": g.URL + "/" + r.repo.String(), "description": nil, "fork": r.parent != nil, "url": self,
		"git_url": "git://" + strings.TrimPrefix(g.URL, "http://") + "/" + r.repo.String() + ".git", "ssh_url": "git@example.com:" + r.repo.String() + ".git",
		"clone_url": g.URL + "/" + r.repo.String() + ".git", "svn_url": g.URL + "/" + r.repo.String(), "mirror_url": nil, "homepage": nil,
		"language": nil, "license": nil, "default_branch": mainName, "archived": false, "disabled": false, "visibility": "public",
		"has_issues": true, "has_projects": true, "has_wiki": true, "has_pages": false, "has_downloads": true, "has_discussions": false,
		"created_at": stamp(r.created), "updated_at": stamp(r.created), "pushed_at": stamp(r.pushed),
	}
	if r.private {
		v["visibility"] = "private"
	}
	for _, field := range []string{
		"forks_count", "stargazers_count", "watchers_count", "size", "open_issues_count", "subscribers_count", "network_count", "forks", "open_issues", "watchers",
	} {
		v[field] = 0
	}
	for field, path := range map[string]string{
		"archive_url": "{archive_format}{/ref}", "assignees_url": "assignees{/user}", "blobs_url": "git/blobs{/sha}", "branches_url": "branches{/branch}",
		"collaborators_url": "collaborators{/collaborator}", "comments_url": "comments{/number}", "commits_url": "commits{/sha}",
		"compare_url": "compare/{base}...{head}", "contents_url": "contents/{+path}", "contributors_url": "contributors", "deployments_url": "deployments",
		"downloads_url": "downloads", "events_url": "events", "forks_url": "forks", "git_commits_url": "git/commits{/sha}", "git_refs_url": "git/refs{/sha}",
		"git_tags_url": "git/tags{/sha}", "issue_comment_url": "issues/comments{/number}", "issue_events_url": "issues/events{/number}",
		"issues_url": "issues{/number}", "keys_url": "keys{/key_id}", "labels_url": "labels{/name}", "languages_url": "languages", "merges_url": "merges",
		"milestones_url": "milestones{/number}", "notifications_url": "notifications{?since,all,participating}", "pulls_url": "pulls{/number}",
		"releases_url": "releases{/id}", "stargazers_url": "stargazers", "statuses_url": "statuses/{sha}", "subscribers_url": "subscribers",
		"subscription_url": "subscription", "tags_url": "tags", "teams_url": "teams", "trees_url": "git/trees{/sha}", "hooks_url": "hooks",
	} {
		v[field] = self + "/" + path
	}
	return v
}

func (g *GitHub) pullJSON(r *ghRepo, i *ghIssue, full bool) map[string]any {
	p := i.pull
	self := g.api("/repos/%s/pulls/%d", r.repo, i.number)
	issue := g.api("/repos/%s/issues/%d", r.repo, i.number)
	links := map[string]string{
		"self": self, "html": g.html(r, fmt.Sprintf("pull/%d", i.number)), "issue": issue, "comments": issue + "/comments",
		"review_comments": self + "/comments", "review_comment": g.api("/repos/%s/pulls/comments{/number}", r.repo),
		"commits": self + "/commits", "statuses": g.api("/repos/%s/statuses/%s", r.repo, p.headSHA),
	}
	hrefs := map[string]any{}
	for name, href := range links {
		hrefs[name] = map[string]any{"href": href}
	}
	head := map[string]any{
		"label": p.headOwner + ":" + p.headBranch, "ref": p.headBranch, "sha": p.headSHA, "user": g.userJSON(p.headOwner), "repo": nil,
	}
	if p.head != nil {
		head["repo"] = g.repoJSON(p.head)
	}
	v := map[string]any{
		"id": i.id, "node_id": nodeID("PR", i.id), "number": i.number, "url": self, "html_url": links["html"], "diff_url": links["html"] + ".diff",
		"patch_url": links["html"] + ".patch", "issue_url": issue, "commits_url": links["commits"], "review_comments_url": links["review_comments"],
		"review_comment_url": links["review_comment"], "comments_url": links["comments"], "statuses_url": links["statuses"], "_links": hrefs,
		"state": i.state(), "locked": false, "title": i.title, "body": nullable(i.body), "user": g.userJSON(i.user), "labels": []any{},
		"milestone": nil, "assignee": nil, "assignees": []any{}, "requested_reviewers": []any{}, "requested_teams": []any{},
		"created_at": stamp(i.created), "updated_at": stamp(i.updated), "closed_at": stamp(i.closedAt), "merged_at": nil,
		"merge_commit_sha": nil, "draft": p.draft, "author_association": "CONTRIBUTOR", "auto_merge": nil, "head": head,
		"base": map[string]any{
			"label": r.repo.Owner + ":" + p.base, "ref": p.base, "sha": p.baseSHA, "user": g.userJSON(r.repo.Owner), "repo": g.repoJSON(r),
		},
	}
	if p.merged {
		v["merged_at"], v["merge_commit_sha"] = stamp(i.closedAt), p.mergeCommit
	} else if !i.closed {
		v["merge_commit_sha"] = zeroes[:39] + "1" // GitHub names a trial merge here
	}
	if !full {
		return v
	}
	v["merged"], v["merged_by"] = p.merged, nil
	if p.merged {
		v["merged_by"] = g.userJSON(p.mergedBy)
	}
	_, err := g.mergeable(r, i)
	v["mergeable"], v["mergeable_state"] = err == nil, "clean"
	if err != nil {
		v["mergeable_state"] = "dirty"
	}
	v["rebaseable"], v["maintainer_can_modify"] = err == nil, false
	v["comments"], v["review_comments"], v["commits"], v["additions"], v["deletions"], v["changed_files"] = g.countComments(r, i), 0, 1, 1, 0, 1
	return v
}

func (g *GitHub) countComments(r *ghRepo, i *ghIssue) int {
	n := 0
	for _, c := range r.comments {
		if c.issue == i {
			n++
		}
	}
	return n
}

func (i *ghIssue) state() string {
	if i.closed {
		return "closed"
	}
	return "open"
}

func (g *GitHub) issueJSON(r *ghRepo, i *ghIssue) map[string]any {
	self := g.api("/repos/%s/issues/%d", r.repo, i.number)
	page := fmt.Sprintf("issues/%d", i.number)
	if i.pull != nil {
		page = fmt.Sprintf("pull/%d", i.number)
	}
	labels, assignees := []any{}, []any{}
	for n, name := range i.labels {
		labels = append(labels, map[string]any{
			"id": i.id*100 + int64(n), "node_id": nodeID("LA", i.id*100+int64(n)), "url": g.api("/repos/%s/labels/%d", r.repo, n), "name": name,
			"description": nil, "color": "ededed", "default": false,
		})
	}
	for _, login := range i.assignees {
		assignees = append(assignees, g.userJSON(login))
	}
	v := map[string]any{
		"id": i.id, "node_id": nodeID("I", i.id), "url": self, "repository_url": g.api("/repos/%s", r.repo), "labels_url": self + "/labels{/name}",
		"comments_url": self + "/comments", "events_url": self + "/events", "html_url": g.html(r, page), "number": i.number, "state": i.state(),
		"state_reason": nil, "title": i.title, "body": nullable(i.body), "user": g.userJSON(i.user), "labels": labels, "assignee": nil, "assignees": assignees,
		"milestone": nil, "locked": false, "comments": g.countComments(r, i), "closed_at": stamp(i.closedAt), "created_at": stamp(i.created),
		"updated_at": stamp(i.updated), "author_association": "CONTRIBUTOR",
	}
	if len(assignees) > 0 {
		v["assignee"] = assignees[0]
	}
	if i.pull != nil {
		page := g.html(r, fmt.Sprintf("pull/%d", i.number))
		v["pull_request"] = map[string]any{
			"url": g.api("/repos/%s/pulls/%d", r.repo, i.number), "html_url": page, "diff_url": page + ".diff", "patch_url": page + ".patch", "merged_at": nil,
		}
	}
	return v
}

func (g *GitHub) commentJSON(r *ghRepo, c *ghComment) map[string]any {
	page := "issues"
	if c.issue.pull != nil {
		page = "pull"
	}
	return map[string]any{
		"id": c.id, "node_id": nodeID("IC", c.id), "url": g.api("/repos/%s/issues/comments/%d", r.repo, c.id),
		"html_url":  g.html(r, fmt.Sprintf("%s/%d#issuecomment-%d", page, c.issue.number, c.id)),
		"issue_url": g.api("/repos/%s/issues/%d", r.repo, c.issue.number), "user": g.userJSON(c.user), "body": c.body,
		"created_at": stamp(c.created), "updated_at": stamp(c.updated), "author_association": "NONE",
	}
}

func (g *GitHub) reviewJSON(r *ghRepo, i *ghIssue, v *ghReview) map[string]any {
	pull := g.api("/repos/%s/pulls/%d", r.repo, i.number)
	page := g.html(r, fmt.Sprintf("pull/%d#pullrequestreview-%d", i.number, v.id))
	return map[string]any{
		"id": v.id, "node_id": nodeID("PRR", v.id), "user": g.userJSON(v.user), "body": v.body, "state": v.state, "html_url": page,
		"pull_request_url": pull, "commit_id": v.commit, "submitted_at": stamp(v.at), "author_association": "MEMBER",
		"_links": map[string]any{"html": map[string]any{"href": page}, "pull_request": map[string]any{"href": pull}},
	}
}

func (g *GitHub) statusJSON(r *ghRepo, s *ghStatus) map[string]any {
	return map[string]any{
		"id": s.id, "node_id": nodeID("SC", s.id), "url": g.api("/repos/%s/statuses/%s", r.repo, s.commit), "avatar_url": nil, "state": s.state,
		"description": nullable(s.description), "target_url": nullable(s.target), "context": s.context, "created_at": stamp(s.at), "updated_at": stamp(s.at),
		"creator": g.userJSON(s.creator_),
	}
}

func (g *GitHub) checkJSON(r *ghRepo, c *ghCheck) map[string]any {
	self := g.api("/repos/%s/check-runs/%d", r.repo, c.id)
	return map[string]any{
		"id": c.id, "node_id": nodeID("CR", c.id), "head_sha": c.commit, "external_id": "", "url": self, "html_url": g.html(r, fmt.Sprintf("runs/%d", c.id)),
		"details_url": nullable(c.details), "status": c.status, "conclusion": nullable(c.conclusion), "started_at": stamp(c.started), "completed_at": stamp(c.completed),
		"output": map[string]any{
			"title": nullable(c.title), "summary": nullable(c.summary), "text": nil, "annotations_count": 0, "annotations_url": self + "/annotations",
		},
		"name": c.name, "check_suite": map[string]any{"id": c.id}, "app": g.appJSON(), "pull_requests": []any{},
	}
}

func (g *GitHub) appJSON() map[string]any {
	return map[string]any{
		"id": AppID, "slug": appSlug, "node_id": nodeID("A", AppID), "owner": g.userJSON(ownerName), "name": appSlug, "description": nil,
		"external_url": g.URL, "html_url": g.URL + "/apps/" + appSlug, "created_at": stamp(now()), "updated_at": stamp(now()),
		"permissions": g.appPerms, "events": []string{"pull_request", "push"},
	}
}

func (g *GitHub) installationJSON(i *ghInstallation) map[string]any {
	owner := g.userJSON(i.owner)
	return map[string]any{
		"id": i.id, "account": owner, "repository_selection": "all", "access_tokens_url": g.api("/app/installations/%d/access_tokens", i.id),
		"repositories_url": g.api("/installation/repositories"), "html_url": g.URL + "/settings/installations", "app_id": AppID, "target_id": owner["id"],
		"target_type": owner["type"], "permissions": g.appPerms, "events": []string{"pull_request", "push"}, "created_at": stamp(i.created),
		"updated_at": stamp(i.created), "single_file_name": nil, "app_slug": appSlug, "suspended_by": nil, "suspended_at": nil,
	}
}

func (g *GitHub) branchJSON(r *ghRepo, branch string) map[string]any {
	sha := r.refs["refs/heads/"+branch]
	self := g.api("/repos/%s/branches/%s", r.repo, escape(branch))
	commit := g.api("/repos/%s/commits/%s", r.repo, sha)
	person := map[string]any{"name": "Alice", "email": "alice@example.com", "date": stamp(r.pushed)}
	_, classic := r.classic[branch]
	_, rules := r.rules[branch]
	return map[string]any{
		"name": branch, "protected": classic || rules, "protection": map[string]any{"enabled": classic}, "protection_url": self + "/protection",
		"_links": map[string]any{"self": self, "html": g.html(r, "tree/"+escape(branch))},
		"commit": map[string]any{
			"sha": sha, "node_id": nodeID("C", r.id), "url": commit, "html_url": g.html(r, "commit/"+sha), "comments_url": commit + "/comments",
			"author": nil, "committer": nil, "parents": []any{},
			"commit": map[string]any{
				"url": commit, "author": person, "committer": person, "message": "", "comment_count": 0, "tree": map[string]any{"sha": sha, "url": commit},
			},
		},
	}
}

func (g *GitHub) protectionJSON(r *ghRepo, branch string) map[string]any {
	p := r.classic[branch]
	self := g.api("/repos/%s/branches/%s/protection", r.repo, escape(branch))
	v := map[string]any{"url": self, "enforce_admins": map[string]any{"url": self + "/enforce_admins", "enabled": false}}
	if p.Approvals > 0 || p.DismissStale {
		v["required_pull_request_reviews"] = map[string]any{
			"url": self + "/required_pull_request_reviews", "dismiss_stale_reviews": p.DismissStale, "require_code_owner_reviews": false,
			"required_approving_review_count": p.Approvals, "require_last_push_approval": false,
		}
	}
	if len(p.Checks) > 0 {
		checks := []any{}
		for _, c := range p.Checks {
			checks = append(checks, map[string]any{"context": c, "app_id": nil})
		}
		v["required_status_checks"] = map[string]any{
			"url": self + "/required_status_checks", "strict": false, "contexts": p.Checks, "checks": checks, "contexts_url": self + "/required_status_checks/contexts",
		}
	}
	return v
}

func (g *GitHub) rulesJSON(r *ghRepo, branch string) []any {
	rules := []any{}
	p, ok := r.rules[branch]
	if !ok {
		return rules
	}
	add := func(kind string, parameters map[string]any) {
		rules = append(rules, map[string]any{
			"type": kind, "ruleset_source_type": "Repository", "ruleset_source": r.repo.String(), "ruleset_id": 42, "parameters": parameters,
		})
	}
	add("pull_request", map[string]any{
		"dismiss_stale_reviews_on_push": p.DismissStale, "require_code_owner_review": false, "require_last_push_approval": false,
		"required_approving_review_count": p.Approvals, "required_review_thread_resolution": false,
	})
	checks := []any{}
	for _, c := range p.Checks {
		checks = append(checks, map[string]any{"context": c})
	}
	add("required_status_checks", map[string]any{"required_status_checks": checks, "strict_required_status_checks_policy": false})
	return rules
}

func (g *GitHub) permissionJSON(login string, p forge.Permission) map[string]any {
	user := g.userJSON(login)
	user["role_name"] = p.String()
	user["permissions"] = map[string]any{
		"pull": p >= forge.Read, "triage": p >= forge.Write, "push": p >= forge.Write, "maintain": p >= forge.Admin, "admin": p >= forge.Admin,
	}
	return map[string]any{"permission": p.String(), "role_name": p.String(), "user": user}
}

func sortedPulls(r *ghRepo, state string) []*ghIssue {
	var pulls []*ghIssue
	for _, i := range r.issues {
		if i.pull != nil && (state == "all" || i.state() == state) {
			pulls = append(pulls, i)
		}
	}
	slices.SortFunc(pulls, func(a, b *ghIssue) int { return int(b.seq - a.seq) })
	return pulls
}

// stamp writes a time as GitHub does, and no time as null.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}
