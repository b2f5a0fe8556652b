package gitea

import (
	"context"

	"github.com/plumbline-dev/plumbline/forge"
)

// Self returns the login that comments of ours bear: the token's user.
func (c *Client) Self(ctx context.Context) (string, error) {
	const doing = "read our own name"
	c.mu.Lock()
	known := c.self
	c.mu.Unlock()
	if known != "" {
		return known, nil
	}
	api, err := c.api(ctx)
	if err != nil {
		return "", translate(doing, err)
	}
	user, _, err := api.GetMyUserInfo()
	if err != nil {
		return "", translate(doing, err)
	}
	c.mu.Lock()
	c.self = user.UserName
	c.mu.Unlock()
	return user.UserName, nil
}

// Credential returns what Git needs to read the repository: the token, which lasts and may do all that it may do elsewhere.
func (c *Client) Credential(context.Context, forge.Repo) (forge.Credential, error) {
	// Gitea takes a token as the password of anybody, and Git asks for both.
	return forge.Credential{Username: "plumbline", Password: c.opts.Token}, nil
}

// PushCredential returns what Git needs to push to the repository: the same token.
func (c *Client) PushCredential(ctx context.Context, repo forge.Repo) (forge.Credential, error) {
	return c.Credential(ctx, repo)
}
