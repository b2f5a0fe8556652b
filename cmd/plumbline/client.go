package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/web/api"
)

// serverFlags say which server a command asks, and as whom.
func serverFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "server", Usage: "ask the server at `URL`", EnvVars: []string{"PLUMBLINE_SERVER"}, Value: "http://" + defaultListen},
		&cli.StringFlag{Name: "token-file", Usage: "`FILE` with the token to ask with; otherwise it is what PLUMBLINE_TOKEN holds, if anything"},
	}
}

// client asks a server's API.
type client struct {
	server *url.URL // without a path
	token  string   // "" for none
	http   *http.Client
}

// What a server's answer may take: bytes, and the time until it begins.
const (
	maxAnswer     = 64 << 20
	answerTimeout = time.Minute
)

// client makes the client that the flags of a command ask for.
func (p *program) client(c *cli.Context) (*client, error) {
	server, err := parseServer(c.String("server"))
	if err != nil {
		return nil, err
	}
	token, err := p.token(c.String("token-file"))
	if err != nil {
		return nil, err
	}
	if token != "" && server.Scheme == "http" && !isLoopbackHost(server.Hostname()) {
		return nil, fmt.Errorf("the token is not sent to %s: over plain http everybody on the way could read it. Use https, or a tunnel to 127.0.0.1, or unset PLUMBLINE_TOKEN", server)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 20 * time.Second}).DialContext, ResponseHeaderTimeout: answerTimeout,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
	}
	// A redirect could lead the token to somebody else.
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{server, token, &http.Client{Transport: transport, CheckRedirect: refuse}}, nil
}

// parseServer reads the address of a server.
func parseServer(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		// What was given is not repeated: it may hold a password.
		return nil, errors.New("--server (or PLUMBLINE_SERVER): write the server's address, such as https://plumbline.example.com, without a path, a name or a password")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// token reads the token to ask with; "" if there is none.
func (p *program) token(file string) (string, error) {
	token, from := p.getenv("PLUMBLINE_TOKEN"), "PLUMBLINE_TOKEN"
	if file != "" {
		from = "--token-file " + file
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		text, err := io.ReadAll(io.LimitReader(f, 4096))
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		if token = strings.TrimSpace(string(text)); token == "" {
			return "", fmt.Errorf("%s is empty: it should hold a token on one line", from)
		}
	}
	if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c >= 0x7f }) || len(token) > 1000 {
		return "", fmt.Errorf("%s does not hold a token: one line without spaces", from)
	}
	return token, nil
}

// errUnreachable is when a server does not answer, or not now: it may, later.
var errUnreachable = errors.New("no answer")

// send sends a request to an address of the API, and returns its answer if that is none of a problem. Whoever calls closes
// its body.
func (a *client) send(ctx context.Context, method, address string, header http.Header, body io.Reader) (*http.Response, error) {
	to, err := a.server.Parse(address)
	if err != nil || to.Host != a.server.Host || to.Scheme != a.server.Scheme || !strings.HasPrefix(to.Path, "/api/") {
		return nil, fmt.Errorf("%s names an address that is not its own: is it Plumbline?", a.server)
	}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", a.server, err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "plumbline/"+version)
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, a.unreachable(ctx, err)
	}
	if err := a.judge(resp); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// unreachable says why there is no answer.
func (a *client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // without the address, which stands there already
	}
	if strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return fmt.Errorf("ask %s: it speaks http, not https", a.server)
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return fmt.Errorf("ask %s: %w", a.server, err)
	}
	return fmt.Errorf("ask %s: %w: %w: does `plumbline serve` run there? Name another server with --server or PLUMBLINE_SERVER", a.server, errUnreachable, err)
}

// judge returns what is wrong with an answer.
func (a *client) judge(resp *http.Response) error {
	ours := resp.Header.Get(api.Header)
	switch {
	case ours != "" && ours != api.Version:
		return fmt.Errorf("%s speaks version %s of the API, and this plumbline %s: use one of the server's version", a.server, ours, api.Version)
	case resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusGatewayTimeout || ours == "" && resp.StatusCode == http.StatusServiceUnavailable:
		return fmt.Errorf("ask %s: %w: what stands before it answers %s: does `plumbline serve` run behind it?", a.server, errUnreachable, resp.Status)
	case ours == "" && resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.Header.Get("Location") != "":
		return fmt.Errorf("%s sends its visitors to %s: give --server the address that is meant", a.server, resp.Header.Get("Location"))
	case ours == "":
		return fmt.Errorf("%s answers %s, but not as Plumbline does: is the address right, does a proxy before it pass on /api/, and is the server as new as this plumbline?", a.server, resp.Status)
	case resp.StatusCode < 300 || resp.StatusCode == http.StatusNotModified:
		return nil
	}
	var p api.Problem
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&p); err != nil || p.Detail == "" {
		return fmt.Errorf("%s answers %s", a.server, resp.Status)
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized && a.token == "":
		return fmt.Errorf("%s wants to know who asks: %s Set PLUMBLINE_TOKEN, or name a file with --token-file", a.server, p.Detail)
	case resp.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s does not accept the token: %s The page %s/tokens makes another one", a.server, p.Detail, a.server)
	case resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("ask %s: %w: %w", a.server, errUnreachable, &p)
	}
	return fmt.Errorf("%s: %w", a.server, &p)
}

// get reads an address of the API. With the tag of an earlier answer, changed says whether there is another one now.
func (a *client) get(ctx context.Context, address, tag string, into any) (newTag string, changed bool, err error) {
	header := http.Header{"Accept": {"application/json"}}
	if tag != "" {
		header.Set("If-None-Match", tag)
	}
	resp, err := a.send(ctx, http.MethodGet, address, header, nil)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = resp.Body.Close() }() // all of it was read
	if resp.StatusCode == http.StatusNotModified {
		return tag, false, nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", false, a.unreachable(ctx, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return "", false, fmt.Errorf("%s has answered what this plumbline cannot read: %w", a.server, err)
	}
	return resp.Header.Get("ETag"), true, nil
}

// apiAddress is an address of the API: parameters with "" are left out.
func apiAddress(path string, parameters ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(parameters); i += 2 {
		if parameters[i+1] != "" {
			values.Set(parameters[i], parameters[i+1])
		}
	}
	if len(values) > 0 {
		path += "?" + values.Encode()
	}
	return "/api/v1" + path
}

// listOf reads items of a list, at most so many.
func listOf[T any](ctx context.Context, a *client, address string, most int) ([]T, error) {
	items := []T{}
	for address != "" && len(items) < most {
		var part api.List[T]
		if _, _, err := a.get(ctx, address, "", &part); err != nil {
			return nil, err
		}
		items = append(items, part.Items...)
		address = ""
		if part.Next != nil && len(part.Items) > 0 {
			address = *part.Next
		}
	}
	return items[:min(len(items), most)], nil
}

// repositoryID is the id of a repository that somebody calls OWNER/NAME, or by its id; "" for "".
func (a *client) repositoryID(ctx context.Context, name string) (string, error) {
	if strings.Count(name, "/") != 1 {
		return name, nil
	}
	all, err := listOf[api.Repository](ctx, a, apiAddress("/repositories"), 100_000)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, r := range all {
		if strings.EqualFold(r.Name, name) {
			ids = append(ids, r.ID)
		}
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("%s serves no repository %s that you may see", a.server, name)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("several forges have a repository %s: name one of %s", name, strings.Join(ids, ", "))
}
