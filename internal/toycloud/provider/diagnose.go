package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
)

// diagnose says that something could not be done, why, and what helps. What is a phrase such as: create the
// node "web-1". With a state or plan, an error about one attribute is shown at that attribute.
func diagnose(ctx context.Context, c *client, diags *diag.Diagnostics, what string, err error, known *tfsdk.Plan) {
	summary := "Cannot " + what
	detail := sentence(err.Error()) + " " + remedy(c, err)
	var api *apiError
	if errors.As(err, &api) && api.Field != "" && known != nil {
		if _, wrong := known.Schema.AttributeAtPath(ctx, path.Root(api.Field)); !wrong.HasError() {
			diags.AddAttributeError(path.Root(api.Field), summary, strings.TrimSpace(detail))
			return
		}
	}
	diags.AddError(summary, strings.TrimSpace(detail))
}

func remedy(c *client, err error) string {
	var api *apiError
	if errors.As(err, &api) {
		switch api.Status {
		case http.StatusNotFound:
			if !isMissing(err) {
				return wrongEndpoint(c)
			}
		case http.StatusUnauthorized:
			return "Check token in the provider block, or " + TokenVariable + "."
		case http.StatusForbidden:
			return "Use a token that may write."
		case http.StatusConflict:
			return "If it is what this configuration means, take it over with an import block and its id; " +
				"else choose another name or remove what is in the way."
		case http.StatusTooManyRequests:
			return "Run Terraform with a lower -parallelism, or raise max_retries in the provider block."
		case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return "This is the cloud's fault: run Terraform again."
		}
		return ""
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return fmt.Sprintf("Is the toy cloud running at %s? Check endpoint in the provider block, or %s.", c.endpoint, EndpointVariable)
	}
	if errors.Is(err, context.Canceled) {
		return "Terraform was interrupted. Run it again: it reads first what was done."
	}
	var transport *transportError
	if errors.As(err, &transport) {
		return "It is not known whether this was done. Run Terraform again: it reads first what is there."
	}
	return wrongEndpoint(c)
}

func wrongEndpoint(c *client) string {
	return fmt.Sprintf("Is there a toy cloud at %s? Check endpoint in the provider block, or %s.", c.endpoint, EndpointVariable)
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}
