package provider

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

// lookup is a data source that finds one object O by its name; M is its model.
type lookup[O, M any] struct {
	kind        toycloud.Kind
	description string
	attributes  map[string]string // the computed ones, with their descriptions
	model       func(O) M
	client      *client
}

type imageData struct {
	ID        types.String `tfsdk:"id"`
	Name      types.String `tfsdk:"name"`
	Release   types.String `tfsdk:"release"`
	Reference types.String `tfsdk:"reference"`
}

func newImageData() datasource.DataSource {
	return &lookup[toycloud.Image, imageData]{
		kind:        toycloud.Images,
		description: "Looks up what a node can start from.",
		attributes: map[string]string{
			"id":        "Id that the cloud gave it.",
			"release":   "Newest release of it.",
			"reference": "What `image` of a `toy_node` takes: name and release.",
		},
		model: func(o toycloud.Image) imageData {
			return imageData{types.StringValue(o.ID), types.StringValue(o.Name), types.StringValue(o.Release), types.StringValue(o.Reference)}
		},
	}
}

type networkData struct {
	ID   types.String `tfsdk:"id"`
	Name types.String `tfsdk:"name"`
	CIDR types.String `tfsdk:"cidr"`
}

func newNetworkData() datasource.DataSource {
	return &lookup[toycloud.Network, networkData]{
		kind:        toycloud.Networks,
		description: "Looks up a network that another configuration manages.",
		attributes: map[string]string{
			"id":   "Id that the cloud gave it.",
			"cidr": "Its addresses.",
		},
		model: func(o toycloud.Network) networkData {
			return networkData{types.StringValue(o.ID), types.StringValue(o.Name), types.StringValue(o.CIDR)}
		},
	}
}

// Metadata names the data source.
func (d *lookup[O, M]) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_" + d.kind.One()
}

// Schema describes the data source's attributes.
func (d *lookup[O, M]) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{MarkdownDescription: d.description, Attributes: map[string]schema.Attribute{
		"name": schema.StringAttribute{
			Required:            true,
			MarkdownDescription: "Name to look for.",
			Validators:          []validator.String{checked{"a name", toycloud.CheckName}},
		},
	}}
	for name, description := range d.attributes {
		resp.Schema.Attributes[name] = schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
}

// Configure takes over the provider's client. Terraform calls it without one to validate.
func (d *lookup[O, M]) Configure(_ context.Context, req datasource.ConfigureRequest, _ *datasource.ConfigureResponse) {
	d.client, _ = req.ProviderData.(*client)
}

// Read finds the object.
func (d *lookup[O, M]) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var name types.String
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("name"), &name)...)
	if resp.Diagnostics.HasError() {
		return
	}
	what := fmt.Sprintf("look up the %s %q", d.kind.One(), name.ValueString())
	found, err := find[O](ctx, d.client, d.kind, name.ValueString())
	if err != nil {
		diagnose(ctx, d.client, &resp.Diagnostics, what, err, nil)
		return
	}
	if len(found) == 0 {
		resp.Diagnostics.AddAttributeError(path.Root("name"), "Cannot "+what, d.missing(ctx))
		return
	}
	model := d.model(found[0])
	resp.Diagnostics.Append(resp.State.Set(ctx, &model)...)
}

// missing says what there is instead. It is a courtesy: when that cannot be asked, the message does without.
func (d *lookup[O, M]) missing(ctx context.Context) string {
	text := "There is none of that name. "
	all, err := find[toycloud.Meta](ctx, d.client, d.kind, "")
	if err == nil && len(all) > 0 {
		var names []string
		for _, m := range all {
			names = append(names, m.Name)
		}
		slices.Sort(names)
		if len(names) > 10 {
			names = append(names[:10], "…")
		}
		text += "There are: " + strings.Join(names, ", ") + ". "
	}
	return text + "Correct the name, or apply the configuration that creates it first."
}
