package forgetest

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/plumbline-dev/plumbline/forge"
)

// Fault is something that goes wrong. The zero value matches every request and changes nothing.
type Fault struct {
	Method string // "" for any
	Path   string // a part of the path, Git's paths included; "" for any
	Times  int    // how often; 0 until mended

	Do     func()        // before anything else; not with the stand-in's lock held
	Delay  time.Duration // then
	Status int           // answer this instead of serving, with Header and Body
	Header map[string]string
	Body   string
	// Drop closes the connection without serving the request.
	Drop bool
	// Lose serves the request and closes the connection instead of answering.
	Lose bool
	// Cut closes the connection after so many bytes of the answer's body; 0 sends all of it.
	Cut int
}

// SecondaryLimit is the fault of a client that is too quick for GitHub.
func SecondaryLimit(wait time.Duration, times int) Fault {
	return Fault{
		Times: times, Status: http.StatusForbidden, Header: map[string]string{"Retry-After": strconv.Itoa(int(wait.Seconds()))},
		Body: `{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`,
	}
}

// Break adds a fault and returns how to mend it. Of several that match a request, the one added first happens.
func (g *GitHub) Break(f Fault) (mend func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.Times == 0 {
		f.Times = -1
	}
	g.faults = append(g.faults, &f)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		f.Times = 0
	}
}

func (g *GitHub) fault(req *http.Request) *Fault {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.faults {
		if f.Times != 0 && (f.Method == "" || f.Method == req.Method) && strings.Contains(req.URL.Path, f.Path) {
			if f.Times > 0 {
				f.Times--
			}
			found := *f
			return &found
		}
	}
	return nil
}

// ServeHTTP serves the API, GraphQL and Git.
func (g *GitHub) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if f := g.fault(req); f != nil {
		if f.Do != nil {
			f.Do()
		}
		select {
		case <-time.After(f.Delay):
		case <-req.Context().Done():
			if f.Do == nil { // it may be what has ended the client
				return
			}
		}
		switch {
		case f.Drop:
			panic(http.ErrAbortHandler)
		case f.Lose:
			w = &faulty{ResponseWriter: w, left: 0}
		case f.Cut > 0:
			w = &faulty{ResponseWriter: w, left: f.Cut}
		case f.Status != 0:
			_, _ = io.Copy(io.Discard, req.Body)
			for k, v := range f.Header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(f.Status)
			_, _ = io.WriteString(w, f.Body)
			return
		}
	}
	if strings.Contains(req.URL.Path, ".git/") {
		g.serveGit(w, req)
		return
	}
	if strings.HasPrefix(req.URL.Path, "/login/oauth/") {
		g.serveOAuth(w, req)
		return
	}
	g.serveAPI(w, req)
}

// faulty closes the connection after some bytes.
type faulty struct {
	http.ResponseWriter
	left int
}

func (f *faulty) Write(p []byte) (int, error) {
	if len(p) >= f.left {
		_, _ = f.ResponseWriter.Write(p[:f.left])
		if flusher, ok := f.ResponseWriter.(http.Flusher); ok && f.left > 0 {
			flusher.Flush()
		}
		panic(http.ErrAbortHandler)
	}
	f.left -= len(p)
	return f.ResponseWriter.Write(p)
}

// call is one request to the API.
type call struct {
	*http.Request
	body  []byte
	token *ghToken
	isApp bool // signed by the App itself
	repo  *ghRepo
	pages url.Values // of the Link header: rel → URL
}

// reply is a status and what to encode as JSON.
type reply struct {
	status int
	value  any
}

func (g *GitHub) serveAPI(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	if rest, ok := strings.CutPrefix(req.URL.Path, "/api/v3"); ok {
		req.URL.Path = rest
		req.URL.RawPath = strings.TrimPrefix(req.URL.RawPath, "/api/v3")
	} else if rest, ok := strings.CutPrefix(req.URL.Path, "/api/graphql"); ok {
		req.URL.Path = "/graphql" + rest
	}
	// Served at once and written after the lock is released, so that a slow reader holds up nobody.
	recorder := &answerRecorder{header: http.Header{}}
	g.mu.Lock()
	g.answer(recorder, req, body)
	g.mu.Unlock()
	for k, v := range recorder.header {
		w.Header()[k] = v
	}
	if g.OnExchange != nil {
		g.OnExchange(Exchange{
			Method: req.Method, URL: req.URL.RequestURI(), Header: req.Header, Body: body,
			Status: recorder.status, Answer: recorder.body, AnswerHeader: recorder.header,
		})
	}
	w.WriteHeader(recorder.status)
	_, _ = w.Write(recorder.body)
}

type answerRecorder struct {
	header http.Header
	status int
	body   []byte
}

func (a *answerRecorder) send(r reply) {
	a.status = r.status
	if r.value != nil {
		a.header.Set("Content-Type", "application/json; charset=utf-8")
		a.body = mustJSON(r.value)
	}
}

func (g *GitHub) answer(w *answerRecorder, req *http.Request, body []byte) {
	c := &call{Request: req, body: body, pages: url.Values{}}
	c.token, c.isApp = g.identify(req)
	if c.token == nil && !c.isApp {
		w.send(failure(http.StatusUnauthorized, "Bad credentials"))
		return
	}
	if time.Now().After(g.limit.reset) {
		g.limit = ghLimit{remaining: 5000, reset: time.Now().Add(time.Hour)}
	}
	resource := "core"
	if req.URL.Path == "/graphql" {
		resource = "graphql"
	}
	limits := func() {
		w.header.Set("X-RateLimit-Limit", "5000")
		w.header.Set("X-RateLimit-Remaining", strconv.Itoa(g.limit.remaining))
		w.header.Set("X-RateLimit-Reset", strconv.FormatInt(g.limit.reset.Unix(), 10))
		w.header.Set("X-RateLimit-Resource", resource)
	}
	if g.limit.remaining <= 0 {
		limits()
		w.send(failure(http.StatusForbidden, "API rate limit exceeded for user."))
		return
	}
	if _, pattern := g.mux.Handler(req); pattern == "" {
		w.send(failure(http.StatusNotFound, "Not served by this stand-in"))
		return
	}
	// The mux fills in the path's values only when it serves itself.
	carrier := &carrier{call: c}
	g.mux.ServeHTTP(carrier, req)
	w.send(carrier.reply)
	if links := c.linkHeader(); links != "" {
		w.header.Set("Link", links)
	}
	if req.Method == http.MethodGet && w.status == http.StatusOK {
		sum := sha256.Sum256(w.body)
		etag := `W/"` + hex.EncodeToString(sum[:]) + `"`
		w.header.Set("ETag", etag)
		if req.Header.Get("If-None-Match") == etag {
			// Not counted against the limit.
			w.status, w.body = http.StatusNotModified, nil
			w.header.Del("Content-Type")
			limits()
			return
		}
	}
	g.limit.remaining--
	limits()
}

// carrier takes a call through the mux, whose handlers put the reply into it.
type carrier struct {
	call  *call
	reply reply
}

func (c *carrier) Header() http.Header         { return http.Header{} }
func (c *carrier) Write(p []byte) (int, error) { return len(p), nil }
func (c *carrier) WriteHeader(status int) {
	c.reply = failure(status, http.StatusText(status)) // the mux's own answers, such as 405
}

func (g *GitHub) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, do func(*call) reply) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			carrier := w.(*carrier)
			carrier.call.Request = req
			carrier.reply = do(carrier.call)
		})
	}
	// in finds the repository and checks that the caller may do it: permission is what an App needs, at the level; a
	// person needs the same level in the repository.
	in := func(pattern, permission string, level forge.Permission, do func(*call) reply) {
		method, path, _ := strings.Cut(pattern, " ")
		handle(method+" /repos/{owner}/{repo}"+path, func(c *call) reply {
			r := g.repos[strings.ToLower(c.PathValue("owner")+"/"+c.PathValue("repo"))]
			if c.token == nil {
				return failure(http.StatusUnauthorized, "A JSON web token could not be decoded")
			}
			if r == nil || (r.private && g.may(c.token, r, "metadata") < forge.Read) {
				return failure(http.StatusNotFound, "Not Found")
			}
			if g.may(c.token, r, permission) < level {
				switch {
				case c.token.app != nil:
					return failure(http.StatusForbidden, "Resource not accessible by integration")
				case level == forge.Admin:
					return failure(http.StatusNotFound, "Not Found")
				case level > forge.Read || r.private:
					return failure(http.StatusForbidden, "Must have write access to the repository.")
				}
			}
			c.repo = r
			return do(c)
		})
	}

	handle("GET /user", g.getUser)
	handle("GET /user/repos", g.listUserRepos)
	handle("GET /user/teams", g.listTeams)
	handle("GET /app", g.getApp)
	handle("GET /app/installations", g.listInstallations)
	handle("POST /app/installations/{id}/access_tokens", g.createToken)
	handle("GET /installation/repositories", g.listInstallationRepos)
	handle("GET /repos/{owner}/{repo}/installation", g.findInstallation)
	handle("POST /graphql", g.graphQL)

	in("GET ", "metadata", forge.Read, g.getRepo)
	in("GET /git/ref/{ref...}", "contents", forge.Read, g.getRef)
	in("GET /branches/{branch}", "contents", forge.Read, g.getBranch)
	in("GET /branches/{branch}/protection", "administration", forge.Admin, g.getProtection)
	in("GET /rules/branches/{branch}", "metadata", forge.Read, g.getRules)
	in("GET /collaborators/{user}/permission", "metadata", forge.Read, g.getPermission)
	in("GET /pulls", "pull_requests", forge.Read, g.listPulls)
	in("POST /pulls", "pull_requests", forge.Read, g.createPull)
	in("PATCH /pulls/{number}", "pull_requests", forge.Write, g.patchPull)
	in("GET /pulls/{number}", "pull_requests", forge.Read, g.getPull)
	in("GET /pulls/{number}/reviews", "pull_requests", forge.Read, g.listReviews)
	in("PUT /pulls/{number}/merge", "contents", forge.Write, g.mergePull)
	in("POST /statuses/{sha}", "statuses", forge.Write, g.createStatus)
	in("GET /commits/{ref}/statuses", "statuses", forge.Read, g.listStatuses)
	in("GET /commits/{ref}/check-runs", "checks", forge.Read, g.listChecks)
	in("POST /check-runs", "checks", forge.Write, g.createCheck)
	in("PATCH /check-runs/{id}", "checks", forge.Write, g.updateCheck)
	in("GET /issues/comments", "issues", forge.Read, g.listAllComments)
	in("PATCH /issues/comments/{id}", "issues", forge.Write, g.patchComment)
	in("POST /issues/comments/{id}/reactions", "issues", forge.Read, g.createReaction)
	// The mux cannot tell issues/comments/ID from issues/NUMBER/comments.
	in("GET /issues/{number}/{more}", "issues", forge.Read, func(c *call) reply {
		switch {
		case c.PathValue("number") == "comments":
			c.SetPathValue("id", c.PathValue("more"))
			return g.getComment(c)
		case c.PathValue("more") == "comments":
			return g.listComments(c)
		}
		return failure(http.StatusNotFound, "Not served by this stand-in")
	})
	in("POST /issues/{number}/comments", "issues", forge.Read, g.createComment)
	in("POST /issues", "issues", forge.Read, g.createIssue)
	in("GET /issues", "issues", forge.Read, g.listIssues)
	in("GET /issues/{number}", "issues", forge.Read, g.getIssue)
	in("PATCH /issues/{number}", "issues", forge.Write, g.patchIssue)
	return mux
}

// identify reads the Authorization header: a token of a person or an installation, or the App's own signature.
func (g *GitHub) identify(req *http.Request) (token *ghToken, isApp bool) {
	scheme, secret, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") && !strings.EqualFold(scheme, "token") {
		return nil, false
	}
	if t := g.tokens[secret]; t != nil && t.valid() {
		return t, false
	}
	return nil, g.verifyApp(secret)
}

func (t *ghToken) valid() bool { return t.expires.IsZero() || time.Now().Before(t.expires) }

// verifyApp checks a JSON web token as GitHub does: signed by the App's key, and good for ten minutes at most.
func (g *GitHub) verifyApp(jwt string) bool {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(g.appPub, crypto.SHA256, sum[:], signature) != nil {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Expires  int64  `json:"exp"`
		IssuedAt int64  `json:"iat"`
	}
	if json.Unmarshal(text, &claims) != nil {
		return false
	}
	now := time.Now().Unix()
	return claims.Issuer == strconv.FormatInt(AppID, 10) && claims.IssuedAt <= now && claims.Expires > now && claims.Expires <= now+600
}

// may says what the token's owner may do in a repository, in the matter of one of an App's permissions.
func (g *GitHub) may(t *ghToken, r *ghRepo, permission string) forge.Permission {
	if t.app != nil {
		if !strings.EqualFold(t.app.owner, r.repo.Owner) || (t.repos != nil && !slices.Contains(t.repos, r.repo.Name)) {
			return forge.None
		}
		level := t.perms[permission]
		if permission == "issues" { // pull requests are issues, and either permission opens what they share
			level = max(level, t.perms["pull_requests"])
		}
		switch {
		case level == "write" || permission == "administration" && level != "":
			return forge.Admin
		case level == "read" || permission == "metadata":
			return forge.Read
		}
		return forge.None
	}
	p := r.perms[t.user]
	if !r.private {
		p = max(p, forge.Read)
	}
	return p
}

func (c *call) login() string {
	if c.token.app != nil {
		return RobotBot
	}
	return c.token.user
}

func (c *call) number() int {
	n, _ := strconv.Atoi(c.PathValue("number"))
	return n
}

func (c *call) decode(into any) *reply {
	if err := json.Unmarshal(c.body, into); err != nil {
		r := failure(http.StatusBadRequest, "Problems parsing JSON")
		return &r
	}
	return nil
}

// page cuts a list to the page that was asked for.
func page[T any](g *GitHub, c *call, all []T) []T {
	query := c.URL.Query()
	size, err := strconv.Atoi(query.Get("per_page"))
	if err != nil || size <= 0 {
		size = 30
	}
	size = min(size, 100, g.PageCap)
	at, err := strconv.Atoi(query.Get("page"))
	if err != nil || at <= 0 {
		at = 1
	}
	last := max(1, (len(all)+size-1)/size)
	link := func(rel string, n int) {
		query.Set("page", strconv.Itoa(n))
		c.pages.Set(rel, "http://"+c.Host+c.URL.Path+"?"+query.Encode())
	}
	if at < last {
		link("next", at+1)
		link("last", last)
	}
	if at > 1 {
		link("prev", at-1)
		link("first", 1)
	}
	from := min((at-1)*size, len(all))
	return all[from:min(from+size, len(all))]
}

func (c *call) linkHeader() string {
	var links []string
	for _, rel := range []string{"prev", "next", "last", "first"} {
		if target := c.pages.Get(rel); target != "" {
			links = append(links, fmt.Sprintf(`<%s>; rel=%q`, target, rel))
		}
	}
	return strings.Join(links, ", ")
}

func ok(v any) reply { return reply{http.StatusOK, v} }

func failure(status int, message string) reply {
	return reply{status, map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)}}
}

func escape(s string) string { return url.PathEscape(s) }

func mapped[T, V any](list []T, to func(T) V) []V {
	out := make([]V, len(list))
	for i, v := range list {
		out[i] = to(v)
	}
	return out
}

func (g *GitHub) getUser(c *call) reply {
	if c.token == nil || c.token.app != nil {
		return failure(http.StatusForbidden, "Resource not accessible by integration")
	}
	return ok(g.selfJSON(c.token.user))
}

func (g *GitHub) sortedRepos(keep func(*ghRepo) bool) []*ghRepo {
	var repos []*ghRepo
	for _, r := range g.repos {
		if keep(r) {
			repos = append(repos, r)
		}
	}
	slices.SortFunc(repos, func(a, b *ghRepo) int { return strings.Compare(a.repo.String(), b.repo.String()) })
	return repos
}

func (g *GitHub) listUserRepos(c *call) reply {
	if c.token == nil || c.token.app != nil {
		return failure(http.StatusForbidden, "Resource not accessible by integration")
	}
	repos := g.sortedRepos(func(r *ghRepo) bool { return r.perms[c.token.user] > forge.None })
	return ok(mapped(page(g, c, repos), g.repoJSON))
}

func (g *GitHub) getApp(c *call) reply {
	if !c.isApp {
		return failure(http.StatusUnauthorized, "A JSON web token could not be decoded")
	}
	return ok(g.appJSON())
}

func (g *GitHub) listInstallations(c *call) reply {
	if !c.isApp {
		return failure(http.StatusUnauthorized, "A JSON web token could not be decoded")
	}
	var all []*ghInstallation
	for _, i := range g.installations {
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b *ghInstallation) int { return strings.Compare(a.owner, b.owner) })
	return ok(mapped(page(g, c, all), g.installationJSON))
}

func (g *GitHub) findInstallation(c *call) reply {
	r := g.repos[strings.ToLower(c.PathValue("owner")+"/"+c.PathValue("repo"))]
	if !c.isApp {
		return failure(http.StatusUnauthorized, "A JSON web token could not be decoded")
	}
	if r == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	return ok(g.installationJSON(g.installations[strings.ToLower(r.repo.Owner)]))
}

func (g *GitHub) createToken(c *call) reply {
	if !c.isApp {
		return failure(http.StatusUnauthorized, "A JSON web token could not be decoded")
	}
	var ask struct {
		Repositories []string          `json:"repositories"`
		Permissions  map[string]string `json:"permissions"`
	}
	if len(c.body) > 0 {
		if bad := c.decode(&ask); bad != nil {
			return *bad
		}
	}
	for _, i := range g.installations {
		if strconv.FormatInt(i.id, 10) != c.PathValue("id") {
			continue
		}
		perms := map[string]string{}
		for name, level := range g.appPerms {
			if wanted, some := ask.Permissions[name]; some && wanted == "read" {
				perms[name] = "read"
			} else if some && level != wanted {
				return failure(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
			} else if some || ask.Permissions == nil {
				perms[name] = level
			}
		}
		token := "ghs_" + randomHex(18)
		g.tokens[token] = &ghToken{user: RobotBot, app: i, perms: perms, repos: ask.Repositories, expires: time.Now().Add(time.Hour)}
		return reply{http.StatusCreated, map[string]any{
			"token": token, "expires_at": stamp(time.Now().Add(time.Hour)), "permissions": perms, "repository_selection": "all",
		}}
	}
	return failure(http.StatusNotFound, "Not Found")
}

func (g *GitHub) listInstallationRepos(c *call) reply {
	if c.token == nil || c.token.app == nil {
		return failure(http.StatusForbidden, "You must authenticate with an installation access token in order to list repositories for an installation.")
	}
	repos := g.sortedRepos(func(r *ghRepo) bool { return strings.EqualFold(r.repo.Owner, c.token.app.owner) })
	return ok(map[string]any{"total_count": len(repos), "repositories": mapped(page(g, c, repos), g.repoJSON)})
}

func (g *GitHub) getRepo(c *call) reply { return ok(g.repoJSON(c.repo)) }

func (g *GitHub) getRef(c *call) reply {
	ref := "refs/" + c.PathValue("ref")
	sha := c.repo.refs[ref]
	if sha == "" {
		return failure(http.StatusNotFound, "Not Found")
	}
	return ok(map[string]any{
		"ref": ref, "node_id": nodeID("REF", c.repo.id), "url": g.api("/repos/%s/git/%s", c.repo.repo, escape(ref)),
		"object": map[string]any{"type": "commit", "sha": sha, "url": g.api("/repos/%s/git/commits/%s", c.repo.repo, sha)},
	})
}

func (g *GitHub) getBranch(c *call) reply {
	if c.repo.refs["refs/heads/"+c.PathValue("branch")] == "" {
		return failure(http.StatusNotFound, "Branch not found")
	}
	return ok(g.branchJSON(c.repo, c.PathValue("branch")))
}

func (g *GitHub) getProtection(c *call) reply {
	if _, protected := c.repo.classic[c.PathValue("branch")]; !protected {
		return failure(http.StatusNotFound, "Branch not protected")
	}
	return ok(g.protectionJSON(c.repo, c.PathValue("branch")))
}

func (g *GitHub) getRules(c *call) reply {
	return ok(page(g, c, g.rulesJSON(c.repo, c.PathValue("branch"))))
}

func (g *GitHub) getPermission(c *call) reply {
	login := c.PathValue("user")
	if g.users[login] == nil {
		return failure(http.StatusNotFound, login+" is not a user")
	}
	return ok(g.permissionJSON(login, g.may(&ghToken{user: login}, c.repo, "metadata")))
}

func (g *GitHub) listPulls(c *call) reply {
	state := c.URL.Query().Get("state")
	if state == "" {
		state = "open"
	}
	pulls := sortedPulls(c.repo, state)
	if head, base := c.URL.Query().Get("head"), c.URL.Query().Get("base"); head != "" || base != "" {
		pulls = slices.DeleteFunc(pulls, func(i *ghIssue) bool {
			return head != "" && head != i.pull.headOwner+":"+i.pull.headBranch || base != "" && base != i.pull.base
		})
	}
	if c.URL.Query().Get("direction") == "asc" {
		slices.Reverse(pulls)
	}
	return ok(mapped(page(g, c, pulls), func(i *ghIssue) map[string]any { return g.pullJSON(c.repo, i, false) }))
}

// createPull opens a pull request between two branches of the repository.
func (g *GitHub) createPull(c *call) reply {
	var ask struct {
		Head, Base, Title, Body string
		Draft                   bool
	}
	if bad := c.decode(&ask); bad != nil {
		return *bad
	}
	refuse := func(message string) reply {
		r := failure(http.StatusUnprocessableEntity, "Validation Failed")
		r.value.(map[string]any)["errors"] = []any{map[string]any{"resource": "PullRequest", "code": "custom", "message": message}}
		return r
	}
	head, base := c.repo.refs["refs/heads/"+ask.Head], c.repo.refs["refs/heads/"+ask.Base]
	if head == "" || base == "" || ask.Title == "" {
		return refuse("head, base and title must be there")
	}
	if _, err := git(c.repo.dir, nil, "merge-base", "--is-ancestor", head, base); err == nil {
		return refuse(fmt.Sprintf("No commits between %s and %s", ask.Base, ask.Head))
	}
	for _, i := range sortedPulls(c.repo, "open") {
		if i.pull.head == c.repo && i.pull.headBranch == ask.Head && i.pull.base == ask.Base {
			return refuse(fmt.Sprintf("A pull request already exists for %s:%s.", c.repo.repo.Owner, ask.Head))
		}
	}
	i := g.newIssue(c.repo, c.login(), ask.Title, ask.Body)
	i.pull = &ghPull{
		head: c.repo, headBranch: ask.Head, headSHA: head, headOwner: c.repo.repo.Owner,
		base: ask.Base, baseSHA: base, draft: ask.Draft,
	}
	if _, err := git(c.repo.dir, nil, "update-ref", fmt.Sprintf("refs/pull/%d/head", i.number), head); err != nil {
		return failure(http.StatusInternalServerError, err.Error())
	}
	g.pullHook(c.repo, i, "opened", c.login(), nil)
	return reply{http.StatusCreated, g.pullJSON(c.repo, i, true)}
}

// patchPull changes a pull request's title and body.
func (g *GitHub) patchPull(c *call) reply {
	i := g.pull(c)
	if i == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	var ask struct{ Title, Body *string }
	if bad := c.decode(&ask); bad != nil {
		return *bad
	}
	if ask.Title != nil {
		i.title = *ask.Title
	}
	if ask.Body != nil {
		i.body = *ask.Body
	}
	g.touch(i)
	return ok(g.pullJSON(c.repo, i, true))
}

func (g *GitHub) pull(c *call) *ghIssue {
	if i := c.repo.issues[c.number()]; i != nil && i.pull != nil {
		return i
	}
	return nil
}

func (g *GitHub) getPull(c *call) reply {
	i := g.pull(c)
	if i == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	return ok(g.pullJSON(c.repo, i, true))
}

func (g *GitHub) listReviews(c *call) reply {
	i := g.pull(c)
	if i == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	return ok(mapped(page(g, c, i.pull.reviews), func(v *ghReview) map[string]any { return g.reviewJSON(c.repo, i, v) }))
}

func (g *GitHub) mergePull(c *call) reply {
	i := g.pull(c)
	if i == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	var ask struct {
		SHA    string `json:"sha"`
		Method string `json:"merge_method"`
	}
	if bad := c.decode(&ask); bad != nil {
		return *bad
	}
	if ask.SHA != "" && ask.SHA != i.pull.headSHA {
		return failure(http.StatusConflict, "Head branch was modified. Review and try the merge again.")
	}
	commit, err := g.merge(c.repo, i, c.login(), ask.Method)
	if errors.Is(err, errConflict) {
		return failure(http.StatusMethodNotAllowed, err.Error())
	}
	if err != nil {
		return failure(http.StatusInternalServerError, err.Error())
	}
	return ok(map[string]any{"sha": commit, "merged": true, "message": "Pull Request successfully merged"})
}

func (g *GitHub) hasCommit(r *ghRepo, sha string) bool {
	_, err := git(r.dir, nil, "cat-file", "-e", sha+"^{commit}")
	return len(sha) == 40 && err == nil
}

func (g *GitHub) createStatus(c *call) reply {
	var ask struct {
		State       string `json:"state"`
		Context     string `json:"context"`
		Description string `json:"description"`
		TargetURL   string `json:"target_url"`
	}
	if bad := c.decode(&ask); bad != nil {
		return *bad
	}
	if !g.hasCommit(c.repo, c.PathValue("sha")) {
		return failure(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.PathValue("sha"))
	}
	if utf8.RuneCountInString(ask.Description) > 140 {
		return failure(http.StatusUnprocessableEntity, "Validation Failed: description is too long (maximum is 140 characters)")
	}
	s := &ghStatus{
		id: g.nextID(), commit: c.PathValue("sha"), context: ask.Context, state: ask.State, description: ask.Description,
		target: ask.TargetURL, creator_: c.login(), at: now(),
	}
	c.repo.statuses = append(c.repo.statuses, s)
	return reply{http.StatusCreated, g.statusJSON(c.repo, s)}
}

func (g *GitHub) listStatuses(c *call) reply {
	var found []*ghStatus
	for _, s := range slices.Backward(c.repo.statuses) {
		if s.commit == c.PathValue("ref") {
			found = append(found, s)
		}
	}
	return ok(mapped(page(g, c, found), func(s *ghStatus) map[string]any { return g.statusJSON(c.repo, s) }))
}

func (g *GitHub) listChecks(c *call) reply {
	newest := map[string]*ghCheck{}
	for _, check := range c.repo.checks {
		if name := c.URL.Query().Get("check_name"); check.commit == c.PathValue("ref") && (name == "" || check.name == name) {
			newest[check.name] = check
		}
	}
	var found []*ghCheck
	for _, check := range newest {
		found = append(found, check)
	}
	slices.SortFunc(found, func(a, b *ghCheck) int { return int(a.id - b.id) })
	return ok(map[string]any{
		"total_count": len(found), "check_runs": mapped(page(g, c, found), func(v *ghCheck) map[string]any { return g.checkJSON(c.repo, v) }),
	})
}

type checkAsk struct {
	Name       string `json:"name"`
	HeadSHA    string `json:"head_sha"`
	DetailsURL string `json:"details_url"`
	Status     string `json:"status"`
	Conclusion string `json:"conclusion"`
	Output     struct {
		Title   string `json:"title"`
		Summary string `json:"summary"`
	} `json:"output"`
}

func (c *ghCheck) set(ask checkAsk) {
	c.status, c.conclusion, c.details, c.title, c.summary = ask.Status, ask.Conclusion, ask.DetailsURL, ask.Output.Title, ask.Output.Summary
	if c.status == "completed" {
		c.completed = now()
	}
}

func (g *GitHub) createCheck(c *call) reply {
	var ask checkAsk
	if bad := c.decode(&ask); bad != nil {
		return *bad
	}
	if c.token.app == nil {
		return failure(http.StatusForbidden, "You must authenticate via a GitHub App.")
	}
	if !g.hasCommit(c.repo, ask.HeadSHA) {
		return failure(http.StatusUnprocessableEntity, "No commit found for SHA: "+ask.HeadSHA)
	}
	check := &ghCheck{id: g.nextID(), commit: ask.HeadSHA, name: ask.Name, started: now()}
	check.set(ask)
	c.repo.checks = append(c.repo.checks, check)
	return reply{http.StatusCreated, g.checkJSON(c.repo, check)}
}

func (g *GitHub) updateCheck(c *call) reply {
	var ask checkAsk
	if bad := c.decode(&ask); bad != nil {
		return *bad
	}
	for _, check := range c.repo.checks {
		if strconv.FormatInt(check.id, 10) == c.PathValue("id") {
			check.set(ask)
			return ok(g.checkJSON(c.repo, check))
		}
	}
	return failure(http.StatusNotFound, "Not Found")
}

func (g *GitHub) listAllComments(c *call) reply {
	since, _ := time.Parse(time.RFC3339, c.URL.Query().Get("since"))
	var found []*ghComment
	for _, comment := range c.repo.comments {
		if !comment.updated.Before(since) {
			found = append(found, comment)
		}
	}
	slices.SortFunc(found, func(a, b *ghComment) int { return int(a.seq - b.seq) })
	if c.URL.Query().Get("direction") == "desc" {
		slices.Reverse(found)
	}
	return ok(mapped(page(g, c, found), func(v *ghComment) map[string]any { return g.commentJSON(c.repo, v) }))
}

func (g *GitHub) comment(c *call) *ghComment {
	for _, comment := range c.repo.comments {
		if strconv.FormatInt(comment.id, 10) == c.PathValue("id") {
			return comment
		}
	}
	return nil
}

func (g *GitHub) getComment(c *call) reply {
	comment := g.comment(c)
	if comment == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	return ok(g.commentJSON(c.repo, comment))
}

func (g *GitHub) patchComment(c *call) reply {
	comment := g.comment(c)
	if comment == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	body, bad := c.commentBody()
	if bad != nil {
		return *bad
	}
	g.editComment(c.repo, comment, c.login(), body)
	return ok(g.commentJSON(c.repo, comment))
}

func (c *call) commentBody() (string, *reply) {
	var ask struct {
		Body string `json:"body"`
	}
	if bad := c.decode(&ask); bad != nil {
		return "", bad
	}
	if n := utf8.RuneCountInString(ask.Body); n == 0 || n > forge.MaxComment {
		r := failure(http.StatusUnprocessableEntity, "Validation Failed: body is missing or too long (maximum is 65536 characters)")
		return "", &r
	}
	return ask.Body, nil
}

func (g *GitHub) createReaction(c *call) reply {
	comment := g.comment(c)
	if comment == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	var ask struct {
		Content string `json:"content"`
	}
	if bad := c.decode(&ask); bad != nil {
		return *bad
	}
	for _, x := range comment.reactions {
		if x.user == c.login() && x.content == ask.Content {
			return ok(g.reactionJSON(x))
		}
	}
	x := ghReaction{id: g.nextID(), user: c.login(), content: ask.Content, at: now()}
	comment.reactions = append(comment.reactions, x)
	return reply{http.StatusCreated, g.reactionJSON(x)}
}

func (g *GitHub) reactionJSON(x ghReaction) map[string]any {
	return map[string]any{"id": x.id, "node_id": nodeID("REA", x.id), "user": g.userJSON(x.user), "content": x.content, "created_at": stamp(x.at)}
}

func (g *GitHub) listComments(c *call) reply {
	if c.repo.issues[c.number()] == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	var found []*ghComment
	for _, comment := range c.repo.comments {
		if comment.issue.number == c.number() {
			found = append(found, comment)
		}
	}
	return ok(mapped(page(g, c, found), func(v *ghComment) map[string]any { return g.commentJSON(c.repo, v) }))
}

func (g *GitHub) createComment(c *call) reply {
	i := c.repo.issues[c.number()]
	if i == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	body, bad := c.commentBody()
	if bad != nil {
		return *bad
	}
	return reply{http.StatusCreated, g.commentJSON(c.repo, g.addComment(c.repo, i, c.login(), body))}
}

type issueAsk struct {
	Title     *string   `json:"title"`
	Body      *string   `json:"body"`
	State     *string   `json:"state"`
	Labels    *[]string `json:"labels"`
	Assignees *[]string `json:"assignees"`
}

func (g *GitHub) setIssue(r *ghRepo, i *ghIssue, ask issueAsk, login string) {
	if ask.Title != nil {
		i.title = *ask.Title
	}
	if ask.Body != nil {
		i.body = *ask.Body
	}
	if ask.Labels != nil {
		i.labels = *ask.Labels
	}
	if ask.Assignees != nil {
		i.assignees = nil
		for _, assignee := range *ask.Assignees {
			if r.perms[assignee] > forge.None { // others are dropped without a word
				i.assignees = append(i.assignees, assignee)
			}
		}
	}
	if ask.State != nil {
		g.setClosed(r, i, login, *ask.State == "closed")
	}
	g.touch(i)
}

func (g *GitHub) createIssue(c *call) reply {
	var ask issueAsk
	if bad := c.decode(&ask); bad != nil {
		return *bad
	}
	i := g.newIssue(c.repo, c.login(), "", "")
	g.setIssue(c.repo, i, ask, c.login())
	return reply{http.StatusCreated, g.issueJSON(c.repo, i)}
}

// listIssues lists pull requests along, as GitHub does.
func (g *GitHub) listIssues(c *call) reply {
	query := c.URL.Query()
	var found []*ghIssue
	for _, i := range c.repo.issues {
		state := cmp.Or(query.Get("state"), "open")
		if creator := query.Get("creator"); (creator == "" || creator == i.user) && (state == "all" || state == i.state()) {
			found = append(found, i)
		}
	}
	slices.SortFunc(found, func(a, b *ghIssue) int { return b.number - a.number })
	return ok(mapped(page(g, c, found), func(i *ghIssue) map[string]any { return g.issueJSON(c.repo, i) }))
}

func (g *GitHub) getIssue(c *call) reply {
	i := c.repo.issues[c.number()]
	if i == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	return ok(g.issueJSON(c.repo, i))
}

func (g *GitHub) patchIssue(c *call) reply {
	i := c.repo.issues[c.number()]
	if i == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	var ask issueAsk
	if bad := c.decode(&ask); bad != nil {
		return *bad
	}
	g.setIssue(c.repo, i, ask, c.login())
	return ok(g.issueJSON(c.repo, i))
}

// graphQL knows one mutation, minimizeComment, by its name in the query.
func (g *GitHub) graphQL(c *call) reply {
	var ask struct {
		Query     string            `json:"query"`
		Variables map[string]string `json:"variables"`
	}
	if bad := c.decode(&ask); bad != nil {
		return *bad
	}
	refuse := func(kind, message string) reply {
		return ok(map[string]any{"data": map[string]any{"minimizeComment": nil}, "errors": []any{map[string]any{"type": kind, "message": message}}})
	}
	if c.token == nil || !bytes.Contains([]byte(ask.Query), []byte("minimizeComment")) {
		return refuse("BAD_REQUEST", "not served by this stand-in")
	}
	for _, r := range g.repos {
		for _, comment := range r.comments {
			if nodeID("IC", comment.id) != ask.Variables["id"] {
				continue
			}
			if g.may(c.token, r, "pull_requests") < forge.Write {
				return refuse("FORBIDDEN", c.login()+" does not have the correct permissions to execute `MinimizeComment`")
			}
			comment.minimised = true
			return ok(map[string]any{"data": map[string]any{"minimizeComment": map[string]any{"minimizedComment": map[string]any{"isMinimized": true}}}})
		}
	}
	return refuse("NOT_FOUND", "Could not resolve to a node with the global id of '"+ask.Variables["id"]+"'")
}
