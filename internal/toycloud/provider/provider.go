// Package provider is the Terraform provider "toy", through which Terraform works on a toy cloud.
//
// The plumbline binary is the provider, too: [Mirror] lays out a directory in which Terraform finds it under the name
// of a provider, [CLIConfig] tells Terraform of that directory, and a main function that finds itself called by such a
// name ([IsProvider]) calls [Serve] and nothing else. From then on Terraform is in charge: it asks for plans and
// changes, and ends the process.
//
// The provider retries what a cloud refuses for a while (throttling, server errors, lost connections), within bounds,
// and never creates a thing twice by doing so. It keeps nothing between two runs of Terraform.
package provider

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// Address is the provider's source address, and Version its only version.
const (
	Address = "registry.terraform.io/plumbline-dev/toy"
	Version = "1.0.0"
)

// EndpointVariable and TokenVariable name the environment variables that a provider block without endpoint or token
// falls back to. Whoever calls [Serve] reads them.
const (
	EndpointVariable = "TOY_ENDPOINT"
	TokenVariable    = "TOY_TOKEN"
)

// Options of [Serve].
type Options struct {
	// Endpoint and Token are used where the provider block sets none: the values of EndpointVariable and
	// TokenVariable. Empty: the provider block must set them.
	Endpoint, Token string
}

// Serve answers Terraform over the plugin protocol, version 6, until Terraform ends the process. It fails when the
// process was not started by Terraform.
func Serve(ctx context.Context, opts Options) error {
	err := providerserver.Serve(ctx, func() provider.Provider { return &toy{opts} }, providerserver.ServeOpts{
		Address:         Address,
		ProtocolVersion: 6,
	})
	if err != nil {
		return fmt.Errorf("serve the Terraform provider toy: %w", err)
	}
	return nil
}

type toy struct{ defaults Options }

type toyModel struct {
	Endpoint   types.String `tfsdk:"endpoint"`
	Token      types.String `tfsdk:"token"`
	MaxRetries types.Int64  `tfsdk:"max_retries"`
	Timeout    types.String `tfsdk:"timeout"`
}

// Metadata names the provider.
func (p *toy) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName, resp.Version = "toy", Version
}

// Schema describes the provider block.
func (p *toy) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Works on a toy cloud, a small service to try things on.",
		Attributes: map[string]schema.Attribute{
			"endpoint": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "URL of the toy cloud. Default: the environment variable `TOY_ENDPOINT`.",
			},
			"token": schema.StringAttribute{
				Optional:            true,
				Sensitive:           true,
				MarkdownDescription: "Token for the toy cloud. Default: the environment variable `TOY_TOKEN`.",
			},
			"max_retries": schema.Int64Attribute{
				Optional: true,
				MarkdownDescription: "How often a request is repeated that was throttled, met a server error or lost its " +
					"connection, 0 to 100. Default: " + strconv.Itoa(defaultRetries) + ".",
			},
			"timeout": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "How long to wait for one answer, such as `10s`. Default: `" + defaultTimeout.String() + "`.",
			},
		},
	}
}

// Configure makes the client that all resources share.
func (p *toy) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	var m toyModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	diags := &resp.Diagnostics
	for name, value := range map[string]types.String{"endpoint": m.Endpoint, "token": m.Token} {
		if value.IsUnknown() {
			diags.AddAttributeError(path.Root(name), "The toy cloud's "+name+" is not known yet",
				"It comes from something that does not exist before apply. Apply that first, or write the value down.")
		}
	}

	c := &client{token: p.defaults.Token, retries: defaultRetries, timeout: defaultTimeout}
	endpoint := p.defaults.Endpoint
	if !m.Endpoint.IsNull() {
		endpoint = m.Endpoint.ValueString()
	}
	if !m.Token.IsNull() {
		c.token = m.Token.ValueString()
	}
	u, err := url.Parse(endpoint)
	switch {
	case m.Endpoint.IsUnknown():
	case endpoint == "":
		diags.AddAttributeError(path.Root("endpoint"), "No endpoint of a toy cloud",
			"Set endpoint in the provider block, or the environment variable "+EndpointVariable+".")
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil:
		// The value is not repeated: a URL may hold a password.
		diags.AddAttributeError(path.Root("endpoint"), "The endpoint is no URL of a toy cloud",
			"Write it as http://127.0.0.1:8080, in the provider block or in "+EndpointVariable+".")
	}
	if c.token == "" && !m.Token.IsUnknown() {
		diags.AddAttributeError(path.Root("token"), "No token for the toy cloud",
			"Set token in the provider block, or the environment variable "+TokenVariable+".")
	}
	if !m.MaxRetries.IsNull() {
		if n := m.MaxRetries.ValueInt64(); n < 0 || n > 100 {
			diags.AddAttributeError(path.Root("max_retries"), "max_retries is out of range", "Use 0 to 100.")
		} else {
			c.retries = int(n)
		}
	}
	if !m.Timeout.IsNull() {
		d, err := time.ParseDuration(m.Timeout.ValueString())
		if err != nil || d <= 0 {
			diags.AddAttributeError(path.Root("timeout"), "The timeout is no duration", "Write it as 500ms, 10s or 1m.")
		}
		c.timeout = d
	}
	if diags.HasError() {
		return
	}
	c.open(u)
	resp.ResourceData, resp.DataSourceData = c, c
}

// Resources returns what can be managed.
func (p *toy) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{newNetwork, newCluster, newNode, newBucket}
}

// DataSources returns what can be looked up.
func (p *toy) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{newImageData, newNetworkData}
}
